"""Requests that are done rather than answered: verdicts, edits, names, moves. Knows no viewer.

A request of several steps is done step after step; a step that fails stops those after it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from napari_mediround.domain.recipes import WITH_OTHERS
from napari_mediround.domain.rounds import Reference, Round
from napari_mediround.errors import MediRoundError
from napari_mediround.journal.entries import StackBegun
from napari_mediround.questions.request import Request
from napari_mediround.session.answering import references_of, wants_table
from napari_mediround.session.record import Step
from napari_mediround.session.replies import FOLLOWED, join, spoken
from napari_mediround.session.session import Session

COMMANDS = ("edit", "verdict", "navigate", "export")
"""Actions that are done; the others are answered with a round."""
NO_MASK = "There is no mask for this yet. Name a structure first."


@dataclass(frozen=True)
class Done:
    """What one step of a request has done.

    Parameters
    ----------
    words : str
        What was done, and to which mask.
    steps : tuple of Step
        Changes of the record, each of which undo takes back.
    result : tuple of Reference
        The masks that it gave or changed: "it" in the step after.
    round : Round, optional
        Where it was a question.
    stack : StackBegun, optional
        What is to be followed through the stack now.
    """

    words: str
    steps: tuple[Step, ...] = ()
    result: tuple[Reference, ...] = ()
    round: Round | None = None
    stack: StackBegun | None = None


class Screen:
    """What commands need of a viewer. This one is for where there is none: it says what to do instead.

    Each method returns a sentence and raises `MediRoundError` where it cannot be done.

    Attributes
    ----------
    plane : int
        Asked about, 0-based.
    window : str, (level, width) or None
        Asked in.
    """

    def __init__(self, plane: int = 0, window: str | tuple[float, float] | None = None) -> None:
        self.plane, self.window = plane, window

    def seen(self, value: int) -> str:
        """Return "" where a mask may be judged, else why it was brought into view first."""
        return ""

    def go_to(self, plane: int) -> str:
        """Ask about another plane from now on."""
        self.plane = plane
        return f"Plane {plane}."

    def set_window(self, window: str | tuple[float, float]) -> str:
        """Ask in another window from now on."""
        self.window = window
        return f"Window: {window if isinstance(window, str) else '{:g}, {:g}'.format(*window)}."

    def show(self, how: str, values: tuple[int, ...]) -> str:
        """Show masks, by their label values: "only", "hide", "show", "select", "goto", "zoom"."""
        raise MediRoundError("There is no viewer here, so masks are neither shown nor hidden.")

    def view(self, name: str) -> str:
        """Show "axial", "coronal" or "sagittal" planes."""
        raise MediRoundError(f"To ask on {name} planes, start again with --view {name}.")

    def set_opacity(self, percent: int) -> str:
        """Set how opaque masks are."""
        raise MediRoundError("There is no viewer here, so masks have no opacity.")

    def set_colour(self, values: tuple[int, ...], colour: str) -> str:
        """Give masks another colour."""
        raise MediRoundError("The colours of masks are fixed, so that a number always has the same one.")

    def fix(self, value: int) -> str:
        """Begin to fix a mask."""
        raise MediRoundError("A mask is fixed in the viewer: open the project in napari and press K.")

    def export(self, form: str, values: tuple[int, ...]) -> str:
        """Begin to export masks in a format of `questions.request.FORMATS`; no values are all."""
        raise MediRoundError("Nothing was exported. Write masks with --out, or use `mediround export`.")

    def stop(self) -> str:
        """Stop what runs."""
        return "Nothing is running."


def is_command(request: Request) -> bool:
    """Whether a step is done rather than answered with a round."""
    return request.action in COMMANDS or is_carry(request)


def is_carry(request: Request) -> bool:
    """Whether a step carries a mask through the stack."""
    return request.action == "segment" and not request.targets and request.scope == "stack"


def masks_for(session: Session, step: Request, result: tuple[Reference, ...]) -> tuple[Reference, ...]:
    """Return the masks that a step is about.

    Parameters
    ----------
    session : Session
        Of the masks.
    step : Request
        One step.
    result : tuple of Reference
        What the step before gave: "it" where the step points at nothing else.
    """
    own = references_of(replace(step, then=()))
    if step.operation in WITH_OTHERS and len(own) == 1 and step.topic.startswith("result"):
        return (*own, *result) if step.topic == "result_last" else (*result, *own)
    if step.targets and step.action == "measure":
        named = [_named(session, str(wanted), wanted.side) for wanted in step.targets]
        if not all(named):
            return ()
        return tuple(dict.fromkeys(r for some in named for r in some))
    return own or (result if step.topic.startswith("result") else ())


def _named(session: Session, name: str, side: str) -> tuple[Reference, ...]:
    """Return the last mask of a structure, of both of a pair where both are meant."""
    names = (name, f"left {name}", f"right {name}") if side == "both" else (name,)
    last = {
        target.structure: Reference(round_.index, k)
        for round_ in session.conversation.rounds
        for k, target in enumerate(round_.targets, 1)
        if target.structure in names and target.mask.area and target.verdict != "rejected"
    }
    return tuple(last.values())


def obey(session: Session, step: Request, result: tuple[Reference, ...], screen: Screen) -> Done:
    """Do one step that is a command.

    Raises
    ------
    MediRoundError
        When it cannot be done; nothing has changed then.
    """
    references = masks_for(session, step, result)
    values = tuple(_on_plane(session, session.label_of(r), screen.plane) for r in references)
    if step.action == "verdict":
        steps, words = _judge(session, step, values, screen)
        kept = () if step.verdict in ("reject", "undo", "redo", "cancel") else references
        return Done(words, steps, kept)
    if step.action == "edit":
        if not references:
            raise MediRoundError(NO_MASK)
        worked = session.work_out(step, references, screen.plane)
        return take_worked(session, worked, step, references)
    if step.action == "export":
        return Done(screen.export(step.export, values), result=references or result)
    return Done(_move(session, step, values, screen), result=references or result)


def take_worked(session: Session, worked, step: Request, references: tuple[Reference, ...]) -> Done:
    """Take an edit that was worked out; its result are the masks that it changed."""
    taken = session.take_edit(worked)
    spared = step.not_into
    changed = references[:1] if step.operation in WITH_OTHERS else references
    kept = tuple(r for r in changed if (r.round, r.target) not in spared)
    return Done(worked.words, (taken,) if taken else (), kept)


def follow(
    session: Session,
    text: str,
    screen: Screen,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[Done]:
    """Do all that a text asks for, step after step; yields what each step has done.

    Raises
    ------
    MediRoundError
        When a step cannot be done; the message says which steps were not done either.
    """
    request = session.understand(text, screen.plane)
    steps, result = request.all_steps, ()
    for number, step in enumerate(steps):
        words = text if not number else in_words(session, step, result, text)
        try:
            if is_carry(step):
                done = _carry(session, masks_for(session, step, result), screen.plane)
            elif is_command(step):
                done = obey(session, step, result, screen)
            else:
                done = _ask(session, step, words, result, screen, cancelled)
        except MediRoundError as error:
            if not (left := not_done(steps[number + 1 :])):
                raise
            raise MediRoundError(f"{error} {left}") from error
        yield done
        result = done.result
        if step.action == "ask_back" and steps[number + 1 :]:
            raise MediRoundError(not_done(steps[number + 1 :]))


def _ask(session, step, words, result, screen, cancelled) -> Done:
    found = masks_for(session, step, result)
    references = found if found or step.action != "segment" else None
    round_ = session.answer(words, screen.plane, references or None, screen.window, cancelled, request=step)
    session.add(round_)
    plan, round_ = session.plan_stack(round_), session.conversation.rounds[-1]
    return Done(round_.answer.text, (), result_of(round_, found, result), round_, plan)


def result_of(
    round_: Round, references: tuple[Reference, ...], before: tuple[Reference, ...]
) -> tuple[Reference, ...]:
    """Return what "it" means after a round: its masks, else those that it was about, else those before."""
    own = tuple(Reference(round_.index, k) for k, t in enumerate(round_.targets, 1) if t.mask.area)
    if round_.answer.absent and not own:
        return ()
    return own or references or before


def _carry(session: Session, references: tuple[Reference, ...], plane: int) -> Done:
    """Say which structures are to be followed through the stack: the caller does that."""
    if not references:
        raise MediRoundError(NO_MASK)
    numbers = tuple(dict.fromkeys(session.conversation.number_of(r) for r in references))
    names = join(session.label(session.label_of(r)).name for r in references)
    plan = StackBegun(numbers, plane, 0, session.study.planes - 1)
    if session.study.planes == 1:
        raise MediRoundError("The image has one plane only, so there is no other plane to propagate to.")
    return Done(FOLLOWED.format(names), result=references, stack=plan)


def not_done(steps: tuple[Request, ...]) -> str:
    """Return the sentence for steps that were not done, "" without any."""
    if not steps:
        return ""
    what = join([_briefly(step) for step in steps])
    return f"What came after was not done: {what}."


def in_words(session: Session, step: Request, result: tuple[Reference, ...], text: str) -> str:
    """Return a step of a text in words, with the masks that it is about: "Volume of [1] and [2]"."""
    masks = masks_for(session, step, result)
    names = join(f"[{session.label(session.label_of(r)).drawn}]" for r in masks)
    said = _briefly(step)
    table = " as a table" if step.action == "measure" and wants_table(text) else ""
    return (
        said[:1].upper() + said[1:] + (f" of {names}" if names and step.action != "segment" else "") + table
    )


def _briefly(step: Request) -> str:
    """Return a step in a few words, without its masks."""
    if step.action == "segment":
        return f"segment {join(spoken(w) for w in step.targets)}" if step.targets else "segment"
    if step.action == "navigate":
        key, value = step.navigate[0]
        return {"show": str(value), "to": f"plane {value}", "by": f"{value:+} planes"}.get(
            key, f"{value} {key}"
        )
    words = {
        "edit": step.operation,
        "measure": step.measure.replace("_", " "),
        "verdict": step.verdict,
        "export": f"export as {step.export}",
    }
    return words.get(step.action, "question")


def _on_plane(session: Session, value: int, plane: int) -> int:
    """Return the label value of a mask on the plane asked about, where it lies there; else its own."""
    own = session.label(value)
    here = (
        label.value
        for label in session.state.shown
        if (label.drawn, label.plane) == (own.drawn, plane) and label.mask.area
    )
    return next(here, value)


def _where(session: Session, values: tuple[int, ...]) -> str:
    """Return masks with their planes in words: "1 liver (axial plane 10)"."""
    name = session.study.geometry.plane_name
    labels = [session.label(value) for value in values]
    return join(f"{label.name} ({f'{name} plane {label.plane}'.strip()})" for label in labels)


def _judge(
    session: Session, step: Request, values: tuple[int, ...], screen: Screen
) -> tuple[tuple[Step, ...], str]:
    """Do a verdict; return the changes and what was done."""
    if step.verdict == "cancel":
        return (), screen.stop()
    if step.verdict in ("undo", "redo"):
        return _step_back(session, step)
    if not values:
        raise MediRoundError(NO_MASK)
    if step.verdict == "rename":
        before = session.label(values[0]).name
        done = session.rename(values[0], step.rename)
        return (done,), f"{before} is {session.label(values[0]).name} now."
    if step.verdict == "fix":
        if len(values) > 1:
            raise MediRoundError("One mask is fixed at a time. Say its number.")
        return (), screen.fix(values[0])
    if len(values) == 1 and (why := screen.seen(values[0])):
        raise MediRoundError(why)
    if step.verdict == "reject":
        wanted = [value for value in values if session.label(value).verdict != "rejected"]
        if not wanted:
            raise MediRoundError(f"{_where(session, values)} was rejected already.")
        return (session.reject(*wanted),), f"Rejected {_where(session, tuple(wanted))}."
    return _accept(session, values)


def _accept(session: Session, values: tuple[int, ...]) -> tuple[tuple[Step, ...], str]:
    wanted = tuple(value for value in values if not session.label(value).locked)
    if not wanted:
        return (), f"{_where(session, values)} was accepted already."
    under: dict[str, int] = {}
    for value in wanted:
        for other, pixels in session.overlaps(value).items():
            under[session.label(other).name] = under.get(session.label(other).name, 0) + pixels
    done = session.accept(*wanted)
    said = f"Accepted {_where(session, wanted)}."
    return (done,), said + "".join(f" {n:,} pixels stay with {name}." for name, n in under.items())


def _step_back(session: Session, step: Request) -> tuple[tuple[Step, ...], str]:
    done = []
    for _ in range(step.steps):
        if not (session.undoable if step.verdict == "undo" else session.redoable):
            break
        done.append(session.undo() if step.verdict == "undo" else session.redo())
    if not done:
        raise MediRoundError(f"There is nothing to {step.verdict}.")
    verb = "Taken back" if step.verdict == "undo" else "Done again"
    return tuple(done), f"{verb}: {join(one.words for one in done)}."


def _move(session: Session, step: Request, values: tuple[int, ...], screen: Screen) -> str:
    """Do a navigation; return what was done."""
    key, value = step.navigate[0]
    if key in ("to", "by"):
        plane = int(value) if key == "to" else screen.plane + int(value)
        last = session.study.planes - 1
        if not 0 <= plane <= last:
            raise MediRoundError(f"There is no plane {plane}. The study has planes 0 to {last}.")
        return screen.go_to(plane)
    if key == "show":
        everyone = tuple(label.value for label in session.state.shown if label.mask.area)
        if not values and value in ("only", "select", "goto", "zoom"):
            raise MediRoundError(NO_MASK)
        return screen.show(str(value), values or everyone)
    if key == "window":
        text = str(value)
        if "," not in text:
            return screen.set_window(text)
        level, width = (float(number) for number in text.split(","))
        if width <= 0:
            raise MediRoundError("A window has a level and a positive width: “level 40, width 400”.")
        return screen.set_window((level, width))
    if key == "view":
        return screen.view(str(value))
    if key == "opacity":
        return screen.set_opacity(int(value))
    return screen.set_colour(values, str(value))
