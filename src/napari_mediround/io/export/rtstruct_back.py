"""RT Structure Sets read back with GDCM, which had no part in writing them.

Contours are filled here by counting crossings along each row, not as `io.masks.contours` fills them: what one
of the two does wrong the other shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gdcm
import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.errors import UnreadableFileError

_ROIS, _NUMBER, _NAME, _ORIGIN = (0x3006, 0x0020), (0x3006, 0x0022), (0x3006, 0x0026), (0x3006, 0x0036)
_CONTOURS, _OF_ROI, _COLOUR = (0x3006, 0x0039), (0x3006, 0x0084), (0x3006, 0x002A)
_FRAMES, _STUDIES, _SERIES_ITEMS = (0x3006, 0x0010), (0x3006, 0x0012), (0x3006, 0x0014)
_FRAME_OF_ROI, _STUDY, _SERIES = (0x3006, 0x0024), (0x0020, 0x000D), (0x0020, 0x000E)
_OFF = 0.1  # planes by which a contour may lie beside its own
_LINES, _KIND, _POINTS = (0x3006, 0x0040), (0x3006, 0x0042), (0x3006, 0x0050)


def read_back_rtstruct(path: Path, grid: Geometry) -> LabelledVolume:
    """Read names, colours, origins and contours again, and fill the contours on `grid`.

    Raises
    ------
    UnreadableFileError
        When GDCM cannot read the file.
    """
    reader = gdcm.Reader()
    reader.SetFileName(str(path))
    if not reader.Read():
        raise UnreadableFileError(path, "GDCM cannot read what was written", "Report this.")
    # Kept in a name: GDCM's items do not keep the file alive.
    file = reader.GetFile()
    dataset = file.GetDataSet()
    to_index = np.linalg.inv(grid.affine)
    drawn = {_text(item, _OF_ROI): item for item in _items(dataset, _CONTOURS)}
    masks = []
    for value, roi in enumerate(_items(dataset, _ROIS), 1):
        item = drawn[_text(roi, _NUMBER)]
        colour = tuple(int(c) for c in _text(item, _COLOUR).split("\\"))
        mask = np.zeros(grid.shape, bool)
        for line in _items(item, _LINES):
            points = np.array(_text(line, _POINTS).split("\\"), float).reshape(-1, 3)
            index = points @ to_index[:3, :3].T + to_index[:3, 3]
            number = int(np.rint(index[0, 0]))
            if not 0 <= number < grid.shape[0] or np.abs(index[:, 0] - number).max() > _OFF:
                raise UnreadableFileError(path, "a contour lies on no plane of the image", "Report this.")
            plane, inside = mask[number], _enclosed(index[:, 1:], grid.shape[1:])
            # As the writer means them: holes are of the XOR type, all else is one region.
            plane[:] = plane ^ inside if _text(line, _KIND) == "CLOSEDPLANAR_XOR" else plane | inside
        masks.append((Segment(value, _text(roi, _NAME), colour=colour, origin=_text(roi, _ORIGIN)), mask))
    found = [_text(item, _FRAME_OF_ROI) for item in _items(dataset, _ROIS)]
    frame = found[0] if len(set(found)) == 1 else "\\".join(sorted(set(found)))
    series = [_text(item, _SERIES) for item in _deep(dataset, (_FRAMES, _STUDIES, _SERIES_ITEMS))]
    uids = (_text(dataset, _STUDY), frame, series[0] if len(series) == 1 else "")
    named = replace(grid, study_uid=uids[0], frame_of_reference_uid=uids[1], series_uid=uids[2])
    return LabelledVolume.from_masks(named, masks)


def _deep(dataset: gdcm.DataSet, places: tuple[tuple[int, int], ...]) -> Iterator[gdcm.DataSet]:
    """Yield the items of a sequence in the items of sequences."""
    for item in _items(dataset, places[0]):
        yield from _deep(item, places[1:]) if places[1:] else (item,)


def _enclosed(outline: NDArray, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the pixels (row, column) with an odd number of edges of a closed line to their left."""
    start, end = outline, np.roll(outline, -1, axis=0)
    odd = np.zeros((shape[0], shape[1] + 1), bool)
    for (row, column), (next_row, next_column) in zip(start, end, strict=True):
        low, high = sorted((row, next_row))
        rows = np.arange(max(int(np.ceil(low)), 0), min(int(np.ceil(high)), shape[0]))
        if rows.size:
            crossed = column + (rows - row) / (next_row - row) * (next_column - column)
            odd[rows, np.clip(np.ceil(crossed), 0, shape[1]).astype(int)] ^= True
    return np.logical_xor.accumulate(odd, axis=1)[:, :-1]


def _items(dataset: gdcm.DataSet, place: tuple[int, int]) -> Iterator[gdcm.DataSet]:
    tag = gdcm.Tag(*place)
    if dataset.FindDataElement(tag):
        sequence = dataset.GetDataElement(tag).GetValueAsSQ()
        for number in range(1, sequence.GetNumberOfItems() + 1):
            yield sequence.GetItem(number).GetNestedDataSet()


def _text(dataset: gdcm.DataSet, place: tuple[int, int]) -> str:
    """Return a value as text; GDCM hands over bytes as characters that stand for them."""
    value = dataset.GetDataElement(gdcm.Tag(*place)).GetByteValue()
    return value.GetBuffer().encode("utf-8", "surrogateescape").decode("utf-8").strip(" \0")
