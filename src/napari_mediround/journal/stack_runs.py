"""The entries of structures that are followed through the stack. Knows no file and no rule."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StackBegun:
    """Structures began to be followed through the stack; the rounds that came of it have its number as batch.

    Parameters
    ----------
    numbers : tuple of int
        Numbers of the structures.
    start : int
        Plane that it starts from, 0-based.
    first, last : int
        Planes between which it goes, both included.
    planes : tuple of int
        The only planes to be done, where not all are; empty for all.
    fills : bool
        Whether they lie between two masks whose shapes may fill them.
    """

    numbers: tuple[int, ...]
    start: int
    first: int
    last: int
    planes: tuple[int, ...] = ()
    fills: bool = False


@dataclass(frozen=True)
class StackEnded:
    """What began in the event `stack` has ended: it was done, or a person stopped it."""

    stack: int
