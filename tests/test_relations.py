"""Relations: what the pixels show is said, what they leave open is not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.domain.relations import (
    DOWN,
    LEFT,
    RIGHT,
    UP,
    count_areas,
    find_between,
    find_largest_on_side,
    find_neighbour,
)


def row_of(*labels: int, width: int = 10, gap: int = 2) -> np.ndarray:
    """Return blocks side by side on a map of 30 rows."""
    blocks = [np.full((30, width), label) for label in labels]
    spaced = [part for block in blocks for part in (block, np.zeros((30, gap), int))]
    return np.pad(np.hstack(spaced), ((10, 10), (5, 5)))


def test_the_nearest_label_in_each_direction_is_found():
    label_map = row_of(1, 2, 3)
    assert find_neighbour(label_map, 1, RIGHT) == 2
    assert find_neighbour(label_map, 3, LEFT) == 2
    assert find_neighbour(label_map.T, 1, DOWN) == 2
    assert find_neighbour(label_map.T, 3, UP) == 2
    assert find_neighbour(label_map, 1, LEFT) is None
    assert find_neighbour(label_map, 9, LEFT) is None


def test_a_label_far_away_is_no_neighbour():
    assert find_neighbour(row_of(1, 2, gap=12), 1, RIGHT) is None


def test_two_neighbours_of_like_height_are_ambiguous():
    label_map = row_of(1, 2)
    label_map[25:][label_map[25:] == 2] = 3
    assert find_neighbour(label_map, 1, RIGHT) is None


@given(st.permutations([1, 2, 3]))
def test_turning_the_map_turns_the_answer(labels):
    label_map = row_of(*labels)
    right = find_neighbour(label_map, labels[0], RIGHT)
    assert find_neighbour(label_map[:, ::-1], labels[0], LEFT) == right == labels[1]
    assert find_neighbour(np.rot90(label_map), labels[0], UP) == right


def test_what_lies_between_is_found_only_when_it_is_alone():
    assert find_between(row_of(1, 2, 3), 1, 3) == 2
    assert find_between(row_of(1, 2, 4, 3), 1, 3) is None
    assert find_between(row_of(1, 3), 1, 3) is None


def test_the_largest_on_a_side_needs_a_clear_lead():
    label_map = row_of(1, 2)
    assert find_largest_on_side(label_map, RIGHT) == 2
    assert find_largest_on_side(label_map, LEFT) == 1
    label_map[10:24][label_map[10:24] == 2] = 3
    assert find_largest_on_side(label_map, RIGHT) is None
    assert find_largest_on_side(np.zeros((5, 5), int), LEFT) is None


def test_areas_leave_the_background_out():
    assert count_areas(np.array([[0, 2], [2, 7]])) == {2: 2, 7: 1}
