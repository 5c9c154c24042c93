"""Sets from packages: contours of an RTSTRUCT on the grid of its CT."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk
from pydicom.dataset import Dataset

from napari_mediround.training.data.collect import draw_contours


def contour(corners: list[tuple[float, float]], z: float) -> Dataset:
    """Return a closed contour in millimetres."""
    item = Dataset()
    item.ContourData = [value for x, y in corners for value in (x, y, z)]
    return item


def square(low: float, high: float) -> list[tuple[float, float]]:
    return [(low, low), (high, low), (high, high), (low, high)]


def test_contours_are_drawn_in_millimetres_and_one_within_another_is_a_hole() -> None:
    image = sitk.Image(12, 10, 3, sitk.sitkInt16)
    image.SetSpacing((2.0, 2.0, 4.0))
    image.SetOrigin((100.0, 100.0, -8.0))
    structure, roi = Dataset(), Dataset()
    roi.ContourSequence = [contour(square(103, 115), -4.0), contour(square(107, 111), -4.0)]
    structure.ROIContourSequence = [roi]
    label = draw_contours(structure, image)
    expected = np.zeros((3, 10, 12), np.uint8)
    expected[1, 2:8, 2:8] = 1
    expected[1, 4:6, 4:6] = 0
    assert np.array_equal(sitk.GetArrayFromImage(label), expected)
    assert label.GetOrigin() == image.GetOrigin()
