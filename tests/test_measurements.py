"""Measurements of shapes whose sizes are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK
from exports import SERIES, write_series

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.io import read_study
from napari_mediround.io.export import Options, export
from napari_mediround.io.export.measurements import measure
from napari_mediround.io.tables import read_table

GRID = Geometry((10, 40, 40), np.diag([3.0, 0.5, 0.7, 1.0]))


def measured(mask: np.ndarray, pixels: np.ndarray | None = None, grid: Geometry = GRID):
    volume = LabelledVolume.from_masks(grid, [(make_segment(1, "liver"), mask)])
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


@pytest.mark.parametrize(
    ("unknown", "empty"),
    [
        ({"calibrated": False}, {"volume_ml", "longest_mm", "plane", "plane_longest_mm", "plane_across_mm"}),
        ({"has_depth": False}, {"volume_ml", "longest_mm"}),
        ({}, set()),
    ],
)
def test_what_the_image_does_not_state_is_not_measured(tmp_path, unknown, empty):
    mask = np.zeros(GRID.shape, bool)
    mask[4, 10, 10:20] = True
    grid = replace(GRID, **unknown)
    masks = [(make_segment(1, "liver"), mask), (make_segment(2, "spleen"), ~mask & False)]
    volume = LabelledVolume.from_masks(grid, masks)
    receipt = export(volume, tmp_path / "a.csv", options=Options(pixels=mask.astype(float)))
    row, none = read_table(tmp_path / "a.csv")
    sizes = {name for name in row if name.endswith(("_mm", "_ml", "plane"))}
    assert {name for name in sizes if row[name] == ""} == empty
    assert (row["voxels"], none["voxels"], row["mean"]) == ("10", "0", "1.0000")
    assert bool(none["volume_ml"]) == (not empty)
    assert any("does not state" in note for note in receipt.notes) == bool(empty)
    assert receipt.ok
    text = export(volume, tmp_path / "a.nii.gz").to_text()
    assert (" ml" in text) == (not empty)


@pytest.mark.parametrize(
    ("values", "has_depth"),
    [
        ({"SliceThickness": "3"}, True),
        ({"SliceThickness": ""}, False),
        ({"SliceThickness": "3", "ImagePositionPatient": []}, False),
    ],
)
def test_a_single_image_has_a_volume_only_if_it_has_a_thickness(tmp_path, values, has_depth):
    (image,) = write_series(tmp_path, Geometry((1, 40, 40), GRID.affine, True, SERIES), **values).iterdir()
    grid = read_study(image).source_geometry
    assert (grid.calibrated, grid.has_depth, grid.has_volume) == (True, has_depth, has_depth)


@pytest.mark.parametrize("name", ["a.nii", "a.mha", "a.png"])
def test_a_picture_has_no_volume(tmp_path, name):
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.eye(9, dtype=np.uint8)), str(tmp_path / name))
    assert not read_study(tmp_path / name).source_geometry.has_volume
