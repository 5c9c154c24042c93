"""Lines drawn over an image in a layer of their own, which nobody edits. Knows no model and no Qt."""

from __future__ import annotations

from collections.abc import Sequence

from napari.layers import Image, Shapes
from numpy.typing import NDArray

from napari_mediround.widget.layers.layer_geometry import IMAGE_KEY, Grid
from napari_mediround.widget.layers.mask_layer import SHARED, follow


class LineLayer:
    """A layer of lines that lies on its image; it is in the viewer only while there are some.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    """

    def __init__(self, viewer) -> None:
        self._viewer = viewer
        self._layer: Shapes | None = None

    @property
    def is_there(self) -> bool:
        """Whether the layer is in the viewer; a person may have removed it."""
        return self._layer is not None and self._layer in list(self._viewer.layers)

    def draw(self, image: Image, grid: Grid, lines: Sequence[NDArray], width: float, **options) -> None:
        """Show lines instead of those before.

        Parameters
        ----------
        image : Image
            What the lines lie on and move with.
        grid : Grid
            Of the image.
        lines : sequence of ndarray
            Each float64 (n, axes), in the layer's own indices.
        width : float
            Of the lines, as a share of the plane's longer side.
        **options
            Of `Shapes`.
        """
        self.remove()
        self._layer = Shapes(
            lines,
            edge_width=width * max(grid.geometry.shape[1:]),
            metadata={IMAGE_KEY: image.unique_id},
            **options,
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
        if self.is_there:
            self._viewer.layers.remove(self._layer)
        self._layer = None
