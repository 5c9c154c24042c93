"""Finds the image of a case again, and its patient. Paths come from the project and are not passed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from napari_mediround.domain.study import Study
from napari_mediround.errors import MediRoundError
from napari_mediround.io import read_studies
from napari_mediround.io.dicom.patient import read_patient
from napari_mediround.journal import Journal, recall_images
from napari_mediround.training.learning.corrections import FindStudy

_VIEWS = (None, "axial", "coronal", "sagittal")


def find_studies(journal: Journal) -> FindStudy:
    """Return a function that finds a case's study at its remembered place and recognises it by content."""
    places = recall_images(journal.folder) if journal.folder else {}

    def find(case: str) -> Study | None:
        if case not in places:
            return None
        candidates = _studies(Path(places[case].path))
        return next((study for study in candidates if journal.case_id(study) == case), None)

    return find


def patient_at(journal: Journal, case: str) -> str:
    """Return the patient that the image of a case names; "" if it names none or is missing."""
    place = recall_images(journal.folder).get(case) if journal.folder else None
    return read_patient(Path(place.path)) if place else ""


def _studies(path: Path) -> Iterator[Study]:
    """Yield every study at a path: each series and volume, in each view."""
    for view in _VIEWS:
        with suppress(MediRoundError):
            yield from read_studies(path, view=view)
