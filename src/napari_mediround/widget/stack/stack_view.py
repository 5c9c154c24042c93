"""What a view is told of structures in the stack. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RibbonPlane:
    """One plane of a structure in the stack.

    Parameters
    ----------
    plane : int
        0-based, display order.
    value : int
        Label value of its mask.
    standing : {"accepted", "fixed", "proposed", "doubtful", "absent"}
        What it is.
    quality : float or None
        Judged, 0…1; None where a person drew it.
    """

    plane: int
    value: int
    standing: str
    quality: float | None = None

    def __str__(self) -> str:
        sure = "" if self.quality is None or self.standing == "absent" else f", {self.quality:.2f}"
        return f"plane {self.plane}: {self.standing}{sure}"


@dataclass(frozen=True)
class StackState:
    """Structures on their way through the stack.

    Parameters
    ----------
    words : str
        What is followed, and where it is: "1 liver: plane 34".
    done, steps : int
        Planes that were looked at, and all planes as far as that is known.
    paused, follows : bool
        Whether it waits; whether the viewer goes along.
    """

    words: str
    done: int = 0
    steps: int = 0
    paused: bool = False
    follows: bool = False
