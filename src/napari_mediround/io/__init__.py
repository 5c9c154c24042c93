"""Files in and out: DICOM, NIfTI, NRRD, MetaImage and pictures. No torch and no Qt."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from os import PathLike
from pathlib import Path

from napari_mediround.domain.geometry import VIEWS
from napari_mediround.domain.hounsfield import take_for
from napari_mediround.domain.study import Study
from napari_mediround.errors import MediRoundError, SeriesChoiceError, UnreadableFileError, VolumeChoiceError
from napari_mediround.io import limits
from napari_mediround.io.dicom import reader
from napari_mediround.io.dicom.instances import APPLE_DOUBLE, DICOM_SUFFIXES, SeriesInfo, looks_like_dicom
from napari_mediround.io.picture import PICTURE_SUFFIXES, read_picture
from napari_mediround.io.volumes.nifti_header import GZIP, is_packed
from napari_mediround.io.volumes.volume import ITK_SUFFIXES, NIBABEL_SUFFIXES, read_itk, read_nifti

__all__ = ["SeriesInfo", "list_series", "read_studies", "read_study"]

_PACKED = {
    GZIP: "gzip",
    b"BZh": "bzip2",
    b"PK\x03\x04": "zip",
    b"\xfd7zXZ": "xz",
    b"7z\xbc\xaf": "7-Zip",
}
_GIT_LFS = b"version https://git-lfs"
_DAMAGED = "its header is damaged: values in it are of the wrong kind"
_FORMATS = "DICOM, NIfTI (.nii, .nii.gz), NRRD, MetaImage (.mha, .mhd), MGH, PNG, JPEG, TIFF and BMP are read"


def read_study(
    path: str | PathLike,
    *,
    series: str | int | None = None,
    volume: int | None = None,
    view: str | None = None,
    modality: str | None = None,
) -> Study:
    """Read an image file, or one DICOM series of a folder, into radiological display order.

    Parameters
    ----------
    path : str or PathLike
        A DICOM, NIfTI, MGH, NRRD, MetaImage, PNG, JPEG, TIFF or BMP file, or a folder of DICOM files.
    series : str or int, optional
        Which DICOM series of a folder: its SeriesInstanceUID, or its 1-based number in `list_series`.
    volume : int, optional
        Which volume of a 4-D image, or page of a TIFF; 0-based.
    view : {None, "axial", "coronal", "sagittal"}
        Which planes to show; None shows those acquired.
    modality : str, optional
        What to take the image for, whatever the file says: DICOM's code ("CT"), "" for none in particular.

    Returns
    -------
    Study
        Pixels (plane, row, column[, 3]) in display order, with the way back to the file's grid.

    Raises
    ------
    UnreadableFileError
        When the file is missing, damaged, of an unknown format, or cannot be read exactly (gantry tilt,
        missing slices, …). The message names the file and the remedy.
    VolumeChoiceError
        When there are several volumes and none was chosen.
    SeriesChoiceError
        When a folder holds several series and none was chosen, or the chosen one is not there.
    """
    path = _existing(path)
    if view is not None and view not in VIEWS:
        raise UnreadableFileError(path, f"{view!r} is no view", f"Choose one of {', '.join(sorted(VIEWS))}.")
    with limits.quiet(), limits.refusal(path, _DAMAGED):
        study = _read(path, series, volume, view)
        if modality is not None:
            study = take_for(study, modality)
    if view is not None and not study.geometry.oriented:
        cause = f"it does not say how it lies in the patient, so no {view} view can be made"
        raise UnreadableFileError(path, cause, "Leave the view out.")
    return study


def read_studies(path: str | PathLike, *, view: str | None = None) -> Iterator[Study]:
    """Yield every study of a file or folder: each series, and each volume of these; as `read_study`.

    What cannot be read is left out.

    Raises
    ------
    MediRoundError
        The first one's, when none can be read.
    """
    errors, some = [], False
    waiting: list[dict] = [{}]
    while waiting:
        wanted = waiting.pop(0)
        try:
            study = read_study(path, view=view, **wanted)
        except SeriesChoiceError as several:
            waiting = [{"series": choice.uid} for choice in several.choices]
        except VolumeChoiceError as several:
            waiting[:0] = [wanted | {"volume": number} for number in range(several.count)]
        except MediRoundError as error:
            errors.append(error)
        else:
            some = True
            yield study
    if errors and not some:
        raise errors[0]


def list_series(path: str | PathLike) -> tuple[SeriesInfo, ...]:
    """Return the DICOM image series of a file or folder, in the order of their UIDs.

    Raises
    ------
    UnreadableFileError
        When there is no DICOM image, or a DICOM file is damaged.
    """
    path = _existing(path)
    with limits.quiet(), limits.refusal(path, _DAMAGED):
        return reader.list_series(path)


def _existing(path: str | PathLike) -> Path:
    path = Path(path)
    try:
        kind = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:
        raise UnreadableFileError(path, "there is no such file or folder", "Check the path.") from error
    except OSError as error:
        raise UnreadableFileError(path, "it cannot be opened", "Check its name and permissions.") from error
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
        raise UnreadableFileError(path, "it is a device or a pipe, not a file", "Choose a file or folder.")
    if stat.S_ISREG(kind):
        _check_start(path)
    return path


def _check_start(path: Path) -> None:
    """Refuse by name what begins as something else than an image: packed files, pointers, companions."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(_GIT_LFS))
    except OSError as error:
        raise UnreadableFileError(path, "it cannot be opened", "Check its permissions.") from error
    if not start:
        raise UnreadableFileError(path, "it is empty", "Copy or export the file again.")
    packed = next((name for magic, name in _PACKED.items() if start.startswith(magic)), "")
    if packed == "gzip" and path.name.lower().endswith((".nii", ".mgh")):
        remedy = "Add .gz to its name." if path.name.lower().endswith(".nii") else "Call it .mgz."
        raise UnreadableFileError(path, "it is packed by gzip, and its name does not say so", remedy)
    if packed and not is_packed(path):
        raise UnreadableFileError(path, f"it is packed by {packed}", "Unpack it first.")
    if start == _GIT_LFS:
        raise UnreadableFileError(path, "it is a pointer of Git LFS, not the file", "Fetch it: git lfs pull.")
    if start.startswith(APPLE_DOUBLE):
        cause = "it is a companion that macOS made of another file"
        raise UnreadableFileError(path, cause, f"Open {path.name.removeprefix('._')} instead.")


def _read(path: Path, series: str | int | None, volume: int | None, view: str | None) -> Study:
    name = path.name.lower()
    if path.is_dir() or name.endswith(DICOM_SUFFIXES):
        return reader.read_dicom(path, series, volume, view)
    if name.endswith(NIBABEL_SUFFIXES):
        return read_nifti(path, volume, view)
    if name.endswith(ITK_SUFFIXES):
        return read_itk(path, volume, view)
    if name.endswith(PICTURE_SUFFIXES):
        return read_picture(path, volume)
    if looks_like_dicom(path):
        return reader.read_dicom(path, series, volume, view)
    raise UnreadableFileError(path, "its format is not known here", f"Convert it; {_FORMATS}.")
