"""What every reader refuses before it allocates, and the failures of foreign readers. Knows no format."""

from __future__ import annotations

import logging
import math
import os
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from nibabel.filebasedimages import ImageFileError
from nibabel.freesurfer.mghformat import MGHError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from numpy.typing import NDArray
from PIL import Image
from pydicom.errors import BytesLengthException, InvalidDicomError

from napari_mediround.domain.geometry import Geometry
from napari_mediround.errors import UnreadableFileError, VolumeChoiceError

try:
    import resource
except ImportError:  # Windows has none
    resource = None

MAX_BYTES = 8 * 2**30
"""Voxels of one study, in bytes, above which a file is refused."""

MAX_EXTENT_MM = 1e4
"""Longest side of a volume of known spacing: no patient, scanner or table is ten metres long."""

LEAST_VOXEL_MM, MOST_VOXEL_MM = 0.02, 50.0
"""Voxels whose every side is shorter than the first, or longer than the second, are seldom in millimetres."""

MAX_SHEAR_DEGREES = 0.3
"""Below this, a shear is rounding in the header: it moves the far end of a 200 mm stack by one millimetre."""

DEFLATE_RATIO = 1032
"""A deflate stream never grows to more than this many times its size (zlib's documentation)."""

LARGE_BYTES, LARGE_RATIO = 256 * 2**20, 1000
"""What unpacks to more bytes than the first grows at most this much: beyond are bombs, all one value."""

# fmt: off
FOREIGN_FAILURES = (
    OSError, EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, MemoryError, RuntimeError,
    ArithmeticError, SyntaxError, struct.error, zlib.error,
    BytesLengthException, InvalidDicomError,
    HeaderDataError, HeaderTypeError, ImageFileError, MGHError,
    Image.DecompressionBombError,
)
# fmt: on
"""What numpy, nibabel, pydicom, Pillow and SimpleITK were seen to raise on damaged files."""


@contextmanager
def refusal(path: Path, cause: str) -> Iterator[None]:
    """Turn what foreign readers raise on damaged files into one `UnreadableFileError`; ours pass through."""
    try:
        yield
    except FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, cause, "Copy or export the file again.") from error


# Loggers of the libraries that read here. A filter holds for its own logger only, hence each by name.
_LOGGERS = tuple(
    logging.getLogger(name)
    for name in (
        "pydicom",
        "pydicom.pixels.decoders.base",
        "pydicom.pixels.utils",
        "nibabel.global",
        "pylibjpeg",
        "PIL.ImageFile",
        "PIL.PngImagePlugin",
        "PIL.TiffImagePlugin",
        "tifffile",
    )
)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence warnings and logs of foreign readers on this thread: they quote odd values, perhaps a name."""
    here = threading.get_ident()

    def is_elsewhere(record: logging.LogRecord) -> bool:
        return record.thread != here

    for logger in _LOGGERS:
        logger.addFilter(is_elsewhere)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger in _LOGGERS:
            logger.removeFilter(is_elsewhere)


def check_size(path: Path, values: int, itemsize: int, stored: int | None = None, ratio: float = 1.0) -> None:
    """Refuse a header that promises more than may be allocated or than the file can hold.

    Parameters
    ----------
    path : Path
        For the message.
    values : int
        Number of values the header promises.
    itemsize : int
        Bytes of one value.
    stored : int, optional
        Bytes of pixel data in the file.
    ratio : float
        How many times their stored size the values may be (compression).

    Raises
    ------
    UnreadableFileError
        When either limit is passed.
    """
    needed = values * itemsize
    if values < 1:
        raise UnreadableFileError(path, "it holds no voxels", "Export the image again.")
    if stored is not None:
        check_stored(path, needed, stored, ratio)
    allowed = min(MAX_BYTES, memory_bytes() // 2)
    if needed > allowed:
        raise UnreadableFileError(
            path,
            f"its voxels take {needed / 2**30:.1f} GiB, more than the {allowed / 2**30:.1f} GiB allowed here",
            "Crop or resample it first.",
        )


def check_stored(path: Path, needed: int, stored: int, ratio: float = 1.0) -> None:
    """Refuse a header that promises more bytes of voxels than the file can hold.

    Raises
    ------
    UnreadableFileError
        When `stored` bytes, `ratio` times that when unpacked, are fewer than `needed`.
    """
    if needed > LARGE_BYTES:
        ratio = min(ratio, LARGE_RATIO)
    if needed > max(stored, 0) * ratio:
        there = f"of {needed:,} bytes of voxels promised, {max(stored, 0):,} are there"
        cause = f"it is cut short or damaged: {there}"
        raise UnreadableFileError(path, cause, "Copy or export the file again.")


def memory_bytes() -> int:
    """Return the memory that this process may ever hold: the machine's, or less where a limit is set."""
    held = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")] if hasattr(os, "sysconf") else []
    if resource is not None:
        soft, _ = resource.getrlimit(resource.RLIMIT_AS)
        held += [soft] if soft != resource.RLIM_INFINITY else []
    return min(held, default=2 * MAX_BYTES)


def replace_non_finite(path: Path, pixels: NDArray) -> tuple[NDArray, tuple[str, ...]]:
    """Replace NaN and −∞ by the smallest and +∞ by the largest finite value.

    Returns
    -------
    pixels : ndarray
        The same array when every value is finite.
    notes : tuple of str
        How many were replaced.

    Raises
    ------
    UnreadableFileError
        When no value is finite.
    """
    if pixels.dtype.kind != "f":
        return pixels, ()
    finite = np.isfinite(pixels)
    bad = int(finite.size - np.count_nonzero(finite))
    if not bad:
        return pixels, ()
    if bad == finite.size:
        raise UnreadableFileError(path, "not one of its voxels is a finite number", "Export the image again.")
    low, high = pixels[finite].min(), pixels[finite].max()
    return np.nan_to_num(pixels, nan=low, posinf=high, neginf=low), (f"{bad} voxels were not finite numbers",)


def pick_volume(path: Path, count: int, volume: int | None, what: str = "volumes") -> int:
    """Return which of `count` volumes of a 4-D file to read.

    Raises
    ------
    VolumeChoiceError
        When there are several and none was chosen.
    UnreadableFileError
        When the chosen one is not there.
    """
    if volume is None and count == 1:
        return 0
    choice = f"volume=0{'' if count == 1 else f'…{count - 1}'} (on the command line: --volume)"
    if volume is None:
        cause = f"it holds {count} {what} on one grid (4-D)"
        raise VolumeChoiceError(path, cause, f"Choose one with {choice}.", count)
    if not 0 <= volume < count:
        raise UnreadableFileError(path, f"it has no volume {volume}", f"Choose one with {choice}.")
    return int(volume)


def product(shape) -> int:
    """Return the number of values of a shape as a Python int, which does not overflow."""
    return math.prod(int(n) for n in shape)


def doubt_unit(geometry: Geometry) -> tuple[str, ...]:
    """Return a note where a voxel has the size of one in another unit than the millimetre."""
    if not geometry.calibrated:
        return ()
    spacing = geometry.spacing_mm
    unit = (
        "metres" if max(spacing) < LEAST_VOXEL_MM else "micrometres" if min(spacing) > MOST_VOXEL_MM else ""
    )
    sizes = "x".join(f"{n:.3g}" for n in spacing)
    return (f"a voxel measures {sizes} mm: the file's numbers may be {unit}",) if unit else ()


def make_geometry(path: Path, shape: tuple[int, ...], affine: NDArray, *rest, **more) -> Geometry:
    """Return a geometry that can be a patient's.

    Parameters
    ----------
    path : Path
        For the message.
    shape, affine, *rest, **more
        As for `Geometry`.

    Raises
    ------
    UnreadableFileError
        When the affine is not invertible, a voxel is smaller than 10 nm or larger than a metre, the volume
        is longer than 10 m or lies more than 100 m from the origin: signs of a damaged header.
    """
    try:
        geometry = Geometry(tuple(shape), affine, *rest, **more)
    except ValueError as error:
        cause = f"its geometry cannot be used ({error})"
        raise UnreadableFileError(path, cause, "Copy or export the file again.") from error
    spacing, origin = geometry.spacing_mm, np.abs(geometry.affine[:3, 3]).max()
    extent = max(np.multiply(spacing, geometry.shape)) if geometry.calibrated else 0.0
    if not (min(spacing) >= 1e-5 and max(spacing) <= 1e3 and origin <= 1e5 and extent <= MAX_EXTENT_MM):
        sizes = "x".join(f"{n:.3g}" for n in spacing)
        cause = (
            f"its geometry cannot be a patient's ({'x'.join(map(str, geometry.shape))} voxels of {sizes} mm)"
        )
        raise UnreadableFileError(path, cause, "Copy or export the file again.")
    return geometry
