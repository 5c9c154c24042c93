"""Fix a mask in place: by hand with napari's tools, or with clicks and boxes that the model answers."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter

import numpy as np

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.domain.windows import window_for_question
from napari_mediround.errors import MediRoundError
from napari_mediround.widget.case import Case
from napari_mediround.widget.mask_layer import label_colour
from napari_mediround.widget.scratch import Scratch, visible_plane
from napari_mediround.widget.turn import explain
from napari_mediround.widget.verdicts import Verdicts
from napari_mediround.widget.view import FixState, Message
from napari_mediround.widget.worker import Job
from napari_mediround.widget.workplace import Workplace

DROPPED = "The layer of the fix was removed, so the fix was dropped. The mask is as it was before."
HINTS = {
    "": "Choose a tool.",
    "paint": "Paint on the image; hold Space to move it.",
    "erase": "Erase on the image; hold Space to move it.",
    "fill": "Click to fill; hold Space to move the image.",
    "inside": "Click inside the structure. Alt and click is outside.",
    "outside": "Click where the structure is not. Alt and click is inside.",
    "box": "Drag a box around the structure.",
}


@dataclass(eq=False)
class Fix:
    """A fix under way.

    Parameters
    ----------
    case : Case
        Of the mask.
    value : int
        Its label value.
    scratch : Scratch
        Its layers.
    model_mask : Mask
        The last one that came from the model; what differs from it was drawn by hand.
    """

    case: Case
    value: int
    scratch: Scratch
    model_mask: Mask
    points_xy: list[tuple[float, float]] = field(default_factory=list)
    positive: list[bool] = field(default_factory=list)
    box_xyxy: tuple[float, float, float, float] | None = None
    began: float = field(default_factory=perf_counter)
    job: Job | None = None


class Fixing:
    """One fix at a time.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker, model.
    verdicts : Verdicts
        Tells of masks that lie under the fixed one.
    """

    def __init__(self, place: Workplace, verdicts: Verdicts) -> None:
        self._place, self._verdicts = place, verdicts
        self._fix: Fix | None = None

    @property
    def busy(self) -> bool:
        """Whether a mask is being fixed."""
        return self._fix is not None

    def start(self, case: Case, value: int, show_plane) -> None:
        """Begin to fix a mask; `show_plane` brings its plane into sight."""
        layer = case.layer()
        if self.busy or layer not in self._place.images:
            return
        label = case.session.label(value)
        show_plane(label.plane)
        case.hidden = value
        self._place.show_masks(case, {label.plane})
        me = weakref.proxy(self)
        scratch = Scratch(
            self._place.viewer, layer, case.grid, label.plane, label.mask.to_array(), label.name,
            label_colour(label.drawn), lambda *at: me.click(*at), lambda box: me.box(box), lambda: me.show(),
        )  # fmt: skip
        self._fix = Fix(case, value, scratch, label.mask)
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
        """Undo or redo a stroke or an answer."""
        if self._fix is not None:
            layer = self._fix.scratch.layer
            layer.undo() if name == "undo" else layer.redo()

    def look(self) -> None:
        """See what the viewer shows now: a mask is drawn on its own plane only."""
        fix = self._fix
        if fix is None:
            return
        layer = fix.case.layer()
        if layer in self._place.images:
            fix.scratch.guard(visible_plane(self._place.viewer, layer, fix.case.grid))
        self.show()

    def check_layers(self) -> None:
        """Drop the fix if its layer was removed."""
        if self._fix is not None and not self._fix.scratch.there:
            case = self._fix.case
            self.drop()
            self._place.say(Message(DROPPED), case)

    def click(self, x: float, y: float, inside: bool) -> None:
        """Let the model answer one click more."""
        self._fix.points_xy.append((x, y))
        self._fix.positive.append(inside)
        self._answer()

    def box(self, box_xyxy: tuple[float, float, float, float]) -> None:
        """Let the model answer a box, in place of the one before."""
        self._fix.box_xyxy = box_xyxy
        self._answer()

    def cancel(self) -> bool:
        """Wait no longer for the model; return whether it was waited for."""
        fix = self._fix
        if fix is None or fix.job is None:
            return False
        self._place.cancel(fix.job)
        fix.job = None
        return True

    def end(self, reason: str) -> None:
        """Keep the mask as it is now, for a reason ("" drops the fix)."""
        fix = self._fix
        if fix is None:
            return
        if not reason:
            self.drop()
            return
        case, session, after = fix.case, fix.case.session, fix.scratch.mask()
        painted = int((after != fix.model_mask.to_array()).sum())
        prompts = Prompts(tuple(fix.points_xy), tuple(fix.positive), fix.box_xyxy, painted)
        mask = Mask.from_array(after)
        keep = partial(
            session.fix, fix.value, mask, seconds=perf_counter() - fix.began, prompts=prompts, reason=reason
        )
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

    def drop(self) -> None:
        """End the fix and leave the mask as it was."""
        fix = self._fix
        if fix is None:
            return
        self.cancel()
        self._fix = None
        fix.case.hidden = 0
        fix.scratch.remove()
        self._place.show_masks(fix.case, {fix.case.session.label(fix.value).plane})
        self._place.view.show_fix(None)

    def show(self) -> None:
        """Show the tools of the fix."""
        fix = self._fix
        if fix is None:
            return
        label = fix.case.session.label(fix.value)
        tool = fix.scratch.tool
        editable = fix.scratch.layer.editable
        hint = HINTS[tool] if editable else f"The mask lies on plane {label.plane}: go there to fix it."
        self._place.view.show_fix(FixState(label.name, tool if editable else "", hint))

    def _answer(self) -> None:
        fix = self._fix
        self.cancel()
        fix.scratch.mark(fix.points_xy, fix.positive, fix.box_xyxy)
        session, label = fix.case.session, fix.case.session.label(fix.value)
        round_ = session.rounds[label.round]
        window = round_.window or window_for_question(round_.text)
        points = np.array(fix.points_xy, float) if fix.points_xy else None
        positive = np.array(fix.positive, bool) if fix.points_xy else None
        box = None if fix.box_xyxy is None else np.array(fix.box_xyxy, float)
        previous = fix.model_mask

        def refine(job: Job) -> tuple[Mask, float]:
            session.prepare(label.plane, window)
            return session.segmenter.refine(points, positive, box, previous)

        fix.job = self._place.submit(
            refine, self._on_answered, self._on_failed, "the model looks at the clicks …"
        )

    def _on_answered(self, answer: tuple[Mask, float]) -> None:
        if self._fix is not None:
            self._fix.job = None
            self._fix.model_mask, _quality = answer
            self._fix.scratch.put(self._fix.model_mask.to_array())

    def _on_failed(self, error: Exception) -> None:
        if self._fix is not None:
            self._fix.job = None
            self._place.say(explain(error), self._fix.case)
