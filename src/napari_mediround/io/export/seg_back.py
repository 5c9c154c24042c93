"""DICOM Segmentations read back for the receipt, without the code that reads other people's.

It knows how ours are written, all planes in the order of the image's grid, and believes nothing else: every
frame must lie where the grid has a plane.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from skimage.color import lab2rgb

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.errors import UnreadableFileError

_OFF = 0.05  # share of a plane's distance by which a frame may lie beside it
_GENERAL = ("85756007", "52988006")  # Tissue, Lesion: no code of the structure's own
_SIDES = {"7771000": "left", "24028007": "right"}


def read_back_seg(path: Path, grid: Geometry) -> LabelledVolume:
    """Read segments, frames and places of a file that was written for the images of a grid.

    Raises
    ------
    UnreadableFileError
        When a frame lies on no plane of the grid.
    """
    dataset = pydicom.dcmread(path)
    shared = dataset.SharedFunctionalGroupsSequence[0]
    own = list(dataset.PerFrameFunctionalGroupsSequence)
    places = [np.array(groups.PlanePositionSequence[0].ImagePositionPatient, float) for groups in own]
    planes = [_plane_of(path, place, grid) for place in places]
    segments = [_segment(item) for item in dataset.SegmentSequence if int(item.SegmentNumber)]
    masks = {segment.value: np.zeros(grid.shape, bool) for segment in segments}
    for groups, plane, frame in zip(own, planes, _frames(dataset), strict=True):
        for value, mask in _masks_of(groups, frame):
            masks[value][plane] |= mask
    geometry = _geometry(shared, places, planes, grid)
    referenced = dataset.ReferencedSeriesSequence[0].SeriesInstanceUID
    uids = (str(referenced), str(dataset.StudyInstanceUID), str(dataset.FrameOfReferenceUID))
    named = replace(geometry, series_uid=uids[0], study_uid=uids[1], frame_of_reference_uid=uids[2])
    return LabelledVolume.from_masks(named, ((segment, masks[segment.value]) for segment in segments))


def _plane_of(path: Path, place: NDArray, grid: Geometry) -> int:
    """Return the plane whose first voxel lies at a place."""
    index = (np.linalg.inv(grid.affine) @ [*place, 1.0])[0]
    plane = int(np.rint(index))
    if not 0 <= plane < grid.shape[0] or abs(index - plane) > _OFF:
        raise UnreadableFileError(path, "a frame lies on no plane of the image", "Report this.")
    return plane


def _geometry(shared: Dataset, places: list[NDArray], planes: list[int], grid: Geometry) -> Geometry:
    """Return the grid that the frames lie on; the step of a single plane is taken on trust."""
    measures, turn = shared.PixelMeasuresSequence[0], shared.PlaneOrientationSequence[0]
    down_mm, along_mm = (float(n) for n in measures.PixelSpacing)
    along, down = np.array(turn.ImageOrientationPatient, float).reshape(2, 3)
    low, high = int(np.argmin(planes)), int(np.argmax(planes))
    affine = grid.affine.copy()
    if planes[high] > planes[low]:
        affine[:3, 0] = (places[high] - places[low]) / (planes[high] - planes[low])
    affine[:3, 1], affine[:3, 2] = down * down_mm, along * along_mm
    affine[:3, 3] = places[low] - planes[low] * affine[:3, 0]
    return Geometry(grid.shape, affine)


def _frames(dataset: Dataset) -> Iterator[NDArray]:
    """Yield the stored frames (row, column)."""
    size = (int(dataset.Rows), int(dataset.Columns))
    if int(dataset.BitsAllocated) > 1:
        yield from dataset.pixel_array.reshape(-1, *size)
        return
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    pixels = size[0] * size[1]
    for number in range(int(dataset.NumberOfFrames)):
        yield bits[number * pixels : (number + 1) * pixels].reshape(size)


def _masks_of(groups: Dataset, frame: NDArray) -> Iterator[tuple[int, NDArray]]:
    """Yield the masks of a frame with their numbers: of one segment, or of all in a label map."""
    if "SegmentIdentificationSequence" in groups:
        yield int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber), frame == 1
        return
    for value in np.unique(frame):
        if value:
            yield int(value), frame == value


def _segment(item: Dataset) -> Segment:
    kind = item.SegmentedPropertyTypeCodeSequence[0]
    modifiers = kind.get("SegmentedPropertyTypeModifierCodeSequence") or [Dataset()]
    code = (str(kind.CodeValue), str(kind.CodeMeaning))
    return Segment(
        int(item.SegmentNumber),
        str(item.SegmentLabel),
        None if code[0] in _GENERAL else code,
        _SIDES.get(str(modifiers[0].get("CodeValue")), ""),
        _colour(item.RecommendedDisplayCIELabValue),
        str(item.SegmentAlgorithmType),
        str(item.TrackingUID),
    )


def _colour(stored: list[int]) -> tuple[int, int, int]:
    """Return red, green and blue of 16-bit CIELab values (PS3.3 C.10.7.1.1)."""
    light, a, b = (n / 65535 for n in stored)
    lab = np.array([light * 100, a * 255 - 128, b * 255 - 128])
    rgb = lab2rgb(lab[None, None], illuminant="D65")[0, 0]
    return tuple(round(float(c) * 255) for c in rgb)
