"""Studies to napari layers and back. Knows no model, no conversation and no Qt.

napari's world has no left or right: a layer says how large its pixels are, seldom how they lie in the
patient. Only our reader's layers and those of napari-nifti are taken at their word about that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from napari.layers import Image, Labels
from napari.utils.colormaps import CyclicLabelColormap
from numpy.typing import NDArray

from napari_mediround.domain.geometry import DisplayOrder, Geometry
from napari_mediround.domain.study import Study, make_study
from napari_mediround.domain.windows import DEFAULT_WINDOW, WINDOWS
from napari_mediround.errors import MediRoundError

STUDY_KEY = "mediround_study"
"""Where in `layer.metadata` the reader leaves the `Study`."""

COLOURS = (
    "#ff5a5f", "#3ddc84", "#4d9dff", "#ffd23f", "#e05cff", "#2de2e6",
    "#ff9f1c", "#b8f35c", "#ff8fb8", "#9b7bff", "#14b8a6", "#d9a06b",
)  # fmt: skip
"""Label colours in turn: bright on grey images, neighbours easy to tell apart."""

_SHARED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")


@dataclass(frozen=True)
class Grid:
    """How a layer's array becomes planes in display order.

    Parameters
    ----------
    geometry : Geometry
        Of the planes, display order.
    order : DisplayOrder
        From the layer's axes, as (plane, row, column), to the display's.
    ndim : int
        2 for a picture, 3 for a volume; colour channels are not counted.
    """

    geometry: Geometry
    order: DisplayOrder
    ndim: int

    def layer_axis(self, axis: int = 0) -> int:
        """Return which axis of the layer a display axis (0 planes, 1 rows, 2 columns) is; -1 if none."""
        return self.order.permutation[axis] - (3 - self.ndim)

    def layer_index(self, display: tuple[NDArray, NDArray, NDArray]) -> tuple[NDArray, ...]:
        """Turn index arrays (plane, row, column) in display order into the layer's own."""
        index: list = [None, None, None]
        for axis, (source, flip) in enumerate(zip(self.order.permutation, self.order.flips, strict=True)):
            index[source] = self.geometry.shape[axis] - 1 - display[axis] if flip else display[axis]
        return tuple(index[3 - self.ndim :])


def study_to_layer(study: Study) -> tuple[NDArray, dict, str]:
    """Return a study as napari layer data (array, keyword arguments, "image").

    The array is in display order, so an axial volume looks radiological: patient right on the left. One
    unit of the layer's world is 1 mm; each axis is shifted to its place in the patient, so that two
    series of one examination lie on each other. Uncalibrated pictures keep pixels as units.
    """
    geometry = study.geometry
    scale = geometry.spacing_mm if geometry.calibrated else (1.0, 1.0, 1.0)
    directions = geometry.affine[:3, :3] / geometry.spacing_mm
    translate = geometry.affine[:3, 3] @ directions if geometry.oriented else np.zeros(3)
    options = {
        "name": study.name,
        "scale": scale,
        "translate": tuple(float(t) for t in translate),
        "units": ("mm" if geometry.calibrated else "pixel",) * 3,
        "axis_labels": ("plane", "row", "column"),
        "metadata": {STUDY_KEY: study},
        "rgb": study.is_rgb,
    }
    if not study.is_rgb:
        options |= {"interpolation2d": "linear", "contrast_limits": contrast_limits(study)}
    return study.pixels, options, "image"


def contrast_limits(study: Study, window: str = DEFAULT_WINDOW) -> tuple[float, float]:
    """Return the grey values shown as black and white: a CT window in HU, else percentiles."""
    if study.modality != "CT":
        return study.grey_range
    chosen = WINDOWS[window]
    return chosen.level - chosen.width / 2, chosen.level + chosen.width / 2


def layer_grid(layer: Image) -> Grid:
    """Return how an image layer's planes lie, without looking at its pixels.

    Raises
    ------
    MediRoundError
        When the layer is neither a picture nor one volume.
    """
    shape = _shape(layer)
    study = layer.metadata.get(STUDY_KEY)
    if isinstance(study, Study) and study.geometry.shape == shape:
        return Grid(study.geometry, DisplayOrder(), layer.ndim)
    geometry = _nifti_geometry(layer, shape)
    if geometry is not None:
        shown = make_study(np.broadcast_to(np.uint8(0), shape), geometry, slice_axis=0)
        return Grid(shown.geometry, shown.order, layer.ndim)
    geometry, flips = _seen_geometry(layer, shape)
    order = DisplayOrder(flips=flips)
    return Grid(order.apply_geometry(geometry), order, layer.ndim)


def study_from_layer(layer: Image) -> Study:
    """Return an image layer as a study; touches the pixels, so it may take a moment.

    A layer without a trustworthy orientation is taken as it is shown: axes with a negative scale are
    flipped, and no left or right is claimed (`Geometry.oriented` is False).

    Raises
    ------
    MediRoundError
        When the layer is neither a picture nor one volume.
    """
    grid = layer_grid(layer)
    pixels = _pixels(layer)
    study = layer.metadata.get(STUDY_KEY)
    if isinstance(study, Study) and grid.geometry is study.geometry:
        return study if pixels is study.pixels else replace(study, pixels=pixels)
    source = grid.order.undo_geometry(grid.geometry)
    name = "layer " + "x".join(str(n) for n in grid.geometry.shape)
    return Study(grid.order.apply(pixels), grid.geometry, grid.order, source, "", name)


def shown_plane(layer: Image, grid: Grid, point: Iterable[float]) -> int:
    """Return the plane nearest to a point of the viewer's world (`viewer.dims.point`)."""
    axis = grid.layer_axis()
    if axis < 0:
        return 0
    index = int(np.rint(layer.world_to_data(tuple(point))[axis]))
    planes = grid.geometry.shape[0]
    return int(np.clip(planes - 1 - index if grid.order.flips[0] else index, 0, planes - 1))


def plane_point(layer: Image, grid: Grid, plane: int) -> tuple[int, float] | None:
    """Return (axis counted from the last, world coordinate) at which napari shows a plane; None in 2-D."""
    axis = grid.layer_axis()
    if axis < 0:
        return None
    index = [0.0] * layer.ndim
    index[axis] = grid.geometry.shape[0] - 1 - plane if grid.order.flips[0] else plane
    return axis - layer.ndim, float(layer.data_to_world(index)[axis])


def make_labels(layer: Image, grid: Grid, name: str) -> Labels:
    """Return an empty Labels layer on an image layer's grid, with all its transforms and metadata."""
    shape = np.array(grid.geometry.shape)[np.argsort(grid.order.permutation)][3 - grid.ndim :]
    options = {key: getattr(layer, key) for key in _SHARED}
    colours = [(0.0, 0.0, 0.0, 0.0), *(_rgba(colour) for colour in COLOURS)]
    return Labels(
        np.zeros(tuple(shape), np.uint16),
        name=name,
        metadata=dict(layer.metadata),
        colormap=CyclicLabelColormap(colors=np.array(colours, np.float32)),
        opacity=0.5,
        **options,
    )


def write_masks(labels: Labels, grid: Grid, plane: int, masks: Mapping[int, NDArray]) -> dict[int, float]:
    """Put masks into a Labels layer as one step of its undo history.

    Parameters
    ----------
    labels : Labels
        On the grid's layer.
    grid : Grid
        Of the image.
    plane : int
        In display order.
    masks : mapping of int to ndarray
        Label value to bool (row, column) in display order. Pixels that have a label keep it.

    Returns
    -------
    dict of int to float
        Label value to the share of its mask, 0…1, that other labels had already.
    """
    covered = {}
    with labels.block_history():
        for value, mask in masks.items():
            rows, columns = np.nonzero(mask)
            index = grid.layer_index((np.full_like(rows, plane), rows, columns))
            free = np.asarray(labels.data[index]) == 0
            labels.data_setitem(tuple(i[free] for i in index), value)
            covered[value] = float(1 - free.mean()) if free.size else 0.0
    return covered


def name_labels(labels: Labels, names: Mapping[int, str]) -> None:
    """Show the names of label values in napari's status bar."""
    labels.features = {"index": [0, *names], "name": ["background", *names.values()]}


def label_colour(value: int) -> str:
    """Return the colour of a label value as "#rrggbb"."""
    return COLOURS[(value - 1) % len(COLOURS)]


def _rgba(colour: str) -> tuple[float, ...]:
    return (*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)


def _shape(layer: Image) -> tuple[int, int, int]:
    """Return (plane, row, column) of the layer's own axes."""
    if layer.ndim not in (2, 3):
        raise MediRoundError(
            f"“{layer.name}” has {layer.ndim} axes (time, or channels?). MediRound needs a picture or one "
            "volume: right-click the layer, choose Split Stack, and pick one of the parts."
        )
    data = layer.data[0] if layer.multiscale else layer.data
    return (1,) * (3 - layer.ndim) + tuple(data.shape[: layer.ndim])


def _pixels(layer: Image) -> NDArray:
    """Return real (plane, row, column) or uint8 (plane, row, column, 3), on the layer's axes."""
    data = np.asarray(layer.data[0] if layer.multiscale else layer.data)
    if layer.ndim == 2:
        data = data[None]
    if layer.rgb:
        data = data[..., :3]
    if data.dtype.kind == "f" and not np.isfinite(data).all():
        data = np.nan_to_num(data, posinf=0.0, neginf=0.0)
    if data.dtype == bool or (layer.rgb and data.dtype != np.uint8):
        white = np.iinfo(data.dtype).max if data.dtype.kind in "iu" else 1.0
        data = np.rint(np.clip(data / white, 0, 1) * 255).astype(np.uint8)
    return data


def _nifti_geometry(layer: Image, shape: tuple[int, int, int]) -> Geometry | None:
    """Read the affine that napari-nifti leaves: index (column, row, plane) to RAS mm.

    Its layers are (S, A, R) with negative scales; the affine is believed when its spacing is the layer's.
    """
    affine = layer.metadata.get("affine")
    if layer.ndim != 3 or affine is None or layer.metadata.get("coordinate_system") != "RAS+":
        return None
    affine = np.asarray(affine, float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return None
    affine = np.diag([-1.0, -1, 1, 1]) @ affine[:, [2, 1, 0, 3]]
    if not np.allclose(np.linalg.norm(affine[:3, :3], axis=0), np.abs(layer.scale), rtol=1e-3):
        return None
    return Geometry(shape, affine)


def _seen_geometry(layer: Image, shape: tuple[int, int, int]) -> tuple[Geometry, tuple[bool, bool, bool]]:
    """Return a geometry without orientation, and which axes the viewer shows backwards."""
    origin = np.array(layer.data_to_world([0.0] * layer.ndim))
    steps = np.array([np.array(layer.data_to_world(row)) - origin for row in np.eye(layer.ndim)])
    flips = (False,) * (3 - layer.ndim) + tuple(bool(step < 0) for step in np.diag(steps))
    calibrated = all(unit.is_compatible_with("mm") for unit in layer.units)
    lengths = np.ones(3)
    if calibrated:
        mm = [float((1 * unit).to("mm").magnitude) for unit in layer.units]
        lengths[3 - layer.ndim :] = np.linalg.norm(steps * mm, axis=1)
    return Geometry(shape, np.diag([*lengths, 1.0]), oriented=False, calibrated=calibrated), flips
