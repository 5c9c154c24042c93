"""What a person says about a mask, and how it was mended. Values only."""

from __future__ import annotations

from dataclasses import dataclass

VERDICTS = ("accepted", "corrected", "rejected")
"""Accepted and corrected masks are locked: a later round does not write over them unless told to."""

REASONS = ("leak", "miss", "wrong side", "wrong reference", "boundary")
"""Why a mask was corrected or rejected."""

OVERLAPS = ("keep", "replace", "both")
"""Who gets the pixels of a locked mask that another one wants: the locked one, the other, or both."""


@dataclass(frozen=True)
class Prompts:
    """What a person gave to mend a mask.

    Parameters
    ----------
    points_xy : tuple of (float, float)
        Clicks, x and y in pixels of the plane, display order.
    positive : tuple of bool
        For each click, whether it lies inside the structure.
    box_xyxy : tuple of float, optional
        Half-open box in pixels.
    painted : int
        How many pixels were painted, erased or filled by hand.

    Raises
    ------
    ValueError
        When there are not as many signs as clicks, or the box has not four numbers.
    """

    points_xy: tuple[tuple[float, float], ...] = ()
    positive: tuple[bool, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None
    painted: int = 0

    def __post_init__(self) -> None:
        points = tuple((float(x), float(y)) for x, y in self.points_xy)
        positive = tuple(bool(sign) for sign in self.positive)
        box = None if self.box_xyxy is None else tuple(float(side) for side in self.box_xyxy)
        if len(points) != len(positive) or (box is not None and len(box) != 4):
            raise ValueError("each click has a sign, and a box has four numbers")
        for name, value in (("points_xy", points), ("positive", positive), ("box_xyxy", box)):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "painted", int(self.painted))
