"""The outline, in the image, of the mask that the keys act on. Knows no model, no conversation and no Qt."""

from __future__ import annotations

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray
from skimage.measure import find_contours

from napari_mediround.widget.layers.layer_geometry import Grid
from napari_mediround.widget.layers.line_layer import LineLayer

NAME = "current mask"
WIDTH = 1 / 300
"""Of the line, as a share of the plane's longer side."""


class Outline(LineLayer):
    """The outline of one mask.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    """

    def __init__(self, viewer) -> None:
        super().__init__(viewer)
        self._shown: tuple = ()

    def show(self, image: Image, grid: Grid, plane: int, mask: NDArray[np.bool_]) -> None:
        """Outline a mask, bool (row, column) on a plane, both in display order."""
        shown = (image.unique_id, grid, plane, mask.tobytes())
        if self.is_there and shown == self._shown:
            self._layer.visible = True
            return
        lines = [_closed(grid, plane, line) for line in find_contours(np.pad(mask, 1).astype(float), 0.5)]
        if not lines:
            self.remove()
            return
        self.draw(image, grid, lines, WIDTH, shape_type="path", name=NAME, edge_color="white")
        self._shown = shown

    def hide(self) -> None:
        """Show no outline until the next one."""
        if self._layer is not None:
            self._layer.visible = False


def _closed(grid: Grid, plane: int, line: NDArray) -> NDArray[np.float64]:
    """Return a contour (n, 2) of a mask padded by one as points in the layer's own indices."""
    rows, columns = (line - 1).T
    return np.stack(grid.layer_index((np.full(len(line), float(plane)), rows, columns)), axis=1)
