"""Masks from elsewhere are rounds like any other: judged, undone in one step, kept, exported, learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeSegmenter, make_volume

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Imported
from napari_mediround.domain.segments import AUTOMATIC, MANUAL, LabelledVolume, make_segment
from napari_mediround.errors import CancelledError, MediRoundError
from napari_mediround.journal import Journal
from napari_mediround.journal.audit import audit_rows, find_words, journal_to_dict
from napari_mediround.session import Session
from napari_mediround.session.importing import import_taken, judge_taken, make_rounds, take_masks
from napari_mediround.training.learning.corrections import read_rounds

SOURCE = Imported("ab" * 32, "nifti", MANUAL)
NAMES = {1: "liver", 2: "spleen"}


def make_masks(study) -> LabelledVolume:
    """Return a liver on planes 0 to 3, largest on 2, and a spleen on planes 1 and 2 that overlaps it."""
    grid = study.source_geometry
    liver, spleen = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    liver[:4, 4:8, 4:8] = True
    liver[2, 4:14, 4:14] = True
    spleen[1:3, 12:20, 12:24] = True
    return LabelledVolume.from_masks(
        grid,
        [(make_segment(1, "liver", load_anatomy(), MANUAL), liver), (make_segment(2, "spleen"), spleen)],
    )


def take(session, names=NAMES, **source) -> tuple:
    """Import the masks into a session; return what was taken."""
    volume = make_masks(session.study)
    taken = take_masks(volume, session.study, names, lambda s: replace(SOURCE, origin=s.origin, **source))
    import_taken(session, taken)
    return taken


@pytest.fixture
def session():
    return Session(FakeSegmenter(), make_volume(), load_anatomy(), Journal.in_memory(), "case")


def test_a_mask_over_planes_is_one_number_on_all_of_them(session):
    take(session)
    assert session.label_names() == {1: "1 liver", 2: "2 spleen"}
    volume, masks = session.label_volume(), make_masks(session.study)
    liver, spleen = (masks.mask(s) for s in masks.segments)
    assert np.array_equal(volume == 1, session.study.order.apply(liver))
    assert np.array_equal(volume == 2, session.study.order.apply(spleen & ~liver))
    assert session.undoable == "import 2 masks"


def test_the_next_question_has_the_next_number_and_can_point_at_an_import(session):
    take(session)
    round_ = session.ask("the vessel behind [1]", 2)
    assert [session.conversation.number_of(r) for r in round_.references] == [1]
    assert session.label_of(type(round_.references[0])(round_.index)) == 3
    take(session)
    assert session.label_names()[4] == "4 liver"


def test_words_mean_an_imported_mask_as_any_other(session):
    take(session)
    (reference,) = session.resolve("the vessel behind the liver")
    assert session.conversation.target(reference).mask.area == 100


def test_an_import_is_undone_and_redone_in_one_step_and_survives_a_restart(session):
    take(session)
    whole = session.label_volume()
    assert session.undo().kind == "undo"
    assert not session.label_volume().any()
    assert not session.conversation.rounds
    session.redo()
    again = Session(FakeSegmenter(), session.study, load_anatomy(), session.journal, "case")
    assert np.array_equal(again.label_volume(), whole)
    assert again.conversation == session.conversation


def test_origin_and_hash_come_from_the_record(session):
    take(session, {1: "liver"})
    (first, *more) = session.judged_masks()
    assert {m.origin for m in (first, *more)} == {MANUAL}
    assert first.imported.sha256 == SOURCE.sha256
    assert first.verdict == "proposal"
    take(session, {2: "spleen"})
    assert {m.origin for m in session.judged_masks() if m.name == "spleen"} == {AUTOMATIC}


def test_a_fix_of_one_plane_counts_for_that_plane(session):
    take(session)
    carried = next(v for v in session.state.labels.values() if v.plane == 1 and v.structure == "spleen")
    grown = carried.mask.to_array()
    grown[0, 0] = True
    session.fix(carried.value, type(carried.mask).from_array(grown))
    assert session.label_volume()[1, 0, 0] == 2
    assert not session.label_volume()[2, 0, 0]


def test_masks_are_judged_on_few_planes_each_encoded_once(session):
    names = {1: "pancreas", 2: "spleen"}
    taken = take_masks(make_masks(session.study), session.study, names, lambda s: SOURCE)
    assert [one.plane for one in taken] == [2, 2]
    judged = judge_taken(session, taken)
    assert [one.quality for one in judged] == [0.9, 0.9]
    assert len(session.segmenter.images) == 1
    assert [name for _, name in session.segmenter.judged] == ["pancreas", "spleen"]


def test_nothing_is_taken_without_a_name_or_after_cancel(session):
    volume = make_masks(session.study)
    with pytest.raises(MediRoundError, match="no mask to take"):
        take_masks(volume, session.study, {1: ""}, lambda s: SOURCE)
    with pytest.raises(CancelledError):
        take_masks(volume, session.study, NAMES, lambda s: SOURCE, lambda: True)


def test_an_import_made_for_another_conversation_is_refused(session):
    taken = take_masks(make_masks(session.study), session.study, NAMES, lambda s: SOURCE)
    rounds = make_rounds(session, taken)
    session.ask("the liver", 1)
    with pytest.raises(ValueError, match="no longer fit"):
        session.take_import(rounds)


def test_the_audit_has_a_row_for_each_mask_and_no_word_of_the_file(session):
    take(session)
    rows = list(audit_rows(session.journal))
    assert {row["event"] for row in rows[1:]} == {"import"}
    assert len(rows) == 1 + 4 + 2
    assert [w for w in find_words(session.journal) if w.origin == "unknown" and w.place != "case"] == []
    assert journal_to_dict(session.journal, with_text=False)["events"][1]["body"]["rounds"][0]["text"] == ""


def test_an_accepted_import_is_a_lesson(session):
    take(session)
    session.accept(1, 2)
    lessons, notes = read_rounds(session.journal, lambda case: session.study)
    assert not notes
    assert [(r.text, [m.structure for m in r.masks]) for r in lessons] == [
        ("Segment the liver", ["liver"]),
        ("Segment the spleen", ["spleen"]),
    ]
    assert all(r.image in r.images for r in lessons)
