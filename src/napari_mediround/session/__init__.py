"""One conversation about one image: ask, accept, fix, reject, branch, undo. Knows no torch and no Qt."""

from napari_mediround.session.record import Record, Step
from napari_mediround.session.segmenter import Segmenter
from napari_mediround.session.session import Session
from napari_mediround.session.stack.joining import Manner
from napari_mediround.session.stack.propagation import Propagation

__all__ = ["Manner", "Propagation", "Record", "Segmenter", "Session", "Step"]
