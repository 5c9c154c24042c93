"""Labelled images: collected, prepared, drawn and varied."""
