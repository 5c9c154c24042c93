"""Checks of the masks: made by the worker after each step, shown below the card, mended by a button."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from napari_mediround.domain.checks import Finding
from napari_mediround.errors import MediRoundError
from napari_mediround.journal import State
from napari_mediround.session.checked import STALE, check_session, mend
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.view import Action, Message


@dataclass(frozen=True, eq=False)
class Mend:
    """Do what a finding offers; only while the masks are those that were checked."""

    finding: Finding
    state: State


@dataclass(frozen=True)
class Ignore:
    """Say no more of a finding."""

    check: str
    numbers: tuple[int, ...]


class Checks:
    """What is doubtful about the masks of the case at hand.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        place.changed.connect(self._on_changed)

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        case = self._place.case
        if not isinstance(key, Mend | Ignore) or case is None or case.session is None:
            return False
        if isinstance(key, Ignore):
            case.ignored.add((key.check, key.numbers))
            case.doubts = {
                n: tuple(m for m in some if not _is_about(m, key)) for n, some in case.doubts.items()
            }
            self._place.refresh(case)
        elif case.session.state is not key.state:
            self._place.say(Message(STALE, is_error=True), case)
        elif key.finding.fix is not None and key.finding.fix.question:
            self._place.view.question_asked.emit(key.finding.fix.question)
        else:
            self.mend(key.finding, case)
        return True

    def mend(self, finding: Finding, case: Case | None = None) -> bool:
        """Do what a finding offers, as one step; return whether anything changed."""
        case = case or self._place.case
        if case is None or case.session is None:
            return False
        try:
            step = mend(case.session, finding)
        except MediRoundError as error:
            self._place.say(Message(str(error), is_error=True), case)
            return False
        if step is not None:
            self._place.take(case, step)
        return step is not None

    def _on_changed(self) -> None:
        """Check the masks once they are others than before."""
        case = self._place.case
        session = case.session if case is not None else None
        if session is None or session.state is case.checked or session.stack is not None:
            return  # what is being propagated is checked at its end
        case.checked = state = session.state
        if not state.labels:
            case.doubts = {}
            return
        self._place.submit(
            lambda job: check_session(session), partial(self._on_checked, case, state), lambda error: None
        )

    def _on_checked(self, case: Case, state: State, findings: tuple[Finding, ...]) -> None:
        if case.session is None or case.session.state is not state:
            return
        doubts: dict[int, tuple[Message, ...]] = {}
        for finding in findings:
            if (finding.check, finding.numbers) not in case.ignored:
                number = finding.numbers[0]
                doubts[number] = (*doubts.get(number, ()), _message(finding, state))
        if doubts or case.doubts:
            case.doubts = doubts
            self._place.refresh(case)


def _message(finding: Finding, state: State) -> Message:
    mended = (Action(finding.fix.words, Mend(finding, state)),) if finding.fix is not None else ()
    show = Action("Show", finding.plane, f"Go to plane {finding.plane}")
    ignore = Action("Ignore", Ignore(finding.check, finding.numbers), "Say no more of it here")
    return Message(f"Check: {finding.text}", actions=(*mended, show, ignore))


def _is_about(message: Message, key: Ignore) -> bool:
    return any(action.key == key for action in message.actions)
