"""RT Structure Sets read back with GDCM, which had no part in writing them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gdcm
import numpy as np

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io.masks.rtstruct_reader import fill_contour

_ROIS, _NUMBER, _NAME, _ORIGIN = (0x3006, 0x0020), (0x3006, 0x0022), (0x3006, 0x0026), (0x3006, 0x0036)
_CONTOURS, _OF_ROI, _COLOUR = (0x3006, 0x0039), (0x3006, 0x0084), (0x3006, 0x002A)
_LINES, _POINTS = (0x3006, 0x0040), (0x3006, 0x0050)


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
            fill_contour(mask[int(np.rint(index[0, 0]))], index[:, 1:])
        masks.append((Segment(value, _text(roi, _NAME), colour=colour, origin=_text(roi, _ORIGIN)), mask))
    return LabelledVolume.from_masks(grid, masks)


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
