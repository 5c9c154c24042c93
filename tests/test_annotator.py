"""Simulated clicks: where they go, what they bring, how they are counted."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mediround.domain.mask import Mask
from napari_mediround.training.annotator import count_clicks, dices_by_clicks, place_click


def block(rows: slice, columns: slice) -> np.ndarray:
    """Return a mask (9, 12) with one block."""
    mask = np.zeros((9, 12), bool)
    mask[rows, columns] = True
    return mask


class Patcher:
    """A `refine` that paints (or wipes) a 3×3 block at the last click of the mask it was given."""

    def __init__(self) -> None:
        self.calls = []

    def refine(self, points_xy, positive, previous=None) -> tuple[Mask, float]:
        """Remember the clicks; change the mask."""
        self.calls.append((points_xy.tolist(), positive.tolist(), previous))
        array = np.zeros((9, 12), bool) if previous is None else previous.to_array()
        x, y = points_xy[-1].astype(int)
        array[y - 1 : y + 2, x - 1 : x + 2] = positive[-1]
        return Mask.from_array(array), 0.5


def test_a_click_goes_into_the_middle_of_the_largest_error() -> None:
    truth = block(slice(2, 7), slice(1, 6))
    assert place_click(np.zeros_like(truth), truth) == ((3.5, 4.5), True)
    assert place_click(block(slice(0, 9), slice(8, 11)) | truth, truth) == ((9.5, 1.5), False)
    assert place_click(truth, truth) is None


def test_what_touches_the_edge_of_the_image_has_its_middle_inside() -> None:
    truth = block(slice(0, 9), slice(0, 5))
    assert place_click(np.zeros_like(truth), truth) == ((2.5, 2.5), True)


def test_clicks_add_up_and_each_starts_from_the_mask_before() -> None:
    truth, patcher = block(slice(1, 4), slice(1, 7)), Patcher()
    start = Mask.from_array(block(slice(5, 8), slice(8, 11)))
    dices = dices_by_clicks(patcher, start, truth, clicks=4)
    # 18 px to find, then 9 to lose: each click sets one block of 9 right.
    assert dices == pytest.approx((0, 2 * 9 / (18 + 18), 2 * 18 / (27 + 18), 1, 1))
    assert [len(points) for points, _, _ in patcher.calls] == [1, 2, 3]
    assert sorted(patcher.calls[-1][1]) == [False, True, True]
    assert patcher.calls[0][2] == start


def test_without_words_the_first_click_has_no_mask_before_it() -> None:
    truth, patcher = block(slice(1, 4), slice(1, 4)), Patcher()
    assert dices_by_clicks(patcher, None, truth, clicks=1) == (0, 1)
    assert patcher.calls == [([[2.5, 2.5]], [True], None)]


def test_no_click_follows_once_the_goal_is_reached() -> None:
    truth, patcher = block(slice(1, 4), slice(1, 7)), Patcher()
    assert dices_by_clicks(patcher, None, truth, clicks=9, goal=0.6) == pytest.approx((0, 2 / 3))


@pytest.mark.parametrize(
    ("dices", "count"), [((0.9, 0.9), 0), ((0.2, 0.84, 0.85, 0.1), 2), ((0.2, 0.3, 0.4), 2)]
)
def test_clicks_are_counted_until_the_goal(dices, count: int) -> None:
    assert count_clicks(dices) == count
