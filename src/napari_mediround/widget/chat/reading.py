"""What was decided when an image was read: said once in its chat, and the modality to be changed."""

from __future__ import annotations

import weakref
from dataclasses import replace
from types import MappingProxyType

from napari_mediround.domain.hounsfield import GUESSES, take_for
from napari_mediround.domain.study import Study
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.view import Message
from napari_mediround.widget.layers.layer_geometry import STUDY_KEY, contrast_limits

MODALITIES = MappingProxyType(
    {"": "not known", "CT": "CT", "MR": "MR", "US": "ultrasound", "DX": "radiograph", "PT": "PET"}
)
"""What an image can be taken for whose file does not say what it is, by DICOM's codes."""


class Reading:
    """Notes and modality of the image at hand.

    Parameters
    ----------
    place : Workplace
        Where things are done.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._said: weakref.WeakSet = weakref.WeakSet()
        place.changed.connect(self._on_changed)
        place.view.modality_chosen.connect(self._on_modality_chosen)

    def _study(self) -> Study | None:
        """Return what was read into the layer at hand; None for a layer of another reader."""
        layer = self._place.layer()
        study = layer.metadata.get(STUDY_KEY) if layer is not None else None
        return study if isinstance(study, Study) else None

    def _on_changed(self) -> None:
        study, case = self._study(), self._place.case
        if study is None or study.stated or study.is_rgb:
            self._place.view.show_modalities((), 0)
        else:
            current = study.modality if study.modality in MODALITIES else ""
            self._place.view.show_modalities(tuple(MODALITIES.values()), tuple(MODALITIES).index(current))
        if study is not None and case not in self._said:
            self._said.add(case)
            notes = "; ".join(note for note in study.notes if note not in GUESSES)
            if notes:
                case.remark(Message(f"About this image: {notes}."))

    def _on_modality_chosen(self, index: int) -> None:
        """Take the image for another modality: greys, windows and answers follow."""
        place, study, layer = self._place, self._study(), self._place.layer()
        if study is None:
            return
        taken = take_for(study, tuple(MODALITIES)[index])
        # A view of its own tells a session that the image is no longer what it was.
        taken = replace(taken, pixels=taken.pixels.view(), stated=False)
        layer.metadata[STUDY_KEY] = taken
        layer.data = taken.pixels
        layer.contrast_limits = contrast_limits(taken)
        place.view.image_chosen.emit(place.images.index(layer))  # shows its windows
