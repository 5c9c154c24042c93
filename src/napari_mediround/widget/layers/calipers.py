"""Measured lines on the image: the longest axis of a mask, the width across it. Knows no model and no Qt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from napari.layers import Image

from napari_mediround.session.facts import AxisLine
from napari_mediround.widget.layers.layer_geometry import Grid
from napari_mediround.widget.layers.line_layer import LineLayer

NAME = "measurement"
WIDTH = 1 / 250
"""Of the lines, as a share of the plane's longer side."""


class Calipers(LineLayer):
    """Measured lines with their lengths."""

    def show(self, image: Image, grid: Grid, lines: Sequence[tuple[int, AxisLine]]) -> None:
        """Draw lines, each with the plane that it lies on."""
        self.draw(
            image,
            grid,
            [_path(grid, plane, line) for plane, line in lines],
            WIDTH,
            shape_type="line",
            name=NAME,
            edge_color="#ffd23f",
            features={"mm": [f"{line.length_mm:.1f} mm" for _, line in lines]},
            text={"string": "{mm}", "color": "#ffd23f", "size": 11, "anchor": "upper_left"},
        )


def _path(grid: Grid, plane: int, line: AxisLine) -> np.ndarray:
    """Return a line as points in the layer's own indices."""
    rows, columns = np.array(line.ends).T
    return np.stack(grid.layer_index((np.full(2, float(plane)), rows, columns)), axis=1)
