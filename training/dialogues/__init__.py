"""Dialogues about labelled planes, in words."""
