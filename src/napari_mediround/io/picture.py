"""PNG, JPEG, TIFF and BMP through Pillow: one plane without orientation. Knows no patient.

A picture is turned as its EXIF says. Kinds of TIFF that Pillow does not know (double precision, 64 bits) are
read by tifffile.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.study import Study, make_study
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.volumes.volume import compact

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

PIXEL_GRID = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
"""Affine of a picture: columns run along x, rows along y, one pixel a unit. Already in display order."""

MAX_PIXELS = 2**28
"""Largest picture, pixels."""

# Pillow goes by content and knows dozens more, one of which (EPS) starts a program.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY_MODES = ("1", "L", "I", "I;16", "I;16L", "I;16B", "F", "LA")
_TIFF_SUFFIXES = (".tif", ".tiff")
_BITS, _WHITE, _KIND = 258, 262, 339  # tags of a TIFF: bits of a value, whether 0 is white, kind of a value
_UNSIGNED, _SIGNED = 1, 2
_DAMAGED = "Copy or export the picture again."


def read_picture(path: Path, volume: int | None = None) -> Study:
    """Read a grey or colour picture.

    A palette or four channels become RGB, transparency is dropped; colours that are all grey are read as
    grey. The spacing is unknown (`Geometry.calibrated` is False) and no side is claimed.

    Parameters
    ----------
    path : Path
        A file of `PICTURE_SUFFIXES`.
    volume : int, optional
        0-based page of a TIFF with several pages.

    Returns
    -------
    Study
        One plane: (1, row, column) uint8, uint16, int32 or float32, or (1, row, column, 3) uint8.

    Raises
    ------
    UnreadableFileError
        When the file is damaged or too large, or has several pages and none was chosen.
    """
    notes: tuple[str, ...] = ()
    try:
        # From a handle: what Pillow maps into memory it turns wrongly.
        with open(path, "rb") as file, Image.open(file, formats=_FORMATS) as image:
            page = limits.pick_volume(path, getattr(image, "n_frames", 1), volume, "pages")
            if page:
                image.seek(page)
            _check_pixels(path, image.width, image.height)
            if image.getexif().get(ExifTags.Base.Orientation, 1) in range(2, 9):
                notes = ("the picture was turned as its EXIF says",)
            pixels = _to_array(path, image)
    except UnidentifiedImageError as error:
        if not path.name.lower().endswith(_TIFF_SUFFIXES):
            raise UnreadableFileError(path, "it is no readable picture", _DAMAGED) from error
        with limits.refusal(path, "it is no TIFF of a kind that is read here, or it is cut short"):
            pixels = _read_tiff(path, volume)
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "it is no readable picture, or it is cut short", _DAMAGED) from error
    if pixels.ndim == 2:
        pixels, more = limits.replace_non_finite(path, pixels)
        notes += more
    geometry = Geometry((1, *pixels.shape[:2]), PIXEL_GRID, oriented=False, calibrated=False, has_depth=False)
    return make_study(pixels[None], geometry, notes=notes)


def _check_pixels(path: Path, width: int, height: int) -> None:
    limits.check_size(path, width * height, 4)
    if width * height > MAX_PIXELS:
        raise UnreadableFileError(path, f"it has {width}x{height} pixels", "Crop it first.")


def _to_array(path: Path, image: Image.Image) -> NDArray:
    tags = getattr(image, "tag_v2", {})
    turned = ImageOps.exif_transpose(image)
    if image.mode in _GREY_MODES:
        pixels = np.array(turned.getchannel(0) if image.mode == "LA" else turned)
        if pixels.dtype == bool:
            return pixels.astype(np.uint8) * 255
        return _as_stored(path, pixels.astype(_native(pixels)), tags)
    if image.mode not in ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"):
        raise UnreadableFileError(path, f"its colour mode {image.mode} is not known here", "Save it as RGB.")
    pixels = np.array(turned.convert("RGB"))
    same = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    return pixels[..., 0].copy() if same else pixels


def _as_stored(path: Path, pixels: NDArray, tags: Mapping) -> NDArray:
    """Return the grey values that a TIFF means, where Pillow takes them for others."""
    bits, kind = (tags.get(tag, (default,))[0] for tag, default in ((_BITS, 8), (_KIND, _UNSIGNED)))
    if bits == 8 and kind == _SIGNED:
        pixels = pixels.view(np.int8).astype(np.int16)
    if bits == 32 and kind == _UNSIGNED and pixels.dtype == np.int32:
        pixels = compact(pixels.view(np.uint32))
    if tags.get(_WHITE) == 0 and bits > 8:
        if bits != 16 or pixels.dtype != np.uint16:
            cause = f"its {bits}-bit values count from white, which is not read here"
            raise UnreadableFileError(path, cause, "Save it with black as zero.")
        pixels = np.uint16(2**16 - 1) - pixels
    return pixels


def _read_tiff(path: Path, volume: int | None) -> NDArray:
    """Read grey values of a kind that Pillow does not know."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[limits.pick_volume(path, len(file.pages), volume, "pages")]
        if page.dtype is None or page.dtype.kind not in "iuf" or len(page.shape) != 2:
            raise UnreadableFileError(
                path, f"its pixels are of the kind {page.dtype}", "Save it as 16-bit grey."
            )
        _check_pixels(path, page.shape[1], page.shape[0])
        pixels = page.asarray()
        if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and page.dtype.kind == "u":
            pixels = np.iinfo(page.dtype).max - pixels
        elif page.photometric != tifffile.PHOTOMETRIC.MINISBLACK:
            cause = "its values count from white or are colours"
            raise UnreadableFileError(path, f"{cause}, and are {page.dtype}", "Save it as 16-bit grey.")
        orientation = page.tags.valueof("Orientation", default=1)
        if orientation != 1:
            raise UnreadableFileError(path, "it is to be turned when shown", "Save it turned.")
    return compact(pixels)


def _native(pixels: NDArray) -> np.dtype:
    return pixels.dtype.newbyteorder("=")
