"""Napari layers and the grid of a study."""

from napari_mediround.widget.layers.layer_geometry import study_from_layer, study_to_layer

__all__ = ["study_from_layer", "study_to_layer"]
