"""Structures followed through the stack in the background: begin, pause, go on, cancel, what comes after."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from napari_mediround.errors import MediRoundError
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session import Propagation
from napari_mediround.session.stack.propagation import PlaneFound
from napari_mediround.session.stack.standing import doubtful_beside, doubtful_planes, gaps_beside, planes_of
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.sight import Sight
from napari_mediround.widget.chat.turn import explain, find_plane
from napari_mediround.widget.chat.view import KEYS, Action, Message, StackState
from napari_mediround.widget.stack.stack_lines import AcceptAll, Follow, GoOn, NextDoubtful
from napari_mediround.widget.worker import Job

ONE_PLANE = "The image has one plane only, so there is no other plane to propagate the mask to."
NO_MASK = "This mask is empty or rejected. Choose another mask to propagate."
ONE_RUN = "Other structures are being propagated. Wait for them, or cancel them, and then click Propagate."
CLOSED = "The image was closed. Open the image again to go on."
LISTED = 4
"""So many doubtful planes are named, the worst first."""


@dataclass(eq=False)
class Run:
    """What is being followed now; `job` is its work on one plane, None while it is paused.

    `then` is called at the end, with whether it was done.
    """

    case: Case
    loop: Propagation
    job: Job | None = None
    paused: bool = False
    plane: int | None = None
    then: Callable[[bool], None] | None = None


class Stacking:
    """One run at a time.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker, model.
    sight : Sight
        Moves the viewer along where the person wants that.
    choose : callable
        Makes a mask, by its label value, the current one and brings it into view.
    """

    def __init__(self, place: Workplace, sight: Sight, choose: Callable[[int], None]) -> None:
        self._place, self._sight, self._choose = place, sight, choose
        self._run: Run | None = None
        self._follows = False
        place.case_opened.connect(self._on_case_opened)
        place.view.run_step_chosen.connect(self.step)

    @property
    def busy(self) -> bool:
        """Whether something is being followed, or waits for it."""
        return self._run is not None

    def follow(self, case: Case, plan: StackBegun, then: Callable[[bool], None] | None = None) -> None:
        """Begin to follow structures; `then` is called at the end, with whether it was done."""
        try:
            if case.session.study.planes == 1:
                raise MediRoundError(ONE_PLANE)
            loop = Propagation.begin(case.session, plan) if self._run is None else None
        except MediRoundError as error:
            loop, said = None, explain(error)
        else:
            said = Message(ONE_RUN, actions=(Action("Propagate", Follow(plan)),))
        if loop is not None:
            self._begin(case, loop, then)
            return
        self._place.say(said, case)
        if then is not None:
            then(False)

    def follow_mask(self, value: int) -> None:
        """Follow the structure of a mask, by its label value, through the whole stack."""
        case = self._place.case
        if case is None or case.session is None or value not in case.values:
            return
        label, planes = case.session.label(value), case.session.study.planes
        if planes == 1:
            self._place.say(Message(ONE_PLANE), case)
        elif label.verdict == "rejected" or not label.mask.area:
            self._place.say(Message(NO_MASK), case)
        else:
            self.follow(case, StackBegun((label.drawn,), label.plane, 0, planes - 1))

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        case = self._place.case
        if not isinstance(key, Follow | GoOn | NextDoubtful) or case is None or case.session is None:
            return False
        if isinstance(key, Follow):
            self.follow(case, key.plan)
        elif isinstance(key, NextDoubtful):
            self.next_doubtful(key.number)
        elif key.ends:
            case.session.end_stack()
            self._place.refresh(case)
        elif self._run is None and (loop := Propagation.resume(case.session)):
            self._begin(case, loop)
        return True

    def step(self, step: str) -> None:
        """Pause, resume or cancel the run, or let the viewer go along with it, or not ("follow")."""
        run = self._run
        if run is None:
            return
        if step == "cancel":
            self.cancel()
            return
        if step == "follow":
            self._follows = not self._follows
        elif step == "pause":
            run.paused = True
        elif run.paused:
            run.paused = False
            if run.job is None:
                self._look(run)
        self._show()

    def cancel(self) -> bool:
        """End the run; what it found stays. Return whether there was one."""
        if self._run is None:
            return False
        self._stop()
        self._end("it was cancelled; undo (U) takes back all that it found")
        return True

    def leave(self) -> None:
        """Stop, so that the run goes on when the project is opened again."""
        if self._run is not None:
            self._stop()
            self._run = None
            self._show()

    def next_doubtful(self, number: int = 0) -> None:
        """Go to the next doubtful plane of a structure, the worst first; without a number of that at hand."""
        case = self._place.case
        if case is None or case.session is None:
            return
        state = case.session.state
        numbers = [number] if number else [case.session.label(case.current).drawn] if case.current else []
        numbers += [] if number else sorted({label.drawn for label in state.shown} - set(numbers))
        worst = [mask.value for one in numbers for mask in doubtful_planes(state, one)]
        worst = [value for value in worst if value in case.values]
        at = worst.index(case.current) + 1 if case.current in worst else 0
        if worst:
            self._choose(worst[at % len(worst)])
        else:
            self._place.say(Message("No plane is doubtful."), case)

    def offer(self, case: Case, value: int) -> None:
        """Offer what a verdict on a plane makes possible: to renew doubtful planes, to fill a gap."""
        session = case.session
        label, state = session.label(value), session.state
        if not (label.locked and label.mask.area) or self._run is not None:
            return
        number, plane = label.drawn, label.plane
        if doubtful := doubtful_beside(state, number, plane):
            plan = StackBegun((number,), plane, doubtful[0], doubtful[-1], doubtful)
            words = f"Renew {_count(len(doubtful), 'doubtful plane')}"
            text = f"{label.name} is doubtful on {_named(doubtful)}, beside the plane that you judged."
            self._place.say(Message(text, actions=(Action(words, Follow(plan)),)), case)
        masks = {mask.plane for mask in planes_of(state, number)}
        for low, high in gaps_beside(state, number, plane):
            empty = tuple(p for p in range(low + 1, high) if p not in masks)
            plan = StackBegun((number,), low, low + 1, high - 1, empty, fills=True)
            text = f"{label.name} has no mask on {_named(empty)}, between two planes that you accepted."
            words = f"Fill {_count(len(empty), 'plane')}"
            self._place.say(Message(text, actions=(Action(words, Follow(plan)),)), case)

    # The loop.

    def _begin(self, case: Case, loop: Propagation, then: Callable[[bool], None] | None = None) -> None:
        self._run = Run(case, loop, then=then)
        self._place.refresh(case)  # what offered to go on is done
        self._look(self._run)
        self._show()

    def _look(self, run: Run) -> None:
        layer = run.case.layer()
        if layer not in self._place.images:
            self._place.say(Message(CLOSED), run.case)
            self.leave()
            return
        place = self._place
        work = partial(find_plane, place.segmenter, place.project, run.case, layer, run.loop)
        run.job = place.submit(work, partial(self._on_found, run), partial(self._on_failed, run))

    def _on_found(self, run: Run, answered: tuple[PlaneFound | None, dict[str, str]]) -> None:
        run.job, (found, model) = None, answered
        if found is None:
            self._end()
            return
        try:
            step = run.loop.take(found, model)
        except (ValueError, MediRoundError):
            self._end("the conversation has changed since")
            return
        run.plane = found.plane
        if step is not None:
            self._place.take(run.case, step)
            if self._follows and run.case is self._place.case:
                self._sight.go_to(found.plane)
        if not run.paused:
            self._look(run)
        self._show()

    def _on_failed(self, run: Run, error: Exception) -> None:
        run.job, run.paused = None, True
        self._place.say(explain(error), run.case)
        self._show()

    def _stop(self) -> None:
        if self._run.job is not None:
            self._place.cancel(self._run.job)
            self._run.job = None

    def _end(self, why: str = "") -> None:
        """Say how far each structure went, and ask about its doubtful planes."""
        run, self._run = self._run, None
        self._show()
        if run.case.session is None:  # the project was closed
            return
        try:
            run.case.session.end_stack()
        except MediRoundError as error:
            self._place.say(explain(error), run.case)
        for number in run.loop.plan.numbers:
            self._place.say(self._tell(run, number, why), run.case)
        if run.then is not None:
            run.then(not why)

    def _tell(self, run: Run, number: int, why: str) -> Message:
        state, loop = run.case.session.state, run.loop
        if number not in state.labels:
            return Message(f"It stopped: {why}.")
        name, planes = state.labels[number].name, loop.planes_of(number)
        masks = {mask.plane: mask for mask in planes_of(state, number)}
        done = [masks[plane] for plane in planes if plane in masks]
        doubtful = [mask for mask in doubtful_planes(state, number) if mask in done]
        text = f"Propagated {name} {loop.told(number)}. It stopped: {why or loop.why(number)}."
        actions = []
        if doubtful:
            worst = tuple(mask.plane for mask in doubtful[:LISTED])
            more = " first" if len(doubtful) > LISTED else ""
            one = len(doubtful) == 1
            text += (
                f" {_count(len(doubtful), 'plane')} {'is' if one else 'are'} doubtful: {_named(worst)}{more}."
            )
            actions.append(Action(f"Next doubtful ({KEYS['doubtful']})", NextDoubtful(number)))
        sure = tuple(mask.value for mask in done if mask.standing == "proposed")
        if sure and not doubtful:
            actions.append(Action(f"Accept all {len(sure)}", AcceptAll(sure)))
        return Message(text, actions=tuple(actions))

    def _show(self) -> None:
        run = self._run
        if run is None or run.case.session is None:
            self._place.view.show_stack(None)
            return
        labels = run.case.session.state.labels
        names = ", ".join(labels[number].name for number in run.loop.plan.numbers if number in labels)
        where = "" if run.plane is None else f": plane {run.plane}"
        done, steps = run.loop.done, run.loop.steps
        self._place.view.show_stack(StackState(f"{names}{where}", done, steps, run.paused, self._follows))

    def _on_case_opened(self, case: Case) -> None:
        """Offer to go on with a run that a restart cut off."""
        loop = Propagation.resume(case.session) if self._run is None and case.session else None
        if loop is None:
            return
        labels = case.session.state.labels
        names = ", ".join(labels[number].name for number in loop.plan.numbers if number in labels)
        text = f"{names} was being propagated: {loop.done} of {loop.steps} planes are done."
        actions = (Action("Go on", GoOn()), Action("End it", GoOn(ends=True)))
        self._place.say(Message(text, actions=actions), case)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _named(planes: tuple[int, ...]) -> str:
    """Return planes in words: "plane 3", "planes 3 to 7", "planes 3, 5 and 9"."""
    if len(planes) == 1:
        return f"plane {planes[0]}"
    if list(planes) == list(range(planes[0], planes[-1] + 1)) and len(planes) > 2:
        return f"planes {planes[0]} to {planes[-1]}"
    return f"planes {', '.join(map(str, planes[:-1]))} and {planes[-1]}"
