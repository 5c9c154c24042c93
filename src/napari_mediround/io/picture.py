"""PNG, JPEG, TIFF and BMP through Pillow: one plane without orientation. Knows no patient."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.study import Study, make_study
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")

PIXEL_GRID = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]], float)
"""Affine of a picture: columns run along x, rows along y, one pixel a unit. Already in display order."""

MAX_PIXELS = 2**28
"""Largest picture, pixels."""

# Pillow goes by content and knows dozens more, one of which (EPS) starts a program.
_FORMATS = ("PNG", "JPEG", "TIFF", "BMP")
_GREY_MODES = ("1", "L", "I", "I;16", "I;16L", "I;16B", "F", "LA")
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
    try:
        with Image.open(path, formats=_FORMATS) as image:
            page = limits.pick_volume(path, getattr(image, "n_frames", 1), volume, "pages")
            if page:
                image.seek(page)
            limits.check_size(path, image.width * image.height, 4)
            if image.width * image.height > MAX_PIXELS:
                raise UnreadableFileError(
                    path, f"it has {image.width}x{image.height} pixels", "Crop it first."
                )
            pixels = _to_array(path, image)
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "it is no readable picture, or it is cut short", _DAMAGED) from error
    notes: tuple[str, ...] = ()
    if pixels.ndim == 2:
        pixels, notes = limits.replace_non_finite(path, pixels)
    geometry = Geometry((1, *pixels.shape[:2]), PIXEL_GRID, oriented=False, calibrated=False, has_depth=False)
    return make_study(pixels[None], geometry, notes=notes)


def _to_array(path: Path, image: Image.Image) -> NDArray:
    if image.mode in _GREY_MODES:
        pixels = np.array(image.getchannel(0) if image.mode == "LA" else image)
        return pixels.astype(np.uint8) * 255 if pixels.dtype == bool else pixels.astype(_native(pixels))
    if image.mode not in ("P", "PA", "RGB", "RGBA", "RGBX", "RGBa", "CMYK", "YCbCr"):
        raise UnreadableFileError(path, f"its colour mode {image.mode} is not known here", "Save it as RGB.")
    pixels = np.array(image.convert("RGB"))
    same = np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 1], pixels[..., 2])
    return pixels[..., 0].copy() if same else pixels


def _native(pixels: NDArray) -> np.dtype:
    return pixels.dtype.newbyteorder("=")
