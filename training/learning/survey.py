"""What a project has to learn from, counted before learning starts. Reads no image and writes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from napari_mediround.journal import History, Journal, recall_images
from napari_mediround.training.learning.case_images import patient_at
from napari_mediround.training.learning.corrections import judged_rounds
from napari_mediround.training.learning.needs import Need, Survey
from napari_mediround.training.learning.samples import JudgedRound, shown_structures, touched_structures
from napari_mediround.training.learning.split import (
    FEWEST_MASKS,
    FEWEST_PATIENTS,
    Split,
    count_lessons,
    share_out,
)


def survey_corrections(project: Path, journal: Journal) -> Survey:
    """Count what a project's rounds teach and test, divided by patient as learning would.

    Raises
    ------
    JournalError, SettingsError
        When the journal or the split is damaged.
    """
    split, rounds, lost = Split(project), [], 0
    places = recall_images(journal.folder) if journal.folder else {}
    for info in journal.cases():
        judged = list(_judged(journal, info.case, split))
        there = info.case in places and Path(places[info.case].path).exists()
        rounds += judged if there else []
        lost += bool(judged) and not there
    learn, test = share_out(rounds, split, keep=False)
    masks, patients = count_lessons(learn, test)
    compared = touched_structures(learn) & shown_structures(test)
    needs = (
        Need("accepted or corrected masks to learn from", masks, FEWEST_MASKS),
        Need("patients, one of them kept apart for the test", patients, FEWEST_PATIENTS),
        Need("corrected structure that a patient kept apart shows too", len(compared), 1),
    )
    teaching = sum(round_.teaches for round_ in [*learn, *test])
    return Survey(teaching, patients, len({round_.subject for round_ in test}), needs, lost)


def _judged(journal: Journal, case: str, split: Split) -> Iterator[JudgedRound]:
    """Yield the rounds of a case with a verdict, without their images."""
    judged = list(judged_rounds(History(journal.events(case))))
    subject = split.patient_of(case, patient_at(journal, case)) if judged else ""
    for event, before, masks in judged:
        asked = event.entry.round
        place = (event.seq, case, subject, asked.answer.image, {}, before, asked.text)
        yield JudgedRound(*place, asked.references, masks, carried=asked.carried)
