"""Masks of any file onto the grid of an image that is open: checked in millimetres, and whose they are.

Nothing is resampled unless the caller says so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import SimpleITK

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Imported
from napari_mediround.domain.segments import MANUAL, MAX_VALUE, LabelledVolume, Segment, make_segment
from napari_mediround.errors import OtherGridError, UnreadableFileError
from napari_mediround.files import hash_file
from napari_mediround.io import coding, limits, tables
from napari_mediround.io.dicom.instances import DICOM_SUFFIXES, looks_like_dicom, read_header
from napari_mediround.io.dicom.patient import read_patient
from napari_mediround.io.labels import itk_image
from napari_mediround.io.masks import read_unplaced
from napari_mediround.io.masks.label_map import SEG_NRRD, read_names
from napari_mediround.io.masks.monai import MonaiCase, name_monai_masks, read_monai

_ENDINGS = {
    "nifti": (".nii", ".nii.gz"),
    "seg-nrrd": SEG_NRRD,
    "nrrd": (".nrrd", ".nhdr"),
    "metaimage": (".mha", ".mhd"),
    "mgh": (".mgh", ".mgz"),
    "picture": (".png", ".tif", ".tiff", ".bmp", ".jpg", ".jpeg"),
}
_MASK_KINDS = ("SEG", "RTSTRUCT")
UNPLACED = "The file holds no place, so its pixels were taken as those of the image, plane by plane."
RESAMPLED = "The masks had another grid and were resampled onto that of the image, by nearest neighbour."
OTHER_SERIES = "The masks were drawn on another series of this examination; their voxels fit the image."


@dataclass(frozen=True, eq=False)
class Incoming:
    """Masks of one file, on the grid of the image.

    Parameters
    ----------
    volume : LabelledVolume
        Its notes say what was decided while reading.
    source : Imported
        Hash, form, whether it was resampled; origin, code and side are those of each segment.
    """

    volume: LabelledVolume
    source: Imported

    def source_of(self, segment: Segment) -> Imported:
        """Return the record of where one segment came from."""
        code = coding.known_code(segment.code)
        return replace(self.source, origin=segment.origin, code=code, side=segment.side)


def read_incoming(
    path: Path,
    grid: Geometry,
    anatomy: Anatomy | None = None,
    image: Path | None = None,
    resample: bool = False,
) -> Incoming:
    """Read the masks of a file, or of a MONAI Label folder, for an image.

    Parameters
    ----------
    path : Path
        NIfTI, NRRD, MetaImage, MGH, TIFF or PNG label map, `.seg.nrrd`, DICOM Segmentation, RT Structure Set,
        a folder with one of the last two, or a MONAI Label folder.
    grid : Geometry
        The image's own (`Study.source_geometry`).
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.
    image : Path, optional
        Where the image was read from: its patient is compared where both are DICOM, and a MONAI Label folder
        is looked through for its masks.
    resample : bool
        Whether masks on another grid are resampled onto the image's, by nearest neighbour.

    Raises
    ------
    OtherGridError
        When the voxels of the masks are not those of the image, and `resample` is False.
    UnreadableFileError
        When the file is damaged or of another kind, holds no mask, or belongs to another patient, frame of
        reference or examination.
    """
    path, case = Path(path), None
    if not path.exists():
        raise UnreadableFileError(path, "there is no such file or folder", "Check the path.")
    if path.is_dir():
        path, case = _inside(path, image)
    notes = _check_owner(path, grid, image)
    form = _form_of(path)
    if form == "picture":
        volume, notes = read_stack(path, grid, anatomy), (*notes, UNPLACED)
    else:
        volume = read_unplaced(path, grid, anatomy)
    if case is not None:
        volume = name_monai_masks(volume, case, anatomy)
    resampled = False
    try:
        placed = volume.place(grid)
    except ValueError as error:
        if not resample:
            raise OtherGridError(path, describe_difference(volume.geometry, grid), str(error)) from error
        placed, resampled = resample_masks(volume, grid), True
        notes += (RESAMPLED,)
    placed = replace(placed, notes=(*volume.notes, *notes))
    if not any(placed.voxels(segment) for segment in placed.segments):
        raise UnreadableFileError(path, "there is no mask in it on this image", "Choose another file.")
    source = Imported(hash_file(path), form, MANUAL, resampled=resampled)
    return Incoming(placed, source)


def read_stack(path: Path, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read a TIFF or PNG label map, which holds no geometry, as one on the grid of the image.

    Raises
    ------
    UnreadableFileError
        When it has other planes, rows or columns than the image, or its values are no label values.
    """
    with limits.refusal(path, "it is no readable picture"):
        array = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    array = array[None] if array.ndim == 2 else array
    if array.shape != grid.shape:
        sizes = [" x ".join(map(str, shape[::-1])) for shape in (array.shape[:3], grid.shape)]
        cause = f"it has {sizes[0]} pixels, the image {sizes[1]}, and it holds no place in millimetres"
        raise UnreadableFileError(path, cause, "Choose a label map of this image.")
    if array.dtype.kind not in "ui" or array.min() < 0 or array.max() > MAX_VALUE:
        cause = f"its pixels are no label values (whole numbers from 0 to {MAX_VALUE})"
        raise UnreadableFileError(path, cause, "Choose the label map, not the image.")
    named = {segment.value: segment for segment in _names_beside(path, anatomy)}
    values = [int(value) for value in np.unique(array) if value]
    segments = [named.get(v) or make_segment(v, f"structure {v}", anatomy, MANUAL) for v in values]
    return LabelledVolume.from_labels(grid, array, segments)


def _names_beside(path: Path, anatomy: Anatomy | None) -> list[Segment]:
    """Return what the table beside a picture says, ours ("…_names.csv") or one of a label map."""
    table = path.with_name(path.stem + "_names.csv")
    if not table.exists():
        return read_names(path, anatomy)
    with limits.refusal(table, "it does not say what the label values are"):
        return [
            make_segment(int(r["value"]), r["name"], anatomy, coding.read_origin(r.get("origin")))
            for r in tables.read_table(table)
        ]


def _inside(folder: Path, image: Path | None) -> tuple[Path, MonaiCase | None]:
    """Return the file with masks in a folder: the image's in a MONAI Label folder, else the only one."""
    if (folder / "labels").is_dir():
        cases = read_monai(folder)
        own = [c for c in cases if image is not None and _stem(c.image) == _stem(image)]
        if len(own or cases) == 1:
            (case,) = own or cases
            return case.labels, case
        cause = f"it has masks of {len(cases)} images, and none bears the name of the one that is open"
        raise UnreadableFileError(folder, cause, "Open one of the images of this folder first.")
    found = [p for p in sorted(folder.iterdir()) if p.is_file() and _kind(p) in _MASK_KINDS]
    if len(found) != 1:
        cause = f"it holds {len(found) or 'no'} files with masks"
        raise UnreadableFileError(folder, cause, "Choose one file with masks.")
    return found[0], None


def _stem(path: Path) -> str:
    return path.name.split(".")[0].casefold()


def _kind(path: Path) -> str:
    """Return the modality of a DICOM file, "" for any other file."""
    if not (path.name.lower().endswith(DICOM_SUFFIXES) or looks_like_dicom(path)):
        return ""
    return str(read_header(path).get("Modality") or "")


def _form_of(path: Path) -> str:
    kind, name = _kind(path), path.name.lower()
    if kind:
        return "rtstruct" if kind == "RTSTRUCT" else "dicom-seg"
    if name.endswith(SEG_NRRD):
        return "seg-nrrd"
    return next((form for form, endings in _ENDINGS.items() if name.endswith(endings)), "picture")


def _check_owner(path: Path, grid: Geometry, image: Path | None) -> tuple[str, ...]:
    """Refuse masks of another patient or examination, where both are DICOM; return what is to be said."""
    if not grid.study_uid or _kind(path) not in _MASK_KINDS:
        return ()
    patient, other = (read_patient(p) if p is not None else "" for p in (image, path))
    if patient and other and patient != other:
        cause = "its masks are of another patient than the image"
        raise UnreadableFileError(path, cause, "Choose the masks of this patient.")
    header = read_header(path)
    study = str(header.get("StudyInstanceUID") or "")
    if study and study != grid.study_uid:
        cause = "its masks are of another examination than the image"
        raise UnreadableFileError(path, cause, "Open the examination that they were drawn on.")
    series = {
        str(item.get("SeriesInstanceUID") or "") for item in header.get("ReferencedSeriesSequence") or ()
    }
    return (OTHER_SERIES,) if series - {""} and grid.series_uid not in series else ()


def describe_difference(masks: Geometry, image: Geometry) -> str:
    """Return how two grids differ, in millimetres."""

    def size(grid: Geometry) -> str:
        spacing = " x ".join(f"{n:.2f}" for n in grid.spacing_mm[::-1])
        return f"{' x '.join(map(str, grid.shape[::-1]))} voxels of {spacing} mm"

    middles = [g.index_to_world((np.array(g.shape) - 1) / 2) for g in (masks, image)]
    apart = float(np.linalg.norm(middles[0] - middles[1]))
    return (
        f"the masks have {size(masks)}, the image {size(image)}, and their middles lie {apart:.1f} mm apart"
    )


def resample_masks(volume: LabelledVolume, grid: Geometry) -> LabelledVolume:
    """Return masks on another grid, by nearest neighbour (SimpleITK); outside their own grid is nothing.

    Each voxel of the new grid takes the value at its centre, so that sizes may change by up to a voxel.
    """
    reference = itk_image(np.zeros(grid.shape, np.uint8), grid.affine)
    layers = []
    for layer in volume.layers:
        moved = SimpleITK.Resample(
            itk_image(layer, volume.geometry.affine), reference, SimpleITK.Transform(),
            SimpleITK.sitkNearestNeighbor, 0.0,
        )  # fmt: skip
        layers.append(np.ascontiguousarray(SimpleITK.GetArrayFromImage(moved), np.uint16))
    return LabelledVolume(grid, tuple(layers), volume.segments, volume.notes)
