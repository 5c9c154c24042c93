"""Masks in, from any file that masks leave in."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io.dicom.instances import DICOM_SUFFIXES, looks_like_dicom, read_header
from napari_mediround.io.masks.label_map import SEG_NRRD, read_label_map, read_seg_nrrd
from napari_mediround.io.masks.rtstruct_reader import read_rtstruct
from napari_mediround.io.masks.seg_reader import read_dicom_seg

__all__ = ["read_masks", "read_unplaced"]


def read_masks(path: str | PathLike, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read the masks of a file onto the grid of the image they belong to; nothing is interpolated.

    Parameters
    ----------
    path : str or PathLike
        NIfTI, NRRD or MetaImage label map (names from a `.tsv` or `.json` beside it), `.seg.nrrd`, DICOM
        Segmentation or RT Structure Set.
    grid : Geometry
        The image's own (`Study.source_geometry`).
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.

    Raises
    ------
    UnreadableFileError
        When the file is damaged, of another kind, or its voxels are not those of the image.
    """
    path = Path(path)
    volume = read_unplaced(path, grid, anatomy)
    try:
        return volume.place(grid)
    except ValueError as error:
        remedy = "Open the image that the masks were drawn on, or resample the masks onto its grid first."
        raise UnreadableFileError(path, str(error), remedy) from error


def read_unplaced(path: Path, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read the masks of a file on its own grid; parameters and errors as in `read_masks`."""
    if not path.is_file():
        raise UnreadableFileError(path, "there is no such file", "Check the path.")
    name = path.name.lower()
    if name.endswith(SEG_NRRD):
        return read_seg_nrrd(path, anatomy)
    if not (name.endswith(DICOM_SUFFIXES) or looks_like_dicom(path)):
        return read_label_map(path, anatomy)
    kind = read_header(path).get("Modality")
    if kind == "RTSTRUCT":
        return read_rtstruct(path, grid, anatomy)
    return read_dicom_seg(path, anatomy, grid)
