"""RT Structure Sets in: contours through pydicom, filled on the grid of the images.

A plane takes the contours of the height nearest to it, and contours go to the plane nearest to them:
structures drawn on thinner slices than those of the images keep their size to a slice at each end. Nothing is
made up between contours: planes without any stay empty, and a note says how many.

References
----------
DICOM PS3.3 C.8.8.5, C.8.8.6.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment, make_segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.coding import read_origin, read_type
from napari_mediround.io.dicom.instances import check_frame, read_dataset
from napari_mediround.io.masks.contours import fill_contours

STRUCTURE_SET = "1.2.840.10008.5.1.4.1.1.481.3"
_CLOSED, _EXCLUSIVE = "CLOSED_PLANAR", ("CLOSEDPLANAR_XOR", "CLOSED_PLANAR_XOR")
_OPEN = {"POINT": "points", "OPEN_PLANAR": "open lines", "OPEN_NONPLANAR": "open lines"}
_OFF_PLANE = 0.5
_SAME_HEIGHT = 0.1  # planes
_FEWEST_POINTS = 3
_DAMAGED = "Copy or export the file again."


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
        On `grid`; values are 1, 2, 3, … in the order of the file. Its notes say what enclosed nothing and
        which planes between contours have none.

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
        known = {int(o.ReferencedROINumber): o for o in dataset.get("RTROIObservationsSequence") or ()}
        rois = list(dataset.get("StructureSetROISequence") or ())
        check_frame(path, (roi.get("ReferencedFrameOfReferenceUID") for roi in rois), grid)
        items = _items_by_number(path, dataset, rois)
        masks, notes = [], []
        for value, roi in enumerate(rois, 1):
            number = int(roi.ROINumber)
            own = items.pop(number, [])
            segment = _segment(value, roi, own, known.get(number, Dataset()), anatomy)
            contours, skipped = _contours(path, own, grid)
            mask, gap = _fill(contours, grid)
            notes += [f"{segment.name}: {note}" for note in (*skipped, gap) if note]
            masks.append((segment, mask))
        notes += [f"contours of a structure {n}, which the file does not list, are left out" for n in items]
        return replace(LabelledVolume.from_masks(grid, masks), notes=tuple(notes))


def _items_by_number(path: Path, dataset: Dataset, rois: list[Dataset]) -> dict[int, list[Dataset]]:
    """Return the items that hold contours, by the number of the structure; some writers use several for one.

    Raises
    ------
    UnreadableFileError
        When two structures have one number, and contours.
    """
    items: dict[int, list[Dataset]] = {}
    for item in dataset.get("ROIContourSequence") or ():
        items.setdefault(int(item.ReferencedROINumber), []).append(item)
    for number, count in Counter(int(roi.ROINumber) for roi in rois).items():
        if count > 1 and number in items:
            cause = f"{count} of its structures have the number {number}, and one set of contours"
            raise UnreadableFileError(path, cause, _DAMAGED)
    return items


@dataclass(frozen=True, eq=False)
class _Contour:
    """A closed line parallel to the planes: its height, in planes, and its points (row, column)."""

    height: float
    outline: NDArray[np.float64]
    exclusive: bool


def _fill(contours: list[_Contour], grid: Geometry) -> tuple[NDArray[np.bool_], str]:
    """Return the mask of one structure, from the contours that count for each plane, and what is missing."""
    mask = np.zeros(grid.shape, bool)
    drawn = _by_plane(contours, grid.shape[0])
    for plane, group in drawn.items():
        closed = [contour.outline for contour in group if not contour.exclusive]
        exclusive = [contour.outline for contour in group if contour.exclusive]
        mask[plane] = fill_contours(grid.shape[1:], closed, exclusive)
    return mask, _describe_gaps(sorted(drawn), mask)


def _describe_gaps(drawn: list[int], mask: NDArray[np.bool_]) -> str:
    """Return how many planes between the first and the last contour have none, and how much that may be."""
    if not drawn:
        return "it has no closed contour, and its mask is empty"
    between = sorted(set(range(drawn[0], drawn[-1])) - set(drawn))
    if not between:
        return ""
    areas = mask[drawn].sum((1, 2))
    missing = np.interp(between, drawn, areas).sum()
    share = f", about {missing / (missing + areas.sum()):.0%} of its volume" if missing else ""
    return (
        f"{len(between)} of the {drawn[-1] - drawn[0] + 1} planes from its first contour to its last "
        f"have none and stay empty{share}"
    )


def _contours(path: Path, items: list[Dataset], grid: Geometry) -> tuple[list[_Contour], list[str]]:
    """Return the closed contours of one structure and what was skipped; a couch may be wider than the images.

    Raises
    ------
    UnreadableFileError
        When one lies across the planes, or outside the images.
    """
    found, skipped, to_index = [], Counter(), np.linalg.inv(grid.affine)
    for contour in (c for item in items for c in item.get("ContourSequence") or ()):
        kind = str(contour.get("ContourGeometricType") or _CLOSED)
        numbers = np.array([float(n) for n in contour.get("ContourData") or ()])
        points = numbers.reshape(-1, 3)
        if kind != _CLOSED and kind not in _EXCLUSIVE:
            skipped[f"{_OPEN.get(kind, 'lines of an unknown kind')}, which enclose nothing"] += 1
            continue
        index = points @ to_index[:3, :3].T + to_index[:3, 3]
        if len(np.unique(index.round(4), axis=0)) < _FEWEST_POINTS:
            skipped["contours, of fewer than three points"] += 1
            continue
        height = float(np.median(index[:, 0]))
        if not np.isfinite(index).all() or np.abs(index[:, 0] - height).max() > _OFF_PLANE:
            cause = "its contours do not lie on the planes of the images"
            raise UnreadableFileError(
                path, cause, "Open the images that it was drawn on, in their own planes."
            )
        reach = _OFF_PLANE + _SAME_HEIGHT
        if not -reach <= height <= grid.shape[0] - 1 + reach:
            raise UnreadableFileError(path, "its contours lie outside the images", "Open the whole series.")
        found.append(_Contour(height, index[:, 1:], kind in _EXCLUSIVE))
    return found, [f"{what}, were skipped ({count})" for what, count in skipped.items()]


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


def _segment(
    value: int, roi: Dataset, items: list[Dataset], observation: Dataset, anatomy: Anatomy | None
) -> Segment:
    more: dict = {}
    colour = next((item.ROIDisplayColor for item in items if item.get("ROIDisplayColor")), None)
    if colour and len(colour) == 3 and all(0 <= int(c) <= 255 for c in colour):
        more["colour"] = tuple(int(c) for c in colour)
    kind = (observation.get("RTROIIdentificationCodeSequence") or [Dataset()])[0]
    origin = read_origin(roi.get("ROIGenerationAlgorithm"))
    return make_segment(value, str(roi.get("ROIName") or ""), anatomy, origin, **read_type(kind), **more)
