"""Accept, reject, undo, redo, go to another branch: what the user says about masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from time import perf_counter

from napari_mediround.errors import MediRoundError
from napari_mediround.journal import State
from napari_mediround.session import Step
from napari_mediround.widget.chat.case import AcceptAll, Case, GoTo
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.view import Action, Message

EMPTY = "There is nothing in this mask to accept. Fix it with a click (K), or reject it (N)."


@dataclass(frozen=True)
class Overlap:
    """Take a verdict again, with another choice for the pixels that a locked mask has.

    Parameters
    ----------
    verdict : callable
        Returns the step.
    state : State
        After the step that it replaces; where it is another now, it is too late.
    """

    verdict: Callable[[], Step]
    state: State


class Verdicts:
    """Turns steps of the view into steps of the session; each is durable before it is shown."""

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._since = perf_counter()

    def start_clock(self) -> None:
        """Note when a mask came into sight: verdicts say how long it was looked at."""
        self._since = perf_counter()

    def take(self, step: str) -> None:
        """Accept or reject the current mask, undo or redo."""
        case = self._place.case
        if case is None or case.session is None:
            return
        if step in ("undo", "redo"):
            self._try(case, lambda: self._place.step_back(step, case))
        elif case.current:
            verdict = {"accept": self._accept, "reject": self._reject}[step]
            self._try(case, lambda: verdict(case, case.current))

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        case = self._place.case
        if not isinstance(key, AcceptAll | GoTo | Overlap) or case is None or case.session is None:
            return False
        session = case.session
        if isinstance(key, GoTo):
            self._try(case, lambda: self._place.take(case, session.branch(key.round_id)))
        elif isinstance(key, AcceptAll):
            self._try(case, lambda: self._accept_all(case, key.values))
        elif session.state != key.state:
            self._place.say(Message("Other steps came after it. Undo (U) back to that step first."))
        else:
            self._try(case, lambda: self._replace(case, key))
        return True

    def choose(self, value: int) -> None:
        """Let the keys act on a mask."""
        case = self._place.case
        if case is not None and case.session is not None and value in case.values:
            case.current = value
            self.start_clock()
            self._place.view.show_current(value, case.session.undoable, case.session.redoable)

    def tell_overlap(
        self, case: Case, value: int, under: Mapping[int, int], verdict: Callable[..., Step]
    ) -> None:
        """Say that a mask gave way to locked ones, and offer the other choices.

        Parameters
        ----------
        case : Case
            Of the mask.
        value : int
            Its label value.
        under : mapping of int to int
            Label value of each locked mask to the pixels it kept; empty says nothing.
        verdict : callable
            Takes `overlap` and returns the step.
        """
        if not under:
            return
        session = case.session
        name, who = session.label(value).name, ", ".join(session.label(other).name for other in under)
        actions = (
            Action(f"{name} takes them", Overlap(partial(verdict, overlap="replace"), session.state)),
            Action("Both stay whole", Overlap(partial(verdict, overlap="both"), session.state)),
        )
        left = "" if session.label(value).mask.area else " Nothing of it is left."
        text = f"{name} gives way to {who} on {sum(under.values()):,} pixels.{left}"
        self._place.say(Message(text, actions=actions), case)

    def _accept(self, case: Case, value: int) -> None:
        session = case.session
        if session.label(value).locked:
            return
        if not session.label(value).mask.area:
            self._place.say(Message(EMPTY), case)
            return
        under = session.overlaps(value)
        accept = partial(session.accept, value, seconds=self._seconds())
        self._go_on(case, accept())
        self.tell_overlap(case, value, under, accept)

    def _accept_all(self, case: Case, values: tuple[int, ...]) -> None:
        """Accept those that are still there and wait for a verdict."""
        labels = [case.session.label(value) for value in values if value in case.values]
        open_ = [label.value for label in labels if label.mask.area and not label.verdict]
        if open_:
            self._go_on(case, case.session.accept(*open_, seconds=self._seconds()))

    def _reject(self, case: Case, value: int) -> None:
        self._go_on(case, case.session.reject(value, seconds=self._seconds()))

    def _replace(self, case: Case, key: Overlap) -> None:
        self._place.take(case, case.session.undo())
        self._place.take(case, key.verdict())

    def _go_on(self, case: Case, step: Step) -> None:
        self.start_clock()
        self._place.take(case, step)

    def _seconds(self) -> float:
        return perf_counter() - self._since

    def _try(self, case: Case, work) -> None:
        try:
            work()
        except MediRoundError as error:
            self._place.say(Message(str(error), is_error=True), case)
