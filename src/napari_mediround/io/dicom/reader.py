"""DICOM images through pydicom: one file, or one series of a folder. Knows no viewer and no model.

Values are rescaled (HU for CT). MONOCHROME1 is turned so that larger is brighter, but for CT, whose values
are HU either way. Colours become RGB. Images without position and orientation (radiographs, ultrasound,
secondary captures) are read in the order they are stored, and no side is claimed. Siemens mosaics, DICOM
objects without an image and syntaxes without a decoder are refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.pixels import apply_color_lut, iter_pixels
from pydicom.uid import UID, ImplicitVRLittleEndian

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.hounsfield import complete_ct
from napari_mediround.domain.study import Study, make_study
from napari_mediround.errors import SeriesChoiceError, UnreadableFileError, printable
from napari_mediround.io import limits
from napari_mediround.io.dicom import instances
from napari_mediround.io.dicom.codes import read_modality, read_uid
from napari_mediround.io.dicom.decoder_process import Apart
from napari_mediround.io.dicom.frames import Frame, frames_of, stack, thickness_mm
from napari_mediround.io.dicom.packed import choose_decoder
from napari_mediround.io.picture import PIXEL_GRID

_ALONE = "Open one file of it on its own."
_DAMAGED = "Copy or export the file again."
MAX_FRAMES = 100_000
"""Frames of one series above which it is refused."""

_CENTIMETRE = 3
_FEW_SLICES = 2


def read_dicom(
    path: Path, series: str | int | None = None, volume: int | None = None, slice_axis: str | None = None
) -> Study:
    """Read one DICOM file, or one series of a folder.

    Parameters
    ----------
    path : Path
        A file is read alone, even where others of its series lie beside it.
    series : str or int, optional
        SeriesInstanceUID, or 1-based number as in `list_series`.
    volume : int, optional
        0-based, where each position was imaged several times.
    slice_axis : {None, "axial", "coronal", "sagittal"}
        None shows the planes that were acquired.

    Returns
    -------
    Study
        float32 or an integer dtype that holds the rescaled values exactly; uint8 for colours.

    Raises
    ------
    UnreadableFileError
        When the file or stack cannot be read exactly; the message names where and what to do.
    SeriesChoiceError
        When a folder holds several series and none was chosen, or the chosen one is not there.
    """
    headers, left_out = _headers(path, series)
    first = headers[0]
    for header in headers:
        _check_header(Path(header.filename), header, first)
    size = (int(first.Rows), int(first.Columns))
    colour = int(first.get("SamplesPerPixel") or 1) > 1 or first.PhotometricInterpretation == "PALETTE COLOR"
    count = sum(int(header.get("NumberOfFrames") or 1) for header in headers)
    limits.check_size(path, count * size[0] * size[1], 3 if colour else 4)
    if count > MAX_FRAMES:
        raise UnreadableFileError(path, f"it has {count:,} frames", f"Keep {MAX_FRAMES:,} or fewer.")
    frames = [frame for header in headers for frame in frames_of(header)]
    frames, geometry, notes = _place(path, headers, frames, size, volume)
    notes = (*left_out, *notes)
    if not colour:
        _check_scale(path, frames)
    pixels = _read_pixels(path, frames, size, colour)
    if not colour:
        pixels, more = limits.replace_non_finite(path, pixels)
        notes += more
    axis = slice_axis if slice_axis is not None and geometry.oriented else 0
    study = make_study(pixels, geometry, read_modality(first.get("Modality")), axis, notes)
    study = replace(study, title=str(first.get("SeriesDescription") or ""))
    return complete_ct(study) if study.modality == "CT" and not frames[0].scale else study


def list_series(path: Path) -> tuple[instances.SeriesInfo, ...]:
    """Return the image series of a DICOM file or folder, in the order of their UIDs.

    Raises
    ------
    UnreadableFileError
        When a DICOM file is damaged, or there is no image.
    """
    if path.is_dir():
        return tuple(instances.describe_series(headers) for headers in instances.scan(path).series.values())
    return (instances.describe_series(_headers(path, None)[0]),)


def _headers(path: Path, series: str | int | None) -> tuple[list[Dataset], tuple[str, ...]]:
    """Return the headers of the file, or of the series, and what of the folder was left out."""
    if path.is_dir():
        return instances.choose_series(path, instances.scan(path), series)
    if not instances.looks_like_dicom(path):
        raise UnreadableFileError(path, "it is empty, or no DICOM file", _DAMAGED)
    header = instances.read_header(path)
    instances.check_is_image(path, header)
    uid = read_uid(header.get("SeriesInstanceUID"))
    if series is not None and read_uid(series) not in (uid, "1"):
        info = instances.describe_series([header])
        message = f"{path}: the file is of series {uid}, not {series}."
        raise SeriesChoiceError(printable(message), (info,))
    return [header], ()


def _check_header(path: Path, header: Dataset, first: Dataset) -> None:
    """Refuse a header that promises more than the file holds, or that differs from its series."""
    for keyword in ("PhotometricInterpretation", "BitsAllocated"):
        if not header.get(keyword):
            raise UnreadableFileError(path, f"its header lacks {keyword}", _DAMAGED)
    for keyword in ("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"):
        if header.get(keyword) != first.get(keyword):
            cause = f"{Path(first.filename).name} and {path.name} of one series differ in {keyword}"
            raise UnreadableFileError(path, cause, _ALONE)
    _check_patient(path, header, first)
    if "MOSAIC" in (header.get("ImageType") or ()):
        cause = "it is a Siemens mosaic, many slices tiled in one picture"
        raise UnreadableFileError(path, cause, "Convert it first (dcm2niix).")
    syntax = _syntax(header)
    shape = (
        header.get("NumberOfFrames") or 1,
        header.Rows,
        header.Columns,
        header.get("SamplesPerPixel") or 1,
    )
    if not (syntax.is_compressed or syntax.is_deflated or "422" in header.PhotometricInterpretation):
        stored, bits = path.stat().st_size, limits.product(shape) * int(header.BitsAllocated)
        limits.check_size(path, -(-bits // 8), 1, stored)


def _check_patient(path: Path, header: Dataset, first: Dataset) -> None:
    """Refuse files of two patients in one series; by their names where no IDs are given."""
    ids, names = (
        {str(h.get(keyword) or "").strip() for h in (header, first)}
        for keyword in ("PatientID", "PatientName")
    )
    if len(ids) > 1 or (ids == {""} and len(names) > 1):
        cause = f"{Path(first.filename).name} and {path.name} of one series are of two patients"
        raise UnreadableFileError(path, cause, _ALONE)


def _check_scale(path: Path, frames: list[Frame]) -> None:
    """Refuse a stack of which some slices say how to rescale them and some do not, and a slope of nothing."""
    # A slope of 1 with an intercept of 0 is as good as none.
    plain = all(frame.scale != "LUT" and (frame.slope, frame.intercept) == (1, 0) for frame in frames)
    if len({frame.scale for frame in frames}) > 1 and not plain:
        odd = min(frames, key=lambda frame: sum(f.scale == frame.scale for f in frames))
        cause = f"{odd.path.name} and the other files of its series do not rescale their values in one way"
        raise UnreadableFileError(path, cause, _ALONE)
    for frame in frames:
        if not (np.isfinite([frame.slope, frame.intercept]).all() and frame.slope):
            cause = f"its values cannot be rescaled (slope {frame.slope:g}, intercept {frame.intercept:g})"
            raise UnreadableFileError(frame.path, cause, _DAMAGED)


def _syntax(header: Dataset) -> UID:
    syntax = getattr(header, "file_meta", {}).get("TransferSyntaxUID")
    return UID(syntax) if syntax else ImplicitVRLittleEndian


def _place(
    path: Path, headers: list[Dataset], frames: list[Frame], size: tuple[int, int], volume: int | None
) -> tuple[list[Frame], Geometry, tuple[str, ...]]:
    """Return the frames in stacking order, their geometry and notes."""
    first = headers[0]
    placed = [f.position is not None and f.orientation is not None and f.spacing is not None for f in frames]
    notes: tuple[str, ...] = ()
    if all(placed):
        frames, affine = stack(path, frames, volume)
        oriented = calibrated = has_depth = True
        if len(frames) == 1:
            has_depth = (thickness := thickness_mm(first)) > 0
            affine[:3, 0] *= thickness or 1.0
        elif len(frames) <= _FEW_SLICES:
            notes = (f"the stack has only {len(frames)} slices",)
    elif any(placed) or len(headers) > 1:
        raise UnreadableFileError(path, "the files of this series do not say where their slices lie", _ALONE)
    else:
        affine, calibrated, notes = _flat_grid(first, frames[0])
        limits.pick_volume(path, 1, volume)
        oriented = has_depth = False
    uids = [read_uid(first.get(k)) for k in ("SeriesInstanceUID", "StudyInstanceUID", "FrameOfReferenceUID")]
    rest = (oriented, *uids, calibrated, volume or 0, has_depth)
    geometry = limits.make_geometry(path, (len(frames), *size), affine, *rest)
    return frames, geometry, notes


def _flat_grid(header: Dataset, frame: Frame) -> tuple[NDArray[np.float64], bool, tuple[str, ...]]:
    """Return the affine of a picture, whether it is in true millimetres, and notes."""
    spacing, calibrated = frame.spacing or _ultrasound_spacing(header), True
    notes = ("the image has no position in the patient: no side is claimed",)
    if spacing is None and header.get("ImagerPixelSpacing"):
        spacing, calibrated = [float(n) for n in header.ImagerPixelSpacing], False
        notes += ("distances are those on the detector, larger than in the patient",)
    if spacing is None:
        spacing, calibrated = (1.0, 1.0), False
        notes += ("the pixel spacing is unknown: millimetres are pixels",)
    return PIXEL_GRID @ np.diag([1.0, float(spacing[0]), float(spacing[1]), 1.0]), calibrated, notes


def _ultrasound_spacing(header: Dataset) -> tuple[float, float] | None:
    regions = header.get("SequenceOfUltrasoundRegions") or ()
    if len(regions) != 1:
        return None
    region = regions[0]
    if {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")} != {_CENTIMETRE}:
        return None
    spacing = (abs(float(region.PhysicalDeltaY)) * 10, abs(float(region.PhysicalDeltaX)) * 10)
    return spacing if min(spacing) > 0 else None


def _read_pixels(path: Path, frames: list[Frame], size: tuple[int, int], colour: bool) -> NDArray:
    """Return (plane, row, column[, 3]): rescaled values, or uint8 colours."""
    by_file: dict[Path, list[int]] = {}
    for plane, frame in enumerate(frames):
        by_file.setdefault(frame.path, []).append(plane)
    pixels = np.empty((len(frames), *size, 3), np.uint8) if colour else None
    with Apart() as apart:
        decoded = (
            (plane, file, values)
            for file, planes in by_file.items()
            for plane, values in zip(
                planes, _decode(file, [frames[k] for k in planes], colour, apart), strict=True
            )
        )
        for plane, file, values in decoded:
            if values.shape[:2] != size:
                raise UnreadableFileError(file, "its pixels have another size than its header says", _DAMAGED)
            if pixels is None or np.result_type(pixels, values) != pixels.dtype:
                kind = values.dtype if pixels is None else np.result_type(pixels, values)
                pixels = np.empty((len(frames), *size), kind) if pixels is None else pixels.astype(kind)
            pixels[plane] = values
    if pixels is None:
        raise UnreadableFileError(path, "it holds no pixels", _DAMAGED)
    return pixels


def _decode(file: Path, frames: list[Frame], colour: bool, apart: Apart) -> Iterator[NDArray]:
    """Yield the frames of one file, rescaled, or as uint8 RGB.

    Raises
    ------
    UnreadableFileError
        When there is no decoder, or the pixels are damaged.
    """
    syntax: UID = ImplicitVRLittleEndian
    try:
        dataset = instances.read_dataset(file)
        syntax = _syntax(dataset)
        if "TransferSyntaxUID" not in getattr(dataset, "file_meta", {}):
            dataset.file_meta = FileMetaDataset()
            dataset.file_meta.TransferSyntaxUID = syntax
        plugin, numbers = choose_decoder(file, syntax, dataset), [frame.number for frame in frames]
        shifted = _unpack_high_bits(file, dataset)
        decoded = (
            apart.frames(file, syntax, plugin, numbers)
            if plugin == "gdcm"
            else iter_pixels(dataset, indices=numbers, decoding_plugin=plugin)
        )
        for frame, stored in zip(frames, decoded, strict=True):
            stored = shifted(stored.astype(stored.dtype.newbyteorder("="), copy=False))
            yield _to_rgb(dataset, stored) if colour else _to_values(dataset, stored, frame)
    except limits.FOREIGN_FAILURES as error:
        cause = f"its pixels ({syntax.name}) are cut short or damaged"
        raise UnreadableFileError(file, cause, _DAMAGED) from error


def _unpack_high_bits(file: Path, dataset: Dataset) -> Callable[[NDArray], NDArray]:
    """Return what takes values out of the upper bits of their words, as ACR-NEMA allowed; mostly nothing.

    Raises
    ------
    UnreadableFileError
        When the header's bits contradict each other.
    """
    if "PixelData" not in dataset or dataset.BitsAllocated == 1:
        return lambda stored: stored
    allocated, bits = int(dataset.BitsAllocated), int(dataset.BitsStored)
    high = int(dataset.get("HighBit", bits - 1))
    if high == bits - 1:
        return lambda stored: stored
    if not 0 < bits <= high + 1 <= allocated or _syntax(dataset).is_compressed:
        cause = f"its header puts {bits} bits of {allocated} below bit {high}"
        raise UnreadableFileError(file, cause, _DAMAGED)
    # All bits are to come from the decoder, which looks at the number of them alone.
    dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
    up, down = allocated - 1 - high, allocated - bits
    return lambda stored: (stored << up) >> down  # the sign goes along


def _to_rgb(dataset: Dataset, stored: NDArray) -> NDArray[np.uint8]:
    bits = int(dataset.BitsStored)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)[..., :3]
        bits = 16 if stored.dtype == np.uint16 else 8
    return (stored >> max(bits - 8, 0)).astype(np.uint8)


def _look_up(dataset: Dataset, stored: NDArray) -> NDArray[np.float32]:
    """Return values through the modality LUT, of any number of bits (PS3.3 C.11.1.1)."""
    item = dataset.ModalityLUTSequence[0]
    count, first = (int(n) for n in list(item.LUTDescriptor)[:2])
    count = count % 2**16 or 2**16
    if dataset.PixelRepresentation:
        first = (first + 2**15) % 2**16 - 2**15
    table = item.LUTData
    if isinstance(table, bytes):
        order = "<" if _syntax(dataset).is_little_endian else ">"
        table = np.frombuffer(table, f"{order}u2" if len(table) >= 2 * count else np.uint8)
    table = np.asarray(table, np.float32)[:count]
    if len(table) < count:
        raise ValueError("the modality LUT is shorter than it says")
    return table[np.clip(stored.astype(np.int64) - first, 0, count - 1)]


def _to_values(dataset: Dataset, stored: NDArray, frame: Frame) -> NDArray:
    """Return real values; whole ones as the smallest signed integer for the bits stored, else float32."""
    if dataset.PhotometricInterpretation == "MONOCHROME1" and dataset.get("Modality") != "CT":
        # The largest stored value is black: count from there.
        bits = int(dataset.BitsStored)
        stored = (-1 if dataset.PixelRepresentation else 2**bits - 1) - stored.astype(np.int32)
        if bits <= 8 and not dataset.PixelRepresentation:
            stored = stored.astype(np.uint8)
    if dataset.get("ModalityLUTSequence"):
        return _look_up(dataset, stored)
    if frame.slope == 1 and frame.intercept == 0:
        return stored
    if stored.dtype.kind == "f" or not (frame.slope.is_integer() and frame.intercept.is_integer()):
        return (stored * np.float64(frame.slope) + frame.intercept).astype(np.float32)
    values = stored.astype(np.int64) * int(frame.slope) + int(frame.intercept)
    fits = np.iinfo(np.int16).min <= values.min() and values.max() <= np.iinfo(np.int16).max
    return values.astype(np.int16) if fits else values.astype(np.int32)
