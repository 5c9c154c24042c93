"""A binary mask on one plane, kept run-length coded. Knows no image and no millimetre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Mask:
    """A binary mask as runs, row-major: background first, then foreground, and so on.

    Parameters
    ----------
    shape : tuple of int
        (row, column) of the plane it lies on.
    runs : tuple of int
        Lengths of alternating background and foreground runs; they add up to row × column.

    Raises
    ------
    ValueError
        When the runs do not fill the shape exactly.
    """

    shape: tuple[int, int]
    runs: tuple[int, ...]

    def __post_init__(self) -> None:
        if min(self.runs, default=0) < 0 or sum(self.runs) != self.shape[0] * self.shape[1]:
            raise ValueError(f"runs add up to {sum(self.runs)}, the shape {self.shape} needs another sum")

    @classmethod
    def from_array(cls, array: NDArray) -> Mask:
        """Code an array (row, column) of any dtype; non-zero is foreground."""
        flat = np.asarray(array, bool).ravel()
        edges = np.flatnonzero(np.diff(flat)) + 1
        runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
        first = [0] if flat.size and flat[0] else []
        return cls(tuple(array.shape), tuple(first + runs.tolist()))

    def to_array(self) -> NDArray[np.bool_]:
        """Return the mask as bool (row, column)."""
        values = np.arange(len(self.runs)) % 2 == 1
        return np.repeat(values, self.runs).reshape(self.shape)

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return sum(self.runs[1::2])

    @property
    def box_xyxy(self) -> tuple[int, int, int, int] | None:
        """Half-open bounding box (x0, y0, x1, y1) in pixels; None for an empty mask."""
        array = self.to_array()
        if not array.any():
            return None
        rows, columns = np.flatnonzero(array.any(1)), np.flatnonzero(array.any(0))
        return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
