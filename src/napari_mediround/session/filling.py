"""Holes and planes without a mask, filled from what lies around them. Arrays in, arrays out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mediround.domain.geometry import Geometry


def fill_planes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask (plane, row, column) without holes on any plane."""
    return np.stack([ndimage.binary_fill_holes(plane) for plane in mask])


def fill_between(mask: NDArray[np.bool_], missing: NDArray) -> NDArray[np.bool_]:
    """Return a mask with planes filled in by the signed distances of the planes around (shape-based).

    References
    ----------
    Raya and Udupa, IEEE Transactions on Medical Imaging 9 (1990).
    """
    filled, there = mask.copy(), np.flatnonzero(mask.any((1, 2)))
    for plane in missing:
        low, high = there[there < plane].max(), there[there > plane].min()
        share = (plane - low) / (high - low)
        filled[plane] = (1 - share) * _depth(mask[low]) + share * _depth(mask[high]) > 0
    return filled


def _depth(plane: NDArray[np.bool_]) -> NDArray[np.float64]:
    return ndimage.distance_transform_edt(plane) - ndimage.distance_transform_edt(~plane)


def say_ml(voxels: int, grid: Geometry) -> str:
    """Return a size in words: ml, or voxels where the image does not tell its depth."""
    if not grid.has_volume or grid.shape[0] == 1:
        return f"{voxels} voxels"
    return f"{voxels * grid.voxel_mm3 / 1000:.2f} ml"
