"""Labels and Shapes layers of a viewer as masks on the grid of an image's file. Knows no conversation."""

from __future__ import annotations

import hashlib

import numpy as np
from napari.layers import Image, Labels, Layer, Shapes
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Imported
from napari_mediround.domain.segments import MANUAL, MAX_VALUE, ORIGINS, LabelledVolume, Segment, make_segment
from napari_mediround.domain.study import Study
from napari_mediround.errors import MediRoundError, OtherGridError
from napari_mediround.io.masks.outside import (
    RESAMPLED,
    Incoming,
    describe_difference,
    resample_masks,
)
from napari_mediround.widget.layers.layer_geometry import RECORD_KEY, Grid

AREAS = ("polygon", "rectangle", "ellipse")
"""Shapes that enclose something; lines and paths do not."""


def take_layer(
    layer: Layer, image: Image, grid: Grid, study: Study, anatomy: Anatomy, resample: bool = False
) -> Incoming:
    """Return the masks of a layer, on the grid of an image's file.

    Parameters
    ----------
    layer : Labels or Shapes
        Where the viewer shows it is what counts.
    image : Image
        The image that the masks are of.
    grid : Grid
        Of `image`.
    study : Study
        Of `image`.
    anatomy : Anatomy
        For codes and sides of names.
    resample : bool
        Whether a layer on another grid is resampled onto the image's, by nearest neighbour.

    Raises
    ------
    OtherGridError
        When the voxels of the layer are not those of the image, and `resample` is False.
    MediRoundError
        When the layer is of another kind, empty, or shows the masks of this conversation already.
    """
    if RECORD_KEY in layer.metadata:
        raise MediRoundError(
            f"“{layer.name}” shows the masks of a conversation already. Choose another layer."
        )
    if isinstance(layer, Shapes):
        labels, segments = _fill_shapes(layer, image, grid, anatomy)
        geometry = grid.order.undo_geometry(grid.geometry)
    elif isinstance(layer, Labels):
        labels = _labels_of(layer, grid)
        segments = _segments(layer, labels, anatomy)
        geometry = _geometry_of(layer, image, grid, labels.shape)
    else:
        raise MediRoundError(f"“{layer.name}” is no Labels or Shapes layer. Select one of those.")
    volume = LabelledVolume.from_labels(geometry, labels, segments)
    resampled, notes = False, ()
    try:
        placed = volume.place(study.source_geometry)
    except ValueError as error:
        if not resample:
            difference = describe_difference(geometry, study.source_geometry)
            raise OtherGridError(layer.name, difference, str(error)) from error
        placed, resampled, notes = resample_masks(volume, study.source_geometry), True, (RESAMPLED,)
    form = "shapes" if isinstance(layer, Shapes) else "layer"
    source = Imported(hashlib.sha256(labels.tobytes()).hexdigest(), form, MANUAL, resampled=resampled)
    return Incoming(LabelledVolume(placed.geometry, placed.layers, placed.segments, notes), source)


def _labels_of(layer: Labels, grid: Grid) -> NDArray[np.uint16]:
    data = np.asarray(layer.data)
    while data.ndim > 3 and data.ndim > grid.ndim:
        data = data[grid.volume[0] if grid.volume else 0]
    data = data[(None,) * (3 - data.ndim)]
    if not data.any():
        raise MediRoundError(f"“{layer.name}” is empty: there is no mask in it.")
    if data.min() < 0 or data.max() > MAX_VALUE:
        raise MediRoundError(f"“{layer.name}” has label values that are not between 0 and {MAX_VALUE}.")
    return np.ascontiguousarray(data, np.uint16)


def _segments(layer: Labels, labels: NDArray, anatomy: Anatomy) -> list[Segment]:
    """Return what the values are: as the layer's features name them, columns "index" and "name"."""
    features, said = layer.features, {}
    if {"index", "name"} <= set(features):
        said = {int(row["index"]): row for row in features.to_dict("records")}
    segments = []
    for value in (int(v) for v in np.unique(labels) if v):
        row = said.get(value, {})
        origin = row.get("origin") if row.get("origin") in ORIGINS else MANUAL
        name = str(row.get("name") or f"structure {value}").removeprefix(f"{value} ")
        segments.append(make_segment(value, name, anatomy, origin))
    return segments


def _geometry_of(layer: Labels, image: Image, grid: Grid, shape: tuple[int, int, int]) -> Geometry:
    """Return where a layer's voxels lie in the patient: as they lie beside those of the image."""
    own = grid.order.undo_geometry(grid.geometry)
    count = min(layer.ndim, grid.ndim)
    matrix = np.eye(4)
    origin = _to_index(image, layer, np.zeros(layer.ndim))[-count:]
    for axis in range(count):
        step = np.zeros(layer.ndim)
        step[layer.ndim - count + axis] = 1
        matrix[3 - count : 3, 3 - count + axis] = _to_index(image, layer, step)[-count:] - origin
    matrix[3 - count : 3, 3] = origin
    known = {"series_uid": own.series_uid, "study_uid": own.study_uid}
    return Geometry(
        shape, own.affine @ matrix, own.oriented, calibrated=own.calibrated, has_depth=own.has_depth, **known
    )


def _to_index(image: Image, layer: Layer, point: NDArray) -> NDArray[np.float64]:
    """Return where a point of a layer, in its own indices, lies in an image, in the image's indices."""
    world = np.asarray(layer.data_to_world(point), float)
    missing = image.ndim - len(world)
    world = np.concatenate([np.zeros(missing), world]) if missing > 0 else world[-image.ndim :]
    return np.asarray(image.world_to_data(world), float)


def _fill_shapes(
    layer: Shapes, image: Image, grid: Grid, anatomy: Anatomy
) -> tuple[NDArray[np.uint16], list[Segment]]:
    """Return the shapes that enclose something, filled on the image's own axes, one value a shape."""
    kept = [k for k, kind in enumerate(layer.shape_type) if kind in AREAS]
    if not kept:
        raise MediRoundError(
            f"“{layer.name}” has no polygon, rectangle or ellipse, so it encloses nothing. Draw an outline."
        )
    shape = tuple(grid.order.undo_geometry(grid.geometry).shape)
    moved = []
    for k in kept:
        points = np.array([_to_index(image, layer, point) for point in layer.data[k]])[:, -grid.ndim :]
        points[:, : max(grid.ndim - 2, 0)] = points[:, : max(grid.ndim - 2, 0)].round()
        moved.append(points)
    redrawn = Shapes(moved, shape_type=[layer.shape_type[k] for k in kept], ndim=grid.ndim)
    labels = np.asarray(redrawn.to_labels(labels_shape=shape[-grid.ndim :]))
    labels = np.ascontiguousarray(labels.reshape(shape), np.uint16)
    if not labels.any():
        raise MediRoundError(f"The shapes of “{layer.name}” lie beside the image. Draw them on the image.")
    column = next((name for name in ("name", "label", "structure") if name in layer.features), None)
    names = [str(layer.features[column].iloc[k]) if column else "" for k in kept]
    there = {int(v) for v in np.unique(labels) if v}
    return labels, [make_segment(v, names[v - 1] or f"structure {v}", anatomy, MANUAL) for v in sorted(there)]
