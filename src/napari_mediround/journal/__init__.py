"""The durable record of rounds and verdicts. Knows no torch, no Qt, no napari."""

from napari_mediround.journal.history import Event, History, Label, State
from napari_mediround.journal.image_paths import ImagePlace, recall_images, remember_image
from napari_mediround.journal.store import CaseInfo, Journal

__all__ = [
    "CaseInfo",
    "Event",
    "History",
    "ImagePlace",
    "Journal",
    "Label",
    "State",
    "recall_images",
    "remember_image",
]
