"""Measurements of shapes whose sizes are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.io.export.measurements import measure

GRID = Geometry((10, 40, 40), np.diag([3.0, 0.5, 0.7, 1.0]))


def measured(mask: np.ndarray, pixels: np.ndarray | None = None):
    volume = LabelledVolume.from_masks(GRID, [(make_segment(1, "liver"), mask)])
    return measure(volume, volume.segments[0], pixels)


def test_a_row_of_voxels_is_as_long_as_its_voxels():
    mask = np.zeros(GRID.shape, bool)
    mask[4, 10, 10:20] = True
    found = measured(mask)
    assert found.volume_ml == pytest.approx(10 * 3 * 0.5 * 0.7 / 1000)
    assert found.longest_mm == pytest.approx(7.0)
    assert (found.plane, found.plane_longest_mm) == (4, pytest.approx(7.0))
    assert found.plane_across_mm == pytest.approx(0.5)


def test_one_voxel_is_as_long_as_its_longest_side():
    mask = np.zeros(GRID.shape, bool)
    mask[9, 39, 39] = True
    assert measured(mask).longest_mm == pytest.approx(3.0)


def test_a_ball_is_as_wide_as_its_diameter_to_a_voxel():
    z, y, x = np.indices(GRID.shape)
    found = measured(((z - 5) * 3) ** 2 + ((y - 20) * 0.5) ** 2 + ((x - 20) * 0.7) ** 2 <= 36)
    assert found.plane == 5
    assert found.plane_longest_mm == pytest.approx(12, abs=0.7)
    assert found.plane_across_mm == pytest.approx(12, abs=0.7)
    assert found.longest_mm == pytest.approx(15)


def test_intensities_are_those_inside():
    mask = np.zeros(GRID.shape, bool)
    mask[0, 0, :2] = True
    pixels = np.full(GRID.shape, 50)
    pixels[0, 0, 0] = -50
    assert (measured(mask, pixels).mean, measured(mask, pixels).sd) == (0.0, 50.0)


def test_an_empty_mask_measures_nothing():
    found = measured(np.zeros(GRID.shape, bool))
    assert (found.voxels, found.longest_mm, found.mean) == (0, None, None)
