"""The crop of a plane that the model sees: the body amid air, in its proportions. Knows no model.

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

MOST_SQUARE, MOST_LONG = 0.02, np.log(8)
"""Logarithms of the aspect of a pixel: up to the first it counts as square, above the second as a mistake."""


@dataclass(frozen=True)
class Crop:
    """A part of a plane.

    Parameters
    ----------
    shape : tuple of int
        (H, W) of the plane.
    rows, columns : slice
        The part.
    aspect : float
        Height over width of a pixel. The part is shown with square pixels, enlarged along the longer side of
        a pixel, so that a body is as tall and as wide as it is.
    """

    shape: tuple[int, int]
    rows: slice
    columns: slice
    aspect: float = 1.0

    @property
    def offset_xy(self) -> tuple[int, int]:
        """Offset of the part's corner from the plane's corner, x and y in pixels."""
        return self.columns.start, self.rows.start

    @property
    def _size(self) -> tuple[int, int]:
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def inner(self) -> tuple[int, int]:
        """(h, w) of the part with square pixels."""
        height, width = self._size
        return round(height * max(1.0, self.aspect)), round(width * max(1.0, 1 / self.aspect))

    @property
    def scale_xy(self) -> tuple[float, float]:
        """Square pixels of the part in a pixel of the plane, along x and y."""
        (height, width), (tall, wide) = self._size, self.inner
        return wide / width, tall / height

    def holds(self, points_xy: NDArray | None) -> bool:
        """Return whether all points (N, 2), x and y on the plane, lie in the part; True without points."""
        if points_xy is None or not len(points_xy):
            return True
        inside = np.asarray(points_xy, float) - self.offset_xy
        return bool((inside >= 0).all() and (inside <= self._size[::-1]).all())

    def cut(self, plane: NDArray) -> NDArray:
        """Return the part of an image (H, W, C), or of a mask or labels (H, W), with square pixels."""
        part = np.ascontiguousarray(plane[self.rows, self.columns])
        return part if self.inner == self._size else _stretch(part, self.inner)

    def place(self, parts: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return masks (N, h, w) of the part as masks of the whole plane, (N, H, W)."""
        planes = np.zeros((len(parts), *self.shape), bool)
        rows, columns = (_nearest(n, m) for n, m in zip(self._size, self.inner, strict=True))
        planes[:, self.rows, self.columns] = parts[:, rows][:, :, columns]
        return planes


def find_aspect(spacing_mm: tuple[float, float]) -> float:
    """Return height over width of a pixel from its spacing (row, column); 1 where nearly so, or odd."""
    aspect = round(spacing_mm[0] / spacing_mm[1], 3)
    return aspect if MOST_SQUARE < abs(np.log(aspect)) <= MOST_LONG else 1.0


def _nearest(count: int, of: int) -> NDArray[np.int_]:
    """Return which of `of` cells each of `count` cells over the same length has its centre in."""
    return ((np.arange(count) + 0.5) * of / count).astype(int)


def _stretch(part: NDArray, shape: tuple[int, int]) -> NDArray:
    """Return an array on another grid (h, w) over the same extent: greys blended, labels nearest."""
    if part.ndim == 2:
        return part[_nearest(shape[0], len(part))][:, _nearest(shape[1], part.shape[1])]
    at = [(np.arange(n) + 0.5) * m / n - 0.5 for n, m in zip(shape, part.shape, strict=False)]
    places = np.meshgrid(*at, indexing="ij")
    channels = np.moveaxis(part, 2, 0).astype(np.float32)
    moved = [ndimage.map_coordinates(channel, places, order=1, mode="nearest") for channel in channels]
    return np.rint(np.stack(moved, -1)).astype(part.dtype)


def whole_plane(shape: tuple[int, int], aspect: float = 1.0) -> Crop:
    """Return the frame that leaves nothing out."""
    return Crop(shape, slice(0, shape[0]), slice(0, shape[1]), aspect)


def find_crop(image: NDArray[np.uint8], aspect: float = 1.0) -> Crop:
    """Return the box of the body, or the whole plane where no solid body lies small amid air.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3).
    aspect : float
        Height over width of a pixel.
    """
    height, width = image.shape[:2]
    whole = whole_plane((height, width), aspect)
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
    return Crop(whole.shape, rows, columns, aspect) if small and solid and most else whole
