"""Which part of a plane the model looks at: the body, where it lies small amid air. Knows no model.

A wide field of view, arms and the table halve the grid that is left for the body; a CT so taken was found to
score a fifth of the same one cut to the body.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

DARK = 30
"""Up to this grey, 0…255, is air."""
MARGIN = 8
"""Pixels of the plane around the body."""
LARGEST_SHARE = 0.8
"""Of the plane: a body whose box takes more is left as it is."""
SMALLEST_PART = 0.8
"""Of what is bright: a box that holds less may miss what is asked for; arms and table are less."""


@dataclass(frozen=True)
class Frame:
    """A part of a plane.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the plane.
    rows, columns : slice
        The part.
    """

    shape: tuple[int, int]
    rows: slice
    columns: slice

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Pixels from the plane's corner to the part's."""
        return self.columns.start, self.rows.start

    @property
    def inner(self) -> tuple[int, int]:
        """(H, W) of the part."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    def holds(self, points_xy: NDArray | None) -> bool:
        """Return whether points (N, 2) x, y of the plane lie in the part; None and no points do."""
        if points_xy is None or not len(points_xy):
            return True
        inside = np.asarray(points_xy, float) - self.offset_xy
        return bool((inside >= 0).all() and (inside <= self.inner[::-1]).all())

    def cut(self, plane: NDArray) -> NDArray:
        """Return the part of an array (H, W, …)."""
        return np.ascontiguousarray(plane[self.rows, self.columns])

    def place(self, parts: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return masks (N, h, w) of the part on the whole plane, (N, H, W)."""
        planes = np.zeros((len(parts), *self.shape), bool)
        planes[:, self.rows, self.columns] = parts
        return planes


def whole_plane(shape: tuple[int, int]) -> Frame:
    """Return the frame that leaves nothing out."""
    return Frame(shape, slice(0, shape[0]), slice(0, shape[1]))


def find_frame(image: NDArray[np.uint8]) -> Frame:
    """Return the box of the body, or the whole plane where no solid body lies small amid air.

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
