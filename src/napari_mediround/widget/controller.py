"""One object that knows the viewer, the view and the worker, and holds the conversations of a dock.

Everything here runs on the GUI's thread and takes no time, but for the functions that take a `Job`:
those run on the worker and touch neither viewer nor view.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

from napari.layers import Image

from napari_mediround.domain.rounds import Reference, Round
from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import WINDOWS
from napari_mediround.errors import DanglingReferenceError, MediRoundError
from napari_mediround.widget import layers
from napari_mediround.widget.segmenter import LazySegmenter, fetch_weights
from napari_mediround.widget.turn import Ask, Case, Fetch, explain, take_turn
from napari_mediround.widget.view import ChatView, Chip, Entry, Message, Question
from napari_mediround.widget.worker import Job, Worker

AUTOMATIC, AS_SHOWN = "automatic", "as shown in the viewer"
MENTIONED_SHARE = 0.02
"""From this share on, the reply says how much of a mask the layer does not show."""
NO_IMAGE = "Open an image first: drop a file or a DICOM folder on the viewer, or take File → Open Sample."


class ChatController:
    """The dock's logic.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    view : ChatView
        What the user sees.
    worker : Worker
        Where the model runs.
    segmenter : LazySegmenter
        The model.
    """

    def __init__(self, viewer, view: ChatView, worker: Worker, segmenter: LazySegmenter) -> None:
        self._viewer, self._view, self._worker, self._segmenter = viewer, view, worker, segmenter
        self._cases: weakref.WeakKeyDictionary[Image, Case] = weakref.WeakKeyDictionary()
        self._images: list[Image] = []
        self._case: Case | None = None
        self._plane, self._window, self._follow = 0, 0, True
        self._swaps: dict[str, Reference] = {}
        self._task: tuple[Job, Ask] | None = None
        self._warm: tuple | None = None
        self._moving: Job | None = None
        view.question_asked.connect(self._on_question_asked)
        view.question_edited.connect(self._on_question_edited)
        view.cancel_asked.connect(self._on_cancel_asked)
        view.image_chosen.connect(self._on_image_chosen)
        view.plane_chosen.connect(self._on_plane_chosen)
        view.follow_chosen.connect(self._on_follow_chosen)
        view.window_chosen.connect(self._on_window_chosen)
        view.action_chosen.connect(self._on_action_chosen)
        view.reference_chosen.connect(self._on_reference_chosen)
        view.device_chosen.connect(self._on_device_chosen)
        worker.progressed.connect(self._on_progressed)
        worker.finished.connect(self._on_finished)
        worker.failed.connect(self._on_failed)
        for emitter, slot in self._viewer_slots():
            emitter.connect(slot)
        view.show_status(self._describe())
        self._on_layers()

    def stop(self) -> None:
        """Cancel what runs and let go of the model; the next question loads it again."""
        self._on_cancel_asked()
        self._worker.stop()
        self._segmenter.release()
        self._warm = None

    def disconnect(self) -> None:
        """Listen to the viewer no more."""
        for emitter, slot in self._viewer_slots():
            emitter.disconnect(slot)

    def _viewer_slots(self) -> tuple:
        events = self._viewer.layers.events
        listed = [(events.inserted, self._on_layers), (events.removed, self._on_layers)]
        listed += [(events.reordered, self._on_layers), (events.renamed, self._on_layers)]
        return (*listed, (self._viewer.dims.events.point, self._on_dims))

    # What is asked about: image, plane, window.

    def _on_layers(self, event=None) -> None:
        self._images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        layer = self._case and self._case.layer()
        if layer not in self._images:
            if self._case is None or not self._case.entries:
                self._choose(self._images[-1] if self._images else None)
            layer = self._case and self._case.layer()
        names = [layer.name for layer in self._images]
        self._view.show_images(names, self._images.index(layer) if layer in self._images else -1)

    def _on_image_chosen(self, index: int) -> None:
        self._choose(self._images[index])

    def _choose(self, layer: Image | None) -> None:
        try:
            self._case = self._case_of(layer) if layer is not None else None
        except MediRoundError as error:
            self._case = None
            self._view.show_entries([Message(str(error), is_error=True)])
            self._view.show_plane(0, 0, "", "")
            return
        self._view.show_entries(self._case.entries if self._case else [])
        self._window = 0
        self._view.show_windows(self._windows(), 0)
        self._on_dims()

    def _case_of(self, layer: Image) -> Case:
        grid = layers.layer_grid(layer)
        case = self._cases.get(layer)
        if case is None or case.grid != grid:
            case = self._cases[layer] = Case(weakref.ref(layer), grid)
        return case

    def _on_dims(self, event=None) -> None:
        layer = self._layer()
        if layer is None:
            self._view.show_plane(0, 0, "", "")
            return
        if self._follow:
            self._plane = layers.shown_plane(layer, self._case.grid, self._viewer.dims.point)
        self._plane = min(self._plane, self._case.grid.geometry.shape[0] - 1)
        self._show_plane()

    def _show_plane(self) -> None:
        grid = self._case.grid
        axis = grid.layer_axis() - grid.ndim + self._viewer.dims.ndim
        turned = grid.ndim == 3 and axis in self._viewer.dims.displayed
        hints = ["The viewer is turned; questions go to this plane."] if turned else []
        if not grid.geometry.oriented:
            hints.append("The image does not say where left and right are.")
        self._view.show_plane(self._plane, grid.geometry.shape[0], grid.geometry.plane_name, " ".join(hints))

    def _on_plane_chosen(self, plane: int) -> None:
        self._plane = plane
        layer = self._layer()
        if self._follow and layer is not None:
            point = layers.plane_point(layer, self._case.grid, plane)
            if point is not None:
                self._viewer.dims.set_point(point[0] + self._viewer.dims.ndim, point[1])

    def _on_follow_chosen(self, follow: bool) -> None:
        self._follow = follow
        self._on_dims()

    def _on_window_chosen(self, index: int) -> None:
        self._window = index
        layer, name = self._layer(), self._windows()[index]
        if layer is not None and name in WINDOWS:
            layer.contrast_limits = layers.contrast_limits(layer.metadata[layers.STUDY_KEY], name)

    def _windows(self) -> tuple[str, ...]:
        layer = self._layer()
        if layer is None or layer.rgb:
            return ()
        study = layer.metadata.get(layers.STUDY_KEY)
        presets = tuple(WINDOWS) if isinstance(study, Study) and study.modality == "CT" else ()
        return (AUTOMATIC, AS_SHOWN, *presets)

    def _chosen_window(self) -> str | tuple[float, float] | None:
        windows = self._windows()
        name = windows[self._window] if windows else AUTOMATIC
        if name == AS_SHOWN:
            low, high = (float(limit) for limit in self._layer().contrast_limits)
            return (low + high) / 2, high - low
        return None if name == AUTOMATIC else name

    def _layer(self) -> Image | None:
        """Return the image asked about, if the viewer still has it."""
        layer = self._case and self._case.layer()
        return layer if layer in self._images else None

    # Asking.

    def _on_question_asked(self, text: str) -> None:
        if self._task is not None:
            return
        layer = self._layer()
        if layer is None:
            self._view.add_entry(Message(NO_IMAGE, is_error=True))
            self._view.restore_question(text)
            return
        ask = Ask(self._case, text, self._plane, self._chosen_window(), swaps=tuple(self._swaps.items()))
        self._swaps = {}
        self._view.show_chips([], "")
        self._add(self._case, Question(text))
        self._start(ask, partial(take_turn, self._segmenter, layer, ask))

    def _start(self, ask: Ask, work: Callable[[Job], object]) -> None:
        self._view.show_busy("waiting for the model …")
        self._task = (self._worker.submit(work), ask)

    def _on_cancel_asked(self) -> None:
        if self._task is None:
            return
        job, ask = self._task
        job.cancel()
        self._end()
        self._add(ask.case, Message("Cancelled. Nothing has changed."))
        self._view.restore_question(ask.text)

    def _end(self) -> None:
        self._task = None
        self._view.show_busy("")
        self._view.show_status(self._describe())

    def _on_progressed(self, job: Job, text: str) -> None:
        if self._task is not None and job is self._task[0]:
            self._view.show_busy(text)

    def _on_device_chosen(self, device: str) -> None:
        self._moving = self._worker.submit(lambda job: self._segmenter.change_device(device))

    def _on_finished(self, job: Job, result: object) -> None:
        if job is self._moving:
            self._view.show_status(self._describe())
        if self._task is None or job is not self._task[0]:
            return
        ask = self._task[1]
        self._end()
        if isinstance(result, Round):
            self._accept(ask, result)
        else:
            self._add(ask.case, Message(str(result)))
            self._again(ask)

    def _on_failed(self, job: Job, error: Exception) -> None:
        if job is self._moving:
            self._view.add_entry(Message(str(error), is_error=True))
        if self._task is None or job is not self._task[0]:
            return
        ask = self._task[1]
        self._end()
        self._add(ask.case, explain(error, ask))
        self._view.restore_question(ask.text)

    def _on_action_chosen(self, key: object) -> None:
        if self._task is not None:
            return
        if isinstance(key, Fetch):
            self._start(key.ask, fetch_weights)
        elif isinstance(key, Ask):
            self._again(key)
        elif isinstance(key, int):
            self._on_plane_chosen(key)
            self._show_plane()

    def _again(self, ask: Ask) -> None:
        layer = ask.case.layer()
        if layer is None:
            self._add(ask.case, Message(NO_IMAGE, is_error=True))
            return
        self._start(ask, partial(take_turn, self._segmenter, layer, ask))

    def _accept(self, ask: Ask, round_: Round) -> None:
        case, session = ask.case, ask.case.session
        session.add(round_)
        notes = (round_.answer.note,) if round_.answer.note else ()
        layer = case.layer()
        if layer not in self._images:
            notes += ("The image was closed meanwhile: the masks are kept in this conversation only.",)
        elif round_.targets:
            notes += self._show_masks(layer, case, round_)
        self._add(case, case.reply(round_, notes))

    def _show_masks(self, layer: Image, case: Case, round_: Round) -> tuple[str, ...]:
        labels = case.labels()
        rounds = (round_,)
        if labels not in list(self._viewer.layers):
            labels = layers.make_labels(layer, case.grid, f"{layer.name} masks")
            case.labels, rounds = weakref.ref(labels), case.conversation.rounds
            active = self._viewer.layers.selection.active
            self._viewer.add_layer(labels)
            if active is not None:
                self._viewer.layers.selection.active = active
        for r in rounds:
            first = case.session.first_label(r.index)
            masks = {value: t.mask.to_array() for value, t in enumerate(r.targets, first)}
            covered = layers.write_masks(labels, case.grid, r.plane, masks)
        names = case.session.label_names()
        layers.name_labels(labels, names)
        return tuple(
            f"{share:.0%} of {names[value]} lies under earlier labels, which stay."
            for value, share in covered.items()
            if share >= MENTIONED_SHARE
        )

    def _add(self, case: Case, entry: Entry) -> None:
        case.entries.append(entry)
        if case is self._case:
            self._view.add_entry(entry)

    # References while typing.

    def _on_question_edited(self, text: str) -> None:
        self._warm_up(text)
        case = self._case
        chips: list[Chip] = []
        problem = ""
        if case is not None and len(case.conversation) and text.strip():
            try:
                found = case.session.resolve(text)
                chips = [case.chip(self._swaps.get(r.phrase, r)) for r in found]
            except DanglingReferenceError as error:
                problem = str(error)
        self._view.show_chips(chips, problem)

    def _on_reference_chosen(self, phrase: str, reference: Reference) -> None:
        self._swaps[phrase] = Reference(reference.round, reference.target, phrase)

    def _warm_up(self, text: str) -> None:
        """Encode the plane while the user types, once the model is there and idle."""
        case, layer = self._case, self._layer()
        if not text or layer is None or self._task is not None or not self._segmenter.loaded:
            return
        warm = (weakref.ref(layer), self._plane, self._chosen_window())
        if case.session is not None and case.data is layer.data and warm != self._warm:
            self._warm = warm
            self._worker.submit(lambda job: case.session.prepare(*warm[1:]))

    def _describe(self) -> str:
        words = self._segmenter.describe()
        return " · ".join(word for word in words.values() if word) if words else "model not loaded yet"
