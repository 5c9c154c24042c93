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
_SEQUENCES = (_ROIS, _CONTOURS, _LINES, _FRAMES, _STUDIES, _SERIES_ITEMS)
_TEXTS = (_NUMBER, _NAME, _ORIGIN, _OF_ROI, _COLOUR, _FRAME_OF_ROI, _STUDY, _SERIES, _KIND, _POINTS)


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
    file = reader.GetFile()  # in a name: GDCM's data sets do not keep it alive
    found = _plain(file.GetDataSet())
    to_index = np.linalg.inv(grid.affine)
    drawn = {item[_OF_ROI]: item for item in found.get(_CONTOURS, ())}
    masks = []
    for roi in found.get(_ROIS, ()):
        item = drawn[roi[_NUMBER]]
        mask = np.zeros(grid.shape, bool)
        for line in item.get(_LINES, ()):
            points = np.array(line[_POINTS].split("\\"), float).reshape(-1, 3)
            index = points @ to_index[:3, :3].T + to_index[:3, 3]
            number = int(np.rint(index[0, 0]))
            if not 0 <= number < grid.shape[0] or np.abs(index[:, 0] - number).max() > _OFF:
                raise UnreadableFileError(path, "a contour lies on no plane of the image", "Report this.")
            plane, inside = mask[number], _enclosed(index[:, 1:], grid.shape[1:])
            # As the writer means them: holes are of the XOR type, all else is one region.
            plane[:] = plane ^ inside if line[_KIND] == "CLOSEDPLANAR_XOR" else plane | inside
        colour = tuple(int(c) for c in item[_COLOUR].split("\\"))
        masks.append((Segment(int(roi[_NUMBER]), roi[_NAME], colour=colour, origin=roi[_ORIGIN]), mask))
    frames = sorted({roi[_FRAME_OF_ROI] for roi in found.get(_ROIS, ())})
    series = [item[_SERIES] for item in _deep(found, _FRAMES, _STUDIES, _SERIES_ITEMS)]
    series_uid = series[0] if len(series) == 1 else ""
    frame_uid = "\\".join(frames)
    named = replace(grid, study_uid=found[_STUDY], frame_of_reference_uid=frame_uid, series_uid=series_uid)
    return LabelledVolume.from_masks(named, masks)


def _plain(dataset: gdcm.DataSet) -> dict:
    """Return texts and sequences of a data set by tag, in Python's own memory.

    An object of GDCM's is no longer valid once the sequence that it came from is gone, and a sequence without
    items is a null pointer: both end the process when they are used.
    """
    texts = {place: _element(dataset, place) for place in _TEXTS}
    found: dict = {place: "" if value is None else _text(value) for place, value in texts.items()}
    for place in _SEQUENCES:
        if (value := _element(dataset, place)) is not None:
            sequence = value.GetValueAsSQ()
            numbers = range(1, sequence.GetNumberOfItems() + 1)
            found[place] = [_plain(sequence.GetItem(number).GetNestedDataSet()) for number in numbers]
    return found


def _element(dataset: gdcm.DataSet, place: tuple[int, int]) -> gdcm.DataElement | None:
    """Return an element with a value, or None."""
    tag = gdcm.Tag(*place)
    value = dataset.GetDataElement(tag) if dataset.FindDataElement(tag) else None
    return None if value is None or value.IsEmpty() else value


def _text(element: gdcm.DataElement) -> str:
    """Return a value as text; GDCM hands over bytes as characters that stand for them."""
    buffer = element.GetByteValue().GetBuffer()
    return buffer.encode("utf-8", "surrogateescape").decode("utf-8").strip(" \0")


def _deep(found: dict, *places: tuple[int, int]) -> Iterator[dict]:
    """Yield the items of a sequence in the items of sequences."""
    for item in found.get(places[0], ()):
        yield from _deep(item, *places[1:]) if places[1:] else (item,)


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
