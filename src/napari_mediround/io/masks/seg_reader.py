"""DICOM Segmentation objects in, through pydicom: BINARY, LABELMAP, and FRACTIONAL at one half.

References
----------
DICOM PS3.3 A.51 and C.8.20.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from highdicom.color import CIELabColor
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels import iter_pixels
from pydicom.uid import RLELossless

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment, make_segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.coding import read_origin, read_type
from napari_mediround.io.dicom.codes import read_uid
from napari_mediround.io.dicom.instances import check_frame, read_dataset

SEGMENTATION, LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7"
"""SOP classes: Segmentation Storage, Label Map Segmentation Storage."""

_PLACE = (
    ("PlanePositionSequence", "ImagePositionPatient", 3),
    ("PlaneOrientationSequence", "ImageOrientationPatient", 6),
    ("PixelMeasuresSequence", "PixelSpacing", 2),
)
_DAMAGED = "Copy or export the file again."
_UNPLACED = "Only segmentations of slices in a patient are read."


def read_dicom_seg(
    path: Path, anatomy: Anatomy | None = None, grid: Geometry | None = None
) -> LabelledVolume:
    """Read all segments of one file.

    Parameters
    ----------
    path : Path
        A DICOM Segmentation.
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.
    grid : Geometry, optional
        Of the images it belongs to: its spacing tells how far apart planes are where only some were kept.

    Returns
    -------
    LabelledVolume
        From the first plane that the file holds to the last; values are segment numbers.

    Raises
    ------
    UnreadableFileError
        When it is damaged, no segmentation, of another frame of reference, or its frames do not lie on one
        even grid.
    """
    with limits.quiet(), limits.refusal(path, "it is no readable DICOM segmentation"):
        dataset = read_dataset(path)
        dataset.filename = str(path)
        if dataset.get("SOPClassUID") not in (SEGMENTATION, LABEL_MAP):
            raise UnreadableFileError(path, "it is no DICOM segmentation", "Choose another file.")
        if grid is not None:
            check_frame(path, [dataset.get("FrameOfReferenceUID")], grid)
        frames = _places(path, dataset)
        size = (int(dataset.Rows), int(dataset.Columns))
        limits.check_size(path, len(frames) * limits.product(size), 2)
        planes, geometry = _lay_out(path, frames, size, grid, _given_step(dataset))
        segments = [_segment(item, anatomy) for item in dataset.SegmentSequence if _number(item)]
        limits.check_size(path, limits.product(geometry.shape), 2)
        return LabelledVolume(geometry, *_fill(path, dataset, planes, geometry, segments))


def _number(item: Dataset) -> int:
    """Return a segment's number; 0 is the background of a label map."""
    return int(item.SegmentNumber)


def _given_step(dataset: Dataset) -> float:
    """Return what the file says of the distance between planes, mm; 0 if nothing."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    measures = (shared[0].get("PixelMeasuresSequence") or [Dataset()])[0]
    return float(measures.get("SpacingBetweenSlices") or 0) or 0.0


@dataclass(frozen=True)
class _Place:
    """Where one frame lies: as in `dicom_frames.Frame`, but for the time, of which a mask has none."""

    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing: NDArray[np.float64]


def _places(path: Path, dataset: Dataset) -> list[_Place]:
    """Return where each frame lies: by its own functional groups, else by the shared ones."""
    shared = (dataset.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    own = dataset.get("PerFrameFunctionalGroupsSequence") or ()
    if len(own) != int(dataset.get("NumberOfFrames") or 1):
        raise UnreadableFileError(path, "it describes more or fewer frames than it has", _DAMAGED)
    found = []
    for groups in own:
        values = [_vector(groups, shared, *names, count) for *names, count in _PLACE]
        if any(value is None or not np.isfinite(value).all() for value in values):
            raise UnreadableFileError(path, "its frames do not say where in the patient they lie", _UNPLACED)
        found.append(_Place(values[0], values[1].reshape(2, 3), values[2]))
    return found


def _vector(groups: Dataset, shared: Dataset, sequence: str, keyword: str, count: int) -> NDArray | None:
    items = groups.get(sequence) or shared.get(sequence)
    values = items[0].get(keyword) if items else None
    return None if values is None or len(values) != count else np.array([float(n) for n in values])


def _lay_out(
    path: Path, frames: list[_Place], size: tuple[int, int], grid: Geometry | None, given: float
) -> tuple[list[int], Geometry]:
    """Return the plane of each frame and the grid of them all."""
    first = frames[0]
    if any(np.abs(f.orientation - first.orientation).max() > 1e-3 for f in frames):
        raise UnreadableFileError(path, "its frames do not lie parallel", _UNPLACED)
    along, down = first.orientation
    normal = np.cross(along, down)
    positions = np.array([frame.position for frame in frames])
    heights = positions @ normal
    low = int(np.argmin(heights))
    step, drift = _step(heights, grid, normal, given), np.zeros(3)
    planes = np.rint((heights - heights[low]) / step).astype(int)
    if planes.max():
        high = int(np.argmax(planes))
        drift = (positions[high] - positions[low]) / planes[high]
    else:
        drift = normal * step
    off = np.linalg.norm(positions - positions[low] - planes[:, None] * drift, axis=1)
    if off.max() > max(0.05 * step, 0.1):
        raise UnreadableFileError(
            path, f"its frames are not evenly spaced ({off.max():.2f} mm off)", _UNPLACED
        )
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1], affine[:3, 2] = drift, down * first.spacing[0], along * first.spacing[1]
    affine[:3, 3] = positions[low]
    return planes.tolist(), limits.make_geometry(path, (int(planes.max()) + 1, *size), affine)


def _step(heights: NDArray, grid: Geometry | None, normal: NDArray, given: float) -> float:
    """Return the distance between planes: the grid's where it fits, what the file says, or the least gap."""
    gaps = np.diff(np.unique(heights.round(3)))
    candidates = [given]
    if grid is not None and abs(grid.affine[:3, 0] @ normal) > 0.99 * grid.spacing_mm[0]:
        candidates.insert(0, grid.spacing_mm[0])
    for step in (c for c in candidates if c > 0):
        if np.abs(gaps / step - np.rint(gaps / step)).max(initial=0) < 0.05 and (gaps > 0.5 * step).all():
            return step
    return float(gaps.min(initial=np.inf)) if gaps.size else (given or 1.0)


def _fill(
    path: Path, dataset: Dataset, planes: list[int], geometry: Geometry, segments: list[Segment]
) -> tuple[tuple[NDArray[np.uint16], ...], tuple[Segment, ...]]:
    """Return the layers, and the segments with the layer of each.

    Frames are laid down one by one; a segment whose voxels are taken moves up, as a whole, at the end.
    """
    names = {s.value: s for s in segments}
    label_map = dataset.SOPClassUID == LABEL_MAP
    groups = dataset.get("PerFrameFunctionalGroupsSequence")
    half = (int(dataset.get("MaximumFractionalValue") or 1) + 1) / 2
    pieces: dict[int, dict[int, NDArray]] = {value: {} for value in names}
    for number, (plane, stored) in enumerate(zip(planes, _stored(dataset), strict=True)):
        if stored.shape != geometry.shape[1:]:
            raise UnreadableFileError(path, "its frames have another size than it says", _DAMAGED)
        if label_map:
            found = {int(v): stored == v for v in np.unique(stored) if v}
        else:
            item = groups[number].get("SegmentIdentificationSequence") or (
                dataset.SharedFunctionalGroupsSequence[0].SegmentIdentificationSequence
            )
            found = {int(item[0].ReferencedSegmentNumber): stored >= half}
        for value, mask in found.items():
            if value not in names:
                raise UnreadableFileError(path, f"it describes no segment {value}", _DAMAGED)
            before = pieces[value].get(plane)
            pieces[value][plane] = np.packbits(mask if before is None else mask | _unpack(before, mask.shape))
    return _layers(geometry, [(s, pieces[s.value]) for s in segments])


def _stored(dataset: Dataset) -> Iterator[NDArray]:
    """Yield the stored frames; run lengths by pydicom itself, which needs no foreign code for them."""
    if dataset.BitsAllocated == 1:  # frame by frame, pydicom loses bits of frames of fewer than a byte
        return iter(dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns))
    plain = dataset.file_meta.TransferSyntaxUID == RLELossless
    return iter_pixels(dataset, decoding_plugin="pydicom" if plain else "")


def _unpack(bits: NDArray, shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.unpackbits(bits, count=shape[0] * shape[1]).reshape(shape).astype(bool)


def _layers(
    geometry: Geometry, masks: list[tuple[Segment, dict[int, NDArray]]]
) -> tuple[tuple[NDArray[np.uint16], ...], tuple[Segment, ...]]:
    layers: list[NDArray[np.uint16]] = [np.zeros(geometry.shape, np.uint16)]
    placed = []
    for segment, pieces in masks:
        unpacked = {plane: _unpack(bits, geometry.shape[1:]) for plane, bits in pieces.items()}
        free = (
            k for k, layer in enumerate(layers) if not any(layer[p][m].any() for p, m in unpacked.items())
        )
        number = next(free, len(layers))
        if number == len(layers):
            layers.append(np.zeros(geometry.shape, np.uint16))
        for plane, mask in unpacked.items():
            layers[number][plane][mask] = segment.value
        placed.append(replace(segment, layer=number))
    return tuple(layers), tuple(placed)


def _segment(item: Dataset, anatomy: Anatomy | None) -> Segment:
    kind = (item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    more = read_type(kind)
    if lab := item.get("RecommendedDisplayCIELabValue"):
        more["colour"] = CIELabColor.from_dicom_value(lab).to_rgb()
    if uid := read_uid(item.get("TrackingUID")):
        more["tracking_uid"] = uid
    origin = read_origin(item.get("SegmentAlgorithmType"))
    return make_segment(_number(item), str(item.get("SegmentLabel") or ""), anatomy, origin, **more)
