"""Headers of NIfTI files, read and doubted before nibabel looks for voxels. Knows no DICOM and no viewer.

Extensions are never looked at: nibabel would parse those of its kinds, with DICOM and XML readers.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Iterable
from dataclasses import replace
from itertools import product
from pathlib import Path

import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Header
from numpy.typing import NDArray

from napari_mediround.domain.geometry import Forms
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits

MAX_OFFSET = 64 * 2**20
"""Farthest place of the first voxel in a file, bytes: extensions are text, not volumes."""

_KINDS = {348: (nibabel.Nifti1Header, b"n+1\0", 344), 540: (nibabel.Nifti2Header, b"n+2\0", 4)}
_LONGEST = 540
_TO_MM = {1: 1000.0, 3: 0.001}
"""Units of length other than mm: metres and micrometres (NIfTI-1, field xyzt_units)."""

_PART = 2**20
_TRAILER = 2**20
FORMS = ("sform", "qform")
"""What `form_affine` knows."""

GZIP = b"\x1f\x8b"
"""How a file packed by gzip begins."""

_LENGTH, _MILLIMETRE = 7, 2  # the bits of xyzt_units that name a length, and the millimetre
_HALF_A_VOXEL = 0.5
_FLOAT64 = 8  # nibabel scales in float64
_DAMAGED = "Copy or export the file again."


def read_header(path: Path) -> Nifti1Header:
    """Return the header of a NIfTI-1 or NIfTI-2 file whose numbers can be those of an image.

    Raises
    ------
    UnreadableFileError
        When the file is no NIfTI file, or a size, the place of the voxels or a spacing cannot be.
    """
    block = read_start(path, _LONGEST)
    if block[:2] == GZIP:
        raise UnreadableFileError(path, "it is packed by gzip twice", "Unpack it once.")
    kind, magic, at = _KINDS.get(_declared_size(block), (None, b"", 0))
    if block[at : at + 4] in (b"ni1\0", b"ni2\0"):
        cause = "it is a header whose voxels are in another file (.img)"
        raise UnreadableFileError(path, cause, "Save both as one .nii file.")
    if kind is None or block[at : at + 4] != magic:
        raise UnreadableFileError(path, "it is no readable NIfTI file", _DAMAGED)
    try:
        block = block[: kind.template_dtype.itemsize]
        stored, header = kind(block, check=False), kind(block)
        shape, offset = header.get_data_shape(), float(header["vox_offset"])
        header.get_data_dtype(), header.get_slope_inter()
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "it is no readable NIfTI file", _DAMAGED) from error
    if len(shape) < 2 or min(shape) < 1:
        raise UnreadableFileError(path, f"its header gives it the size {shape}", _DAMAGED)
    if not kind.template_dtype.itemsize <= offset <= MAX_OFFSET:
        raise UnreadableFileError(path, "its header puts the voxels where none can be", _DAMAGED)
    steps = np.abs(stored["pixdim"][1:4].astype(float))[: len(shape)]
    if not header["sform_code"] > 0 and not (np.isfinite(steps).all() and steps.all()):
        raise UnreadableFileError(path, "its header gives its voxels no size", _DAMAGED)
    return header


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a file, unpacked where its name ends in "gz"."""
    try:
        with gzip.open(path) if is_packed(path) else open(path, "rb") as file:
            return file.read(size)
    except gzip.BadGzipFile as error:
        remedy = "Copy it again, or take the ending gz from its name."
        raise UnreadableFileError(path, "it is called gz and is not packed by gzip", remedy) from error
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "it is cut short or damaged", _DAMAGED) from error


def is_packed(path: Path) -> bool:
    """Return whether a file's name says that it is packed by gzip."""
    return path.name.lower().endswith("gz")


def _declared_size(block: bytes) -> int:
    """Return the header's own size in either byte order, 0 when there is none."""
    sizes = [struct.unpack(order, block[:4])[0] for order in ("<i", ">i")] if len(block) >= 4 else []
    return next((size for size in sizes if size in _KINDS and len(block) >= size), 0)


def check_promise(path: Path, shape: tuple[int, ...], itemsize: int, offset: int) -> int:
    """Refuse, before any voxel is read, a header that promises more than the file holds.

    Returns
    -------
    int
        Bytes behind the last voxel; counting ends after a mebibyte.
    """
    promised, size = limits.product(shape) * itemsize, path.stat().st_size
    if is_packed(path):
        limits.check_stored(path, promised, size, limits.DEFLATE_RATIO)
    else:
        limits.check_stored(path, promised, size - offset)
    limits.check_size(path, limits.product(shape[:3]), _FLOAT64)
    stored = (_unpacked_size(path, offset + promised + _TRAILER) if is_packed(path) else size) - offset
    limits.check_stored(path, promised, stored)
    return stored - promised


def _unpacked_size(path: Path, enough: int) -> int:
    """Return the bytes inside a gzip file up to about `enough`; the checksum is looked at on the way."""
    total = 0
    try:
        with gzip.open(path) as file:
            while total < enough and (part := file.read(_PART)):
                total += len(part)
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "it is cut short or damaged", _DAMAGED) from error
    return total


def read_affine(path: Path, header: Nifti1Header) -> tuple[NDArray[np.float64], bool]:
    """Return where a header puts its voxels, (i, j, k) to RAS mm, and whether it says where left is.

    The sform counts, then the qform. Metres and micrometres become millimetres.

    Raises
    ------
    UnreadableFileError
        When both are there and contradict each other about the directions of the axes or the size of a
        voxel, or the sform contradicts the stored spacing.
    """
    try:
        affine = np.array(header.get_best_affine(), float)
        affine[:3] *= _TO_MM.get(int(header["xyzt_units"]) & _LENGTH, 1.0)
        qform, qform_code = header.get_qform(coded=True) if header["qform_code"] > 0 else (None, 0)
    except limits.FOREIGN_FAILURES as error:
        if not header["sform_code"] > 0:
            raise UnreadableFileError(path, "its qform is damaged", _DAMAGED) from error
        return affine, True
    if not header["sform_code"] > 0:
        return affine, bool(qform_code)
    sform = header.get_sform()
    usable = np.isfinite(sform).all() and np.linalg.det(sform[:3, :3])
    if usable and (said := _contradiction(sform, header["pixdim"][1:4].astype(float), qform)):
        remedy = "Find out which is right and correct the other (nibabel: image.set_qform(None, 0))."
        raise UnreadableFileError(path, f"its sform and {said}", remedy)
    return affine, True


def read_forms(path: Path, shape: tuple[int, ...]) -> Forms:
    """Return both forms of a header as they stand in the file; `shape` (i, j, k) is where they may differ."""
    block = read_start(path, _LONGEST)
    kind = _KINDS[_declared_size(block)][0]
    raw = kind(block[: kind.template_dtype.itemsize], check=False)
    qfac, *size = _single(raw["pixdim"][:4])
    forms = Forms(
        int(raw["sform_code"]),
        int(raw["qform_code"]),
        _single(n for name in ("srow_x", "srow_y", "srow_z") for n in raw[name]),
        _single(raw[f"quatern_{axis}"] for axis in "bcd"),
        _single(raw[f"qoffset_{axis}"] for axis in "xyz"),
        (-1.0 if qfac < 0 else 1.0, *size),  # readers take 0 for 1
        int(raw["xyzt_units"]) & _LENGTH or _MILLIMETRE,
    )
    if min(forms.sform_code, forms.qform_code) <= 0:
        return forms
    try:
        return replace(forms, differ=_differ(*(form_affine(forms, name) for name in FORMS), shape))
    except limits.FOREIGN_FAILURES:  # a damaged qform, which some programs go by all the same
        return replace(forms, differ=True)


def _single(values: Iterable[float]) -> tuple[float, ...]:
    """Return numbers in the single precision that label volumes are written in; 0 for what is none."""
    return tuple(float(n) for n in np.nan_to_num(np.array(list(values), np.float32)))


def form_affine(forms: Forms, name: str) -> NDArray[np.float64]:
    """Return the affine of the "sform" or the "qform", (i, j, k) to RAS mm."""
    header = nibabel.Nifti2Header()  # double precision: nothing is rounded on the way
    write_forms(header, forms)
    header["pixdim"] = np.r_[header["pixdim"][0], np.abs(header["pixdim"][1:])]
    affine = np.array(header.get_sform() if name == "sform" else header.get_qform(), float)
    affine[:3] *= _TO_MM.get(forms.unit, 1.0)
    return affine


def write_forms(header: Nifti1Header, forms: Forms) -> None:
    """Put both forms, their codes and the unit of length into a header, as the source has them."""
    header["sform_code"], header["qform_code"] = forms.sform_code, forms.qform_code
    for row, name in enumerate(("srow_x", "srow_y", "srow_z")):
        header[name] = forms.srow[4 * row : 4 * row + 4]
    for axis, number in zip("bcd", forms.quatern, strict=True):
        header[f"quatern_{axis}"] = number
    for axis, number in zip("xyz", forms.qoffset, strict=True):
        header[f"qoffset_{axis}"] = number
    header["pixdim"][:4] = forms.pixdim
    header["xyzt_units"] = forms.unit


def _differ(sform: NDArray, qform: NDArray, shape: tuple[int, ...]) -> bool:
    """Whether a corner of the grid lies more than half a voxel off by one form, seen from the other."""
    corners = np.array([(*corner, 1) for corner in product(*((0, n - 1) for n in shape))], float)
    off = corners @ (np.linalg.inv(sform) @ qform).T - corners
    return bool((np.linalg.norm(off, axis=1) > _HALF_A_VOXEL).any())


def _contradiction(sform: NDArray, steps: NDArray, qform: NDArray | None) -> str:
    """Return what a header contradicts itself about: directions, or spacing by more than 2 %; else ""."""
    name, size = "qform", nibabel.affines.voxel_sizes(sform)
    if qform is None:
        name = "pixdim"
    else:
        axes = ["".join(nibabel.aff2axcodes(affine)) for affine in (sform, qform)]
        if axes[0] != axes[1]:
            return f"qform contradict each other about which way the axes run ({axes[0]} and {axes[1]})"
        steps = nibabel.affines.voxel_sizes(qform)
    if np.isfinite(steps).all() and steps.all() and not np.allclose(size, np.abs(steps), rtol=0.02):
        sizes = "{} and {} mm".format(*(s.round(3).tolist() for s in (size, steps)))
        return f"{name} contradict each other about the size of a voxel ({sizes})"
    return ""
