"""Contours become the pixels that DICOM means: holes, islands, doubles, crossings, keyholes, XOR."""

from __future__ import annotations

import numpy as np
import pytest
from exports import write_series
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes
from test_export import GRID

from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.errors import MismatchError
from napari_mediround.io.export import Options, export, rtstruct
from napari_mediround.io.masks import read_masks
from napari_mediround.io.masks.contours import fill_contours

SHAPE = (90, 100)
ROWS, COLUMNS = np.indices(SHAPE)
NEAR = 0.3  # pixels from a line, within which a pixel may fall on either side


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return np.hypot(ROWS - row, COLUMNS - column) < radius


def ring(row: float, column: float, radius: float, turn: int = 0, back: bool = False) -> np.ndarray:
    """Return a circle's points, starting anywhere, in either direction."""
    angles = np.roll(np.linspace(0, 2 * np.pi, 240, endpoint=False), turn)[:: -1 if back else 1]
    return np.column_stack([row + radius * np.sin(angles), column + radius * np.cos(angles)])


def near(*circles) -> np.ndarray:
    """Return the pixels too near to one of the lines to be judged."""
    distances = [np.abs(np.hypot(ROWS - r, COLUMNS - c) - radius) for r, c, radius in circles]
    return np.min(distances, axis=0) < NEAR


def check(found, expected, circles) -> None:
    assert not ((found != expected) & ~near(*circles)).any()


def square(low: float, high: float) -> np.ndarray:
    return np.array([(low, low), (low, high), (high, high), (high, low)])


@st.composite
def nests(draw, row=45.0, column=50.0, radius=40.0, depth=0):
    """Circles in circles in circles, none of which touch: each with the number of those around it."""
    found = [((row, column, radius), depth)]
    inner = draw(st.lists(st.integers(0, 3), unique=True, max_size=4)) if radius > 8 and depth < 4 else []
    for quadrant in inner:
        share = draw(st.floats(0.2, 0.33))
        angle, away = quadrant * np.pi / 2 + draw(st.floats(-0.1, 0.1)), radius * 0.55
        place = row + away * np.sin(angle), column + away * np.cos(angle)
        found += draw(nests(*place, radius * share, depth + 1))
    return found


@settings(max_examples=60, deadline=None)
@given(nests(), st.randoms(use_true_random=False), st.booleans())
def test_holes_and_islands_in_any_order_and_direction(nest, random, doubled):
    expected = np.zeros(SHAPE, bool)
    for circle, depth in sorted(nest, key=lambda pair: pair[1]):
        expected[disc(*circle)] = depth % 2 == 0
    circles = [circle for circle, _ in nest]
    lines = [ring(*c, random.randrange(240), random.random() < 0.5) for c in circles]
    if doubled:  # some of them again, from another start and the other way round
        lines += [ring(*c, random.randrange(240), random.random() < 0.5) for c in circles[::2]]
    random.shuffle(lines)
    check(fill_contours(SHAPE, lines), expected, circles)


CIRCLES = st.tuples(st.floats(15, 75), st.floats(15, 85), st.floats(4, 30))


@settings(max_examples=80, deadline=None)
@given(st.lists(CIRCLES, min_size=2, max_size=4))
def test_circles_that_cross_or_lie_apart_are_united(circles):
    for k, (r, c, radius) in enumerate(circles):
        for r2, c2, other in circles[:k]:
            # Neither inside the other, by more than a pixel.
            assume(np.hypot(r - r2, c - c2) + min(radius, other) > max(radius, other) + 1)
    expected = np.any([disc(*c) for c in circles], axis=0)
    check(fill_contours(SHAPE, [ring(*c) for c in circles]), expected, circles)


@settings(max_examples=60, deadline=None)
@given(st.lists(CIRCLES, min_size=1, max_size=5), st.lists(CIRCLES, max_size=2))
def test_the_xor_type_counts_crossings_and_only_this_type(exclusive, doubles):
    circles = [*exclusive, *doubles, *doubles]
    expected = np.logical_xor.reduce([disc(*c) for c in circles])
    check(fill_contours(SHAPE, (), [ring(*c) for c in circles]), expected, circles)


@settings(max_examples=40, deadline=None)
@given(st.floats(0, 3), st.floats(0, 30))
def test_holes_that_cross_each_other_or_the_edge(gap, away):
    outer, hole = (45, 50, 38), (45, 30 + gap, 12)
    other = (45, 30 + gap + away, 12)
    assume(away < 0.01 or away > 1)
    circles = [outer, hole, other]
    expected = disc(*outer) & ~(disc(*hole) | disc(*other))
    check(fill_contours(SHAPE, [ring(*c) for c in circles]), expected, circles)


def test_a_hole_in_a_region_of_two_crossing_contours():
    circles = [(45, 35, 20), (45, 60, 20), (45, 30, 6)]
    expected = (disc(*circles[0]) | disc(*circles[1])) & ~disc(*circles[2])
    check(fill_contours(SHAPE, [ring(*c) for c in circles]), expected, circles)


def test_what_crosses_the_edge_from_inside_is_no_hole():
    circles = [(45, 45, 20), (45, 64, 6)]
    check(fill_contours(SHAPE, [ring(*c) for c in circles]), disc(*circles[0]) | disc(*circles[1]), circles)


def test_bars_that_cross_without_a_corner_inside_are_united():
    across, down = (
        np.array([(40, 5), (40, 95), (50, 95), (50, 5)]),
        np.array([(5, 40), (85, 40), (85, 50), (5, 50)]),
    )
    area = fill_contours(SHAPE, [across + 0.5, down + 0.5]).sum()
    assert area == 90 * 10 + 80 * 10 - 100


@pytest.mark.parametrize("backwards", [False, True])
def test_a_keyhole_leaves_its_hole_open_and_may_hold_an_island(backwards):
    outer, inner = square(10.5, 80.5), square(30.5, 60.5)[:: -1 if backwards else 1]
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    assert fill_contours(SHAPE, [keyhole]).sum() == 70**2 - 30**2
    assert fill_contours(SHAPE, [keyhole, keyhole[::-1]]).sum() == 70**2 - 30**2
    island = square(40.5, 50.5)
    assert fill_contours(SHAPE, [keyhole, island]).sum() == 70**2 - 30**2 + 10**2
    assert fill_contours(SHAPE, (), [keyhole, island]).sum() == 70**2 - 30**2 + 10**2


def test_a_hole_that_touches_the_edge_and_neighbours_that_touch():
    outer = square(10.5, 50.5)
    assert fill_contours(SHAPE, [outer, square(10.5, 20.5)]).sum() == 40**2 - 10**2
    rounded = square(10.49, 20.51)  # to a hundredth of a pixel
    assert fill_contours(SHAPE, [outer, rounded]).sum() == 40**2 - 10**2
    assert fill_contours(SHAPE, [outer, square(50.5, 60.5)]).sum() == 40**2 + 10**2


@pytest.fixture
def ringed(tmp_path):
    """Return a ring with an island on every plane, and its export as contours."""
    labels = np.zeros(GRID.shape, np.uint16)
    labels[:, 2:17, 2:17] = 1
    labels[:, 4:15, 4:15] = 0
    labels[:, 8:11, 8:11] = 1
    volume = LabelledVolume.from_labels(GRID, labels, [make_segment(1, "aorta")])
    options = Options(dicom=write_series(tmp_path / "series", GRID))
    return volume, lambda: export(volume, tmp_path / "a.dcm", "rtstruct", options), tmp_path / "a.dcm"


def test_the_receipt_finds_holes_that_were_filled(ringed, monkeypatch):
    whole = rtstruct.outline_mask
    monkeypatch.setattr(rtstruct, "outline_mask", lambda mask: whole(binary_fill_holes(mask)))
    with pytest.raises(MismatchError, match="aorta"):
        ringed[1]()


def test_the_receipt_owes_nothing_to_the_reader(ringed, monkeypatch):
    volume, write, path = ringed
    monkeypatch.setattr(
        "napari_mediround.io.masks.rtstruct_reader.fill_contours", lambda shape, *_: np.ones(shape, bool)
    )
    assert write().ok
    monkeypatch.undo()
    assert np.array_equal(read_masks(path, GRID).layers[0], volume.layers[0])


def test_an_island_far_from_all_else_changes_nothing_there():
    circles = [(45, 30, 20), (45, 30, 10), (45, 80, 8), (45, 80, 3)]
    expected = disc(*circles[0]) & ~disc(*circles[1]) | disc(*circles[2]) & ~disc(*circles[3])
    check(fill_contours(SHAPE, [ring(*c) for c in circles]), expected, circles)
    assert not fill_contours(SHAPE, ()).any()
