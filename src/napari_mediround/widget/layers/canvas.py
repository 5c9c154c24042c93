"""Which part of a plane lies on napari's canvas, in 2-D. Knows no model, no conversation and no Qt."""

from __future__ import annotations

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mediround.widget.layers import slicing
from napari_mediround.widget.layers.layer_geometry import Grid


def is_on_canvas(viewer, layer: Image, grid: Grid, mask: NDArray[np.bool_]) -> bool:
    """Return whether the canvas shows a pixel of a mask; of an empty mask, whether it shows the plane.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        In 2-D, showing the plane of the mask. A proxy of one will do.
    layer : Image
    grid : Grid
        Of the layer.
    mask : ndarray
        bool (row, column), in display order.
    """
    places, canvas, camera = (
        _places(viewer, layer, grid, mask),
        getattr(viewer, "canvas", None),
        _camera(viewer),
    )
    if places is None or canvas is None:
        return canvas is None  # napari before 0.9 does not tell the size of its canvas
    half = np.array(canvas.viewbox_size(viewer.layers)) / (2 * camera.zoom)
    return bool((np.abs(places - camera.center[-2:]) <= half).all(1).any())


def centre_on(viewer, layer: Image, grid: Grid, mask: NDArray[np.bool_]) -> None:
    """Move the canvas to the middle of a mask, or of the plane if the mask is empty."""
    places = _places(viewer, layer, grid, mask)
    if places is not None:
        middle = (places.min(0) + places.max(0)) / 2
        camera = _camera(viewer)
        camera.center = (*camera.center[:-2], *middle)


def _camera(viewer):
    scene = getattr(viewer, "scene", None)  # since napari 0.9
    return viewer.camera if scene is None else scene.camera


def _places(viewer, layer: Image, grid: Grid, mask: NDArray[np.bool_]) -> NDArray[np.float64] | None:
    """Return the pixels of a mask (n, 2) in the world of the screen; None if napari cannot show the layer."""
    matrix = slicing.flat_matrix(layer, viewer.dims)
    if matrix is None:
        return None
    rows, columns = np.nonzero(mask if mask.any() else np.ones_like(mask))
    index = grid.layer_index((np.zeros_like(rows), rows, columns))
    displayed = slicing.axes_displayed(layer, viewer.dims)
    return np.stack(index, 1) @ matrix[displayed, :-1].T + matrix[displayed, -1]
