"""The import path and name that scripts used when adapters had a predictor of their own."""

from napari_mediround.inference.predictor import Predictor as AdaptedPredictor

__all__ = ["AdaptedPredictor"]
