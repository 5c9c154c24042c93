"""From a question to a round: the turn on the worker, its cancel, its failures, and asking again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from time import perf_counter

from napari_mediround.domain.rounds import Reference, Round
from napari_mediround.errors import MediRoundError
from napari_mediround.questions.request import Request
from napari_mediround.questions.understanding import understand
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
from napari_mediround.widget.chat.case import AcceptAll, Again, Carry, Reapply
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.draft import Draft
from napari_mediround.widget.chat.screen import FIXING, DockScreen
from napari_mediround.widget.chat.turn import Ask, Carried, Fetch, carry_on, explain, split, take_turn
from napari_mediround.widget.chat.understood import swap_masks
from napari_mediround.widget.chat.view import Action, Message, Question
from napari_mediround.widget.lazy_model import fetch_weights
from napari_mediround.widget.worker import Job

NO_IMAGE = "Open an image first: drop a file or a DICOM folder on the viewer, or take File → Open Sample."
GONE = "The image of this chat is closed. Choose another at the top, or open it again."
STALE = "The conversation has changed since you asked, so this answer was discarded. Ask again."
ELSEWHERE = "the conversation has changed since"
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
    screen : DockScreen
        What commands do in the viewer.
    """

    def __init__(
        self,
        place: Workplace,
        about: Callable[[], tuple[int, str | tuple[float, float] | None]],
        answered: Callable[[], None],
        screen: DockScreen,
    ) -> None:
        self._place, self._about, self._answered, self._screen = place, about, answered, screen
        self._after_carry: Ask | None = None
        self._draft = Draft(place, about, lambda: self._task is not None)
        self.edit, self.swap, self.forget_plane = (
            self._draft.edit, self._draft.swap, self._draft.forget_plane,
        )  # fmt: skip
        self._task: tuple[Job, Ask | Carried] | None = None

    @property
    def busy(self) -> bool:
        """Whether a question is being answered or a mask carried."""
        return self._task is not None

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
        ask = Ask(self._place.case, text, plane, window, swaps=tuple(self._draft.swaps.items()))
        if (changed := self._draft.take(text)) is not None:
            ask = split(ask, changed)
        self._start(ask)

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        if not isinstance(key, Fetch | Ask | Again | Carry | Reapply):
            return False
        if self.busy:
            return True
        if isinstance(key, Fetch):
            self._run(key.ask, fetch_weights, partial(self._on_fetched, key.ask))
        elif isinstance(key, Ask):
            self._start(key)
        elif isinstance(key, Reapply):
            self._reapply(key.value)
        elif isinstance(key, Carry):
            self._after_carry = None
            self.carry(key.value)
        else:
            round_ = self._place.case.conversation.rounds[key.index - 1]
            references = round_.references if key.references is None else key.references
            case, after = self._place.case, key.index - 1
            self._start(Ask(case, round_.text, round_.plane, round_.window, references, after=after))
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

    def carry(self, value: int) -> None:
        """Carry a mask through the stack, up and then down, until it stops; each plane is a round."""
        case = self._place.case
        if self.busy or case is None or case.session is None or value not in case.values:
            return
        if case.session.study.planes == 1:
            self._place.say(
                Message("The image has one plane only, so the mask cannot be carried to another."), case
            )
        elif case.session.label(value).verdict == "rejected" or not case.session.label(value).mask.area:
            self._place.say(Message("This mask is empty or rejected. Choose another mask to carry."), case)
        else:
            self._carry(Carried(case, value, value))

    def _carry(self, carried: Carried) -> None:
        layer = carried.case.layer()
        if layer is None:
            self._end_carry(carried, "the image was closed")
            return
        work = partial(carry_on, self._place.segmenter, self._place.project, layer, carried)
        job = self._place.submit(
            work, partial(self._on_carried, carried), partial(self._on_carry_failed, carried), "Carrying …"
        )
        self._task = (job, carried)

    def _on_carried(self, carried: Carried, answered: tuple[Round | str, dict[str, str]]) -> None:
        self._task = None
        case, (found, model) = carried.case, answered
        if isinstance(found, str):
            carried = replace(
                carried, latest=carried.source, steps=carried.steps[1:], stops=(*carried.stops, found)
            )
        else:
            try:
                step = case.session.add(found, model=model)
            except (ValueError, MediRoundError) as error:
                said = str(error) if isinstance(error, MediRoundError) else ELSEWHERE
                self._end_carry(carried, said.rstrip("."))
                return
            value = case.session.label_of(Reference(len(case.conversation)))
            carried = replace(carried, latest=value, values=(*carried.values, value))
            self._place.take(case, step)
        if carried.steps:
            self._carry(carried)
        else:
            self._end_carry(carried, " and ".join(dict.fromkeys(carried.stops)), go_on=True)

    def _on_carry_failed(self, carried: Carried, error: Exception) -> None:
        self._task = None
        self._place.say(explain(error), carried.case)

    def _end_carry(self, carried: Carried, why: str, go_on: bool = False) -> None:
        labels = carried.case.session.state.labels  # without what was undone meanwhile
        values = tuple(value for value in carried.values if value in labels)
        name = labels[carried.source].name if carried.source in labels else "the mask"
        planes, count = sorted(labels[value].plane for value in values), len(values)
        where = f" to {count} planes, {planes[0]} to {planes[-1]}" if planes else " to no plane"
        accept = (Action(f"Accept all {count}", AcceptAll(values)),) if count else ()
        self._place.say(Message(f"Carried {name}{where}. It stopped: {why}.", actions=accept), carried.case)
        ask, self._after_carry = self._after_carry, None
        if ask is None:
            self._answered()
        elif go_on:
            self._go_on(ask, masks_for(carried.case.session, ask.request, ask.result))
        else:
            self._say_left(ask)

    def cancel(self) -> bool:
        """Drop the question that is being answered; it comes back into the input. Return whether one was."""
        if self._task is None:
            return False
        if isinstance(self._task[1], Carried):
            job, carried = self._task
            self._place.cancel(job)
            self._task = None
            self._end_carry(carried, "it was cancelled; undo takes back plane by plane")
            return True
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
        if not ask.number:
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
        one = [replace(ask.request, references=((r.round, r.target),), topic="") for r in masks]
        self._after_carry = replace(ask, request=one[0], rest=(*one[1:], *ask.rest), number=ask.number + 1)
        self.carry(session.label_of(masks[0]))
        if not self.busy:
            self._after_carry = None
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
        if ask.request.action == "ask_back":
            self._say_left(ask)
            self._answered()
        else:
            self._go_on(ask, result_of(round_, round_.references, ask.result))
