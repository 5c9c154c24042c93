"""The formats that masks leave in: what each can hold, how it is written and read back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import gdcm
import pydicom
import SimpleITK
from numpy.typing import NDArray

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.errors import SettingsError
from napari_mediround.io.export.dicom_seg import write_dicom_seg
from napari_mediround.io.export.dicom_source import DicomSource
from napari_mediround.io.export.measurement_report import (
    check_report,
    segmentation_path,
    write_measurement_report,
)
from napari_mediround.io.export.nifti import read_back_nifti, write_nifti
from napari_mediround.io.export.overlay import read_back_picture, write_picture
from napari_mediround.io.export.receipt import Check
from napari_mediround.io.export.rtstruct import write_rtstruct
from napari_mediround.io.export.rtstruct_back import read_back_rtstruct
from napari_mediround.io.export.seg_back import read_back_seg
from napari_mediround.io.export.seg_nrrd import read_back_seg_nrrd, write_seg_nrrd

_EVERY = ("value", "name", "code", "side", "colour", "origin", "tracking_uid", "verdict", "quality")
_DICOM = _EVERY[1:-2]
_PICTURE = ("value", "name", "colour", "origin", "verdict", "quality")
_SITK, _PYDICOM = f"SimpleITK {SimpleITK.__version__}", f"pydicom {pydicom.__version__}"
_GDCM = f"GDCM {gdcm.Version.GetVersion()}"


@dataclass(frozen=True, eq=False)
class Sources:
    """What some formats need beside the masks.

    Parameters
    ----------
    dicom : DicomSource, optional
        The images, for DICOM objects.
    pixels : ndarray, optional
        Grey values (plane, row, column) on the masks' grid, for measurements.
    cancelled : callable
        Asked between steps.
    """

    dicom: DicomSource | None = None
    pixels: NDArray | None = None
    cancelled: Callable[[], bool] = lambda: False


@dataclass(frozen=True)
class Format:
    """One way out.

    Parameters
    ----------
    title : str
        For the user.
    suffixes : tuple of str
        Of its main file, the preferred one first.
    write : callable
        Takes the masks, a path and `Sources`; returns the files, the main one last.
    read : callable
        Takes that path and the masks' geometry; returns what is there.
    reader : str
        The library that reads it back: another one than wrote it.
    fields : tuple of str
        Fields of `Segment` that it keeps.
    overlaps, exact, placed, dicom : bool
        Whether it holds overlapping masks, every voxel, a geometry; whether it points at DICOM images.
    check : callable
        Takes the masks, the path and `Sources`; returns what else is compared.
    stays : bool
        Whether it cannot leave the site: no de-identified form of it is written.
    """

    title: str
    suffixes: tuple[str, ...]
    write: Callable[[LabelledVolume, Path, Sources], tuple[Path, ...]]
    read: Callable[[Path, Geometry], LabelledVolume]
    reader: str
    fields: tuple[str, ...]
    overlaps: bool = False
    exact: bool = True
    placed: bool = True
    dicom: bool = False
    check: Callable[[LabelledVolume, Path, Sources], tuple[Check, ...]] = lambda *_: ()
    stays: bool = False

    def suffix_of(self, path: Path) -> str:
        """Return the suffix of this format that a path ends with, or ""."""
        return next((s for s in self.suffixes if path.name.lower().endswith(s)), "")


def _seg(volume: LabelledVolume, path: Path, sources: Sources, labelmap: bool) -> tuple[Path, ...]:
    return write_dicom_seg(volume, path, sources.dicom, labelmap)


FORMATS = {
    "nifti": Format(
        "NIfTI label map (BIDS dseg)",
        (".nii.gz",),
        lambda volume, path, sources: write_nifti(volume, path),
        read_back_nifti,
        _SITK,
        _EVERY,
    ),
    "dicom-seg": Format(
        "DICOM Segmentation, BINARY",
        (".dcm",),
        partial(_seg, labelmap=False),
        read_back_seg,
        _PYDICOM,
        _DICOM,
        overlaps=True,
        dicom=True,
    ),
    "dicom-labelmap": Format(
        "DICOM Segmentation, LABELMAP",
        (".dcm",),
        partial(_seg, labelmap=True),
        read_back_seg,
        _PYDICOM,
        _DICOM,
        dicom=True,
    ),
    "seg-nrrd": Format(
        "3D Slicer segmentation",
        (".seg.nrrd",),
        lambda volume, path, sources: write_seg_nrrd(volume, path),
        read_back_seg_nrrd,
        _SITK,
        _EVERY,
        overlaps=True,
    ),
    "rtstruct": Format(
        "DICOM RT Structure Set",
        (".dcm",),
        lambda volume, path, sources: write_rtstruct(volume, path, sources.dicom, sources.cancelled),
        read_back_rtstruct,
        _GDCM,
        ("value", "name", "colour", "origin"),
        overlaps=True,
        exact=False,
        dicom=True,
    ),
    "dicom-sr": Format(
        "DICOM measurement report (SR TID 1500)",
        (".dcm",),
        lambda volume, path, s: write_measurement_report(volume, path, s.dicom, s.pixels),
        lambda path, grid: read_back_seg(segmentation_path(path), grid),
        _PYDICOM,
        _DICOM,
        overlaps=True,
        dicom=True,
        check=lambda volume, path, s: check_report(volume, path, s.pixels, s.dicom.modality),
        stays=True,
    ),
    "png": Format(
        "PNG label map",
        (".png",),
        lambda volume, path, sources: write_picture(volume, path),
        read_back_picture,
        _SITK,
        _PICTURE,
        placed=False,
    ),
    "tiff": Format(
        "TIFF label map",
        (".tif", ".tiff"),
        lambda volume, path, sources: write_picture(volume, path),
        read_back_picture,
        _SITK,
        _PICTURE,
        placed=False,
    ),
}
"""By the names that the command line uses; measurements are no masks and stand apart."""

MEASUREMENTS = "csv"


def misfits(grid: Geometry, has_images: bool) -> dict[str, str]:
    """Return the formats that cannot hold masks on a grid, each with the reason in words.

    Parameters
    ----------
    grid : Geometry
        Of the image's file.
    has_images : bool
        Whether the DICOM images that it was opened from are at hand.
    """
    found = {}
    for name, form in FORMATS.items():
        if form.dicom and not (has_images and grid.series_uid):
            found[name] = "it points at DICOM images, and this image was not opened from DICOM files."
        elif form.dicom and not grid.oriented:
            found[name] = "the image does not say where in the patient it lies."
        elif form.dicom and not grid.study_uid:
            found[name] = "the image does not say of which study it is."
        elif name == "png" and grid.shape[0] > 1:
            found[name] = f"it holds one plane, and the image has {grid.shape[0]}. Take TIFF."
    return found


def guess_format(path: Path) -> str:
    """Return the format that a path's ending means: `.dcm` is a DICOM Segmentation, BINARY.

    Raises
    ------
    SettingsError
        When it means none.
    """
    found = next((name for name, form in FORMATS.items() if form.suffix_of(path)), "")
    if path.name.lower().endswith(".csv"):
        found = MEASUREMENTS
    if not found:
        endings = ", ".join(dict.fromkeys(s for form in FORMATS.values() for s in form.suffixes))
        raise SettingsError(f"{path.name}: masks are written as {endings} or .csv (measurements).")
    return found
