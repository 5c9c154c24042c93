"""Verdicts, overlaps, branches and undo of one image."""

import numpy as np
import pytest
from fakes import FakeSegmenter, make_volume
from ledgers import STUDY, box_mask, open_session, reopen

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Reference, Round, Target
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.errors import DanglingReferenceError, MediRoundError
from napari_mediround.journal import Journal
from napari_mediround.journal.entries import VerdictGiven
from napari_mediround.session import Session

LEFT, RIGHT = box_mask(slice(2, 8), slice(2, 8)), box_mask(slice(4, 10), slice(6, 12))
SHARED = 4 * 2


def draw(session: Session, *masks: Mask, plane: int = 1) -> None:
    """Add a round that found these masks."""
    targets = tuple(Target(f"part {k}", mask, 0.5) for k, mask in enumerate(masks, 1))
    index = len(session.conversation) + 1
    session.add(Round(index, plane, "draw", (), Answer("here", targets)))


@pytest.fixture
def session():
    session = open_session()
    draw(session, LEFT, RIGHT)
    return session


def test_a_verdict_changes_what_the_conversation_says_of_a_mask(session):
    session.accept(1)
    session.fix(2, LEFT, "both", reason="leak")
    assert [t.verdict for t in session.conversation.rounds[0].targets] == ["accepted", "corrected"]
    assert session.conversation.target(Reference(1, 2)).mask == LEFT


def test_a_proposal_yields_to_a_locked_mask_that_came_later(session):
    assert (session.labels(1) == 1).sum() == LEFT.area
    step = session.accept(2)
    assert (session.labels(1) == 2).sum() == RIGHT.area
    assert (step.kind, step.words, step.planes) == ("verdict", "accept 2 part 2", {1})


def test_keep_cuts_the_new_mask_and_leaves_the_locked_one(session):
    session.accept(1)
    assert session.overlaps(2) == {1: SHARED}
    session.accept(2, overlap="keep")
    assert session.label(1).mask == LEFT
    assert session.label(2).mask.area == RIGHT.area - SHARED


def test_replace_takes_from_the_locked_mask_and_undo_gives_it_back(session):
    session.accept(1)
    session.accept(2, overlap="replace")
    assert session.label(1).mask.area == LEFT.area - SHARED
    assert session.conversation.rounds[0].targets[0].mask.area == LEFT.area - SHARED
    session.undo()
    assert session.label(1).mask == LEFT
    assert session.label(2).verdict == ""


def test_both_keeps_both_whole_and_shows_the_one_locked_first(session):
    session.accept(2)
    session.accept(1, overlap="both")
    assert (session.label(1).mask, session.label(2).mask) == (LEFT, RIGHT)
    assert (session.labels(1) == 2).sum() == RIGHT.area


def test_masks_accepted_together_share_no_pixel_and_are_one_step(session):
    session.accept(1, 2)
    assert session.label(2).mask.area == RIGHT.area - SHARED
    session.undo()
    assert not session.state.locked


def test_planes_do_not_disturb_each_other(session):
    session.accept(1)
    draw(session, LEFT, plane=2)
    assert session.overlaps(3) == {}
    assert session.accept(3).planes <= {2}
    assert session.label(3).mask == LEFT


def test_a_fix_keeps_before_after_difference_time_prompts_and_reason(session):
    prompts = Prompts(((3, 4), (9.5, 9)), (True, False), (1, 1, 9, 9), 12)
    session.fix(1, RIGHT, seconds=7.5, prompts=prompts, reason="wrong side")
    entry = list(session.journal.events())[-1].entry
    assert isinstance(entry, VerdictGiven)
    (mark,) = entry.marks
    assert (mark.before, mark.after) == (LEFT, RIGHT)
    assert mark.changed == LEFT.area + RIGHT.area - 2 * SHARED
    assert (entry.verdict, entry.seconds, entry.prompts) == ("corrected", 7.5, prompts)
    assert entry.reason == "wrong side"


def test_a_fix_that_changes_nothing_is_an_acceptance_and_a_mended_mask_stays_corrected(session):
    session.fix(1, LEFT)
    assert session.label(1).verdict == "accepted"
    session.fix(1, RIGHT)
    session.reject(1)
    session.accept(1)
    assert session.label(1).verdict == "corrected"


def test_a_rejected_mask_leaves_the_labels_and_words_mean_it_no_more(session):
    session.reject(1, reason="wrong reference")
    assert 1 not in session.labels(1)
    assert 1 not in session.label_names()
    assert session.resolve("what is next to it")[0].target == 2
    assert [r.target for r in session.resolve("what is next to [1.2]")] == [2]
    with pytest.raises(DanglingReferenceError, match="no mask 1"):
        session.resolve("what is next to [1.1]")
    session.reject(2)
    with pytest.raises(DanglingReferenceError, match="was rejected"):
        session.resolve("what is next to [1]")


@pytest.mark.parametrize("change", [{"reason": "bad luck"}, {"overlap": "fight"}])
def test_a_word_that_is_none_of_ours_is_refused_and_nothing_is_written(session, change):
    with pytest.raises(ValueError, match="none of"):
        session.fix(1, RIGHT, **change)
    assert session.label(1).verdict == ""


def test_a_mask_that_is_not_there_or_does_not_fit_is_refused(session):
    with pytest.raises(MediRoundError, match="no mask 9"):
        session.accept(9)
    with pytest.raises(ValueError, match="does not fit"):
        session.fix(1, Mask.from_array(np.ones((3, 3), bool)))


def test_a_branch_keeps_locked_masks_and_hides_the_proposals_it_leaves(session):
    first = session.head
    draw(session, RIGHT, plane=0)
    draw(session, LEFT, plane=2)
    session.accept(3)
    session.branch(first)
    assert len(session.conversation) == 1
    assert 3 in session.labels(0)
    assert not session.labels(2).any()
    draw(session, RIGHT, plane=2)
    assert session.label_names()[5] == "5 part 1"
    assert {r.parent for r in session.rounds.values()} == {0, first, first + 1}


def test_a_question_asked_again_takes_its_place_and_the_old_round_stays_on_its_branch():
    session = open_session()
    session.ask("segment the liver", 1)
    old = session.ask("segment the spleen", 1)
    session.ask("segment the stomach", 2)
    session.add(session.answer("segment the spleen", 1, references=(), after=1), branch=True)
    new = session.conversation.rounds[-1]
    assert (new.index, new.parent, new.references) == (2, old.parent, ())
    assert len(session.conversation) == 2
    assert session.rounds[old.id].text == old.text
    session.add(session.answer("segment the aorta", 1, after=1), branch=True)
    assert [r.text for r in session.conversation.rounds] == ["segment the liver", "segment the aorta"]


def test_an_answer_to_a_conversation_that_has_changed_is_refused(session):
    late = session.answer("segment the liver", 1)
    session.undo()
    with pytest.raises(ValueError, match="no longer fits"):
        session.add(late)


def test_undo_and_redo_reach_over_a_restart(tmp_path):
    session = open_session(tmp_path)
    draw(session, LEFT, RIGHT)
    session.accept(1)
    session.fix(2, LEFT, "replace")
    session.undo()
    session = reopen(session)
    assert (session.undoable, session.redoable) == ("accept 1 part 1", "fix 2 part 2")
    session.redo()
    assert session.label(2).mask == LEFT
    for _ in range(3):
        session.undo()
    with pytest.raises(MediRoundError, match="nothing to undo"):
        session.undo()
    assert len(session.conversation) == 0


def test_a_new_step_ends_what_could_be_redone(session):
    session.accept(1)
    session.undo()
    session.reject(1)
    assert session.redoable == ""
    with pytest.raises(MediRoundError, match="nothing to redo"):
        session.redo()


def test_the_model_is_kept_by_name_and_no_path_is(tmp_path):
    segmenter = FakeSegmenter()
    segmenter.describe = lambda: {"preset": "/home/mueller/mine.toml", "adapter": "ab12"}
    session = Session(segmenter, STUDY, journal=Journal.open(tmp_path))
    session.ask("segment the liver", 1)
    (event,) = [e for e in session.journal.events() if e.seq == session.head]
    assert dict(event.entry.model) == {"preset": "mine.toml", "adapter": "ab12"}
    session.journal.close()


def test_a_resumed_session_shows_the_model_again_what_old_references_lie_on(tmp_path):
    session = open_session(tmp_path)
    key = session.prepare(0, "lung")
    answer = Answer("here", (Target("liver", LEFT, 0.9),), image=key)
    session.add(Round(1, 0, "the liver", (), answer, window="lung"))
    session.ask("the structure next to [1]", 1)
    resumed = reopen(session)
    resumed.ask("the structure next to [1]", 2, references=(Reference(1),))
    shown = resumed.segmenter.images
    assert len(shown) == 2
    assert resumed.segmenter.set_image(shown[0]) == key


def test_masks_of_an_image_of_another_size_are_not_laid_on_this_one(tmp_path):
    session = open_session(tmp_path)
    draw(session, LEFT)
    with pytest.raises(MediRoundError, match="another size"):
        Session(FakeSegmenter(), make_volume((3, 5, 5)), journal=session.journal, case=session.case)
    session.journal.close()
