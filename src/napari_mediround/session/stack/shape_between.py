"""Masks between two masks of one structure, by their shapes alone. Knows no image."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from napari_mediround.domain.mask import Mask


def shape_between(one: Mask, other: Mask, share: float, spacing_mm: tuple[float, float]) -> Mask:
    """Return the mask at a share of the way from one mask to another, by their signed distance maps.

    Parameters
    ----------
    one, other : Mask
        Of one shape, neither empty.
    share : float
        0 is `one`, 1 is `other`.
    spacing_mm : tuple of float
        From row to row and from column to column.

    References
    ----------
    Raya and Udupa, Shape-based interpolation of multidimensional objects, 1990.
    """
    maps = [_distances(mask, spacing_mm) for mask in (one, other)]
    return Mask.from_array((1 - share) * maps[0] + share * maps[1] <= 0)


def _distances(mask: Mask, spacing_mm: tuple[float, float]) -> np.ndarray:
    """Return the distance of each pixel to the border of a mask, mm, negative inside."""
    image = sitk.GetImageFromArray(mask.to_array().astype(np.uint8))
    image.SetSpacing(spacing_mm[::-1])
    return sitk.GetArrayFromImage(
        sitk.SignedMaurerDistanceMap(
            image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
        )
    )
