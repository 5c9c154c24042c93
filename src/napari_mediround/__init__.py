"""MediRound in napari: ask for structures in words, round after round."""

__version__ = "0.1.0"
