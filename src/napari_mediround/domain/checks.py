"""What is doubtful about masks before they leave, and what would mend it. Values only; knows no image."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

CHECKS = {
    "side": "on the wrong side",
    "swapped": "left and right swapped",
    "parent": "outside its parent",
    "islands": "small parts apart from the rest",
    "holes": "holes",
    "gap": "planes without it in between",
    "overlap": "overlap with an accepted mask",
    "size": "volume or length out of range",
    "partner": "partner on the other side missing",
    "exchanged": "two structures exchanged",
}
"""What is checked, in words."""


@dataclass(frozen=True, eq=False)
class Shape:
    """One structure in the volume, as it is checked.

    Parameters
    ----------
    number : int
        By which people know it.
    name : str
        The structure.
    inner : ndarray
        bool (plane, row, column), display order, not empty: the mask in a box of the volume.
    first : tuple of int
        Where that box begins in the volume.
    extent : tuple of int
        Shape of the volume.
    locked : bool
        Whether a person accepted or corrected it.
    """

    number: int
    name: str
    inner: NDArray[np.bool_]
    first: tuple[int, int, int]
    extent: tuple[int, int, int]
    locked: bool = False

    @classmethod
    def of(cls, number: int, name: str, mask: NDArray[np.bool_], locked: bool = False) -> Shape:
        """Return the shape of a mask of the whole volume, not empty; kept with one voxel around it."""
        spans = [np.flatnonzero(mask.any(tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        first = tuple(max(int(there[0]) - 1, 0) for there in spans)
        stops = (min(int(there[-1]) + 2, n) for there, n in zip(spans, mask.shape, strict=True))
        box = tuple(slice(*pair) for pair in zip(first, stops, strict=True))
        return cls(number, name, mask[box].copy(), first, mask.shape, locked)

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where `inner` lies in the volume."""
        return tuple(slice(a, a + n) for a, n in zip(self.first, self.inner.shape, strict=True))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask of the whole volume, made anew."""
        whole = np.zeros(self.extent, bool)
        whole[self.box] = self.inner
        return whole

    def at(self, box: tuple[slice, slice, slice]) -> NDArray[np.bool_]:
        """Return the mask in another box of the volume."""
        found = np.zeros([s.stop - s.start for s in box], bool)
        low = [max(a.start, b.start) for a, b in zip(box, self.box, strict=True)]
        high = [min(a.stop, b.stop) for a, b in zip(box, self.box, strict=True)]
        if all(h > n for n, h in zip(low, high, strict=True)):
            into, out = (
                tuple(slice(n - s.start, h - s.start) for n, h, s in zip(low, high, where, strict=True))
                for where in (box, self.box)
            )
            found[into] = self.inner[out]
        return found

    def with_inner(self, inner: NDArray[np.bool_]) -> Shape:
        """Return the shape with another mask in its box."""
        return replace(self, inner=inner)

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


@dataclass(frozen=True, eq=False)
class Fix:
    """What mends a finding, as one step.

    Parameters
    ----------
    words : str
        On the button.
    masks : tuple of Shape
        Structures as they are from then on.
    names : tuple of (int, str)
        Numbers of structures with their names from then on.
    question : str
        What is to be asked, "" for nothing: what is missing can only be asked for.
    """

    words: str
    masks: tuple[Shape, ...] = ()
    names: tuple[tuple[int, str], ...] = ()
    question: str = ""


@dataclass(frozen=True, eq=False)
class Finding:
    """One thing that is doubtful.

    Parameters
    ----------
    check : str
        A key of `CHECKS`.
    numbers : tuple of int
        The structures that it is about.
    text : str
        What was found, in a sentence.
    plane : int
        Where to look, 0-based, display order.
    fix : Fix, optional
        What would mend it.
    """

    check: str
    numbers: tuple[int, ...]
    text: str
    plane: int
    fix: Fix | None = None

    def __post_init__(self) -> None:
        if self.check not in CHECKS:
            raise ValueError(f"{self.check!r} is no check")
