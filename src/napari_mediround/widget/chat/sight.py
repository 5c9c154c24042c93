"""What of a case the viewer shows: a mask is brought into view, and outlined, before a key judges it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from napari.layers import Image, Layer

from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.layers.canvas import centre_on, is_on_canvas
from napari_mediround.widget.layers.layer_geometry import (
    Grid,
    is_turned,
    plane_point,
    shown_plane,
    shown_volume,
    visible_plane,
    volume_point,
)
from napari_mediround.widget.layers.mask_outline import Outline

CLOSED = "The image is closed, so this mask cannot be seen. Open the image again."
TURNED = (
    "napari cannot show plane {plane} of this layer, because of how the layer is turned. Open the file with "
    "MediRound's reader, or take the turn out of the layer's affine."
)
SCALED = (
    "The layer was scaled, sheared or mirrored, so its millimetres or sides are others now. Another "
    "conversation begins. The masks so far stay in the viewer, and in the project."
)
ACROSS = "View turned: questions go to plane {plane}."
IN_3D = "3-D view: questions go to plane {plane}."
UNSHOWN = "Layer turned: napari cannot show plane {plane}."
UNSIDED = "Left and right are not known."
OPACITY = 0.7
"""Of a layer that was wholly transparent, when it has to be seen."""


class Sight:
    """Moves the viewer to masks, and knows whether one is seen.

    Parameters
    ----------
    place : Workplace
        Viewer, view, and the case at hand.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._outline = Outline(place.viewer)
        self._still = False
        place.current_changed.connect(self._on_current)

    def sees(self, case: Case, value: int) -> bool:
        """Whether the viewer shows the plane of a mask, and the mask within its canvas."""
        viewer, layer, labels = self._place.viewer, case.layer(), case.labels()
        shown = self._shows_plane(case, value) and is_drawn(layer) and (labels is None or is_drawn(labels))
        return shown and is_on_canvas(viewer, layer, case.grid, case.session.label(value).mask.to_array())

    def _shows_plane(self, case: Case, value: int) -> bool:
        layer, dims = case.layer(), self._place.viewer.dims
        if layer not in self._place.images or shown_volume(layer, dims) != case.grid.volume:
            return False
        if case.session.label(value).drawn in case.concealed:
            return False
        return visible_plane(layer, case.grid, dims) == case.session.label(value).plane

    def show(self, case: Case, value: int) -> str:
        """Bring a mask into view and outline it; return why the viewer cannot show it, "" where it does."""
        layer, labels = case.layer(), case.labels()
        if layer not in self._place.images:
            return CLOSED
        label = case.session.label(value)
        case.concealed -= {label.drawn}
        self._place.conceal(case)
        for hidden in (layer, labels):
            if hidden is not None and not is_drawn(hidden):
                hidden.visible, hidden.opacity = True, hidden.opacity or OPACITY
        if label.drawn in case.concealed:
            case.concealed -= {label.drawn}
            self._place.conceal(case)
        if not self._shows_plane(case, value):
            self._turn_to(case, label.plane)
        if self._shows_plane(case, value) and not self.sees(case, value):
            centre_on(self._place.viewer, layer, case.grid, label.mask.to_array())
        self.outline()
        plane = label.plane
        return "" if self.sees(case, value) else TURNED.format(plane=plane)

    def go_to(self, plane: int) -> None:
        """Move the viewer's slider to a plane of the image at hand; a turned view stays turned."""
        layer = self._place.layer()
        if layer is not None:
            self._slide(layer, self._place.case.grid, plane)

    def zoom(self, case: Case, value: int) -> None:
        """Show a mask, which is in view, as large as fits."""
        layer, label = case.layer(), case.session.label(value)
        box = label.mask.box_xyxy
        if box is None or layer not in self._place.images:
            return
        x0, y0, x1, y1 = box
        corners = [(label.plane, y, x) for y in (y0, y1 - 1) for x in (x0, x1 - 1)]
        index = case.grid.layer_index(tuple(np.array(axis) for axis in zip(*corners, strict=True)))
        world = np.array([layer.data_to_world(point) for point in zip(*index, strict=True)])
        camera, dims = self._place.viewer.camera, self._place.viewer.dims
        shown = list(dims.displayed[-2:])
        low, high = world.min(0)[shown], world.max(0)[shown]
        camera.center = tuple((low + high) / 2)
        before, whole = camera.zoom, np.ptp(layer.extent.world[:, -world.shape[1] :], axis=0)[shown]
        camera.zoom = before * max(1.0, 0.5 * float((whole / np.maximum(high - low, 1e-6)).min()))

    def hint(self, plane: int) -> str:
        """Return what a user should know of the plane of the image at hand that is asked about."""
        layer, grid, dims = self._place.layer(), self._place.case.grid, self._place.viewer.dims
        hints = []
        if is_turned(layer, grid, dims):
            hints.append(IN_3D if dims.ndisplay == 3 else ACROSS)
        elif shown_plane(layer, grid, dims) is None:
            hints.append(UNSHOWN)
        if not grid.geometry.oriented:
            hints.append(UNSIDED)
        return " ".join(hints).format(plane=plane)

    def outline(self) -> None:
        """Outline the current mask of the case at hand, or none."""
        case = self._place.case
        layer = self._place.layer()
        shown = case is not None and case.session is not None and case.current and case.current != case.hidden
        mask = case.session.label(case.current).mask if shown and layer is not None else None
        if self._still:
            self._outline.hide()
        elif mask is None or not mask.area:
            self._outline.remove()
        else:
            plane = case.session.label(case.current).plane
            self._outline.show(layer, case.grid, plane, mask.to_array())

    @contextmanager
    def still(self) -> Iterator[None]:
        """Add and remove no layer meanwhile: napari cannot while it adds or removes another."""
        before, self._still = self._still, True
        try:
            yield
        finally:
            self._still = before

    def remove(self) -> None:
        """Take the outline out of the viewer."""
        self._outline.remove()

    def _turn_to(self, case: Case, plane: int) -> None:
        """Show a plane: of the right volume, in 2-D, with the axis of planes on the slider."""
        layer, grid, dims = case.layer(), case.grid, self._place.viewer.dims
        spare = dims.ndim - layer.ndim
        if visible_plane(layer, grid, dims) is None and grid.ndim == 3:
            dims.ndisplay = 2
            first = [*range(spare + len(grid.volume)), spare + grid.layer_axis()]
            dims.order = (*first, *(axis for axis in range(dims.ndim) if axis not in first))
        for axis, at in enumerate(volume_point(layer, dims, grid.volume)):
            dims.set_point(spare + axis, at)
        self._slide(layer, grid, plane)

    def _slide(self, layer: Image, grid: Grid, plane: int) -> None:
        dims = self._place.viewer.dims
        point = plane_point(layer, grid, dims, plane)
        if point is not None:
            dims.set_point(point[0] + dims.ndim, point[1])

    def _on_current(self) -> None:
        self.outline()


def is_drawn(layer: Layer) -> bool:
    """Whether a layer is visible and not wholly transparent."""
    return bool(layer.visible and layer.opacity)
