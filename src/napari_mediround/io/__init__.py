"""Files in and out: DICOM, NIfTI, NRRD, MetaImage and pictures. No torch and no Qt."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from napari_mediround.domain.geometry import VIEWS
from napari_mediround.domain.study import Study
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io.picture import PICTURE_SUFFIXES, read_picture
from napari_mediround.io.volume import ITK_SUFFIXES, NIBABEL_SUFFIXES, read_itk, read_nifti

__all__ = ["read_study"]


def read_study(path: str | PathLike, *, series=None, volume: int | None = None, view: str | None = None) -> Study:
    """Read an image into display order."""
    path = Path(path)
    name = path.name.lower()
    if not path.exists():
        raise UnreadableFileError(path, "there is no such file or folder", "Check the path.")
    if view is not None and view not in VIEWS:
        raise UnreadableFileError(path, f"{view!r} is no view", f"Choose one of {', '.join(sorted(VIEWS))}.")
    if name.endswith(NIBABEL_SUFFIXES):
        return read_nifti(path, volume, view)
    if name.endswith(ITK_SUFFIXES):
        return read_itk(path, volume, view)
    if name.endswith(PICTURE_SUFFIXES):
        return read_picture(path, volume)
    raise UnreadableFileError(path, "its format is not known", "Convert it to NIfTI.")
