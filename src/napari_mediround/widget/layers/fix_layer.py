"""The layer on which one mask is fixed, and the marks of clicks and boxes. Knows no model and no session.

One mask alone, so that all of it can be reached where others lie on it, and so that napari's own undo
goes back to where the fix began and no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from napari.layers import Image, Labels, Shapes
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray

from napari_mediround.widget.layers import slicing
from napari_mediround.widget.layers.layer_geometry import Grid, visible_plane
from napari_mediround.widget.layers.mask_layer import place, rgba

PAINTING, ANSWERED = ("paint", "erase", "fill"), ("inside", "outside", "box")
"""Tools of napari's, and those that the model answers."""

INSIDE, OUTSIDE = "#3ddc84", "#ff5a5f"
DRAG = 4
"""Screen pixels from which on a moved click drags: hands are never quite still."""
MARK_SHARE = 0.01
"""Radius of a click's mark, as a share of the plane's longer side."""


class Scratch:
    """A Labels layer with one mask on one plane.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        The layer is added to it and selected.
    layer : Image
        That the mask lies on.
    grid : Grid
        Of the layer.
    plane : int
        Of the mask, display order.
    mask : ndarray
        bool (row, column), display order.
    name, colour : str
        Of the mask.
    clicked : callable
        Called with (x, y, inside) of a click, in pixels of the plane, display order.
    boxed : callable
        Called with (x0, y0, x1, y1) of a box.
    changed : callable
        Called when another tool is taken into hand.
    """

    def __init__(
        self,
        viewer,
        layer: Image,
        grid: Grid,
        plane: int,
        mask: NDArray[np.bool_],
        name: str,
        colour: str,
        clicked: Callable[[float, float, bool], None],
        boxed: Callable[[tuple[float, float, float, float]], None],
        changed: Callable[[], None],
    ) -> None:
        self._viewer, self._image, self._grid, self._plane = viewer, layer, grid, plane
        self._clicked, self._boxed, self._changed = clicked, boxed, changed
        self._answered = ""
        self._marks: Shapes | None = None
        data = np.zeros((layer.data[0] if layer.multiscale else layer.data).shape[: layer.ndim], np.uint8)
        grid.plane_of(data, plane)[:] = mask
        colours = np.array([(0.0, 0.0, 0.0, 0.0), rgba(colour)], np.float32)
        self.layer = Labels(
            data,
            name=f"fix {name}",
            colormap=CyclicLabelColormap(colors=colours),
            opacity=0.5,
            **self._placing(),
        )
        self.layer.n_edit_dimensions = 2
        self.layer.brush_size = max(3, round(np.sqrt(mask.sum()) / 5))
        self.layer.mouse_drag_callbacks.append(self._on_drag)
        self._before = viewer.layers.selection.active
        viewer.add_layer(self.layer)
        viewer.layers.selection.active = self.layer
        self.layer.mode = "paint"
        self.layer.events.mode.connect(self._on_mode)

    @property
    def there(self) -> bool:
        """Whether the viewer still has the layer."""
        return self.layer in list(self._viewer.layers)

    @property
    def tool(self) -> str:
        """The tool in hand, "" for none."""
        mode = str(self.layer.mode)
        return mode if mode in PAINTING else self._answered

    def take(self, tool: str) -> None:
        """Take a tool into hand."""
        self._viewer.layers.selection.active = self.layer
        self._answered = tool if tool in ANSWERED else ""
        self.layer.mode = tool if tool in PAINTING else "pan_zoom"
        self.layer.mouse_pan = tool in ("inside", "outside")
        self._changed()

    def next_answered(self) -> None:
        """Take the next tool that the model answers."""
        at = ANSWERED.index(self.tool) + 1 if self.tool in ANSWERED else 0
        self.take(ANSWERED[at % len(ANSWERED)])

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask as it is now, bool (row, column), display order."""
        return self._grid.plane_of(self.layer.data, self._plane) != 0

    def elsewhere(self) -> int:
        """Return how many voxels were drawn on other planes."""
        return int(np.count_nonzero(self.layer.data)) - int(self.mask().sum())

    def put(self, mask: NDArray[np.bool_]) -> None:
        """Show another mask, as one step of the layer's undo."""
        rows, columns = np.nonzero(self.mask() != mask)
        index = self._grid.layer_index((np.full_like(rows, self._plane), rows, columns))
        with self.layer.block_history():
            try:
                self.layer.data_setitem(index, mask[rows, columns].astype(self.layer.data.dtype))
            except ValueError:  # napari cannot draw a part of what is out of view; the values are written
                self.layer.refresh(extent=False)

    def guard(self) -> None:
        """Follow the image, and let the mask be drawn on its own plane only, while the viewer shows it."""
        for layer in (self.layer, self._marks):
            if layer is not None:
                place(layer, self._placing())
        editable = visible_plane(self._image, self._grid, self._viewer.dims) == self._plane
        if editable != self.layer.editable:
            tool = self.tool
            self.layer.editable = editable
            if editable:
                self.take(tool or "paint")

    def _placing(self) -> dict:
        """Return the transform that puts a layer where napari shows the image now.

        Without the image's turn out of the plane: napari draws such a layer where it shows it, and cannot
        draw on a turned one. Where napari cannot show the image, a straight transform that nobody sees.
        """
        image, dims = self._image, self._viewer.dims
        flat = slicing.flat_matrix(image, dims)
        scale = np.diag([*image.scale, 1.0])
        units = image.units if dims.units is None else dims.units[-image.ndim :]
        return {
            "scale": image.scale,
            "affine": np.eye(image.ndim + 1) if flat is None else flat @ np.linalg.inv(scale),
            "units": units,
            "axis_labels": image.axis_labels,
        }

    def mark(
        self,
        points_xy: Sequence[tuple[float, float]],
        positive: Sequence[bool],
        box_xyxy: tuple[float, float, float, float] | None,
    ) -> None:
        """Show clicks and box."""
        if self._marks is None:
            self._marks = Shapes(ndim=self.layer.ndim, name="fix clicks", **self._placing())
            self._viewer.add_layer(self._marks)
            self._viewer.layers.selection.active = self.layer
        if self._marks not in list(self._viewer.layers):
            return
        radius = max(1.0, MARK_SHARE * max(self._grid.geometry.shape[1:]))
        boxes = [(x - radius, y - radius, x + radius, y + radius) for x, y in points_xy]
        kinds = ["ellipse"] * len(boxes)
        colours = [INSIDE if inside else OUTSIDE for inside in positive]
        if box_xyxy is not None:
            boxes, kinds, colours = [*boxes, box_xyxy], [*kinds, "rectangle"], [*colours, INSIDE]
        self._marks.data = []
        if boxes:
            self._marks.add(
                [self._corners(box) for box in boxes], shape_type=kinds, edge_color=colours,
                face_color="transparent", edge_width=radius / 2,
            )  # fmt: skip

    def remove(self) -> None:
        """Take the layers out of the viewer."""
        self.layer.events.mode.disconnect(self._on_mode)
        self.layer.mouse_drag_callbacks.remove(self._on_drag)
        for layer in (self._marks, self.layer):
            if layer is not None and layer in list(self._viewer.layers):
                self._viewer.layers.remove(layer)
        if self._before is not None and self._before in list(self._viewer.layers):
            self._viewer.layers.selection.active = self._before

    def _corners(self, box: tuple[float, float, float, float]) -> NDArray:
        """Return the four corners of a box (x0, y0, x1, y1) in the layer's own indices."""
        x0, y0, x1, y1 = (side - 0.5 for side in box)
        plane = np.full(4, float(self._plane))
        corners = self._grid.layer_index((plane, np.array([y0, y0, y1, y1]), np.array([x0, x1, x1, x0])))
        return np.stack(corners, axis=1)

    def _xy(self, position: tuple[float, ...]) -> tuple[float, float] | None:
        """Return x and y (pixel centres at .5) of a place in the world, None where it is not on the plane."""
        own = slicing.world_to_data(self.layer, self._viewer.dims, position)
        point = self._grid.display_point(own)
        rows, columns = self._grid.geometry.shape[1:]
        x, y = float(point[2]) + 0.5, float(point[1]) + 0.5
        inside = 0 <= x <= columns and 0 <= y <= rows and round(point[0]) == self._plane
        return (x, y) if inside else None

    def _on_drag(self, layer: Labels, event) -> Iterator[None]:
        """Turn a click into a point and a drag into a box."""
        tool, start = self._answered, self._xy(event.position)
        if not tool or not layer.editable or start is None:
            return
        pressed, dragged = event.pos, False
        yield
        while event.type == "mouse_move":
            dragged |= bool(np.abs(np.subtract(event.pos, pressed)).max() >= DRAG)
            yield
        if tool != "box":
            if not dragged:
                self._clicked(*start, (tool == "inside") != ("Alt" in event.modifiers))
            return
        end = self._xy(event.position)
        if end is not None and abs(end[0] - start[0]) >= 2 and abs(end[1] - start[1]) >= 2:
            (x0, x1), (y0, y1) = sorted((start[0], end[0])), sorted((start[1], end[1]))
            self._boxed((x0, y0, x1, y1))

    def _on_mode(self, event=None) -> None:
        if str(self.layer.mode) != "pan_zoom":
            self._answered = ""
        self._changed()
