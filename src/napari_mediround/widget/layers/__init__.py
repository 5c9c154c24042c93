"""Napari layers and the grid of a study."""
