"""How a mask was changed in words: one operation, its amount and the masks it was done with. Values only."""

from __future__ import annotations

from dataclasses import dataclass

OPERATIONS = (
    "grow", "shrink", "fill", "largest", "islands", "smooth", "union", "intersect", "subtract", "clip",
    "mirror",
)  # fmt: skip
"""What can be done to a mask in words."""

BY_BUTTON = ("between", "exchange")
"""What the buttons of checks do besides."""

WITH_OTHERS = ("union", "intersect", "subtract", "clip")
"""Operations that need another mask."""

_WORDS = {
    "grow": "grown",
    "shrink": "shrunk",
    "fill": "holes filled",
    "largest": "largest part kept",
    "islands": "small parts dropped",
    "smooth": "smoothed",
    "union": "united with {}",
    "intersect": "cut to what it shares with {}",
    "subtract": "{} taken away",
    "clip": "clipped to {}",
    "mirror": "mirrored",
    "between": "filled in between planes",
    "exchange": "names exchanged",
}


@dataclass(frozen=True)
class Recipe:
    """One operation on a mask.

    Parameters
    ----------
    operation : str
        One of `OPERATIONS` or `BY_BUTTON`.
    mm, ml : float, optional
        Its amount; None for an operation without one.
    others : tuple of int
        Numbers of the masks that it was done with.
    spared : tuple of int
        Numbers of the masks that a growth did not enter.
    in_plane : bool
        Whether each plane was taken by itself; False where distances go through the stack.

    Raises
    ------
    ValueError
        When the operation is unknown, needs another mask, or the amount is not positive.
    """

    operation: str
    mm: float | None = None
    ml: float | None = None
    others: tuple[int, ...] = ()
    spared: tuple[int, ...] = ()
    in_plane: bool = True

    def __post_init__(self) -> None:
        if self.operation not in (*OPERATIONS, *BY_BUTTON):
            raise ValueError(f"{self.operation!r} is none of {', '.join((*OPERATIONS, *BY_BUTTON))}")
        if self.operation in WITH_OTHERS and not self.others:
            raise ValueError(f"{self.operation} needs another mask")
        for amount in (self.mm, self.ml):
            if amount is not None and not 0 < amount < 1000:
                raise ValueError(f"an amount of {amount} is not sensible")
        for name in ("others", "spared"):
            object.__setattr__(self, name, tuple(int(number) for number in getattr(self, name)))

    def __str__(self) -> str:
        said = _WORDS[self.operation].format(_numbers(self.others))
        if self.mm is not None:
            said += f" by {self.mm:g} mm"
        if self.ml is not None:
            said += f" (under {self.ml:g} ml)"
        if self.spared:
            said += f", not into {_numbers(self.spared)}"
        return said


def _numbers(numbers: tuple[int, ...]) -> str:
    return " and ".join(f"[{number}]" for number in numbers)
