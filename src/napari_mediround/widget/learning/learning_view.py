"""What the learning dock's controller needs of a view: signals out, setters in. Knows no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from psygnal import SignalInstance

from napari_mediround.training.learning.needs import Need


@dataclass(frozen=True)
class AdapterLine:
    """One adapter of the list.

    Parameters
    ----------
    name : str
        "" is none.
    words : str
        Beside the name.
    live : bool
        Whether it is live.
    wins : bool
        Whether it may go live without a reason.
    """

    name: str
    words: str
    live: bool
    wins: bool


class LearningView(Protocol):
    """The learning dock as a user sees it."""

    start_asked: SignalInstance
    """Learn from the corrections."""
    cancel_asked: SignalInstance
    """Stop learning; the best result so far is kept."""
    use_asked: SignalInstance
    """(adapter, reason): "" is no adapter; the reason is "" if none is needed."""
    rollback_asked: SignalInstance
    """Go back to the adapter that was live before."""
    adapter_chosen: SignalInstance
    """(name) of the adapter whose card is wanted."""

    @property
    def chosen(self) -> AdapterLine | None:
        """The adapter that is chosen in the list."""

    def show_project(self, name: str, hint: str) -> None:
        """Show which project learns."""

    def show_survey(self, text: str, ready: bool, needs: Sequence[Need] = ()) -> None:
        """Show what can teach, whether that is enough to start, and how much of each need is met."""

    def show_busy(self, words: str, done: int = 0, steps: int = 0) -> None:
        """Show what is being done, "" for nothing; 0 steps if their number is not known."""

    def allow_cancelling(self, allowed: bool) -> None:
        """Let the user cancel, or not."""

    def add_point(self, name: str, step: int, steps: int, value: float) -> None:
        """Add a point to the line "Loss", "Dice" or "check"."""

    def clear_curves(self) -> None:
        """Remove the points of all lines."""

    def show_message(self, text: str, is_error: bool = False) -> None:
        """Show how learning ended, or an error."""

    def show_adapters(self, lines: Sequence[AdapterLine], chosen: str) -> None:
        """List adapters and choose one by its name."""

    def show_card(self, html: str) -> None:
        """Show the card of the chosen adapter."""

    def allow_switching(self, allowed: bool) -> None:
        """Let the user change which adapter is live, or not."""
