"""One conversation about one image: ask, accept, fix, reject, branch, undo. Knows no torch and no Qt."""

from napari_mediround.session.joining import Manner
from napari_mediround.session.propagation import Propagation
from napari_mediround.session.record import Record, Step
from napari_mediround.session.segmenter import Segmenter
from napari_mediround.session.session import Session

__all__ = ["Manner", "Propagation", "Record", "Segmenter", "Session", "Step"]
