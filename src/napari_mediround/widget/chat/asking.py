"""From a question to a round: the turn on the worker, its cancel, its failures, and asking again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter

from napari_mediround.domain.rounds import Reference, Round
from napari_mediround.errors import AlreadyThereError, MediRoundError
from napari_mediround.journal.entries import StackBegun
from napari_mediround.questions.request import Request
from napari_mediround.questions.understanding import understand
from napari_mediround.session import Manner
from napari_mediround.session.commands import (
    NO_MASK,
    Done,
    is_carry,
    is_command,
    masks_for,
    not_done,
    obey,
    result_of,
    take_worked,
)
from napari_mediround.session.editing import WorkedOut
from napari_mediround.widget.chat.case import Again, Case, Reapply
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.turn import Ask, Fetch, explain, split, take_turn
from napari_mediround.widget.chat.view import Message, Question
from napari_mediround.widget.lazy_model import fetch_weights
from napari_mediround.widget.words.draft import Draft
from napari_mediround.widget.words.screen import FIXING, DockScreen
from napari_mediround.widget.words.understood import swap_masks
from napari_mediround.widget.worker import Job

NO_IMAGE = "Open an image first: drop a file or a DICOM folder on the viewer, or take File → Open Sample."
GONE = "The image of this chat is closed. Choose another at the top, or open it again."
STALE = "The conversation has changed since you asked, so this answer was discarded. Ask again."
CLOSED = "The image was closed. Its masks are saved; they come back when you open the image again."


class Asking:
    """One question at a time.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker, model.
    about : callable
        Returns plane and window of the next question.
    answered : callable
        Called after each round.
    follow : callable
        Takes the case, the plan of what is to be followed through the stack, and what is called at its end
        with whether it was done.
    screen : DockScreen
        What commands do in the viewer.
    """

    def __init__(
        self,
        place: Workplace,
        about: Callable[[], tuple[int, str | tuple[float, float] | None]],
        answered: Callable[[], None],
        follow: Callable[[Case, StackBegun, Callable[[bool], None]], None],
        screen: DockScreen,
    ) -> None:
        self._place, self._about, self._answered = place, about, answered
        self._follow, self._screen = follow, screen
        self._stack = False
        self._draft = Draft(place, about, lambda: self._task is not None)
        self.edit, self.swap, self.forget_plane = (
            self._draft.edit, self._draft.swap, self._draft.forget_plane,
        )  # fmt: skip
        self._task: tuple[Job, Ask] | None = None

    @property
    def busy(self) -> bool:
        """Whether a question is being answered."""
        return self._task is not None

    def mean_stack(self, stack: bool) -> None:
        """Let questions mean the stack, or the plane, where their words do not say so."""
        self._stack = stack

    def ask(self, text: str) -> None:
        """Ask about the image at hand, or do what is said; while something runs, only "stop" is heard."""
        if self.busy:
            said = understand(text, self._place.case.conversation)
            if (said.action, said.verdict) == ("verdict", "cancel"):
                self.cancel()
            else:
                self._place.view.restore_question(text)
            return
        if self._place.layer() is None:
            self._place.say(Message(GONE if self._place.images else NO_IMAGE, is_error=True))
            self._place.view.restore_question(text)
            return
        plane, window = self._about()
        swaps, manner = tuple(self._draft.swaps.items()), Manner("ask", self._stack)
        ask = Ask(self._place.case, text, plane, window, swaps=swaps, manner=manner)
        if (changed := self._draft.take(text)) is not None:
            ask = split(ask, changed)
        self._start(ask)

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        if not isinstance(key, Fetch | Ask | Again | Reapply):
            return False
        if self.busy:
            return True
        if isinstance(key, Fetch):
            self._run(key.ask, fetch_weights, partial(self._on_fetched, key.ask))
        elif isinstance(key, Ask):
            self._start(key)
        elif isinstance(key, Reapply):
            self._reapply(key.value)
        else:
            round_ = self._place.case.conversation.rounds[key.index - 1]
            references = round_.references if key.references is None else key.references
            case, after = self._place.case, key.index - 1
            again = Ask(
                case, round_.text, round_.plane, round_.window, references, after=after, manner=Manner()
            )
            self._start(again)
        return True

    def _reapply(self, value: int) -> None:
        """Do the last recipe of a mask again."""
        case = self._place.case
        session = case.session

        def take(worked: WorkedOut) -> None:
            try:
                if step := session.take_edit(worked):
                    self._place.take(case, step)
                self._place.say(Message(worked.words), case)
            except MediRoundError as error:
                self._place.say(explain(error), case)

        failed = lambda error: self._place.say(explain(error), case)  # noqa: E731
        self._place.submit(lambda job: session.work_out_again(value), take, failed, "Applying again …")

    def cancel(self) -> bool:
        """Drop the question that is being answered; it comes back into the input. Return whether one was."""
        if self._task is None:
            return False
        job, ask = self._task
        self._place.cancel(job)
        self._end()
        self._place.say(Message("Cancelled. Nothing has changed."), ask.case)
        self._place.view.restore_question(ask.text)
        return True

    def _start(self, ask: Ask) -> None:
        layer, ask = ask.case.layer(), replace(ask, began=perf_counter(), free_text=self._place.free_text)
        if layer is None:
            self._place.say(Message(NO_IMAGE, is_error=True), ask.case)
            return
        case = ask.case
        if ask.request is None and case.session is not None and case.data is layer.data:
            ask = split(ask, case.session.understand(ask.text, ask.plane, ask.after, ask.references or ()))
        if ask.request is not None and is_command(ask.request):
            ask = replace(ask, request=swap_masks(ask.request, dict(ask.swaps)), swaps=())
            if case.hidden and ask.request.action in ("edit", "verdict") and ask.request.verdict != "cancel":
                self._fail(ask, MediRoundError(FIXING))
                return
            if is_carry(ask.request):
                self._carry_in_words(ask)
                return
            if ask.request.action != "edit":
                self._do(ask, lambda: obey(case.session, ask.request, ask.result, self._screen))
                return
        work = partial(take_turn, self._place.segmenter, self._place.project, layer, ask)
        self._run(ask, work, partial(self._on_answered, ask))

    def _on_answered(
        self, ask: Ask, answered: tuple[Ask, Round, dict[str, str]] | Request | WorkedOut
    ) -> None:
        if isinstance(answered, Request):
            self._end()
            self._start(split(ask, answered))
        elif isinstance(answered, WorkedOut):
            self._end()
            session, request = ask.case.session, ask.request
            masks = masks_for(session, request, ask.result)
            self._do(ask, lambda: take_worked(session, answered, request, masks))
        else:
            self._on_round(*answered)

    def _do(self, ask: Ask, work: Callable[[], Done]) -> None:
        """Do a command, say what was done, and go on with the step after it."""
        if not ask.number:
            self._place.say(Question(ask.text), ask.case)
        self._screen.plane = ask.plane
        try:
            done = work()
        except MediRoundError as error:
            self._fail(ask, error)
            return
        for step in done.steps:
            self._place.take(ask.case, step)
        self._place.say(Message(done.words), ask.case)
        self._go_on(replace(ask, plane=self._screen.plane), done.result)

    def _go_on(self, ask: Ask, result: tuple[Reference, ...]) -> None:
        """Begin the next step of a request."""
        if not ask.rest:
            self._answered()
            return
        request, *rest = ask.rest
        again = {"references": None, "swaps": (), "after": None}
        self._start(
            replace(ask, request=request, rest=tuple(rest), result=result, number=ask.number + 1, **again)
        )

    def _fail(self, ask: Ask, error: Exception) -> None:
        self._place.say(explain(error, ask), ask.case)
        self._say_left(ask)
        if not ask.number and not isinstance(error, AlreadyThereError):
            self._place.view.restore_question(ask.text)

    def _say_left(self, ask: Ask) -> None:
        if ask.rest:
            self._place.say(Message(not_done(ask.rest), is_error=True), ask.case)

    def _carry_in_words(self, ask: Ask) -> None:
        """Carry the masks of a step through the stack, one after the other."""
        session = ask.case.session
        masks = masks_for(session, ask.request, ask.result)
        if not ask.number:
            self._place.say(Question(ask.text), ask.case)
        if not masks:
            self._fail(replace(ask, number=max(ask.number, 1)), MediRoundError(NO_MASK))
            return
        numbers = tuple(dict.fromkeys(session.conversation.number_of(r) for r in masks))
        plan = StackBegun(numbers, ask.plane, 0, session.study.planes - 1)
        self._follow(ask.case, plan, partial(self._after_stack, ask, masks))

    def _after_stack(self, ask: Ask, result: tuple[Reference, ...], done: bool) -> None:
        """Go on with what was said after the stack, once that is done."""
        if done and ask.rest:
            self._go_on(ask, result)
        elif not done:
            self._say_left(ask)

    def _run(self, ask: Ask, work: Callable[[Job], object], done: Callable[[object], None]) -> None:
        ask.case.asked = ask.text
        self._place.refresh(ask.case)
        failed = partial(self._on_failed, ask)
        self._task = (self._place.submit(work, done, failed, "Waiting for the model …"), ask)

    def _end(self) -> None:
        self._task[1].case.asked = ""
        self._task = None

    def _on_fetched(self, ask: Ask, said: object) -> None:
        self._end()
        self._place.say(Message(str(said)), ask.case)
        self._start(ask)

    def _on_failed(self, ask: Ask, error: Exception) -> None:
        self._end()
        if ask.request is not None and is_command(ask.request) and not ask.number:
            self._place.say(Question(ask.text), ask.case)
        self._fail(ask, error)

    def _on_round(self, ask: Ask, round_: Round, model: dict[str, str]) -> None:
        self._end()
        case = ask.case
        try:
            step = case.session.add(round_, ask.after is not None, model)
        except (ValueError, MediRoundError) as error:
            text = str(error) if isinstance(error, MediRoundError) else STALE
            self._place.say(Message(text, is_error=True), case)
            self._place.view.restore_question(ask.text)
            return
        case.current = 0
        self._place.take(case, step)
        if case is self._place.case:
            self._screen.draw_axes(ask.request.measure, round_.references)
        if case.layer() not in self._place.images:
            self._place.say(Message(CLOSED), case)
        result = result_of(round_, round_.references, ask.result)
        if ask.request.action == "ask_back":
            self._say_left(ask)
            self._answered()
        elif plan := case.session.plan_stack(round_):
            self._answered()
            self._follow(case, plan, partial(self._after_stack, ask, result))
        else:
            self._go_on(ask, result)
