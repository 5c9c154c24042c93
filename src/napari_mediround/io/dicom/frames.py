"""Frames of DICOM headers, and whether they stack up to a volume. Geometry only: reads no pixels.

Slices are sorted by the projection of ImagePositionPatient on the normal of ImageOrientationPatient
(DICOM PS3.3 C.7.6.2.1.1); the spacing comes from the positions, never from SliceThickness, unless there is
one slice only. Gaps, sideways shifts and a tilted gantry are refused: a stack is either exact or not read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits

SAME_POSITION_MM = 0.02
"""Slices closer than this along the normal lie at one position."""

ROUNDING_MM = 0.1
"""Positions are often written with one decimal: distances may differ by this much."""

_DAMAGED_GEOMETRY = "the position, orientation or spacing in its header is damaged"
_ALONE = "Open one file of it on its own, or put the files that belong together into a folder of their own."


@dataclass(frozen=True)
class Frame:
    """One slice as its header describes it.

    Parameters
    ----------
    path : Path
        The file.
    number : int
        0-based frame in the file.
    position : ndarray or None
        LPS mm of the centre of the first pixel.
    orientation : ndarray or None
        (2, 3): directions of growing column index and of growing row index, unit vectors in LPS.
    spacing : tuple of float or None
        (row, column) mm.
    slope, intercept : float
        From stored to real values.
    moment : tuple
        Sorts frames at one position: time, acquisition, echo, …, instance.
    scale : str
        What the header says of real values: "LUT", "rescale" or "" for nothing.
    """

    path: Path
    number: int
    position: NDArray | None
    orientation: NDArray | None
    spacing: tuple[float, float] | None
    slope: float
    intercept: float
    moment: tuple
    scale: str = ""


def frames_of(header: Dataset) -> list[Frame]:
    """Return the frames of one header, classic or enhanced.

    Raises
    ------
    UnreadableFileError
        When position, orientation or spacing cannot be numbers of a grid.
    """
    path = Path(header.filename)
    count = int(header.get("NumberOfFrames") or 1)
    enhanced = header.get("PerFrameFunctionalGroupsSequence")
    if enhanced and len(enhanced) != count:
        cause = f"it has {count} frames and describes {len(enhanced)}"
        raise UnreadableFileError(path, cause, "Export the series again.")
    try:
        if count > 1 and not enhanced:
            first = _frame(path, header, 0, count)
            return [replace(first, number=k, moment=(*first.moment[:-1], k)) for k in range(count)]
        return [_frame(path, header, k, count) for k in range(count)]
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, _DAMAGED_GEOMETRY, "Export the series again.") from error


def first_frame(header: Dataset) -> Frame:
    """Return the first frame of a header; see `frames_of`."""
    path, count = Path(header.filename), int(header.get("NumberOfFrames") or 1)
    try:
        return _frame(path, header, 0, count)
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, _DAMAGED_GEOMETRY, "Export the series again.") from error


def thickness_mm(header: Dataset) -> float:
    """Return how far apart the slices of one plane would lie, as its header says; 0.0 where it does not."""
    for keyword in ("SpacingBetweenSlices", "SliceThickness"):
        if said := _find(header, 0, "PixelMeasuresSequence", keyword):
            return abs(float(said))
    return 0.0


def _frame(path: Path, header: Dataset, k: int, count: int) -> Frame:
    # In a file of several frames without functional groups the one position is the first frame's only.
    own = count == 1 or header.get("PerFrameFunctionalGroupsSequence")
    position = _find(header, k, "PlanePositionSequence", "ImagePositionPatient") if own else None
    orientation = _find(header, k, "PlaneOrientationSequence", "ImageOrientationPatient") if own else None
    spacing = _find(header, k, "PixelMeasuresSequence", "PixelSpacing")
    slope = _find(header, k, "PixelValueTransformationSequence", "RescaleSlope")
    intercept = _find(header, k, "PixelValueTransformationSequence", "RescaleIntercept")
    return Frame(
        path,
        k,
        _vector(position, 3),
        _directions(_vector(orientation, 6)),
        None if not spacing else tuple(float(n) for n in _vector(spacing, 2)),
        1.0 if slope is None or slope == "" else float(slope),
        0.0 if intercept is None or intercept == "" else float(intercept),
        _moment(header, k),
        _scale(header, slope, intercept),
    )


def _scale(header: Dataset, slope: object, intercept: object) -> str:
    """Return what says how stored values become real ones; a slope of one alone says nothing."""
    if header.get("ModalityLUTSequence"):
        return "LUT"
    return "" if intercept in (None, "") and slope in (None, "", 1) else "rescale"


def _find(header: Dataset, k: int, sequence: str, keyword: str):
    """Return a value of frame `k`: from its own functional group, the shared one, or the header itself."""
    for groups, index in (("PerFrameFunctionalGroupsSequence", k), ("SharedFunctionalGroupsSequence", 0)):
        if header.get(groups):
            items = header.get(groups)[index].get(sequence)
            if items and items[0].get(keyword) not in (None, ""):
                return items[0].get(keyword)
    return header.get(keyword)


def _vector(values, n: int) -> NDArray | None:
    if values is None or (hasattr(values, "__len__") and len(values) == 0):
        return None
    vector = np.array([float(value) for value in values])
    if vector.shape != (n,) or not np.isfinite(vector).all():
        raise ValueError("not a vector of numbers")
    return vector


def _directions(orientation: NDArray | None) -> NDArray | None:
    if orientation is None:
        return None
    along, down = orientation[:3], orientation[3:]
    lengths = np.linalg.norm(along), np.linalg.norm(down)
    if abs(lengths[0] - 1) > 0.01 or abs(lengths[1] - 1) > 0.01 or abs(along @ down) > 0.005:
        raise ValueError("directions are not orthonormal")
    return np.stack([along / lengths[0], down / lengths[1]])


def _moment(header: Dataset, k: int) -> tuple:
    pairs = (
        ("FrameContentSequence", "TemporalPositionIndex"),
        ("", "TemporalPositionIdentifier"),
        ("", "AcquisitionNumber"),
        ("MREchoSequence", "EffectiveEchoTime"),
        ("", "EchoTime"),
        ("", "TriggerTime"),
        ("MRDiffusionSequence", "DiffusionBValue"),
    )
    numbers = tuple(float(_find(header, k, sequence, keyword) or 0) for sequence, keyword in pairs)
    kind = _find(header, k, "MRImageFrameTypeSequence", "FrameType") or header.get("ImageType") or ""
    return (*numbers, str(kind), float(header.get("InstanceNumber") or 0), k)


def stack(path: Path, frames: list[Frame], volume: int | None) -> tuple[list[Frame], NDArray[np.float64]]:
    """Sort frames into one volume and return it with its affine.

    Parameters
    ----------
    path : Path
        File or folder, for messages.
    frames : list of Frame
        All with position, orientation and spacing, and of one size.
    volume : int, optional
        0-based, where each position was imaged several times.

    Returns
    -------
    frames : list of Frame
        Ascending along the normal (column direction × row direction).
    affine : ndarray
        4×4, (plane, row, column) to LPS mm. The step of a single slice is 1 mm along the normal.

    Raises
    ------
    UnreadableFileError
        When orientations or spacings differ, several volumes share the grid and none was chosen, slices are
        missing, unevenly spaced or shifted, or the gantry was tilted.
    """
    first = frames[0]
    for frame in frames:
        if np.abs(frame.orientation - first.orientation).max() > 0.002:
            cause = f"its slices do not lie parallel ({first.path.name} and {_name(frame)} differ)"
            raise UnreadableFileError(path, cause, _ALONE)
        if not np.allclose(frame.spacing, first.spacing, rtol=1e-3):
            cause = f"its slices have different pixel spacings ({first.path.name} and {_name(frame)} differ)"
            raise UnreadableFileError(path, cause, _ALONE)
    along, down = first.orientation
    normal = np.cross(along, down)
    ordered = choose_volume(path, frames, volume)
    step = normal
    if len(ordered) > 1:
        step = _check_steps(path, ordered, normal)
    affine = np.eye(4)
    affine[:3, 0] = step
    affine[:3, 1] = down * first.spacing[0]
    affine[:3, 2] = along * first.spacing[1]
    affine[:3, 3] = ordered[0].position
    return ordered, affine


def choose_volume(path: Path, frames: list[Frame], volume: int | None) -> list[Frame]:
    """Return the frames of one volume, ascending along the normal; parameters as for `stack`.

    Raises
    ------
    UnreadableFileError
        When positions were imaged several times and no volume was chosen, or not equally often.
    """
    places = _group_places(frames, np.cross(*frames[0].orientation))
    counts = [len(place) for place in places]
    if len(set(counts)) > 1:
        odd = next(place for place in places if len(place) != min(counts))
        cause = f"some positions were imaged {min(counts)} times, that of {_name(odd[0])} {len(odd)} times"
        raise UnreadableFileError(path, cause, _ALONE)
    number = limits.pick_volume(path, counts[0], volume)
    return [place[number] for place in places]


def _group_places(frames: list[Frame], normal: NDArray) -> list[list[Frame]]:
    """Return the frames by position along the normal, those at one position sorted by moment."""
    places: list[list[Frame]] = []
    for frame in sorted(frames, key=lambda f: f.position @ normal):
        if places and (frame.position - places[-1][0].position) @ normal < SAME_POSITION_MM:
            places[-1].append(frame)
        else:
            places.append([frame])
    return [sorted(place, key=lambda f: f.moment) for place in places]


def _check_steps(path: Path, frames: list[Frame], normal: NDArray) -> NDArray[np.float64]:
    """Return the step from slice to slice, mm in LPS, if the slices are evenly spaced along the normal."""
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    gaps = np.diff(heights)
    usual = float(np.median(gaps))
    tolerance = min(max(0.05 * usual, ROUNDING_MM * 1.01), 0.25 * usual)
    if np.abs(gaps - usual).max() > tolerance:
        k = int(np.argmax(np.abs(gaps - usual)))
        missing = round(float(gaps[k]) / usual) - 1
        cause = (
            f"the distance between {_name(frames[k])} and {_name(frames[k + 1])} is {gaps[k]:.2f} mm, "
            f"elsewhere {usual:.2f} mm: " + (f"{missing} missing" if missing > 0 else "the spacing is uneven")
        )
        raise UnreadableFileError(path, cause, "Add the missing slices, or keep one evenly spaced part.")
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    tilt = np.degrees(np.arccos(np.clip(step @ normal / np.linalg.norm(step), -1, 1)))
    if tilt >= limits.MAX_SHEAR_DEGREES:
        cause = f"the gantry was tilted by {tilt:.1f}°: each slice lies shifted against the last"
        remedy = "Convert it with a tool that corrects the tilt (dcm2niix), or open one slice on its own."
        raise UnreadableFileError(path, cause, remedy)
    shifts = np.linalg.norm(positions - positions[0] - np.arange(len(frames))[:, None] * step, axis=1)
    if shifts.max() > max(tolerance, ROUNDING_MM):
        cause = (
            f"{_name(frames[int(np.argmax(shifts))])} is shifted by {shifts.max():.2f} mm against the others"
        )
        raise UnreadableFileError(path, cause, _ALONE)
    return step


def _name(frame: Frame) -> str:
    return f"{frame.path.name}, frame {frame.number + 1}" if frame.number else frame.path.name
