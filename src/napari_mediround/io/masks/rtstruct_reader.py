"""RT Structure Sets in: contours through pydicom, filled by scikit-image on the grid of the images.

A pixel belongs to a structure when its centre is inside an odd number of the contours of one height, so that
holes stay open. A plane takes the contours of the height nearest to it, and contours go to the plane nearest
to them: structures drawn on thinner slices than those of the images keep their size to a slice at each end.

References
----------
DICOM PS3.3 C.8.8.5, C.8.8.6.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from skimage.draw import polygon

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment, make_segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.coding import read_origin, read_type
from napari_mediround.io.dicom.instances import check_frame, read_dataset

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_PLANAR = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_OFF_PLANE = 0.5
_SAME_HEIGHT = 0.1  # planes


def read_rtstruct(path: Path, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read all closed contours of one file as masks.

    Parameters
    ----------
    path : Path
        A DICOM RT Structure Set.
    grid : Geometry
        Of the images it belongs to: contours have no pixels of their own.
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.

    Returns
    -------
    LabelledVolume
        On `grid`; values are 1, 2, 3, … in the order of the file.

    Raises
    ------
    UnreadableFileError
        When it is damaged, no structure set, of another frame of reference, or its contours lie outside the
        images or across their planes.
    """
    with limits.quiet(), limits.refusal(path, "it is no readable structure set"):
        dataset = read_dataset(path)
        if dataset.get("SOPClassUID") != STRUCTURE_SET and dataset.get("Modality") != "RTSTRUCT":
            raise UnreadableFileError(path, "it is no RT structure set", "Choose another file.")
        contours = {int(c.ReferencedROINumber): c for c in dataset.get("ROIContourSequence") or ()}
        known = {int(o.ReferencedROINumber): o for o in dataset.get("RTROIObservationsSequence") or ()}
        rois = list(dataset.get("StructureSetROISequence") or ())
        check_frame(path, (roi.get("ReferencedFrameOfReferenceUID") for roi in rois), grid)
        masks = []
        for value, roi in enumerate(rois, 1):
            number = int(roi.ROINumber)
            item = contours.get(number, Dataset())
            segment = _segment(value, roi, item, known.get(number, Dataset()), anatomy)
            masks.append((segment, _fill(path, item, grid)))
        return LabelledVolume.from_masks(grid, masks)


class _Contour(NamedTuple):
    """A closed line parallel to the planes: its height, in planes, and its points (row, column)."""

    height: float
    outline: NDArray[np.float64]


def _fill(path: Path, item: Dataset, grid: Geometry) -> NDArray[np.bool_]:
    """Return the mask of one structure, from the contours that count for each plane."""
    mask = np.zeros(grid.shape, bool)
    for plane, contours in _by_plane(_contours(path, item, grid), grid.shape[0]).items():
        for contour in contours:
            fill_contour(mask[plane], contour.outline)
    return mask


def _contours(path: Path, item: Dataset, grid: Geometry) -> list[_Contour]:
    """Return the closed contours of one structure; a couch or a body may be wider than the images."""
    found, to_index = [], np.linalg.inv(grid.affine)
    for contour in item.get("ContourSequence") or ():
        data = contour.get("ContourData")
        if contour.get("ContourGeometricType", _PLANAR[0]) not in _PLANAR or not data:
            continue
        points = np.array([float(n) for n in data]).reshape(-1, 3)
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        height = float(np.median(index[:, 0]))
        if not np.isfinite(index).all() or np.abs(index[:, 0] - height).max() > _OFF_PLANE:
            cause = "its contours do not lie on the planes of the images"
            raise UnreadableFileError(
                path, cause, "Open the images that it was drawn on, in their own planes."
            )
        reach = _OFF_PLANE + _SAME_HEIGHT
        if not -reach <= height <= grid.shape[0] - 1 + reach:
            raise UnreadableFileError(path, "its contours lie outside the images", "Open the whole series.")
        found.append(_Contour(height, index[:, 1:]))
    return found


def _by_plane(contours: list[_Contour], planes: int) -> dict[int, list[_Contour]]:
    """Return the contours that count for each plane: of those nearest to it, the ones of the nearest height.

    Heights that differ by no more than `_SAME_HEIGHT` are one. Those halfway between two planes belong to the
    upper one; of two that lie equally near to a plane the lower one counts.
    """
    groups: list[list[_Contour]] = []
    for contour in sorted(contours, key=lambda contour: contour.height):
        if groups and contour.height - groups[-1][0].height <= _SAME_HEIGHT:
            groups[-1].append(contour)
        else:
            groups.append([contour])
    chosen: dict[int, list[_Contour]] = {}
    for group in groups:
        height = group[0].height
        plane = min(max(int(np.floor(height + 0.5 + _SAME_HEIGHT / 2)), 0), planes - 1)
        nearest = abs(chosen[plane][0].height - plane) if plane in chosen else np.inf
        if abs(height - plane) < nearest - _SAME_HEIGHT:
            chosen[plane] = group
    return chosen


def fill_contour(plane: NDArray[np.bool_], outline: NDArray) -> None:
    """Turn over, in place, the pixels (row, column) whose centres a closed contour (point, 2) encloses."""
    rows, columns = polygon(outline[:, 0], outline[:, 1], plane.shape)
    plane[rows, columns] ^= True


def _segment(
    value: int, roi: Dataset, item: Dataset, observation: Dataset, anatomy: Anatomy | None
) -> Segment:
    more: dict = {}
    colour = item.get("ROIDisplayColor")
    if colour and len(colour) == 3 and all(0 <= int(c) <= 255 for c in colour):
        more["colour"] = tuple(int(c) for c in colour)
    kind = (observation.get("RTROIIdentificationCodeSequence") or [Dataset()])[0]
    origin = read_origin(roi.get("ROIGenerationAlgorithm"))
    return make_segment(value, str(roi.get("ROIName") or ""), anatomy, origin, **read_type(kind), **more)
