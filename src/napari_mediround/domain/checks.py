"""What is doubtful about masks before they leave, and what would mend it. Values only; knows no image."""

from __future__ import annotations

from dataclasses import dataclass

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
    mask : ndarray
        bool (plane, row, column), display order, not empty.
    locked : bool
        Whether a person accepted or corrected it.
    """

    number: int
    name: str
    mask: NDArray[np.bool_]
    locked: bool = False

    def __str__(self) -> str:
        return f"{self.number} {self.name}"


@dataclass(frozen=True, eq=False)
class Fix:
    """What mends a finding, as one step.

    Parameters
    ----------
    words : str
        On the button.
    masks : tuple of (int, ndarray)
        Numbers of structures with their masks from then on, as in `Shape`.
    names : tuple of (int, str)
        Numbers of structures with their names from then on.
    question : str
        What is to be asked, "" for nothing: what is missing can only be asked for.
    """

    words: str
    masks: tuple[tuple[int, NDArray[np.bool_]], ...] = ()
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
