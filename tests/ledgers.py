"""What the tests of journal and session share: a session in a project folder, and entries made by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from fakes import FakeSegmenter, make_volume

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Round
from napari_mediround.journal import Journal
from napari_mediround.questions.references import resolve_references
from napari_mediround.session import Session

STUDY = make_volume((3, 12, 16))
CASE = "c0ffee"


def open_session(folder: Path | None = None, case: str = CASE) -> Session:
    """Open a project, or one in memory, and the session of a case in it."""
    journal = Journal.open(folder) if folder is not None else Journal.in_memory()
    return Session(FakeSegmenter(), STUDY, journal=journal, case=case)


def reopen(session: Session) -> Session:
    """Close a session's project and open it again."""
    session.journal.close()
    return open_session(session.journal.folder)


def box_mask(rows: slice, columns: slice) -> Mask:
    """Return a rectangle on a plane of `STUDY`."""
    array = np.zeros(STUDY.geometry.shape[1:], bool)
    array[rows, columns] = True
    return Mask.from_array(array)


def ask_as_typed(session: Session, text: str, plane: int) -> Round:
    """Add what the stand-in answers to a text, whatever the words mean; tests of the record need masks."""
    references = resolve_references(text, session.conversation, None, plane)
    session.prepare(plane)
    answer = session.segmenter.ask(text, session.conversation, references)
    rounds = session.conversation.rounds
    parent = rounds[-1].id if rounds else 0
    session.add(Round(len(rounds) + 1, plane, text, references, answer, 1.0, None, parent))
    return session.conversation.rounds[-1]
