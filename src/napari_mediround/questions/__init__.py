"""What words mean: a question becomes a `Request` before any model runs. Knows no pixel and no model."""

from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.understanding import understand

__all__ = ["Request", "Wanted", "understand"]
