"""How napari cuts a layer: which plane it shows and where that plane lies on the screen. Knows no model.

napari cuts a layer along the layer's own axes, whatever its transform: of a turned layer it shows a plane as
if the turn out of that plane were not there. `layer.world_to_data` does not leave the turn out, so the two
name different planes. All that concerns what is seen is computed here as napari computes it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from napari.layers import Layer
from numpy.typing import NDArray

SINGULAR = 1e-6
"""Below this share of a voxel a step of the slider does not move through the layer."""


def data_to_world(layer: Layer, dims=None) -> NDArray[np.float64]:
    """Return the matrix (n + 1, n + 1) from a layer's indices to the world of its viewer.

    Parameters
    ----------
    layer : Layer
        Of n axes.
    dims : napari.components.Dims, optional
        Of the viewer, whose units may differ from the layer's; None keeps the layer's.
    """
    n = layer.ndim
    origin = np.asarray(layer.data_to_world(np.zeros(n)), float)
    matrix = np.eye(n + 1)
    matrix[:n, :n] = (np.array([layer.data_to_world(row) for row in np.eye(n)]) - origin).T
    matrix[:n, n] = origin
    matrix[:n] *= np.array(_unit_factors(layer, dims))[:, None]
    return matrix


def world_to_data(layer: Layer, dims, position: Iterable[float]) -> NDArray[np.float64]:
    """Return a layer's index at a place of the viewer's world, with any turn of the layer."""
    place = np.array([*tuple(position)[-layer.ndim :], 1.0])
    return (np.linalg.inv(data_to_world(layer, dims)) @ place)[:-1]


def axes_displayed(layer: Layer, dims) -> list[int]:
    """Return which of a layer's axes the viewer displays, in the order of the screen."""
    spare = dims.ndim - layer.ndim
    return [axis - spare for axis in dims.order if axis >= spare][-dims.ndisplay :]


def cut_index(layer: Layer, dims, axes: list[int]) -> NDArray[np.float64] | None:
    """Return where on its own axes the viewer cuts a layer; None where its slider does not move through it.

    Parameters
    ----------
    layer : Layer
        A layer of the viewer.
    dims : napari.components.Dims
        Of the viewer.
    axes : list of int
        The axes of the layer that are cut.
    """
    block, shift = _block(np.linalg.inv(data_to_world(layer, dims)), axes)
    if not moves(block):
        return None
    world = np.array(dims.point[-layer.ndim :])[axes]
    return block @ world + shift


def cut_point(layer: Layer, dims, axes: list[int], index: Iterable[float]) -> NDArray[np.float64] | None:
    """Return the world coordinates, on `axes`, at which the viewer cuts a layer at an index; else None."""
    block, shift = _block(np.linalg.inv(data_to_world(layer, dims)), axes)
    return np.linalg.solve(block, np.array([*index]) - shift) if moves(block) else None


def flat_matrix(layer: Layer, dims) -> NDArray[np.float64] | None:
    """Return the transform with which napari shows a layer now, as `data_to_world`, without its turn.

    A layer that has this transform lies on the screen where the other one does, and all of napari agrees on
    where it is cut. None where napari cannot show the layer.
    """
    n, displayed = layer.ndim, axes_displayed(layer, dims)
    matrix = data_to_world(layer, dims)
    axes = [axis for axis in range(n) if axis not in displayed]
    flat = np.eye(n + 1)
    flat[np.ix_(displayed, displayed)], flat[displayed, n] = _block(matrix, displayed)
    if axes:
        block, shift = _block(np.linalg.inv(matrix), axes)
        if not moves(block):
            return None
        flat[np.ix_(axes, axes)] = np.linalg.inv(block)
        flat[axes, n] = -np.linalg.solve(block, shift)
    return flat


def _block(matrix: NDArray, axes: list[int]) -> tuple[NDArray, NDArray]:
    """Return the linear part and the shift of an affine matrix on some axes."""
    return matrix[np.ix_(axes, axes)], matrix[axes, -1]


def moves(block: NDArray) -> bool:
    """Return whether a block of a matrix between indices and world can be inverted."""
    lengths = np.linalg.norm(block, axis=1)
    return bool(lengths.all() and abs(np.linalg.det(block / lengths[:, None])) > SINGULAR)


def _unit_factors(layer: Layer, dims) -> list[float]:
    """Return for each axis how many of the viewer's units one of the layer's is."""
    theirs = getattr(dims, "units", None)
    if theirs is None or len(theirs) < layer.ndim:
        return [1.0] * layer.ndim
    pairs = zip(layer.units, theirs[-layer.ndim :], strict=True)
    return [float((1 * own).to(other).magnitude) if own != other else 1.0 for own, other in pairs]
