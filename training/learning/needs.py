"""What learning needs, and how much of it a project has. Values only, without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Need:
    """Something that learning needs.

    Parameters
    ----------
    words : str
        What it is, for a person.
    have, need : int
        How many there are and how many there must be.
    """

    words: str
    have: int
    need: int

    @property
    def met(self) -> bool:
        """Whether there are enough."""
        return self.have >= self.need


@dataclass(frozen=True)
class Survey:
    """What there is to learn from.

    Parameters
    ----------
    rounds, patients : int
        That can teach or test.
    apart : int
        Patients that are kept apart to measure what was learned.
    needs : tuple of Need
        All must be met before learning starts.
    lost : int
        Cases that are left out, as their image is not where it was.
    """

    rounds: int
    patients: int
    apart: int
    needs: tuple[Need, ...]
    lost: int = 0

    @property
    def ready(self) -> bool:
        """Whether learning may start."""
        return all(need.met for need in self.needs)
