"""NIfTI and MGH through nibabel, NRRD and MetaImage through SimpleITK. Knows no DICOM and no viewer.

Decisions, where the formats leave room:

- NIfTI: the sform counts, then the qform (nibabel's and FSL's rule); where they, or the sform and the stored
  spacing, disagree about the directions of the axes or the size of a voxel, the file is refused. With
  neither, the spacing is read and no left or right is claimed.
- NRRD and MetaImage: the same where the header has no directions, or those of no anatomical space.
- A grid sheared by 0.3° or more is refused; so is an affine that is not finite and invertible.
- NaN and infinite voxels are replaced by the finite extremes, with a note.
- A file that does not name its modality is judged by its values (`domain.hounsfield`), with a note.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.hounsfield import judge_modality
from napari_mediround.domain.study import Study, make_study
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.dicom.codes import read_modality
from napari_mediround.io.volumes import itk_header, nifti_header

MGH_SUFFIXES = (".mgz", ".mgh")
NIBABEL_SUFFIXES = (".nii", ".nii.gz", *MGH_SUFFIXES)
NRRD_SUFFIXES = (".nrrd", ".nhdr")
ITK_SUFFIXES = (*NRRD_SUFFIXES, ".mha", ".mhd")

# RAS mm of (i, j, k) from/to LPS mm of (plane, row, column) = (k, j, i).
RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
REVERSE_AXES = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)

TWO_PLACES = (
    "the file places its voxels twice, and its sform and qform differ: the sform counts here. Labels saved "
    "as NIfTI carry both; other formats hold one place, the sform's, and a program that goes by the qform "
    "(3D Slicer, ITK-SNAP) shows them beside the image"
)
"""Note of a NIfTI file whose forms differ by more than half a voxel."""

_MGH_HEADER = 284
_DAMAGED = "Copy or export the file again."
_SHEARED = "Resample it onto a straight grid first (for instance with SimpleITK or 3D Slicer)."


def ras_to_lps(affine: NDArray) -> NDArray[np.float64]:
    """Turn nibabel's affine, (i, j, k) to RAS mm, into ours, (plane, row, column) = (k, j, i) to LPS mm.

    Only signs and columns change, so the way back (`lps_to_ras`) is exact.
    """
    return RAS_TO_LPS @ np.asarray(affine, float) @ REVERSE_AXES


lps_to_ras = ras_to_lps


def read_nifti(path: Path, volume: int | None = None, slice_axis: str | int | None = None) -> Study:
    """Read a NIfTI-1, NIfTI-2 or MGH file.

    Parameters
    ----------
    path : Path
        `.nii`, `.nii.gz`, `.mgz` or `.mgh`.
    volume : int, optional
        0-based volume of a 4-D file.
    slice_axis : {None, "axial", "coronal", "sagittal"}
        As in `display_order`.

    Returns
    -------
    Study
        Modality judged by the values.

    Raises
    ------
    UnreadableFileError
        When the file is damaged, 4-D without `volume`, sheared, or its orientation is contradictory.
    """
    forms = None
    if path.name.lower().endswith(MGH_SUFFIXES):
        source, spare = _open_mgh(path), 0
        affine, oriented = np.asarray(source.affine, float), True
    else:
        header = nifti_header.read_header(path)
        affine, oriented = nifti_header.read_affine(path, header)
        shape, offset = header.get_data_shape(), header.get_data_offset()
        spare = nifti_header.check_promise(path, shape, header.get_data_dtype().itemsize, offset)
        source = nibabel.arrayproxy.ArrayProxy(str(path), header)
        forms = nifti_header.read_forms(path, (*shape[:3], 1)[:3])
    shape = [int(n) for n in source.shape]
    if len(shape) > 7 or len(shape) < 2:
        raise UnreadableFileError(path, f"it has {len(shape)} axes, an image has two or three", _DAMAGED)
    has_depth = len(shape) > 2
    shape += [1] * (3 - len(shape))
    k = limits.pick_volume(path, limits.product(shape[3:]), volume)
    pixels, notes = _nifti_pixels(path, source, shape, k)
    if not oriented:
        notes += ("the file does not say where left is (no sform or qform): no side is claimed",)
    if spare:
        notes += ("bytes follow the last voxel: the size in the header may be wrong",)
    if forms is not None and forms.differ:
        notes += (TWO_PLACES,)
    geometry = _geometry(path, pixels.shape[:3], ras_to_lps(affine), oriented, has_depth)
    geometry = replace(geometry, forms=forms)
    notes += limits.doubt_unit(geometry)
    return judge_modality(make_study(pixels, geometry, "", slice_axis, notes))


def _open_mgh(path: Path) -> nibabel.MGHImage:
    """Return a FreeSurfer image without its voxels, once its header is no more than the file holds."""
    try:
        header = nibabel.freesurfer.MGHImage.header_class(nifti_header.read_start(path, _MGH_HEADER))
        shape, itemsize = header.get_data_shape(), header.get_data_dtype().itemsize
        if min(shape) < 1:
            raise UnreadableFileError(path, f"its header gives it the size {shape}", _DAMAGED)
        nifti_header.check_promise(path, shape, itemsize, _MGH_HEADER)
        return nibabel.MGHImage.from_filename(path)
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "it is no readable MGH file", _DAMAGED) from error


def _nifti_pixels(path: Path, source, shape: list[int], k: int) -> tuple[NDArray, tuple[str, ...]]:
    """Return volume `k` as (plane, row, column[, 3])."""
    extra = np.unravel_index(k, shape[3:]) if len(shape) > 3 else ()
    try:
        stored = getattr(source, "dataobj", source)
        values = np.asarray(stored[(..., *extra)] if extra else stored)
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "its voxels are cut short or damaged", _DAMAGED) from error
    values = values.reshape(shape[:3])
    if values.dtype.names:
        names = values.dtype.names[:3]
        if len(names) < 3 or any(values.dtype[name] != np.uint8 for name in names):
            raise UnreadableFileError(
                path, f"its voxels are of the kind {values.dtype}", "Export plain grey values."
            )
        return np.stack([values[name].transpose(2, 1, 0) for name in names], axis=-1), ()
    if values.dtype.kind not in "iufb":
        raise UnreadableFileError(
            path, f"its voxels are of the kind {values.dtype}", "Export plain grey values."
        )
    return limits.replace_non_finite(path, compact(values).transpose(2, 1, 0))


def compact(values: NDArray) -> NDArray:
    """Return grey values in a dtype of at most four bytes: float32 for floats, a fitting integer else."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return values.astype(np.float32, copy=False)
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    if values.dtype.itemsize <= 2:
        return values.astype(values.dtype.newbyteorder("="), copy=False)
    for dtype in (np.int16, np.uint16, np.int32):
        if np.iinfo(dtype).min <= values.min() and values.max() <= np.iinfo(dtype).max:
            return values.astype(dtype)
    return values.astype(np.float32)


def read_itk(path: Path, volume: int | None = None, slice_axis: str | int | None = None) -> Study:
    """Read a NRRD or MetaImage file.

    Parameters
    ----------
    path : Path
        `.nrrd`, `.nhdr`, `.mha` or `.mhd`.
    volume : int, optional
        0-based volume of a 4-D file, or component of a file with several values a voxel.
    slice_axis : {None, "axial", "coronal", "sagittal"}
        As in `display_order`.

    Returns
    -------
    Study
        Modality as the file's "modality" key says, else judged by the values.

    Raises
    ------
    UnreadableFileError
        When the file is damaged, 4-D without `volume`, or sheared.
    """
    try:
        voxels = itk_header.find_voxels(path)
        reader = SimpleITK.ImageFileReader()
        reader.SetImageIO("NrrdImageIO" if path.suffix.lower() in NRRD_SUFFIXES else "MetaImageIO")
        reader.SetFileName(str(path))
        reader.ReadImageInformation()
        itemsize = _itk_dtype(path, reader).itemsize
        size, components = reader.GetSize(), reader.GetNumberOfComponents()
        ratio = limits.DEFLATE_RATIO if voxels.packed else 1
        limits.check_size(path, limits.product(size) * components, itemsize, voxels.stored, ratio)
        image = reader.Execute()
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(
            path, "it, or the file of voxels it names, is damaged or cut short", _DAMAGED
        ) from error
    if not 2 <= len(size) <= 4:
        raise UnreadableFileError(path, f"it has {len(size)} axes, an image has two or three", _DAMAGED)
    pixels = SimpleITK.GetArrayFromImage(image)
    rgb = components in (3, 4) and pixels.dtype == np.uint8 and len(size) < 4
    if rgb:
        pixels = pixels[..., :3]
        limits.pick_volume(path, 1, volume)
    else:
        pixels = _itk_volume(path, pixels, len(size), components, volume)
    if len(size) == 2:
        pixels = pixels[None]
    notes: tuple[str, ...] = ()
    if not rgb:
        pixels, notes = limits.replace_non_finite(path, compact(pixels))
    # Two axes alone cannot say how the plane lies in the patient, or how thick it is.
    has_depth = len(size) > 2
    affine, oriented = _itk_affine(image), voxels.oriented and has_depth
    if not oriented:
        why = "no directions of its axes" if has_depth else "one plane"
        notes += (f"the file does not say where left is ({why}): no side is claimed",)
    geometry = _geometry(path, pixels.shape[:3], affine, oriented, has_depth)
    said = read_modality(image.GetMetaData("modality") if image.HasMetaDataKey("modality") else "")
    study = make_study(pixels, geometry, said, slice_axis, notes + limits.doubt_unit(geometry))
    return study if said else judge_modality(study)


def _itk_dtype(path: Path, reader) -> np.dtype:
    name = SimpleITK.GetPixelIDValueAsString(reader.GetPixelID())
    if "complex" in name or "label" in name:
        raise UnreadableFileError(path, f"its voxels are of the kind {name}", "Export plain grey values.")
    bits = next((n for n in (8, 16, 32, 64) if f"{n}-bit" in name), 64)
    return np.dtype(f"u{bits // 8}")


def _itk_volume(path: Path, pixels: NDArray, axes: int, components: int, volume: int | None) -> NDArray:
    """Return one volume of (time, plane, row, column, component), where time and component may be absent."""
    if axes == 4 and components > 1:
        raise UnreadableFileError(path, "it has five axes", "Save one volume of it as a file of its own.")
    if axes == 4:
        return pixels[limits.pick_volume(path, pixels.shape[0], volume)]
    if components > 1:
        return pixels[..., limits.pick_volume(path, components, volume, "values a voxel")]
    limits.pick_volume(path, 1, volume)
    return pixels


def _itk_affine(image) -> NDArray[np.float64]:
    """Return (plane, row, column) to LPS mm of a 2-D, 3-D or 4-D SimpleITK image (fourth: time)."""
    n = min(image.GetDimension(), 3)
    whole = np.array(image.GetDirection()).reshape(image.GetDimension(), -1)
    matrix = np.eye(3)
    matrix[:n, :n] = whole[:n, :n] * np.array(image.GetSpacing()[:n])
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:n, 3] = image.GetOrigin()[:n]
    return affine @ REVERSE_AXES


def _geometry(
    path: Path, shape: tuple[int, ...], affine: NDArray, oriented: bool, has_depth: bool
) -> Geometry:
    geometry = limits.make_geometry(path, shape, affine, oriented, has_depth=has_depth)
    if geometry.shear_degrees >= limits.MAX_SHEAR_DEGREES:
        # Shown as square pixels, a sheared grid has wrong shapes and distances.
        cause = f"its axes do not stand at right angles (sheared by {geometry.shear_degrees:.1f}°)"
        raise UnreadableFileError(path, cause, _SHEARED)
    return geometry
