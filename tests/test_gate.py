"""Who wins: measured on held-out rounds by asking and clicking, decided by rule."""

from __future__ import annotations

import numpy as np
import pytest
from lessons import make_disc, make_rounds

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Target
from napari_mediround.training.learning.gate import (
    MOST_CLICKS,
    count_clicks,
    decide,
    measure_round,
    summarise,
)


class Drawing:
    """Stands in for a predictor: answers `first`, and with every click grows a disc around the first."""

    def __init__(self, first: Mask, step: float = 3.0) -> None:
        self.first, self.step, self.clicked = first, step, []

    def set_image(self, image, view: str = "", modality: str = "", spacing_mm=None) -> str:
        """Take any image."""
        return ""

    def ask(self, text, conversation, references) -> Answer:
        """Answer the first mask."""
        return Answer("The liver.", (Target("liver", self.first, 0.9),))

    def refine(self, points, positive, previous=None):
        """Grow around the first click."""
        self.clicked.append((points.tolist(), positive.tolist(), previous))
        (x, y), radius = points[0], self.step * len(points)
        return make_disc(y - 0.5, x - 0.5, radius), 0.9


def test_a_good_first_answer_needs_no_click():
    round_ = make_rounds(1)[0]
    truth = round_.masks[0].after
    (found,) = measure_round(Drawing(truth), round_)
    assert (found.dice, found.clicks, found.reached) == (1.0, 0, True)


def test_clicks_go_to_the_widest_error_until_the_mask_is_good():
    truth = make_disc(24, 30, 12)
    predictor = Drawing(make_disc(2, 2, 1))
    clicks, reached = count_clicks(predictor, None, truth.to_array())
    assert reached
    assert clicks == len(predictor.clicked) == 4
    assert predictor.clicked[0][0] == [[30.5, 24.5]]
    assert [previous is None for _, _, previous in predictor.clicked] == [True, False, False, False]


def test_the_annotator_gives_up():
    assert count_clicks(Drawing(make_disc(2, 2, 1), 0.1), None, make_disc(24, 30, 12).to_array()) == (
        MOST_CLICKS,
        False,
    )


def test_an_accepted_mask_earns_no_more_than_a_good_one():
    round_ = make_rounds(1, verdict="accepted")[0]
    assert measure_round(Drawing(round_.masks[0].after), round_)[0].dice == 0.9


def make_table(dice: float, clicks: float, untouched: float = 0.8, bundled: float = 0.7, n: int = 5) -> dict:
    touched = {"n": n, "dice": dice, "clicks": clicks} if n else {"n": 0}
    return {
        "touched": touched,
        "untouched": {"n": 3, "dice": untouched},
        "bundled": {"dice": bundled, "words": 1.0},
    }


@pytest.mark.parametrize(
    ("new", "wins"),
    [
        (make_table(0.7, 3.0), True),
        (make_table(0.605, 4.0), False),
        (make_table(0.6, 3.0), True),
        (make_table(0.59, 2.0), False),
        (make_table(0.7, 4.2), True),
        (make_table(0.7, 4.3), False),  # the words serve better, the hand works more
        (make_table(0.9, 1.0, untouched=0.77), False),
        (make_table(0.9, 1.0, bundled=0.67), False),
        (make_table(0.9, 1.0, untouched=0.785, bundled=0.69), True),
    ],
)
def test_it_wins_where_it_is_better_and_nothing_was_forgotten(new, wins):
    gate = decide(make_table(0.6, 4.0), new)
    assert gate["wins"] is wins
    assert gate["words"].endswith("It wins." if wins else "It does not win.")


def test_what_was_forgotten_is_named():
    gate = decide(make_table(0.6, 4.0), make_table(0.9, 1.0, untouched=0.5))
    assert "untouched structures fell by 0.300" in gate["words"]


def test_seconds_saved_are_clicks_saved_times_what_a_click_cost_here():
    assert decide(make_table(0.6, 4.0), make_table(0.7, 1.5), 8.0)["seconds_saved"] == 20.0
    assert decide(make_table(0.6, 4.0), make_table(0.7, 1.5))["seconds_saved"] is None


def test_without_a_held_out_mask_of_what_was_corrected_it_does_not_win():
    assert not decide(make_table(0, 0, n=0), make_table(0, 0, n=0))["wins"]


def test_means_are_given_for_each_structure():
    found = [m for r in make_rounds(3) for m in measure_round(Drawing(r.masks[0].after), r)]
    table = summarise(found)
    assert table["patients"] == 3
    assert table["structures"]["liver"]["dice"] == np.mean([m.dice for m in found])
