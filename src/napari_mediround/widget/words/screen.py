"""What commands in words do in the viewer: the same as its buttons, sliders and lists do."""

from __future__ import annotations

from collections.abc import Callable

from napari_mediround.domain.geometry import VIEWS, nearest_world_axes
from napari_mediround.domain.rounds import Reference
from napari_mediround.domain.windows import WINDOWS
from napari_mediround.errors import MediRoundError
from napari_mediround.session.commands import Screen
from napari_mediround.session.facts import axis_lines
from napari_mediround.session.replies import join
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.sight import Sight
from napari_mediround.widget.chat.window_choice import AS_SHOWN, WindowChoice
from napari_mediround.widget.layers.calipers import Calipers

FIXING = "A mask is being fixed. Press Enter to end the fix, or Escape to drop it, then say it again."
EXPORTED_AS = {
    "dicom_seg": "dicom-seg", "nifti": "nifti", "rtstruct": "rtstruct", "seg_nrrd": "seg-nrrd",
    "nrrd": "seg-nrrd", "png": "png",
}  # fmt: skip
"""Formats of the export dock by those that words name."""
NOT_SEEN = "{} was not in view, so nothing was judged. It is shown now: say it again to judge it."


class DockScreen(Screen):
    """The viewer beside a dock.

    Parameters
    ----------
    place : Workplace
        Viewer, view, and the case at hand.
    sight : Sight
        Brings masks into view.
    windows : WindowChoice
        The list of windows.
    move : callable
        Takes a plane: asks about it, and shows it where the viewer follows.
    fix : callable
        Takes a label value: begins its fix.
    stop : callable
        Does what Cancel does; returns whether anything was running.
    """

    def __init__(
        self,
        place: Workplace,
        sight: Sight,
        windows: WindowChoice,
        move: Callable[[int], None],
        fix: Callable[[int], None],
        stop: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._place, self._sight, self._windows = place, sight, windows
        self._move, self._fix, self._stop = move, fix, stop
        self._calipers = Calipers(place.viewer)

    def seen(self, value: int) -> str:
        """See `Screen`: a mask is judged where it is in view, as with the keys."""
        case = self._place.case
        if self._sight.sees(case, value):
            return ""
        why = self._sight.show(case, value)
        return why or NOT_SEEN.format(case.session.label(value).name)

    def draw_axes(self, measure: str, references: tuple[Reference, ...]) -> None:
        """Draw the axis that was measured of each mask on the image; others take the lines away."""
        case, layer = self._place.case, self._place.layer()
        which = {"diameter": 0, "short_axis": 1}.get(measure)
        if which is None or layer is None or not case.grid.geometry.calibrated:
            self._calipers.remove()
            return
        labels = [case.session.label(case.session.label_of(r)) for r in references]
        lines = [
            (label.plane, axis_lines(label.mask.to_array(), case.grid.geometry)[which])
            for label in labels
            if label.mask.area
        ]
        if lines:
            self._calipers.show(layer, case.grid, lines)

    def go_to(self, plane: int) -> str:
        """See `Screen`."""
        self._move(plane)
        self.plane = plane
        return f"{self._place.case.grid.geometry.plane_name} plane {plane}.".strip().capitalize()

    def set_window(self, window: str | tuple[float, float]) -> str:
        """See `Screen`."""
        names, layer = self._windows.names(), self._place.layer()
        if not names:
            raise MediRoundError("The image has colours, so there is no window to choose.")
        if isinstance(window, str):
            name = window.replace(" ", "_")
            if name not in names:
                known = join([n for n in names if n in WINDOWS], "or")
                hint = f"Choose {known}, or say “level 40, width 400”." if known else "Say level and width."
                raise MediRoundError(f"There is no {window} window for this image. {hint}")
            self._windows.take(names.index(name))
            return f"Window: {window}."
        level, width = window
        layer.contrast_limits = (level - width / 2, level + width / 2)
        self._windows.take(names.index(AS_SHOWN))
        return f"Window: level {level:g}, width {width:g}."

    def show(self, how: str, values: tuple[int, ...]) -> str:
        """See `Screen`."""
        case = self._place.case
        labels = case.labels() if case is not None else None
        if case is None or case.session is None or labels is None or not values:
            raise MediRoundError("There is no mask yet. Name a structure first.")
        drawn = {case.session.label(value).drawn for value in values}
        everyone = {label.drawn for label in case.session.state.shown}
        names = join(dict.fromkeys(case.session.label(value).name for value in values))
        if how in ("goto", "zoom", "select"):
            return self._go(how, values[0])
        concealed = {
            "only": everyone - drawn,
            "hide": case.concealed | drawn,
            "show": case.concealed - drawn,
        }[how]
        labels.visible = True
        case.concealed = frozenset(concealed & everyone)
        self._place.conceal(case)
        return {"only": "Shown alone: {}.", "hide": "Hidden: {}.", "show": "Shown: {}."}[how].format(names)

    def _go(self, how: str, value: int) -> str:
        case = self._place.case
        case.current = value
        why = self._sight.show(case, value)
        self._place.refresh(case)
        if why:
            raise MediRoundError(why)
        if how == "zoom":
            self._sight.zoom(case, value)
        label = case.session.label(value)
        return f"{label.name}, plane {label.plane}."

    def view(self, name: str) -> str:
        """See `Screen`: turns the viewer; questions stay with the planes of the image."""
        layer, grid = self._place.layer(), self._place.case.grid
        geometry = grid.geometry
        if not geometry.oriented or grid.ndim != 3:
            raise MediRoundError("The image does not say how it lies in the patient, so it has no such view.")
        own = geometry.plane_name.removeprefix("oblique ")
        axis = nearest_world_axes(geometry).index(VIEWS.index(name))
        dims = self._place.viewer.dims
        spare = dims.ndim - layer.ndim
        order = [spare + grid.layer_axis(a) for a in (axis, *(a for a in range(3) if a != axis))]
        dims.ndisplay = 2
        dims.order = (*(a for a in range(dims.ndim) if a not in order), *order)
        self._place.viewer.reset_view()
        if name == own:
            return f"The viewer shows {name} planes."
        return f"The viewer shows {name} planes. Questions still go to the {own} plane in the dock."

    def set_opacity(self, percent: int) -> str:
        """See `Screen`."""
        labels = self._place.case and self._place.case.labels()
        if labels is None:
            raise MediRoundError("There is no mask yet. Name a structure first.")
        labels.opacity = percent / 100
        return f"Opacity of the masks: {percent}%."

    def fix(self, value: int) -> str:
        """See `Screen`."""
        self._fix(value)
        return f"Fixing {self._place.case.session.label(value).name}."

    def export(self, form: str, values: tuple[int, ...]) -> str:
        """See `Screen`: opens the export dock with format and masks chosen; a person writes the file."""
        window = getattr(self._place.viewer, "window", None)
        if window is None:
            raise MediRoundError("There is no window here. Use `mediround export`.")
        _, dock = window.add_plugin_dock_widget("napari-mediround", "MediRound export", tabify=True)
        case = self._place.case
        numbers = {case.session.label(value).drawn for value in values} if values else None
        if why := dock.choose(case.labels() if case else None, EXPORTED_AS[form], numbers):
            raise MediRoundError(why)
        chosen = join(dict.fromkeys(case.session.label(v).name for v in values)) if values else "all masks"
        return f"The export dock is open with {chosen}. Choose a file there; nothing was written yet."

    def stop(self) -> str:
        """See `Screen`."""
        return "Stopped." if self._stop() else "Nothing is running."
