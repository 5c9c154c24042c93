"""What the parts of the controller share: viewer, view, worker, model, project, and the image at hand."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

import numpy as np
from napari.layers import Image, Labels
from psygnal import Signal

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.study import Study
from napari_mediround.questions.suggestions import suggest_questions
from napari_mediround.session import Step
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.keys import bind_undo
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.chat.view import ChatView, Entry, Message
from napari_mediround.widget.layers import mask_layer
from napari_mediround.widget.layers.layer_geometry import FIXED_KEY, STUDY_KEY
from napari_mediround.widget.lazy_model import LazySegmenter
from napari_mediround.widget.tasks import TaskBook
from napari_mediround.widget.worker import Job, Progress, Worker


class Workplace:
    """Shows the case at hand, and keeps its Labels layer equal to its session.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    view : ChatView
        What the user sees.
    worker : Worker
        Where slow work is done.
    segmenter : LazySegmenter
        The model.
    project : Project
        Where the rounds are kept.

    Attributes
    ----------
    case : Case or None
        The image that is asked about.
    images : list of Image
        Those of the viewer.
    lone : Entry or None
        The line that is shown while there is no image.
    free_text : bool
        Whether the language model may answer what draws nothing.
    tasks : TaskBook
        What the worker does for the chat.
    """

    changed = Signal()
    """Another project is open, or something was done in it."""

    case_opened = Signal(object)
    """(case) whose rounds have come back from the project."""

    current_changed = Signal()
    """The keys may act on another mask than before, or on none."""

    def __init__(
        self, viewer, view: ChatView, worker: Worker, segmenter: LazySegmenter, project: Project
    ) -> None:
        self.viewer, self.view, self.worker, self.segmenter = viewer, view, worker, segmenter
        self.project = project
        self.case: Case | None = None
        self.images: list[Image] = []
        self.lone: Entry | None = None
        self.free_text = False
        self.tasks = TaskBook(worker)
        self._laid_out: Callable[[], Case | None] = _nobody
        self.tasks.changed.connect(self._on_tasks)

    # Slow work.

    def submit(
        self,
        work: Callable[[Job], object],
        done: Callable[[object], None],
        failed: Callable[[Exception], None],
        words: str = "",
    ) -> Job:
        """Let the worker do something, as `TaskBook.submit`; the view shows `words` at first."""
        return self.tasks.submit(work, done, failed, words)

    def cancel(self, job: Job) -> None:
        """Cancel a job and ignore its result."""
        self.tasks.cancel(job)

    def change_device(self, device: str) -> None:
        """Move the model to another device, on the worker."""
        self.submit(
            lambda job: self.segmenter.change_device(device),
            lambda _: self.show_status(),
            lambda error: self.say(Message(str(error), is_error=True)),
        )

    def cancel_all(self) -> None:
        """Cancel all jobs and ignore their results."""
        self.tasks.cancel_all()

    def _on_tasks(self) -> None:
        task = self.tasks.shown
        now = task.progress if task is not None else Progress("")
        self.view.show_busy(now.words, now.done, now.steps)
        self.show_status()

    # The chat.

    def layer(self) -> Image | None:
        """Return the image asked about, if the viewer still has it."""
        layer = self.case and self.case.layer()
        return layer if layer in self.images else None

    def say(self, entry: Entry, case: Case | None = None) -> None:
        """Put a line that is no round into the chat of a case, by default of the one at hand."""
        case = case or self.case
        if case is None:
            self.lone = entry
            self.view.show_entries([entry])
            return
        case.remark(entry)
        self.refresh(case)

    def refresh(self, case: Case | None) -> None:
        """Show the chat of a case, if it is the one at hand."""
        self.changed.emit()
        if case is not self.case:
            return
        if case is None:
            self.lone = None
            self.view.show_entries([])
            self.view.show_current(0, "", "")
            self.view.show_suggestions(())
            self.current_changed.emit()
            return
        session = case.session
        if session is not None:
            case.choose_current()
        self.view.show_entries(case.entries)
        undo, redo = (session.undoable, session.redoable) if session is not None else ("", "")
        self.view.show_current(case.current, undo, redo)
        study = case.layer() and case.layer().metadata.get(STUDY_KEY)
        modality = study.modality if isinstance(study, Study) else ""
        geometry = case.grid.geometry
        self.view.show_suggestions(suggest_questions(load_anatomy(), geometry, modality, case.conversation))
        self.current_changed.emit()

    def show_status(self) -> None:
        """Show with what the model works, and what waits for it."""
        about = self.segmenter.describe()
        about.pop("adapter_sha256", None)  # for the journal
        if about.get("adapter"):
            about["adapter"] = f"adapter {about['adapter']}"
        words = [word for word in about.values() if word] or ["no model yet"]
        waiting = len(self.tasks) - 1
        self.view.show_status(" · ".join([*words, *([f"{waiting} waiting"] if waiting > 0 else [])]))

    def allow_free_text(self, allowed: bool) -> None:
        """Let the language model answer what draws nothing, marked as unverified, or not."""
        self.free_text = allowed

    # The Labels layer.

    def take(self, case: Case, step: Step) -> None:
        """Show what a step has changed."""
        if notes := case.untold():
            case.remark(Message(f"Noted while the image was read: {'; '.join(notes)}."))
        self.show_masks(case, step.planes)
        self.record_masks(case)
        self.refresh(case)

    def show_masks(self, case: Case, planes: Iterable[int]) -> None:
        """Copy planes of the session into the Labels layer; all of them where the layer is not there."""
        layer, session = case.layer(), case.session
        if layer not in self.images or session is None or not case.fits(layer):
            return
        labels = case.labels()
        there = labels in list(self.viewer.layers) and labels.data.shape == layer.data.shape[: layer.ndim]
        fresh = not (there and case.names)
        if fresh:
            planes = {round_.plane for round_ in session.rounds.values() if round_.targets}
        if not planes:
            return
        if not there:
            labels = self._add_labels(case, mask_layer.make_labels(layer))
        elif fresh:
            labels.name = mask_layer.name_for(layer)  # it may have been renamed since
        labels.metadata[FIXED_KEY] = session.label(case.hidden).name if case.hidden else ""
        for plane in planes:
            values = session.labels(plane)
            if case.hidden and (hidden := session.label(case.hidden)).plane == plane:
                values = np.where(values == hidden.drawn, 0, values)
            mask_layer.show_plane(labels, case.grid, plane, values)
        if case.names != session.label_names():
            case.names = session.label_names()
            mask_layer.name_labels(labels, case.names)
            self.conceal(case)
        self.record_masks(case)

    def conceal(self, case: Case) -> None:
        """Colour the masks of a case but those that a person has hidden."""
        if (labels := case.labels()) is not None:
            mask_layer.conceal(labels, case.concealed, case.names)

    def record_masks(self, case: Case) -> None:
        """Keep with the Labels layer what the record says of its masks, for exports."""
        labels = case.labels()
        if labels is not None and case.session is not None:
            mask_layer.record_masks(labels, case.grid.volume, case.session.judged_masks())

    def lay_out(self, case: Case) -> None:
        """Have the Labels layer of a case ready before its first question, which it would hold up.

        The one laid out before goes, if it shows no mask. Made by the worker and added later: napari
        cannot add a layer while it adds another.
        """
        layer = case.layer()

        def lay(labels: Labels) -> None:
            self.clear_away()
            if case is self.case and self.layer() is layer and case.labels() not in list(self.viewer.layers):
                self._add_labels(case, labels)
                self._laid_out = weakref.ref(case)

        self.submit(lambda job: mask_layer.make_labels(layer), lay, _nothing)

    def clear_away(self) -> None:
        """Remove the Labels layer that was laid out, unless it shows a mask."""
        case = self._laid_out()
        if case is not None and not case.names and case.labels() in list(self.viewer.layers):
            self.viewer.layers.remove(case.labels())
        self._laid_out = _nobody

    def _add_labels(self, case: Case, labels: Labels) -> Labels:
        case.labels, case.names = weakref.ref(labels), {}
        here, there = weakref.WeakMethod(self.step_back), weakref.ref(case)
        # napari's own undo knows one layer and forgets all when it closes: its keys take ours.
        bind_undo(labels, lambda name: here() and there() and here()(name, there()))
        active = self.viewer.layers.selection.active
        self.viewer.add_layer(labels)
        if active is not None:
            self.viewer.layers.selection.active = active
        return labels

    def step_back(self, name: str, case: Case) -> None:
        """Undo or redo the last step of a case ("undo", "redo"); not under a mask that is being fixed."""
        session = case.session if not case.hidden else None
        if session is not None and (session.undoable if name == "undo" else session.redoable):
            self.take(case, session.undo() if name == "undo" else session.redo())

    def highlight(self, value: int) -> None:
        """Show one mask of the case at hand alone, 0 all."""
        labels = self.case and self.case.labels()
        if labels is not None:
            mask_layer.highlight(labels, self.case.session.label(value).drawn if value else 0)


def _nothing(result: object) -> None:
    pass


def _nobody() -> None:
    pass
