"""Where voxels lie in the patient, and the order in which planes are shown. Knows no file and no pixel.

Arrays are (plane, row, column); the world is LPS in mm: x grows to the patient's left, y to the back
(posterior), z to the head (superior).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

VIEWS = ("sagittal", "coronal", "axial")
"""Names of the planes whose normal is the world's x, y and z."""

LARGEST_SPACING = 1.5
"""If a file does not state its slice axis, the axis with this many times the next spacing is taken."""

OBLIQUE_DEGREES = 10.0
"""From this angle between the normal and the nearest world axis a plane is called oblique."""

# View -> ((world axis, sign) for planes, rows, columns): radiological display.
_DISPLAY = {
    "axial": ((2, 1), (1, 1), (0, 1)),
    "coronal": ((1, 1), (2, -1), (0, 1)),
    "sagittal": ((0, 1), (2, -1), (1, 1)),
}


@dataclass(frozen=True)
class Forms:
    """How a NIfTI header places its grid, twice and perhaps differently: its own numbers, untouched.

    Programs choose differently between the two forms, so a label volume lies on its image in all of them
    only when it carries both as the image has them.

    Parameters
    ----------
    sform_code, qform_code : int
        What each form is relative to; 0 is a form that does not count.
    srow : tuple of float
        The sform's three rows, twelve numbers.
    quatern, qoffset : tuple of float
        The qform's rotation and offset, three numbers each.
    pixdim : tuple of float
        The qform's handedness (±1), then the voxel's size along (i, j, k).
    unit : int
        Code of the unit of length; 2 is the millimetre, also where the file says none.
    differ : bool
        Whether the two place a corner more than half a voxel apart.

    References
    ----------
    NIfTI-1.1, "3D image (volume) orientation and location in space".
    """

    sform_code: int
    qform_code: int
    srow: tuple[float, ...]
    quatern: tuple[float, float, float]
    qoffset: tuple[float, float, float]
    pixdim: tuple[float, float, float, float]
    unit: int = 2
    differ: bool = False


@dataclass(frozen=True, eq=False)
class Geometry:
    """The grid of a volume in the patient.

    Parameters
    ----------
    shape : tuple of int
        (plane, row, column), each at least 1.
    affine : ndarray
        4×4 float64, index (plane, row, column, 1) to LPS mm at the voxel's centre. Kept read-only.
    oriented : bool
        Whether the affine says where left is. False for pictures: no left or right is claimed then.
    series_uid, study_uid, frame_of_reference_uid : str
        DICOM identifiers of the source, "" where there is none.
    calibrated : bool
        Whether the file states its spacing; if not, the millimetres here are pixels.
    volume : int
        Which volume of a DICOM series that imaged each position several times; 0-based.
    has_depth : bool
        Whether the file states how far apart its planes lie, or how thick the one plane is.
    forms : Forms, optional
        Of the grid of a NIfTI file; a grid in another order of axes has none.

    Raises
    ------
    ValueError
        When the shape is empty or the affine is not finite, affine and invertible.
    """

    shape: tuple[int, int, int]
    affine: NDArray[np.float64]
    oriented: bool = True
    series_uid: str = ""
    study_uid: str = ""
    frame_of_reference_uid: str = ""
    calibrated: bool = True
    volume: int = 0
    has_depth: bool = True
    forms: Forms | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 3 or min(shape) < 1:
            raise ValueError(f"a grid has three axes of at least one voxel, not {self.shape}")
        affine = np.array(self.affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all():
            raise ValueError("the affine is a finite 4×4 matrix")
        if not np.array_equal(affine[3], [0, 0, 0, 1]):
            raise ValueError("the last row of an affine is 0 0 0 1")
        lengths = np.linalg.norm(affine[:3, :3], axis=0)
        if not lengths.all() or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-6:
            raise ValueError("the affine is not invertible: two axes point the same way or have no length")
        affine.flags.writeable = False
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    def _key(self) -> tuple:
        uids = (self.series_uid, self.study_uid, self.frame_of_reference_uid)
        known = (self.oriented, self.calibrated, self.has_depth)
        return self.shape, self.affine.tobytes(), known, uids, self.volume, self.forms

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Geometry) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    @cached_property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between neighbouring voxel centres along (plane, row, column), mm."""
        return tuple(float(n) for n in np.linalg.norm(self.affine[:3, :3], axis=0))

    @cached_property
    def pixel_area_mm2(self) -> float:
        """Area of one pixel of a plane, mm²."""
        return float(np.linalg.norm(np.cross(self.affine[:3, 1], self.affine[:3, 2])))

    @property
    def has_volume(self) -> bool:
        """Whether the file states all that a volume in millilitres, or a length across planes, needs."""
        return self.calibrated and self.has_depth

    @property
    def voxel_mm3(self) -> float:
        """Volume of one voxel, mm³."""
        return float(abs(np.linalg.det(self.affine[:3, :3])))

    @property
    def shear_degrees(self) -> float:
        """Largest deviation of the angle between two axes from a right one, degrees."""
        unit = self.affine[:3, :3] / self.spacing_mm
        cosines = np.abs(unit.T @ unit)[np.triu_indices(3, 1)]
        return float(np.degrees(np.arcsin(min(cosines.max(), 1.0))))

    @cached_property
    def plane_name(self) -> str:
        """Return "axial", "coronal" or "sagittal", after "oblique " from 10° on; "" if not oriented."""
        if not self.oriented:
            return ""
        return plane_of_normal(np.cross(self.affine[:3, 1], self.affine[:3, 2]))

    def index_to_world(self, index: NDArray) -> NDArray[np.float64]:
        """Return LPS mm (…, 3) of voxel indices (…, 3) given as (plane, row, column)."""
        return np.asarray(index, float) @ self.affine[:3, :3].T + self.affine[:3, 3]


@dataclass(frozen=True)
class DisplayOrder:
    """How to turn source arrays into display order, and back. Nothing is interpolated: both are exact.

    Parameters
    ----------
    permutation : tuple of int
        For each display axis (plane, row, column), the source axis that it shows.
    flips : tuple of bool
        For each display axis, whether it runs against the source axis.

    Raises
    ------
    ValueError
        When the permutation is none.
    """

    permutation: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)

    def __post_init__(self) -> None:
        if sorted(self.permutation) != [0, 1, 2] or len(self.flips) != 3:
            raise ValueError(f"{self.permutation}, {self.flips} is no order of three axes")

    def _slices(self) -> tuple[slice, ...]:
        return tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)

    def apply(self, array: NDArray) -> NDArray:
        """Return a view in display order of a source array (plane, row, column[, channel])."""
        return array.transpose(*self.permutation, *range(3, array.ndim))[self._slices()]

    def undo(self, array: NDArray) -> NDArray:
        """Return a view in source order of a display array (plane, row, column[, channel])."""
        back = np.argsort(self.permutation)
        return array[self._slices()].transpose(*back, *range(3, array.ndim))

    def apply_geometry(self, geometry: Geometry) -> Geometry:
        """Return the geometry of `apply(array)` for the geometry of `array`."""
        shape = tuple(geometry.shape[axis] for axis in self.permutation)
        affine = geometry.affine @ self._display_to_source(shape)
        return replace(geometry, shape=shape, affine=affine, forms=None)

    def undo_geometry(self, geometry: Geometry) -> Geometry:
        """Return the geometry of `undo(array)` for the geometry of `array`."""
        shape = tuple(geometry.shape[axis] for axis in np.argsort(self.permutation))
        matrix = np.linalg.inv(self._display_to_source(geometry.shape)).round()
        return replace(geometry, shape=shape, affine=geometry.affine @ matrix, forms=None)

    def _display_to_source(self, shape: tuple[int, int, int]) -> NDArray[np.float64]:
        """Return the 4×4 matrix from display indices (of display shape `shape`) to source indices."""
        matrix = np.zeros((4, 4))
        matrix[3, 3] = 1
        for axis, (source, flip) in enumerate(zip(self.permutation, self.flips, strict=True)):
            matrix[source, axis] = -1 if flip else 1
            matrix[source, 3] = shape[axis] - 1 if flip else 0
        return matrix


def plane_of_normal(normal: NDArray) -> str:
    """Return the name of the plane with this normal (3,), any length, LPS: "axial", "oblique coronal", …."""
    cosines = np.abs(normal) / np.linalg.norm(normal)
    axis = int(np.argmax(cosines))
    return ("oblique " if cosines[axis] < np.cos(np.radians(OBLIQUE_DEGREES)) else "") + VIEWS[axis]


def nearest_world_axes(geometry: Geometry) -> tuple[int, int, int]:
    """Return, for each array axis, the world axis (0 left, 1 posterior, 2 superior) it follows best.

    Each world axis is given once: the assignment with the largest sum of cosines, so that oblique stacks
    of up to 45° and beyond have one answer.
    """
    cosines = np.abs(geometry.affine[:3, :3] / geometry.spacing_mm)
    return max(permutations(range(3)), key=lambda p: sum(cosines[p[axis], axis] for axis in range(3)))


def display_order(geometry: Geometry, slice_axis: str | int | None = None) -> DisplayOrder:
    """Return the order in which a radiologist expects the planes of a volume.

    axial: planes inferior→superior, rows anterior→posterior, columns patient right→left;
    coronal: planes anterior→posterior, rows superior→inferior, columns right→left;
    sagittal: planes right→left, rows superior→inferior, columns anterior→posterior.

    Parameters
    ----------
    geometry : Geometry
        Of the source array.
    slice_axis : {None, "axial", "coronal", "sagittal"} or int
        The planes to show: by name, or by the source axis they are stacked along (0 for a DICOM stack).
        None takes the only axis of one voxel, else the one with the clearly largest spacing, else axial.

    Returns
    -------
    DisplayOrder

    Raises
    ------
    ValueError
        When `slice_axis` is no such name or axis.
    """
    world = nearest_world_axes(geometry)
    if slice_axis is None:
        slice_axis = _likely_slice_axis(geometry)
    if slice_axis in (0, 1, 2):
        slice_axis = VIEWS[world[slice_axis]]
    if slice_axis not in VIEWS:
        raise ValueError(f"{slice_axis!r} is no view; choose one of {', '.join(sorted(VIEWS))}")
    permutation = tuple(world.index(axis) for axis, _ in _DISPLAY[slice_axis])
    flips = tuple(
        bool(geometry.affine[axis, source] * sign < 0)
        for source, (axis, sign) in zip(permutation, _DISPLAY[slice_axis], strict=True)
    )
    return DisplayOrder(permutation, flips)


def _likely_slice_axis(geometry: Geometry) -> int | str:
    flat = [axis for axis, n in enumerate(geometry.shape) if n == 1]
    if len(flat) == 1:
        return flat[0]
    spacing = np.array(geometry.spacing_mm)
    _, middle, largest = np.sort(spacing)
    return int(np.argmax(spacing)) if largest >= LARGEST_SPACING * middle else "axial"


def direction_letters(direction: NDArray) -> str:
    """Return which way a direction (3,) in the patient points, LPS: "L", "HA"; the strongest part first.

    L and R are the patient's left and right, A and P front (anterior) and back, H and F head and feet. A part
    counts from `OBLIQUE_DEGREES` on.

    References
    ----------
    DICOM PS3.3 C.7.6.1.1.1, Patient Orientation.
    """
    unit = np.asarray(direction, float) / np.linalg.norm(direction)
    least = np.sin(np.radians(OBLIQUE_DEGREES))
    axes = [axis for axis in np.argsort(-np.abs(unit), kind="stable") if abs(unit[axis]) >= least]
    return "".join("LPH"[axis] if unit[axis] > 0 else "RAF"[axis] for axis in axes)
