"""The import path that scripts used before `inference` was a room; new code imports `inference.adapting`."""

from napari_mediround.inference.adapting import AdaptedPredictor

__all__ = ["AdaptedPredictor"]
