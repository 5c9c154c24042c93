"""Measured lines on the image: the longest axis of a mask, the width across it. Knows no model and no Qt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Image, Shapes

from napari_mediround.session.facts import AxisLine
from napari_mediround.widget.layers.layer_geometry import IMAGE_KEY, Grid
from napari_mediround.widget.layers.mask_layer import SHARED, follow

NAME = "measurement"
WIDTH = 1 / 250
"""Of the lines, as a share of the plane's longer side."""


class Calipers:
    """A layer with measured lines and their lengths; it is in the viewer only while there are some.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    """

    def __init__(self, viewer) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None

    def show(self, image: Image, grid: Grid, lines: Sequence[tuple[int, AxisLine]]) -> None:
        """Draw lines, each with the plane that it lies on."""
        self.remove()
        paths = [_path(grid, plane, line) for plane, line in lines]
        self._layer = Shapes(
            paths,
            shape_type="line",
            name=NAME,
            edge_color="#ffd23f",
            edge_width=WIDTH * max(grid.geometry.shape[1:]),
            features={"mm": [f"{line.length_mm:.1f} mm" for _, line in lines]},
            text={"string": "{mm}", "color": "#ffd23f", "size": 11, "anchor": "upper_left"},
            metadata={IMAGE_KEY: image.unique_id},
            **{key: getattr(image, key) for key in SHARED},
        )
        self._layer.editable = False
        follow(self._layer, image)
        active = self._viewer.layers.selection.active
        self._viewer.add_layer(self._layer)
        if active is not None:
            self._viewer.layers.selection.active = active

    def remove(self) -> None:
        """Take the lines out of the viewer."""
        layer, self._layer = self._layer, None
        if layer is not None and layer in list(self._viewer.layers):
            self._viewer.layers.remove(layer)


def _path(grid: Grid, plane: int, line: AxisLine) -> np.ndarray:
    """Return a line as points in the layer's own indices."""
    rows, columns = np.array(line.ends).T
    return np.stack(grid.layer_index((np.full(2, float(plane)), rows, columns)), axis=1)
