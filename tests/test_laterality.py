"""Left and right apart: a mask on the other side's mask is asked for again, where that one is surer."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Round, Target
from napari_mediround.inference.laterality import hold_to_side, leave_other_side


def make_mask(*columns: tuple[int, int]) -> Mask:
    """Return a mask (30, 40) of columns, rows 10 to 20."""
    array = np.zeros((30, 40), bool)
    for start, stop in columns:
        array[10:20, start:stop] = True
    return Mask.from_array(array)


RIGHT = Target("right kidney", make_mask((2, 12)), 0.8)


class Refining:
    """Answers a click with the true other side and a crumb on the first, and notes the click."""

    def __init__(self) -> None:
        self.clicks: list = []

    def __call__(self, points_xy, positive, box_xyxy=None, previous=None) -> tuple[Mask, float]:
        """Answer as `Predictor.refine`."""
        self.clicks.append((points_xy.tolist(), positive.tolist(), previous))
        return make_mask((10, 12), (28, 38)), 0.7


def test_a_mask_on_the_other_side_is_clicked_away_there() -> None:
    refine, wrong = Refining(), Target("left kidney", make_mask((3, 12)), 0.6)
    found = leave_other_side(wrong, RIGHT, refine)
    (((x, y),), signs, previous) = refine.clicks[0]
    assert 3 < x < 12
    assert 10 < y < 20
    assert (signs, previous) == ([False], wrong.mask)
    assert found.mask == make_mask((28, 38))
    assert (found.quality, found.corrected, found.structure) == (0.7, True, "left kidney")


@pytest.mark.parametrize(
    ("target", "other"),
    [
        (Target("left kidney", make_mask((28, 38)), 0.1), RIGHT),
        (Target("left kidney", make_mask((10, 22)), 0.1), RIGHT),  # they touch
        (Target("left kidney", make_mask((3, 12)), 0.9), RIGHT),  # the other is the doubtful one
        (Target("left kidney", Mask.from_array(np.zeros((30, 40), bool)), 0.1), RIGHT),
    ],
)
def test_otherwise_it_stays_as_it_is(target: Target, other: Target) -> None:
    refine = Refining()
    assert leave_other_side(target, other, refine) is target
    assert not refine.clicks


def test_what_a_person_accepted_is_surer_than_any_judge() -> None:
    accepted = Target("right kidney", RIGHT.mask, 0.1, verdict="accepted")
    refine = Refining()
    leave_other_side(Target("left kidney", make_mask((3, 12)), 0.9), accepted, refine)
    assert refine.clicks


def test_the_latest_mask_on_that_image_that_was_not_rejected() -> None:
    masks = [RIGHT, Target("right kidney", make_mask((4, 9)), 0.5, verdict="rejected")]
    rounds = [Round(1, 0, "a", (), Answer("", (masks[0],), image="x"))]
    rounds += [Round(2, 0, "b", (), Answer("", (masks[1],), image="x"))]
    conversation = Conversation(tuple(rounds))
    assert conversation.latest("right kidney", "x") is RIGHT
    assert conversation.latest("right kidney", "y") is None
    assert conversation.latest("left kidney", "x") is None


@pytest.mark.parametrize(
    ("text", "pointed_at", "said", "held"),
    [
        ("label the mirror of [1]", ["right kidney"], ["right kidney"], ["left kidney"]),
        ("And its counterpart?", ["left kidney"], ["left kidney"], ["right kidney"]),
        ("the same on the other side", ["left lung"], ["left lung", "heart"], ["right lung", "heart"]),
        ("the mirrors of [1] and [2]", ["left kidney", "left lung"], ["right kidney", "left lung"], None),
    ],
)
def test_the_other_side_of_a_mask_does_not_bear_its_name(text, pointed_at, said, held) -> None:
    held = held or ["right kidney", "right lung"]
    assert hold_to_side(said, text, pointed_at, load_anatomy()) == held


@pytest.mark.parametrize(
    ("text", "pointed_at", "said"),
    [
        ("label the mirror of [1]", ["right kidney"], ["left kidney"]),
        ("what lies beside [1]?", ["right kidney"], ["right kidney"]),
        ("[1] again, it leaked to the other side", ["right kidney"], ["right kidney"]),
        ("[1] isn't on the other side", ["right kidney"], ["right kidney"]),
        ("the structure opposite to [1]", ["liver"], ["liver"]),
        ("the opposite of [1] and of [2]", ["left kidney", "right kidney"], ["left kidney", "right kidney"]),
        ("the mirror of the wotsit", ["wotsit"], ["wotsit"]),
    ],
)
def test_any_other_answer_keeps_its_names(text, pointed_at, said) -> None:
    assert hold_to_side(said, text, pointed_at, load_anatomy()) == said
