"""Studies to napari image layers and back. Knows no model, no conversation and no Qt.

napari's world has no left or right: a layer says how large its pixels are, seldom how they lie in the
patient. Only our reader's layers and those of napari-nifti are taken at their word about that.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mediround.domain.geometry import DisplayOrder, Geometry
from napari_mediround.domain.study import Study, make_study
from napari_mediround.domain.windows import DEFAULT_WINDOW, WINDOWS
from napari_mediround.errors import MediRoundError, printable
from napari_mediround.io import limits
from napari_mediround.widget.layers import slicing

STUDY_KEY = "mediround_study"
"""Where in `layer.metadata` the reader leaves the `Study`."""

PATH_KEY = "mediround_path"
"""Where in `layer.metadata` the reader leaves the file's path, so that a project can open it again."""

IMAGE_KEY = "mediround_image"
"""Where in a Labels layer's metadata the unique id of the image layer stands that it was made for."""

RECORD_KEY = "mediround_record"
"""Where in a Labels layer's metadata stands what the record says of its masks: `JudgedMask`s by volume."""
LONGEST_TITLE = 40
"""Characters of a series description or file name that a layer's name has."""

SUFFIXES = (".gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".mgh", ".dcm", ".png", ".jpg", ".tif")
"""Endings of file names that a layer's name lacks."""

STRAIGHT = 1e-6
"""Cosines up to which an axis runs neither with nor against another."""

SHEARED = float(np.sin(np.radians(0.3)))
"""Cosine between two axes from which a layer is sheared: its millimetres are not believed then."""

FIXED_KEY = "mediround_fixed"
"""Where in a Labels layer's metadata the name of the mask stands that is being fixed and does not show."""


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
    volume : tuple of int
        Which volume of a layer with more axes (time, channels): its index on the leading ones.
    """

    geometry: Geometry
    order: DisplayOrder
    ndim: int
    volume: tuple[int, ...] = ()

    def layer_axis(self, axis: int = 0) -> int:
        """Return which axis of the layer a display axis (0 planes, 1 rows, 2 columns) is; -1 if none."""
        return self.order.permutation[axis] - (3 - self.ndim) + len(self.volume)

    def layer_index(self, display: tuple[NDArray, NDArray, NDArray]) -> tuple[NDArray, ...]:
        """Turn index arrays (plane, row, column) in display order into the layer's own."""
        index: list = [None, None, None]
        for axis, (source, flip) in enumerate(zip(self.order.permutation, self.order.flips, strict=True)):
            index[source] = self.geometry.shape[axis] - 1 - display[axis] if flip else display[axis]
        leading = (np.full_like(display[0], number) for number in self.volume)
        return (*leading, *index[3 - self.ndim :])

    def display_point(self, point: Iterable[float]) -> tuple[float, float, float]:
        """Turn a point in the layer's own indices into (plane, row, column) in display order."""
        own = [0.0] * (3 - self.ndim) + [float(number) for number in point][len(self.volume) :]
        last = [n - 1 for n in self.geometry.shape]
        return tuple(
            last[axis] - own[source] if flip else own[source]
            for axis, (source, flip) in enumerate(zip(self.order.permutation, self.order.flips, strict=True))
        )

    def plane_of(self, array: NDArray, plane: int) -> NDArray:
        """Return one plane (row, column) of an array on the layer's grid, display order; a view."""
        volume = array[self.volume] if self.volume else array
        return self.order.apply(volume.reshape((1,) * (3 - self.ndim) + volume.shape))[plane]


def study_to_layer(study: Study, path: PathLike | str | None = None) -> tuple[NDArray, dict, str]:
    """Return a study, read from `path`, as napari layer data (array, keyword arguments, "image").

    The array is in display order, so an axial volume looks radiological: patient right on the left. One
    unit of the layer's world is 1 mm; each axis is shifted to its place in the patient, so that two
    series of one examination lie on each other. Uncalibrated pictures keep pixels as units.
    """
    geometry = study.geometry
    scale = geometry.spacing_mm if geometry.calibrated else (1.0, 1.0, 1.0)
    directions = geometry.affine[:3, :3] / geometry.spacing_mm
    translate = geometry.affine[:3, 3] @ directions if geometry.oriented else np.zeros(3)
    options = {
        "name": layer_name(study, path),
        "scale": scale,
        "translate": tuple(float(t) for t in translate),
        "units": ("mm" if geometry.calibrated else "pixel",) * 3,
        "axis_labels": ("plane", "row", "column"),
        "metadata": {STUDY_KEY: study} | ({PATH_KEY: str(path)} if path is not None else {}),
        "rgb": study.is_rgb,
    }
    if not study.is_rgb:
        options |= {"interpolation2d": "linear", "contrast_limits": contrast_limits(study)}
    return study.pixels, options, "image"


def layer_name(study: Study, path: PathLike | str | None = None) -> str:
    """Return what a study is called on the screen: its series or file, then its size.

    It may hold patient data: no journal, log or export has it.
    """
    title = study.title or ("" if path is None else _stem(Path(path)))
    title = " ".join(printable(title).split())
    short = title if len(title) <= LONGEST_TITLE else f"{title[: LONGEST_TITLE - 1]}…"
    return f"{short} · {study.name}" if short else study.name


def _stem(path: Path) -> str:
    """Return the name of a file without the suffixes that say its format."""
    name = path.name
    for suffix in SUFFIXES:
        name = name[: -len(suffix)] if name.lower().endswith(suffix) else name
    return name


def contrast_limits(study: Study, window: str = DEFAULT_WINDOW) -> tuple[float, float]:
    """Return the grey values shown as black and white: a CT window in HU, else percentiles."""
    if study.modality != "CT":
        return study.grey_range
    chosen = WINDOWS[window]
    return chosen.level - chosen.width / 2, chosen.level + chosen.width / 2


def leading_shape(layer: Image) -> tuple[int, ...]:
    """Return the lengths of the axes before (plane, row, column): () for a picture or one volume."""
    return tuple(_first_level(layer).shape[: max(layer.ndim - 3, 0)])


def shown_volume(layer: Image, dims) -> tuple[int, ...]:
    """Return the volume of a layer with more than three axes that the viewer shows; () for the others."""
    lengths = leading_shape(layer)
    own = slicing.cut_index(layer, dims, list(range(len(lengths)))) if lengths else ()
    own = (0,) * len(lengths) if own is None else own
    return tuple(int(np.clip(np.rint(at), 0, n - 1)) for at, n in zip(own, lengths, strict=True))


def layer_grid(layer: Image, volume: tuple[int, ...] | None = None) -> Grid:
    """Return how the planes of an image layer, or of one volume of it, lie; its pixels are not looked at.

    Parameters
    ----------
    layer : Image
        A picture, a volume, or volumes along leading axes.
    volume : tuple of int, optional
        Index on the leading axes; None is the first volume.

    Raises
    ------
    MediRoundError
        When the layer has no planes.
    """
    shape = _shape(layer)
    volume = (0,) * len(leading_shape(layer)) if volume is None else volume
    ndim = layer.ndim - len(volume)
    study = layer.metadata.get(STUDY_KEY)
    if isinstance(study, Study) and study.geometry.shape == shape:
        return Grid(study.geometry, DisplayOrder(), ndim, volume)
    geometry = _nifti_geometry(layer, shape)
    if geometry is not None:
        shown = make_study(np.broadcast_to(np.uint8(0), shape), geometry, slice_axis=0)
        return Grid(shown.geometry, shown.order, ndim, volume)
    geometry, flips = _seen_geometry(layer, shape)
    order = DisplayOrder(flips=flips)
    return Grid(order.apply_geometry(geometry), order, ndim, volume)


def study_from_layer(layer: Image, volume: tuple[int, ...] | None = None) -> Study:
    """Return an image layer, or one volume of it, as a study; touches the pixels: it may take a moment.

    A layer without a trustworthy orientation is taken as it is shown: axes with a negative scale are
    flipped, and no left or right is claimed (`Geometry.oriented` is False). What is not a number is
    replaced as in a file, with a note.

    Raises
    ------
    MediRoundError
        When the layer has no planes, or not one finite value.
    """
    grid = layer_grid(layer, volume)
    pixels, notes = _pixels(layer, grid.volume)
    study = layer.metadata.get(STUDY_KEY)
    if isinstance(study, Study) and grid.geometry is study.geometry:
        return (
            study if pixels is study.pixels else replace(study, pixels=pixels, notes=(*study.notes, *notes))
        )
    source = grid.order.undo_geometry(grid.geometry)
    name = "layer " + "x".join(str(n) for n in grid.geometry.shape)
    return Study(grid.order.apply(pixels), grid.geometry, grid.order, source, "", name, notes)


def volume_point(layer: Image, dims, volume: tuple[int, ...]) -> tuple[float, ...]:
    """Return the world coordinates, on the leading axes, at which napari shows a volume."""
    world = slicing.cut_point(layer, dims, list(range(len(volume))), volume) if volume else ()
    return () if world is None else tuple(float(at) for at in world)


def shown_plane(layer: Image, grid: Grid, dims) -> int | None:
    """Return the plane nearest to where the viewer (`viewer.dims`) cuts the layer, or last cut it.

    None where the layer is turned so far that napari's slider does not move through it.
    """
    at, planes = _plane_index(layer, grid, dims), grid.geometry.shape[0]
    if at is None:
        return None
    index = int(np.rint(at))
    return int(np.clip(planes - 1 - index if grid.order.flips[0] else index, 0, planes - 1))


def is_shown(layer: Image, grid: Grid, dims) -> bool:
    """Whether the viewer cuts the layer where the layer has a plane."""
    index = _plane_index(layer, grid, dims)
    return index is not None and -0.5 <= index <= grid.geometry.shape[0] - 0.5


def is_turned(layer: Image, grid: Grid, dims) -> bool:
    """Whether the viewer shows the layer in 3-D, or across its planes."""
    return grid.ndim == 3 and (dims.ndisplay == 3 or grid.layer_axis() in slicing.axes_displayed(layer, dims))


def visible_plane(layer: Image, grid: Grid, dims) -> int | None:
    """Return which plane the viewer shows; None where the viewer is turned or cuts beside the layer."""
    if is_turned(layer, grid, dims):
        return None
    return shown_plane(layer, grid, dims) if is_shown(layer, grid, dims) else None


def plane_point(layer: Image, grid: Grid, dims, plane: int) -> tuple[int, float] | None:
    """Return (axis counted from the last, world coordinate) at which napari shows a plane; None in 2-D.

    None as well where the layer is turned so far that napari's slider does not move through it.
    """
    axis = grid.layer_axis()
    if axis < 0:
        return None
    index = grid.geometry.shape[0] - 1 - plane if grid.order.flips[0] else plane
    axes = [*range(len(grid.volume)), axis]
    world = slicing.cut_point(layer, dims, axes, (*grid.volume, index))
    return None if world is None else (axis - layer.ndim, float(world[-1]))


def _plane_index(layer: Image, grid: Grid, dims) -> float | None:
    """Return where the viewer cuts the layer's own axis of planes; 0 in 2-D, None where it cannot."""
    axis = grid.layer_axis()
    if axis < 0:
        return 0.0
    index = slicing.cut_index(layer, dims, [*range(len(grid.volume)), axis])
    return None if index is None else float(index[-1])


def _first_level(layer: Image) -> NDArray:
    return layer.data[0] if layer.multiscale else layer.data


def _shape(layer: Image) -> tuple[int, int, int]:
    """Return (plane, row, column) of the layer's own last axes."""
    if layer.ndim < 2:
        raise MediRoundError(f"“{layer.name}” has one axis. MediRound needs a picture or a volume.")
    return (1,) * (3 - layer.ndim) + tuple(_first_level(layer).shape[: layer.ndim][-3:])


def _pixels(layer: Image, volume: tuple[int, ...]) -> tuple[NDArray, tuple[str, ...]]:
    """Return real (plane, row, column) or uint8 (plane, row, column, 3), on the layer's axes, and notes."""
    data = np.asarray(_first_level(layer)[volume] if volume else _first_level(layer))
    data, notes = limits.replace_non_finite("The layer", data)
    if layer.ndim == 2:
        data = data[None]
    if layer.rgb:
        data = data[..., :3]
    if data.dtype == bool or (layer.rgb and data.dtype != np.uint8):
        white = np.iinfo(data.dtype).max if data.dtype.kind in "iu" else 1.0
        data = np.rint(np.clip(data / white, 0, 1) * 255).astype(np.uint8)
    return data, notes


def _nifti_geometry(layer: Image, shape: tuple[int, int, int]) -> Geometry | None:
    """Read the affine that napari-nifti leaves: index (column, row, plane) to RAS mm.

    Its layers are (S, A, R) with negative scales; the affine is believed when its spacing is the layer's.
    """
    affine = layer.metadata.get("affine")
    if layer.ndim < 3 or affine is None or layer.metadata.get("coordinate_system") != "RAS+":
        return None
    affine = np.asarray(affine, float)
    if affine.shape != (4, 4) or not np.isfinite(affine).all():
        return None
    affine = np.diag([-1.0, -1, 1, 1]) @ affine[:, [2, 1, 0, 3]]
    if not np.allclose(np.linalg.norm(affine[:3, :3], axis=0), np.abs(layer.scale[-3:]), rtol=1e-3):
        return None
    return Geometry(shape, affine)


def _seen_geometry(layer: Image, shape: tuple[int, int, int]) -> tuple[Geometry, tuple[bool, bool, bool]]:
    """Return a geometry without orientation, and which axes the viewer shows backwards.

    Millimetres are believed where the layer has a unit of length and is not sheared.
    """
    own = min(layer.ndim, 3)
    origin = np.array(layer.data_to_world([0.0] * layer.ndim))
    steps = np.array([np.array(layer.data_to_world(row)) - origin for row in np.eye(layer.ndim)])[
        -own:, -own:
    ]
    units = layer.units[-own:]
    calibrated = all(unit.is_compatible_with("mm") for unit in units)
    steps *= [float((1 * unit).to("mm").magnitude) for unit in units] if calibrated else 1.0
    spacing = np.linalg.norm(steps, axis=1)
    directions = steps / spacing[:, None]
    flips = (False,) * (3 - own) + tuple(bool(step < -STRAIGHT) for step in np.diag(directions))
    lengths = np.ones(3)
    if calibrated := bool(calibrated and np.abs(directions @ directions.T - np.eye(own)).max() < SHEARED):
        lengths[3 - own :] = [float(f"{length:.9g}") for length in spacing]  # a turn leaves the spacing
    affine = np.diag([*lengths, 1.0])
    return Geometry(shape, affine, oriented=False, calibrated=calibrated, has_depth=own > 2), flips
