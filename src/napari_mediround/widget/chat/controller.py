"""One object that knows the viewer, the view and the worker: it hears both and hands on to its parts.

Everything here and in the parts runs on the GUI's thread and takes no time, but for the functions that
take a `Job`: those run on the worker and touch neither viewer nor view.
"""

from __future__ import annotations

import weakref
from functools import partial

import numpy as np
from napari.layers import Image

from napari_mediround.errors import MediRoundError
from napari_mediround.widget.chat.asking import Asking
from napari_mediround.widget.chat.case import Case, Draw
from napari_mediround.widget.chat.cases import Projects, project_of
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.fixing import Fixing
from napari_mediround.widget.chat.keys import QUESTION_KEY, ViewerKeys
from napari_mediround.widget.chat.mask_checks import Checks
from napari_mediround.widget.chat.mask_imports import Imports
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.chat.reading import Reading
from napari_mediround.widget.chat.sight import SCALED, Sight
from napari_mediround.widget.chat.verdict_actions import Verdicts
from napari_mediround.widget.chat.view import DONE_KEY, DROP_KEY, KEYS, REASON_KEYS, ChatView, Message
from napari_mediround.widget.chat.window_choice import WindowChoice
from napari_mediround.widget.layers import layer_geometry
from napari_mediround.widget.layers.following import Following
from napari_mediround.widget.layers.orientation import Orientation
from napari_mediround.widget.lazy_model import LazySegmenter
from napari_mediround.widget.stack.stacking import Stacking
from napari_mediround.widget.words.screen import DockScreen
from napari_mediround.widget.worker import Worker


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
    project : Project, optional
        Where the rounds are kept; by default a folder of the user's.
    """

    def __init__(
        self,
        viewer,
        view: ChatView,
        worker: Worker,
        segmenter: LazySegmenter,
        project: Project | None = None,
    ) -> None:
        self._viewer, self._view, self._worker, self._segmenter = viewer, view, worker, segmenter
        self._place = place = Workplace(viewer, view, worker, segmenter, project or Project())
        self._cases: weakref.WeakKeyDictionary[Image, dict[tuple, Case]] = weakref.WeakKeyDictionary()
        self._plane, self._follow, self._started = 0, True, False
        self._heard: weakref.ref[Image] | None = None
        self._sight, self._window = Sight(place), WindowChoice(place)
        self._verdicts = Verdicts(place, self._sight)
        me = weakref.WeakMethod(self._on_key_pressed)
        press = lambda key: me() and me()(key)  # noqa: E731
        self._fixing = Fixing(place, self._verdicts, press)
        self._stacking = Stacking(place, self._sight, self._verdicts.choose)
        self._verdicts.judged.connect(self._stacking.offer)
        does = self._go_to_plane, self._fix_mask, lambda: self._stop() or self._stacking.cancel()
        screen, clock = DockScreen(place, self._sight, self._window, *does), self._verdicts.start_clock
        self._asking = Asking(place, self._about, clock, self._stacking.follow, screen)
        self._projects = Projects(place)
        self._reading = Reading(place)
        self.imports, self.checks = Imports(place), Checks(place)
        self.keys = ViewerKeys(viewer, press)
        for signal, slot in self._view_slots():
            signal.connect(slot)
        for emitter, slot in self._viewer_slots():
            emitter.connect(slot)
        place.show_status()
        moved = weakref.WeakMethod(self._on_moved)
        self._following = Following(viewer, lambda layer: moved() and moved()(layer))
        self._orientation = Orientation(viewer)
        self._on_layers()
        self.start()

    @property
    def workplace(self) -> Workplace:
        """What this dock works with, for another dock beside it."""
        return self._place

    def start(self) -> None:
        """Open the project, unless it is open."""
        if not self._started:
            self._started = True
            self._place.refresh(self._place.case)  # cards of a session that was let go do nothing
            self._projects.start()

    def stop(self) -> None:
        """Cancel what runs, let go of the model and of the project; the next question takes both again."""
        self._let_go()
        self._place.clear_away()
        self._worker.stop()
        self._segmenter.release()
        self._asking.forget_plane()
        self._close_project()
        self._started = False

    def _let_go(self) -> None:
        self._fixing.drop()
        self._asking.cancel()
        self._stacking.leave()
        self._place.cancel_all()

    def disconnect(self) -> None:
        """Disconnect from the viewer and release the project."""
        self._close_project()
        self.keys.unbind()
        self._sight.remove()
        self._following.disconnect()
        self._orientation.disconnect()
        self._listen_to(None)
        for emitter, slot in self._viewer_slots():
            emitter.disconnect(slot)

    def _view_slots(self) -> tuple:
        view = self._view
        return (
            (view.question_asked, self._asking.ask),
            (view.question_edited, self._asking.edit),
            (view.reference_chosen, self._asking.swap),
            (view.cancel_asked, self._stop),
            (view.project_chosen, self._on_project_chosen),
            (view.image_chosen, self._on_image_chosen),
            (view.volume_chosen, self._on_volume_chosen),
            (view.plane_chosen, self._on_plane_chosen),
            (view.follow_chosen, self._on_follow_chosen),
            (view.window_chosen, self._window.choose),
            (view.action_chosen, self._on_action_chosen),
            (view.device_chosen, self._place.change_device),
            (view.free_text_chosen, self._place.allow_free_text),
            (view.step_chosen, self._on_step_chosen),
            (view.mask_chosen, self._verdicts.choose),
            (view.mask_hovered, self._place.highlight),
            (view.tool_chosen, self._fixing.take),
            (view.reason_chosen, self._fixing.end),
            (view.masks_given, self.imports.take_files),
            (view.layer_given, partial(self.imports.take_layer, None)),
            (view.names_chosen, self.imports.name),
            (view.key_pressed, self._on_key_pressed),
            (view.stack_chosen, self._asking.mean_stack),
        )

    def _viewer_slots(self) -> tuple:
        events, dims = self._viewer.layers.events, self._viewer.dims.events
        listed = (events.inserted, events.removed, events.reordered, events.renamed)
        moved = (dims.point, dims.order, dims.ndisplay)
        return (*((e, self._on_layers) for e in listed), *((e, self._on_dims) for e in moved))

    # What is asked about: project, image, volume, plane, window.

    def _on_project_chosen(self, folder: str) -> None:
        self._let_go()
        for cases in self._cases.values():
            for case in cases.values():
                labels = case.labels()
                if labels in list(self._viewer.layers):
                    self._viewer.layers.remove(labels)
        self._close_project()
        self._cases.clear()
        self._place.project = project_of(folder)
        self._started = True
        self._projects.start(reopen=True)
        self._choose(self._place.layer())

    def _close_project(self) -> None:
        """Let go of the folder; sessions that are not kept there any more are read again from it."""
        for cases in self._cases.values():
            for case in cases.values():
                case.session = None
        self._place.project.close()

    def _on_layers(self, event=None) -> None:
        with self._sight.still():
            self._look_at_layers(event)

    def _look_at_layers(self, event) -> None:
        place = self._place
        self._following.look()
        place.images = [layer for layer in self._viewer.layers if isinstance(layer, Image)]
        self._fixing.check_layers()
        layer, added = place.case and place.case.layer(), getattr(event, "value", None)
        if (
            isinstance(added, Image)
            and added in place.images
            and added is not layer
            and not self._fixing.busy
        ):
            self._show(added)  # what was just opened is what is asked about
        elif layer not in place.images and not (place.case and place.case.entries and self._stays()):
            self._choose(place.images[-1] if place.images else None)
        layer = place.case and place.case.layer()
        names = [layer.name for layer in place.images]
        self._view.show_images(names, place.images.index(layer) if layer in place.images else -1)

    def _stays(self) -> bool:
        """Whether the chat of a closed image stays: more is to come in it, or there is no other image."""
        return self._asking.busy or not self._place.images

    def _on_image_chosen(self, index: int) -> None:
        self._show(self._place.images[index])

    def _show(self, layer: Image) -> None:
        """Choose an image, and bring it into view where the viewer shows nothing of it."""
        self._choose(layer)
        if self._place.case is None:
            return
        grid = self._place.case.grid
        layer.visible = True
        if not layer_geometry.is_shown(layer, grid, self._viewer.dims):
            self._sight.go_to(grid.geometry.shape[0] // 2)
            self._viewer.reset_view()

    def _choose(self, layer: Image | None, volume: tuple[int, ...] | None = None) -> None:
        place = self._place
        self._listen_to(layer)
        try:
            place.case = self._case_of(layer, volume) if layer is not None else None
        except MediRoundError as error:
            place.case = None
            place.refresh(None)
            place.say(Message(str(error), is_error=True))
        else:
            place.refresh(place.case)
            self._projects.show_offer()
        self._window.begin()
        self._show_volume()
        self._on_dims()
        if place.case is not None:
            place.lay_out(place.case)
            self._projects.resume(place.case)

    def _listen_to(self, layer: Image | None) -> None:
        """Hear when the pixels of the image at hand are replaced."""
        heard = self._heard and self._heard()
        if heard is not None:
            heard.events.data.disconnect(self._on_data)
        self._heard = weakref.ref(layer) if layer is not None else None
        if layer is not None:
            layer.events.data.connect(self._on_data)

    def _on_data(self, event=None) -> None:
        """Begin a conversation of its own about pixels on another grid; others go on with theirs."""
        layer, case = self._place.layer(), self._place.case
        if layer is not None and not case.fits(layer):
            self._choose(layer)

    def _on_moved(self, layer: Image) -> None:
        """Begin another conversation where a layer has other millimetres or sides; its masks followed."""
        case = self._place.case
        if layer is not self._place.layer():
            return
        if case.fits(layer):
            self._on_dims()
            return
        self._choose(layer)
        if len(case.conversation) and self._place.case is not None:
            self._place.say(Message(SCALED))

    def _case_of(self, layer: Image, volume: tuple[int, ...] | None) -> Case:
        if volume is None:
            volume = layer_geometry.shown_volume(layer, self._viewer.dims)
        grid = layer_geometry.layer_grid(layer, volume)
        cases = self._cases.setdefault(layer, {})
        if volume not in cases or cases[volume].grid != grid:
            cases[volume] = Case(weakref.ref(layer), grid)
        return cases[volume]

    def _on_volume_chosen(self, number: int) -> None:
        layer = self._place.layer()
        if layer is not None:
            lengths = layer_geometry.leading_shape(layer)
            volume = tuple(int(at) for at in np.unravel_index(number, lengths))
            for axis, at in enumerate(layer_geometry.volume_point(layer, self._viewer.dims, volume)):
                self._viewer.dims.set_point(axis - layer.ndim + self._viewer.dims.ndim, at)
            self._choose(layer, volume)

    def _show_volume(self) -> None:
        layer = self._place.layer()
        lengths = layer_geometry.leading_shape(layer) if layer is not None else ()
        if not lengths:
            self._view.show_volume(0, 1, "")
            return
        volume = self._place.case.grid.volume
        shown = layer_geometry.shown_volume(layer, self._viewer.dims)
        hint = "" if shown == volume else "the viewer shows another"
        self._view.show_volume(int(np.ravel_multi_index(volume, lengths)), int(np.prod(lengths)), hint)

    def _on_dims(self, event=None) -> None:
        layer = self._place.layer()
        if layer is None:
            self._view.show_plane(0, 0, "", "")
            return
        grid = self._place.case.grid
        shown = layer_geometry.shown_plane(layer, grid, self._viewer.dims)
        if self._follow and shown is not None:
            self._plane = shown
        self._plane = min(self._plane, grid.geometry.shape[0] - 1)
        self._show_plane()
        self._show_volume()
        self._fixing.look()

    def _show_plane(self) -> None:
        geometry, hint = self._place.case.grid.geometry, self._sight.hint(self._plane)
        self._view.show_plane(self._plane, geometry.shape[0], geometry.plane_name, hint)

    def _on_plane_chosen(self, plane: int) -> None:
        self._plane = plane
        if self._follow:
            self._sight.go_to(plane)

    def _on_follow_chosen(self, follow: bool) -> None:
        self._follow = follow
        self._on_dims()

    def _about(self) -> tuple[int, str | tuple[float, float] | None]:
        """Return plane and window of the next question."""
        return self._plane, self._window.wanted()

    # What is done.

    def _stop(self) -> bool:
        """Stop what runs, or drop the fix; return whether there was anything."""
        if self._fixing.cancel() or self._asking.cancel() or self.imports.cancel():
            return True
        if self._fixing.busy:
            self._fixing.drop()
            return True
        self._projects.cancel()
        return False

    def _go_to_plane(self, plane: int) -> None:
        self._on_plane_chosen(plane)
        self._show_plane()

    def _fix_mask(self, value: int) -> None:
        case = self._place.case
        self._fixing.start(case, value, lambda plane: self._sight.show(case, value))

    def _on_action_chosen(self, key: object) -> None:
        if isinstance(key, int):
            self._go_to_plane(key)
        elif isinstance(key, Draw):
            case = self._place.case
            if case is not None and not self._fixing.busy and key.value in case.values:
                self._fix_mask(key.value)
        else:
            parts = self._asking, self._stacking, self._verdicts, self.imports, self.checks, self._projects
            next((part for part in parts if part.act(key)), None)

    def _on_step_chosen(self, step: str) -> None:
        case = self._place.case
        if self._fixing.busy:
            self._step_in_fix(step)
        elif step == "doubtful":
            self._stacking.next_doubtful()
        elif step in ("carry", "fix") and (case is None or not case.current):
            return
        elif step == "carry":
            self._stacking.follow_mask(case.current)
        elif step == "fix":
            self._fix_mask(case.current)
        else:
            self._verdicts.take(step)

    def _step_in_fix(self, step: str) -> None:
        fixing = self._fixing
        steps = {"fix": fixing.next_answered, "reject": fixing.refuse, "drop": fixing.drop}
        steps |= {"accept": partial(fixing.end, "")}
        steps |= {name: partial(fixing.step_back, name) for name in ("undo", "redo")}
        if step in steps:
            steps[step]()

    def _on_key_pressed(self, key: str) -> None:
        reasons, steps = ({letter: word for word, letter in keys.items()} for keys in (REASON_KEYS, KEYS))
        if self._fixing.busy and (key in reasons or key == DONE_KEY):
            self._fixing.end(reasons.get(key, ""))
        elif key == DROP_KEY:
            self._stop()
        elif key in steps:
            self._on_step_chosen(steps[key])
        elif key == QUESTION_KEY:
            self._view.focus_question()
