"""Fix a mask in place: by hand with napari's tools, or with clicks and boxes that the model answers."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from time import perf_counter

import numpy as np

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.domain.windows import choose_window
from napari_mediround.errors import MediRoundError
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.keys import bind_ends, bind_undo
from napari_mediround.widget.chat.turn import explain
from napari_mediround.widget.chat.verdict_actions import Verdicts
from napari_mediround.widget.chat.view import FixState, Message
from napari_mediround.widget.layers.fix_layer import Scratch
from napari_mediround.widget.layers.mask_layer import label_colour
from napari_mediround.widget.worker import Job

WAIT = "The model is still processing your last click. Wait for it, or press Esc to discard the click."
DROPPED = "The layer of the fix was removed, so the fix was dropped. The mask is as it was before."
NO_REJECT = "N rejects a mask. To leave this mask as it was, drop the fix (Esc)."
HINTS = {
    "": "Choose a tool.",
    "paint": "Paint on the image; hold Space to move it.",
    "erase": "Erase on the image; hold Space to move it.",
    "fill": "Click to fill; hold Space to move the image.",
    "inside": "Click inside the structure. Alt and click marks a place outside.",
    "outside": "Click where the structure is not. Alt and click marks a place inside.",
    "box": "Drag a box around the structure.",
}


@dataclass(frozen=True)
class Told:
    """What the model was told in a fix so far, and what it answered: at first the mask to be fixed.

    `quality` is what it judges of its answer, 0…1; None before the first.
    """

    mask: Mask
    points_xy: tuple[tuple[float, float], ...] = ()
    positive: tuple[bool, ...] = ()
    box_xyxy: tuple[float, float, float, float] | None = None
    quality: float | None = None


@dataclass(frozen=True)
class Answered:
    """One answer: the mask that it replaced, strokes and all, and what was told before and with it."""

    over: Mask
    before: Told
    told: Told


@dataclass(eq=False)
class Fix:
    """A fix under way.

    Parameters
    ----------
    case : Case
        Of the mask.
    value : int
        Its label value.
    plane : int
        That it lies on.
    scratch : Scratch
        Its layers.
    told : Told
        What shows; what differs from its mask was drawn by hand.
    asked : Told or None
        What the model is being told, with the mask before; `job` is its work.
    answers, undone : list of Answered
        Those in force, and those that undo took back.
    """

    case: Case
    value: int
    plane: int
    scratch: Scratch
    told: Told
    asked: Told | None = None
    answers: list[Answered] = field(default_factory=list)
    undone: list[Answered] = field(default_factory=list)
    began: float = field(default_factory=perf_counter)
    job: Job | None = None

    def step_back(self, name: str) -> None:
        """Undo or redo in the layer, which knows strokes and answers alike; what was told goes with these."""
        undo, before = name == "undo", Mask.from_array(self.scratch.mask())
        here, there = (self.answers, self.undone) if undo else (self.undone, self.answers)
        last = here[-1] if here else None
        if not (last and before == last.over == last.told.mask):  # the layer has no step for no change
            self.scratch.layer.undo() if undo else self.scratch.layer.redo()
        after = Mask.from_array(self.scratch.mask())
        way = last and ((last.told.mask, last.over) if undo else (last.over, last.told.mask))
        if (before, after) == way:
            there.append(here.pop())
            self.told = last.before if undo else last.told
            self.mark(self.told)

    def mark(self, told: Told) -> None:
        """Show clicks and box."""
        self.scratch.mark(told.points_xy, told.positive, told.box_xyxy)


class Fixing:
    """One fix at a time.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker, model.
    verdicts : Verdicts
        Tells of masks that lie under the fixed one.
    act : callable
        Called with the key where `keys.ENDS` is pressed on the layer of a fix.
    """

    def __init__(self, place: Workplace, verdicts: Verdicts, act: Callable[[str], None]) -> None:
        self._place, self._verdicts, self._act = place, verdicts, act
        self._fix: Fix | None = None

    @property
    def busy(self) -> bool:
        """Whether a mask is being fixed."""
        return self._fix is not None

    def start(self, case: Case, value: int, show_plane) -> None:
        """Begin to fix a mask with clicks; `show_plane` brings its plane into sight."""
        layer = case.layer()
        if self.busy or layer not in self._place.images:
            return
        label = case.session.label(value)
        show_plane(label.plane)
        case.hidden = value
        self._place.show_masks(case, {label.plane})
        self._place.current_changed.emit()
        me = weakref.proxy(self)
        scratch = Scratch(
            self._place.viewer, layer, case.grid, label.plane, label.mask.to_array(), label.name,
            label_colour(label.drawn), lambda *at: me.click(*at), lambda box: me.box(box), lambda: me.show(),
        )  # fmt: skip
        bind_undo(scratch.layer, lambda name: me.step_back(name))
        bind_ends(scratch.layer, self._act)
        self._fix = Fix(case, value, label.plane, scratch, Told(label.mask))
        scratch.take("inside")
        self.look()

    def take(self, tool: str) -> None:
        """Take a tool into hand."""
        if self._fix is not None:
            self._fix.scratch.take(tool)

    def next_answered(self) -> None:
        """Take the next tool that the model answers."""
        if self._fix is not None:
            self._fix.scratch.next_answered()

    def step_back(self, name: str) -> None:
        """Undo or redo a stroke or an answer with its click; a click not answered yet goes first."""
        fix = self._fix
        if fix is None or (self.cancel() and name == "undo"):
            return
        fix.step_back(name)

    def look(self) -> None:
        """See what the viewer shows now: a mask is drawn on its own plane only."""
        fix = self._fix
        if fix is None:
            return
        layer = fix.case.layer()
        if layer in self._place.images:
            fix.scratch.guard()
        self.show()

    def check_layers(self) -> None:
        """Drop the fix if its layer was removed."""
        if self._fix is not None and not self._fix.scratch.there:
            case = self._fix.case
            self.drop()
            self._place.say(Message(DROPPED), case)

    def click(self, x: float, y: float, inside: bool) -> None:
        """Let the model answer one click more."""
        told = self._fix.asked or self._fix.told
        self._answer(replace(told, points_xy=(*told.points_xy, (x, y)), positive=(*told.positive, inside)))

    def box(self, box_xyxy: tuple[float, float, float, float]) -> None:
        """Let the model answer a box, in place of the one before."""
        self._answer(replace(self._fix.asked or self._fix.told, box_xyxy=box_xyxy))

    def cancel(self) -> bool:
        """Wait no longer for the model, whose click goes; return whether it was waited for."""
        fix = self._fix
        if fix is None or fix.job is None:
            return False
        self._place.cancel(fix.job)
        self._stop_waiting(fix)
        return True

    def _stop_waiting(self, fix: Fix) -> None:
        fix.job = fix.asked = None
        fix.mark(fix.told)

    def refuse(self) -> None:
        """Say that a mask is not rejected while it is fixed."""
        if self._fix is not None:
            self.show(NO_REJECT)

    def end(self, reason: str) -> None:
        """Keep the mask as it is now, for a reason ("" is none)."""
        fix = self._fix
        if fix is None:
            return
        if fix.job is not None:  # nobody has seen the mask that it will be
            self._place.say(Message(WAIT), fix.case)
            return
        case, session, after = fix.case, fix.case.session, fix.scratch.mask()
        if not (after.any() or session.label(fix.value).found):  # nothing was there, and nothing was drawn
            self.drop()
            return
        painted = int((after != fix.told.mask.to_array()).sum())
        prompts = Prompts(fix.told.points_xy, fix.told.positive, fix.told.box_xyxy, painted)
        mask = Mask.from_array(after)
        keep = partial(
            session.fix, fix.value, mask, seconds=perf_counter() - fix.began, prompts=prompts, reason=reason,
            quality=fix.told.quality if not painted else None,
        )  # fmt: skip
        under = {v: n for v, n in session.overlaps(fix.value, mask).items() if v != fix.value}
        try:
            step = keep()
        except MediRoundError as error:
            self._place.say(Message(f"{error} The fix is still open."), case)
            return
        elsewhere = fix.scratch.elsewhere()
        self.drop()
        self._verdicts.start_clock()
        self._place.take(case, step)
        if elsewhere:
            text = f"{elsewhere:,} voxels on other planes were not taken: a mask lies on one plane."
            self._place.say(Message(text), case)
        self._verdicts.tell_overlap(case, fix.value, under, keep)
        self._verdicts.judged.emit(case, fix.value)

    def drop(self) -> None:
        """End the fix and leave the mask as it was."""
        fix = self._fix
        if fix is None:
            return
        self.cancel()
        self._fix = None
        fix.case.hidden = 0
        fix.scratch.remove()
        self._place.view.show_fix(None)
        self._place.show_masks(fix.case, {fix.plane})
        self._place.current_changed.emit()

    def show(self, hint: str = "") -> None:
        """Show the tools of the fix, and what to do now."""
        fix = self._fix
        if fix is None:
            return
        name, tool = fix.case.session.label(fix.value).name, fix.scratch.tool
        editable = fix.scratch.layer.editable
        if not editable:
            hint = f"The mask lies on plane {fix.plane}: go there to fix it."
        hint = hint or HINTS[tool]
        self._place.view.show_fix(FixState(name, tool if editable else "", hint))

    def _answer(self, asked: Told) -> None:
        fix = self._fix
        self.cancel()
        fix.asked = asked
        fix.mark(asked)
        session = fix.case.session
        round_ = session.rounds[session.label(fix.value).round]
        window = choose_window(session.study, round_.text, round_.window)
        points = np.array(asked.points_xy, float) if asked.points_xy else None
        positive = np.array(asked.positive, bool) if asked.points_xy else None
        box = None if asked.box_xyxy is None else np.array(asked.box_xyxy, float)

        def refine(job: Job) -> tuple[Mask, float]:
            session.prepare(fix.plane, window)
            return session.segmenter.refine(points, positive, box, asked.mask)

        fix.job = self._place.submit(
            refine, self._on_answered, self._on_failed, "The model is processing the clicks …"
        )

    def _on_answered(self, answer: tuple[Mask, float]) -> None:
        fix = self._fix
        if fix is None:
            return
        over, told = (
            Mask.from_array(fix.scratch.mask()),
            replace(fix.asked, mask=answer[0], quality=answer[1]),
        )
        fix.answers.append(Answered(over, fix.told, told))
        fix.job, fix.asked, fix.told, fix.undone = None, None, told, []
        fix.scratch.put(told.mask.to_array())

    def _on_failed(self, error: Exception) -> None:
        if self._fix is not None:
            self._stop_waiting(self._fix)
            self._place.say(explain(error), self._fix.case)
