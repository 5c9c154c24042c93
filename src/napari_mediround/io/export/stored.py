"""The stored values of a DICOM image written anew: unpacked, cut to size, and no bit that is not theirs.

So nothing hides in comments of compressed frames, behind the last frame or above the highest bit.

References
----------
DICOM PS3.5 8.1.1 (bits of a pixel; those left over once held overlays), 8.2 (pixels without compression).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import iter_pixels
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from napari_mediround.io.dicom.decoder_process import Apart
from napari_mediround.io.dicom.packed import choose_decoder

_FLOATS = {"FloatPixelData": np.float32, "DoubleFloatPixelData": np.float64}


def write_anew(path: Path, dataset: Dataset) -> bool:
    """Put the values of a data set's pixels into it again, unpacked; return whether it held more than those.

    Parameters
    ----------
    path : Path
        Of the file.
    dataset : Dataset
        Its elements about pixels, and its transfer syntax, are set to fit.

    Raises
    ------
    UnreadableFileError
        When there is no decoder for them.
    ValueError
        When they are damaged, or do not fit the header.
    """
    if not getattr(dataset, "file_meta", None):
        dataset.file_meta = FileMetaDataset()
    syntax = dataset.file_meta.setdefault("TransferSyntaxUID", ImplicitVRLittleEndian)
    syntax = dataset.file_meta.TransferSyntaxUID
    plugin, count = choose_decoder(path, syntax, dataset), int(dataset.get("NumberOfFrames") or 1)
    with Apart() as apart:
        numbers = list(range(count))
        found = (
            apart.frames(path, syntax, plugin, numbers)
            if plugin == "gdcm"
            else iter_pixels(dataset, indices=numbers, decoding_plugin=plugin)
        )
        pixels = np.stack([frame.astype(frame.dtype.newbyteorder("=")) for frame in found])
    _check_size(dataset, pixels, count)
    keyword = next((word for word in ("PixelData", *_FLOATS) if word in dataset), "PixelData")
    longest = len(dataset[keyword].value)
    values, data = _to_bytes(dataset, pixels)
    setattr(dataset, keyword, data + bytes(len(data) % 2))
    if keyword == "PixelData":
        dataset[keyword].VR = "OW" if int(dataset.BitsAllocated) > 8 else "OB"
    dataset[keyword].is_undefined_length = False
    if str(dataset.PhotometricInterpretation).startswith("YBR"):
        dataset.PhotometricInterpretation = "RGB"
    if pixels.ndim > 3:
        dataset.PlanarConfiguration = 0
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    more = not syntax.is_encapsulated and longest > len(data) + len(data) % 2
    return more or not np.array_equal(values, pixels)


def _check_size(dataset: Dataset, pixels: NDArray, count: int) -> None:
    samples = int(dataset.get("SamplesPerPixel") or 1)
    size = (count, int(dataset.Rows), int(dataset.Columns), *([samples] if samples > 1 else []))
    if pixels.shape != size:
        raise ValueError(f"pixels of {pixels.shape} where the header says {size}")


def _to_bytes(dataset: Dataset, pixels: NDArray) -> tuple[NDArray, bytes]:
    """Return the values that are the image's, and their bytes."""
    allocated = int(dataset.BitsAllocated)
    if allocated == 1:
        return pixels, np.packbits(pixels.ravel().astype(bool), bitorder="little").tobytes()
    if pixels.dtype.kind != "f":
        kind = f"{pixels.dtype.kind}{allocated // 8}"
        pixels = own_bits(pixels.astype(kind), int(dataset.BitsStored), int(dataset.HighBit), allocated)
    return pixels, np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes()


def own_bits(pixels: NDArray, stored: int, high: int, allocated: int) -> NDArray:
    """Return stored values whose other bits are cleared, or, above the sign of a signed value, its sign.

    Parameters
    ----------
    pixels : ndarray
        Integers of `allocated` bits.
    stored, high, allocated : int
        BitsStored, HighBit and BitsAllocated of the image.

    Raises
    ------
    ValueError
        When these do not fit together.
    """
    low = high + 1 - stored
    if not (low >= 0 and stored >= 1 and high < allocated == 8 * pixels.dtype.itemsize):
        raise ValueError("the bits of its pixels do not fit together")
    if pixels.dtype.kind == "i" and low == 0:
        spare = allocated - stored
        return (pixels << spare) >> spare
    mask = np.array(((1 << stored) - 1) << low, f"u{pixels.dtype.itemsize}").astype(pixels.dtype)
    return pixels & mask
