"""Accept, reject, undo, redo, go to another branch: what the user says about masks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from time import perf_counter

from psygnal import Signal

from napari_mediround.errors import MediRoundError
from napari_mediround.session import Step
from napari_mediround.widget.chat.case import Case, Confirm, GoTo, Overlap
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.sight import Sight
from napari_mediround.widget.chat.turn import Show
from napari_mediround.widget.chat.view import Action, Message
from napari_mediround.widget.stack.stack_lines import AcceptAll, RejectAll

UNSEEN = "{name} was not in view, so nothing was judged. Plane {plane} is shown now: press again to judge it."
"""Said where a key would judge a mask that is not on the screen."""


class Verdicts:
    """Turns steps of the view into steps of the session; each is durable before it is shown."""

    judged = Signal(object, int)
    """(case, label value) of a mask that was accepted or fixed."""

    def __init__(self, place: Workplace, sight: Sight) -> None:
        self._place, self._sight = place, sight
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
        elif case.current and self._seen(case, case.current):
            verdict = {"accept": self._accept, "reject": self._reject}[step]
            self._try(case, lambda: verdict(case, case.current))

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        case = self._place.case
        kinds = AcceptAll | RejectAll | Confirm | GoTo | Overlap | Show
        if not isinstance(key, kinds) or case is None or case.session is None:
            return False
        session = case.session
        if isinstance(key, GoTo):
            self._try(case, lambda: self._place.take(case, session.branch(key.round_id)))
        elif isinstance(key, Show):
            self.choose(key.value)
        elif isinstance(key, AcceptAll | RejectAll):
            judge = session.accept if isinstance(key, AcceptAll) else session.reject
            self._try(case, lambda: self._judge_all(case, key.values, judge))
        elif isinstance(key, Confirm):
            self._try(case, lambda: self._confirm(case, key.value))
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
            self._bring(case)

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
        under = session.overlaps(value)
        accept = partial(session.accept, value, seconds=self._seconds())
        self._go_on(case, accept())
        self.tell_overlap(case, value, under, accept)
        self.judged.emit(case, value)

    def _judge_all(self, case: Case, values: tuple[int, ...], judge: Callable[..., Step]) -> None:
        """Accept or reject those that are still there and wait for a verdict."""
        if waiting := case.waiting(values):
            self._go_on(case, judge(*waiting, seconds=self._seconds()))

    def _confirm(self, case: Case, value: int) -> None:
        """Accept that nothing was found."""
        if value in case.values and not case.session.label(value).found:
            self._go_on(case, case.session.accept(value, seconds=self._seconds()))

    def _reject(self, case: Case, value: int) -> None:
        self._go_on(case, case.session.reject(value, seconds=self._seconds()))

    def _replace(self, case: Case, key: Overlap) -> None:
        self._place.take(case, case.session.undo())
        self._place.take(case, key.verdict())

    def _go_on(self, case: Case, step: Step) -> None:
        """Show what a verdict changed, and the next mask that waits for one, wherever it lies."""
        before = case.current
        self.start_clock()
        self._place.take(case, step)
        if case.current not in (0, before):
            self._bring(case)

    def _seen(self, case: Case, value: int) -> bool:
        """Return whether a mask is in view; if not, bring it into view and say that nothing was judged."""
        if self._sight.sees(case, value):
            return True
        why, label = self._sight.show(case, value), case.session.label(value)
        self.start_clock()
        text = why or UNSEEN.format(name=label.name, plane=label.plane)
        self._place.say(Message(text, is_error=bool(why)), case)
        return False

    def _bring(self, case: Case) -> None:
        """Bring the current mask into view, or say why the viewer cannot show it."""
        if why := self._sight.show(case, case.current):
            self._place.say(Message(why, is_error=True), case)

    def _seconds(self) -> float:
        return perf_counter() - self._since

    def _try(self, case: Case, work) -> None:
        try:
            work()
        except MediRoundError as error:
            self._place.say(Message(str(error), is_error=True), case)
