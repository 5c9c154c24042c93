"""The outline, in the image, of the mask that the keys act on. Knows no model, no conversation and no Qt."""

from __future__ import annotations

import numpy as np
from napari.layers import Image, Shapes
from numpy.typing import NDArray
from skimage.measure import find_contours

from napari_mediround.widget.layers.layer_geometry import IMAGE_KEY, Grid
from napari_mediround.widget.layers.mask_layer import SHARED, follow

NAME = "current mask"
WIDTH = 1 / 300
"""Of the line, as a share of the plane's longer side."""


class Outline:
    """A layer with the outline of one mask; it is in the viewer only while there is one.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    """

    def __init__(self, viewer) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None
        self._shown: tuple = ()

    def show(self, image: Image, grid: Grid, plane: int, mask: NDArray[np.bool_]) -> None:
        """Outline a mask, bool (row, column) on a plane, both in display order."""
        shown = (image.unique_id, grid, plane, mask.tobytes())
        there = self._layer is not None and self._layer in list(self._viewer.layers)
        if there and shown == self._shown:
            self._layer.visible = True
            return
        self.remove()
        lines = [_closed(grid, plane, line) for line in find_contours(np.pad(mask, 1).astype(float), 0.5)]
        if not lines:
            return
        self._shown = shown
        self._layer = Shapes(
            lines,
            shape_type="path",
            name=NAME,
            edge_color="white",
            edge_width=WIDTH * max(grid.geometry.shape[1:]),
            metadata={IMAGE_KEY: image.unique_id},
            **{key: getattr(image, key) for key in SHARED},
        )
        self._layer.editable = False
        follow(self._layer, image)
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(self._layer)
        if active is not None:
            self._viewer.layers.selection.active = active

    def hide(self) -> None:
        """Show no outline until the next one."""
        if self._layer is not None:
            self._layer.visible = False

    def remove(self) -> None:
        """Take the outline out of the viewer."""
        layer, self._layer, self._shown = self._layer, None, ()
        if layer is not None and layer in list(self._viewer.layers):
            self._viewer.layers.remove(layer)


def _closed(grid: Grid, plane: int, line: NDArray) -> NDArray[np.float64]:
    """Return a contour (n, 2) of a mask padded by one as points in the layer's own indices."""
    rows, columns = (line - 1).T
    return np.stack(grid.layer_index((np.full(len(line), float(plane)), rows, columns)), axis=1)
