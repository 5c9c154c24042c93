"""What is said is done: edits, verdicts, names and compounds on a session with a fake model."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeSegmenter, make_picture, make_volume
from scipy import ndimage

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Reference
from napari_mediround.errors import MediRoundError
from napari_mediround.journal import Journal
from napari_mediround.session import Session
from napari_mediround.session.commands import Screen, follow
from napari_mediround.session.editing import recipe_lines


@pytest.fixture
def session():
    return Session(FakeSegmenter(), make_volume(), load_anatomy())


def do(session, *texts, plane=2, screen=None):
    """Follow texts on one plane; return what was said to the last."""
    screen = screen or Screen(plane)
    done = [list(follow(session, text, screen)) for text in texts]
    return "\n".join(one.words for one in done[-1])


def mask(session, value):
    return session.label(value).mask.to_array()


def test_growing_in_words_is_exact_and_one_step(session):
    do(session, "the liver")
    before = mask(session, 1)
    said = do(session, "grow it 3 mm")
    spacing = session.study.geometry.spacing_mm[1:]
    assert np.array_equal(mask(session, 1), ndimage.distance_transform_edt(~before, spacing) <= 3 + 1e-5)
    assert said.startswith("1 liver: grown by 3 mm, on axial plane 2. ")
    assert session.undoable == "grow 1 liver"
    session.undo()
    assert np.array_equal(mask(session, 1), before)
    session.redo()
    assert mask(session, 1).sum() > before.sum()


def test_an_edited_proposal_stays_one_and_an_accepted_mask_is_corrected(session):
    do(session, "the liver", "shrink it by 1 mm")
    assert session.label(1).verdict == ""
    do(session, "accept it")
    assert session.label(1).verdict == "corrected"
    do(session, "the spleen", "accept [2]", "grow [2] by 2 mm")
    assert (session.label(2).verdict, session.label(2).quality) == ("corrected", None)


def test_a_recipe_shows_when_its_input_has_changed(session):
    do(session, "the liver", "the spleen", "grow [1] by 6 mm but not into [2]")
    label = session.label(1)
    assert recipe_lines(label, session.state.changed_since(label)) == ("grown by 6 mm, not into [2]", "")
    do(session, "grow [2] by 2 mm")
    label = session.label(1)
    assert recipe_lines(label, session.state.changed_since(label))[1] == "2 spleen changed after that."
    before = label.recipes[-1].before.to_array()
    session.take_edit(session.work_out_again(1))
    spacing = session.study.geometry.spacing_mm[1:]
    wide = ndimage.distance_transform_edt(~before, spacing) <= 6 + 1e-5
    assert np.array_equal(mask(session, 1), wide & (before | ~mask(session, 2)))
    assert session.state.changed_since(session.label(1)) == ()


def test_recipes_outlive_a_restart(tmp_path):
    study = make_volume()
    with Journal.open(tmp_path) as journal:
        first = Session(FakeSegmenter(), study, load_anatomy(), journal)
        do(
            first,
            "the liver",
            "the spleen",
            "grow [2] 3 mm",
            "grow [1] 3 mm",
            "[1] minus [2]",
            "rename [1] to segment IV",
        )
    with Journal.open(tmp_path) as journal:
        again = Session(FakeSegmenter(), study, load_anatomy(), journal)
        assert again.label(1).name == "1 segment IV"
        assert str(again.label(1).recipes[-1].recipe) == "[2] taken away"
        assert np.array_equal(mask(again, 1), mask(first, 1))
        assert again.undoable == "rename 1 segment IV"


def test_the_other_mask_of_an_edit_is_never_changed(session):
    do(session, "the liver", "the spleen")
    liver, spleen = mask(session, 1), mask(session, 2)
    do(session, "subtract [2] from [1]")
    assert np.array_equal(mask(session, 1), liver & ~spleen)
    assert np.array_equal(mask(session, 2), spleen)


def test_a_mirrored_mask_has_the_name_of_the_other_side(session):
    do(session, "the left kidney")
    before = mask(session, 1)
    said = do(session, "mirror [1]")
    assert session.label(1).structure == "right kidney"
    assert session.conversation.rounds[0].targets[0].structure == "right kidney"
    assert np.array_equal(mask(session, 1), before[:, ::-1])
    assert "It is named right kidney now." in said


def test_a_carried_mask_grows_through_the_stack(session):
    do(session, "the liver")
    session.add(session.carry(Reference(1), 1))
    volume = session.label_volume() == 1
    spacing = session.study.geometry.spacing_mm
    mm = spacing[0] * 1.2
    do(session, f"grow it {mm:.1f} mm")
    wanted = ndimage.distance_transform_edt(~volume, spacing) <= float(f"{mm:.1f}") + 1e-5
    assert np.array_equal(session.label_volume() == 1, wanted)
    assert session.undoable == "grow 1 liver"
    session.undo()
    assert np.array_equal(session.label_volume() == 1, volume)


def test_only_this_plane_changes_where_the_words_say_so(session):
    do(session, "the liver")
    session.add(session.carry(Reference(1), 1))
    other = mask(session, 2)
    do(session, "grow it 3 mm on this plane")
    assert np.array_equal(mask(session, 2), other)


def test_nothing_is_left_changes_nothing(session):
    do(session, "the liver")
    with pytest.raises(MediRoundError, match="Nothing would be left of 1 liver"):
        do(session, "shrink it 50 mm")
    assert session.undoable == "round 1"


def test_a_picture_without_a_scale_has_no_millimetres():
    session = Session(FakeSegmenter(), make_picture(), load_anatomy())
    do(session, "the liver", plane=0)
    with pytest.raises(MediRoundError, match="how large a pixel is"):
        do(session, "grow it 2 mm", plane=0)


def test_verdicts_in_words_are_those_of_the_buttons(session):
    do(session, "the liver", "the spleen")
    assert do(session, "accept the liver") == "Accepted 1 liver (axial plane 2)."
    assert do(session, "reject [2]") == "Rejected 2 spleen (axial plane 2)."
    assert [session.label(v).verdict for v in (1, 2)] == ["accepted", "rejected"]
    assert do(session, "undo") == "Taken back: reject 2 spleen."
    assert do(session, "redo") == "Done again: reject 2 spleen."
    do(session, "undo twice")
    assert [session.label(v).verdict for v in (1, 2)] == ["", ""]


def test_two_steps_are_done_and_can_be_taken_back(session):
    said = do(session, "segment both kidneys and tell me their volume")
    assert "1 kidney: 6.5 mm² on axial plane 2." in said
    assert len(session.conversation) == 2
    assert [r.round for r in session.conversation.rounds[1].references] == [1]


def test_it_is_what_the_step_before_gave(session):
    do(session, "the spleen")
    do(session, "segment the pancreas, shrink it by 1 mm and accept it")
    assert [session.label(v).verdict for v in (1, 2)] == ["", "corrected"]


def test_a_step_that_fails_stops_the_rest_and_says_so(session):
    do(session, "the liver")
    with pytest.raises(MediRoundError, match=r"Nothing would be left.*not done: accept and plane 3"):
        do(session, "shrink it 50 mm, accept it and go to slice 3")
    assert session.label(1).verdict == ""


def test_steps_go_to_another_plane(session):
    screen = Screen(2)
    do(session, "go to slice 3 and outline the aorta", screen=screen)
    assert (screen.plane, session.conversation.rounds[0].plane) == (3, 3)
    with pytest.raises(MediRoundError, match="no plane 900"):
        do(session, "go to slice 900", screen=screen)


def test_what_is_absent_is_not_edited(session):
    session.segmenter.absent.add("pancreas")
    with pytest.raises(MediRoundError, match="no mask"):
        do(session, "segment the pancreas and grow it 2 mm")


def test_an_edit_that_was_worked_out_before_another_is_not_taken(session):
    do(session, "the liver")
    request = session.understand("grow it 2 mm", 2)
    worked = session.work_out(request, (Reference(1),), 2)
    do(session, "grow it 1 mm")
    with pytest.raises(MediRoundError, match="changed meanwhile"):
        session.take_edit(worked)


def test_an_edit_leaves_no_word_of_a_person_in_the_journal(session):
    from napari_mediround.journal.audit import audit_rows, find_words, journal_to_dict

    do(session, "the liver", "the spleen", "grow [1] by 2 mm but not into [2]", "rename [1] to Miller mass")
    found = [w for w in find_words(session.journal) if w.origin in ("unknown", "typed")]
    assert [w.text for w in found if w.place != "body.round.text"] == ["Miller mass"]
    assert "Miller" not in str(journal_to_dict(session.journal, with_text=False))
    rows = list(audit_rows(session.journal, with_text=False))
    assert "Miller" not in str(rows)
    assert any(row["reason"] == "grown by 2 mm, not into [2]" for row in rows)
