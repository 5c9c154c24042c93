"""Which way the patient lies on the screen: letters at the edges of the canvas, and the head upwards."""

from __future__ import annotations

import weakref

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mediround.domain.geometry import direction_letters
from napari_mediround.errors import MediRoundError
from napari_mediround.widget.layers import slicing
from napari_mediround.widget.layers.layer_geometry import layer_grid

EDGES = {"left": "middle_left", "right": "middle_right", "top": "top_center", "bottom": "bottom_center"}
"""Edges of the canvas, and what napari calls the place of an overlay there."""

SIZE = 16
"""Of the letters, in points."""

MOVES = ("visible", "data", "scale", "translate", "rotate", "shear", "affine", "units", "metadata")
"""Events of a layer after which the letters may be others; older ones of napari lack some."""

DOWN = np.array([1, 1, -1])
"""Sign, for each patient axis (LPS), of the way that shall run down the screen: left, back, feet."""

UNTURNED = ("towards", "down", "right")
"""napari's own orientation of the camera: axes of depth, rows and columns."""


class Orientation:
    """Letters at the four edges of a viewer's canvas, and a camera that shows the patient upright.

    The letters follow what is displayed: rolled and transposed axes, turned layers, a turned camera. They are
    shown only where all visible images say the same; none says nothing. The camera is turned only on rolling
    the axes or on choosing 3-D; whoever turns it by hand afterwards keeps it, and the letters follow.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do. Before napari 0.9 there are no letters.
    """

    def __init__(self, viewer) -> None:
        self._viewer = viewer
        self._heard: weakref.WeakSet[Image] = weakref.WeakSet()
        self._turned = False
        for emitter, slot in self._slots():
            emitter.connect(slot)
        self.look()

    @property
    def letters(self) -> dict[str, str]:
        """What the canvas shows at each of `EDGES`; "" is nothing."""
        overlays = self._overlays()
        return {edge: overlays[_key(edge)].text if _key(edge) in overlays else "" for edge in EDGES}

    def disconnect(self) -> None:
        """Listen no more, and leave the canvas as napari has it."""
        for emitter, slot in self._slots():
            emitter.disconnect(slot)
        for layer in self._heard:
            for emitter in _emitters(layer):
                emitter.disconnect(self._on_change)
        self._heard.clear()
        overlays = self._overlays()
        for edge in EDGES:
            if _key(edge) in overlays:
                del overlays[_key(edge)]
        self._turn(UNTURNED)

    def look(self) -> None:
        """Turn the patient upright and show the letters."""
        for layer in self._viewer.layers:
            if isinstance(layer, Image) and layer not in self._heard:
                self._heard.add(layer)
                for emitter in _emitters(layer):
                    emitter.connect(self._on_change)
        self._turn(self._upright())
        self._show()

    def _slots(self) -> tuple:
        events, dims, camera = (
            self._viewer.layers.events,
            self._viewer.dims.events,
            self._camera.events,
        )
        looks = (events.inserted, events.removed, dims.order, dims.ndisplay)
        return (*((emitter, self._on_layers) for emitter in looks), (camera.orientation, self._on_change),
                (camera.angles, self._on_change))  # fmt: skip

    def _on_layers(self, event=None) -> None:
        self.look()

    def _on_change(self, event=None) -> None:
        self._show()

    @property
    def _camera(self):
        return getattr(self._viewer, "scene", self._viewer).camera  # the scene's from napari 0.9 on

    def _overlays(self):
        canvas = getattr(self._viewer, "canvas", None)
        return {} if canvas is None else canvas.overlays

    def _patients(self) -> list[NDArray[np.float64] | None]:
        """Return for each visible image its patient directions (3, axes displayed), None where not known."""
        images = [layer for layer in self._viewer.layers if isinstance(layer, Image) and layer.visible]
        return [patient_directions(layer, self._viewer.dims) for layer in images]

    def _show(self) -> None:
        overlays = self._overlays()
        if not hasattr(overlays, "events"):
            return
        said = [self._said(patient) for patient in self._patients()]
        for edge in EDGES:
            texts = {letters.get(edge, "") for letters in said}
            text = texts.pop() if len(texts) == 1 else ""
            if _key(edge) not in overlays:
                if not text:
                    continue
                overlays[_key(edge)] = _overlay(edge)
            overlays[_key(edge)].text = text
            overlays[_key(edge)].visible = bool(text)

    def _said(self, patient: NDArray[np.float64] | None) -> dict[str, str]:
        """Return the letters at each edge for the patient directions of what is displayed."""
        if patient is None:
            return {}
        right, down = (patient @ way for way in screen_directions(self._camera, patient.shape[1]))
        ways = {"left": -right, "right": right, "top": -down, "bottom": down}
        return {edge: direction_letters(way) for edge, way in ways.items()}

    def _upright(self) -> tuple[str, str, str]:
        """Return the camera's orientation that shows the patient upright and, in 3-D, not mirrored."""
        patients = [patient for patient in self._patients() if patient is not None]
        if not patients:
            return UNTURNED
        patient = patients[-1]
        if patient.shape[1] == 3:
            mirrored = np.linalg.det(patient) < 0
            return ("away" if mirrored else "towards", *UNTURNED[1:])
        rows, columns = (int(np.argmax(np.abs(way))) for way in patient.T)
        up = rows != 0 and patient[rows, 0] * DOWN[rows] < 0
        left = columns != 2 and patient[columns, 1] < 0
        return UNTURNED[0], "up" if up else "down", "left" if left else "right"

    def _turn(self, orientation: tuple[str, str, str]) -> None:
        """Turn the camera; back to napari's own orientation only where it was turned here."""
        if orientation != UNTURNED or self._turned:
            self._turned = orientation != UNTURNED
            self._camera.orientation = orientation


def patient_directions(layer: Image, dims) -> NDArray[np.float64] | None:
    """Return where the displayed axes of the world run in the patient, (3, 2 or 3), LPS; None if not known.

    Column k is the way in the patient, of any length, along the k-th displayed axis of the viewer, as napari
    shows the layer now.
    """
    try:
        grid = layer_grid(layer, (0,) * max(layer.ndim - 3, 0))
    except MediRoundError:
        return None
    displayed = slicing.axes_displayed(layer, dims)
    if not grid.geometry.oriented or len(displayed) != dims.ndisplay or min(displayed) < layer.ndim - 3:
        return None
    own = np.zeros((3, layer.ndim))
    for axis, flip in enumerate(grid.order.flips):
        if grid.layer_axis(axis) >= 0:
            own[:, grid.layer_axis(axis)] = grid.geometry.affine[:3, axis] * (-1 if flip else 1)
    shown = slicing.data_to_world(layer, dims)[np.ix_(displayed, displayed)]
    if not slicing.moves(shown):
        return None
    return own[:, displayed] @ np.linalg.inv(shown)


def screen_directions(camera, ndisplay: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return which way is right and which is down on the screen, along the displayed axes of the world."""
    _, vertical, horizontal = (str(way) for way in camera.orientation)
    if ndisplay == 2:
        right = np.array([0, 1.0 if horizontal == "right" else -1.0])
        return right, np.array([1.0 if vertical == "down" else -1.0, 0])
    view, up = np.array(camera.view_direction), np.array(camera.up_direction)
    handed = 1.0 if str(camera.handedness) == "right" else -1.0
    return np.cross(view, up) * handed, -up


def _overlay(edge: str):
    from napari.components.overlays import TextOverlay

    return TextOverlay(position=EDGES[edge], font_size=SIZE, visible=True)


def _emitters(layer: Image) -> list:
    return [getattr(layer.events, name) for name in MOVES if hasattr(layer.events, name)]


def _key(edge: str) -> str:
    return f"mediround_{edge}"
