"""The crop: the part of a plane that the model looks at, the body if air surrounds it. Knows no model.

A wide field of view, arms and the table leave half of the grid for the body. Such a CT scored a fifth of the
same CT cut to the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

DARK = 30
"""Grey values up to this one, 0…255, are air."""
MARGIN = 8
"""Margin around the body, in pixels of the plane."""
LARGEST_SHARE = 0.8
"""A plane is not cropped if the box of the body covers more than this share of the plane."""
SMALLEST_PART = 0.8
"""A crop holds at least this share of the bright pixels, so that only arms and table are lost."""


@dataclass(frozen=True)
class Frame:
    """A part of a plane.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the plane.
    rows, columns : slice
        Rows and columns of the part.
    """

    shape: tuple[int, int]
    rows: slice
    columns: slice

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Offset of the part's corner from the plane's corner, x and y in pixels."""
        return self.columns.start, self.rows.start

    @property
    def inner(self) -> tuple[int, int]:
        """Shape (H, W) of the part."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def holds(self, points_xy: NDArray | None) -> bool:
        """Return whether all points (N, 2), x and y on the plane, lie in the part; True without points."""
        if points_xy is None or not len(points_xy):
            return True
        inside = np.asarray(points_xy, float) - self.offset_xy
        return bool((inside >= 0).all() and (inside <= self.inner[::-1]).all())

    def cut(self, plane: NDArray) -> NDArray:
        """Return this part of an array (H, W, …)."""
        return np.ascontiguousarray(plane[self.rows, self.columns])

    def place(self, parts: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return masks (N, h, w) of the part as masks of the whole plane, (N, H, W)."""
        planes = np.zeros((len(parts), *self.shape), bool)
        planes[:, self.rows, self.columns] = parts
        return planes


def whole_plane(shape: tuple[int, int]) -> Frame:
    """Return the crop that leaves nothing out."""
    return Frame(shape, slice(0, shape[0]), slice(0, shape[1]))


def find_frame(image: NDArray[np.uint8]) -> Frame:
    """Return the box of the body, or the whole plane if no solid body lies small amid air.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3).
    """
    height, width = image.shape[:2]
    whole = whole_plane((height, width))
    bright = ndimage.binary_opening(image.max(2) > DARK, iterations=max(1, max(height, width) // 128))
    parts, count = ndimage.label(bright)
    if not count:
        return whole
    sizes = np.bincount(parts.ravel())[1:]
    body = 1 + int(sizes.argmax())
    rows, columns = ndimage.find_objects(parts, body)[body - 1]
    rows = slice(max(0, rows.start - MARGIN), min(height, rows.stop + MARGIN))
    columns = slice(max(0, columns.start - MARGIN), min(width, columns.stop + MARGIN))
    area = (rows.stop - rows.start) * (columns.stop - columns.start)
    solid = ndimage.binary_fill_holes(parts[rows, columns] == body).sum() >= 0.5 * area
    most = bright[rows, columns].sum() >= SMALLEST_PART * bright.sum()
    small = area <= LARGEST_SHARE * height * width
    return Frame(whole.shape, rows, columns) if small and solid and most else whole
