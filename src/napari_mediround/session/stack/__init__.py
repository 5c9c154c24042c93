"""Structures on several planes: how they are joined, followed through the stack, and what each plane is."""
