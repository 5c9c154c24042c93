"""Every program sees the same mask in its outline: holes stay open however lines are filled."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import label
from skimage.draw import polygon
from skimage.measure import points_in_poly

from napari_mediround.io.export.outline import outline_mask

masks = st.tuples(st.integers(1, 14), st.integers(1, 14)).flatmap(
    lambda shape: arrays(bool, shape, elements=st.booleans()).filter(np.any)
)


def winding(shape, lines) -> np.ndarray:
    """Return how often the lines go around each pixel's centre."""
    turns = np.zeros(shape, int)
    rows, columns = np.indices(shape)
    for line in lines:
        for (r1, c1), (r2, c2) in zip(line, np.roll(line, -1, 0), strict=True):
            if r1 != r2:
                crosses = (r1 <= rows) != (r2 <= rows)
                at = c1 + (rows - r1) / (r2 - r1) * (c2 - c1)
                turns += np.where(crosses & (at > columns), 1 if r2 > r1 else -1, 0)
    return turns


def united(shape, lines) -> np.ndarray:
    """Return what a program sees that unites what each line encloses."""
    seen = np.zeros(shape, bool)
    for line in lines:
        seen[polygon(line[:, 0], line[:, 1], shape)] = True
    return seen


def crossed(shape, lines) -> np.ndarray:
    """Return what a program sees that counts crossings, over all lines."""
    centres = np.argwhere(np.ones(shape, bool))
    inside = sum(points_in_poly(centres, line).astype(int) for line in lines) % 2
    return inside.astype(bool).reshape(shape)


def check(mask) -> list[np.ndarray]:
    """Compare what every kind of program sees with the mask."""
    lines = outline_mask(mask)
    assert np.array_equal(united(mask.shape, lines), mask)
    assert np.array_equal(crossed(mask.shape, lines), mask)
    turns = winding(mask.shape, lines)
    assert np.array_equal(turns != 0, mask)
    assert np.abs(turns).max() == 1
    assert len(lines) == label(mask)[1]
    assert all(len(line) >= 4 for line in lines)
    return lines


@settings(max_examples=400)
@given(masks)
def test_whoever_fills_the_lines_sees_the_mask(mask):
    check(mask)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.5, 0.7, 0.95])
def test_large_noise_and_its_turns_come_back(share):
    mask = np.random.default_rng(3).random((60, 70)) < share
    for turned in (mask, mask.T, mask[::-1], mask[:, ::-1]):
        check(turned)


def test_rings_in_rings_and_holes_side_by_side():
    far = np.abs(np.indices((41, 41)) - 20).max(0)
    check(far % 6 < 3)
    grid = np.ones((20, 30), bool)
    grid[1:-1:2, 1:-1:2] = False
    assert len(check(grid)) == 1


def test_a_straight_edge_has_no_points_in_between():
    mask = np.zeros((9, 9), bool)
    mask[2:7, 1:8] = True
    (line,) = outline_mask(mask)
    assert len(line) == 8
