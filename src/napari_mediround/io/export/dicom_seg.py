"""DICOM Segmentation objects through highdicom, BINARY or LABELMAP.

References
----------
DICOM PS3.3 A.51 and C.8.20 (Segmentation), PS3.16 CID 7150, 7151 and 244.
"""

from __future__ import annotations

from pathlib import Path

import highdicom
import numpy as np
from highdicom.color import CIELabColor
from highdicom.seg import SegmentationTypeValues, SegmentDescription
from numpy.typing import NDArray
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, RLELossless

from napari_mediround import __version__
from napari_mediround.domain.judged import PROPOSAL
from napari_mediround.domain.segments import MANUAL, LabelledVolume, Segment
from napari_mediround.errors import SettingsError
from napari_mediround.io import limits
from napari_mediround.io.coding import category_code, type_code, type_to_item
from napari_mediround.io.export.dicom_source import DicomSource

SUFFIX = ".dcm"
NAME, MAKER = "MediRound", "napari-mediround"
SERIES_NUMBER = 900
CONFIRMED, PROPOSED = "confirmed by a person", "proposed, not reviewed"
"""What a segment's description says of its review; the standard has no element for that."""
FOREIGN = "another program, imported"
"""Called so is what made a mask that was taken from a file: nothing more is known."""
_LARGEST = 4 * 2**30


def write_dicom_seg(
    volume: LabelledVolume, path: Path, source: DicomSource, labelmap: bool = False
) -> tuple[Path, ...]:
    """Write masks as one DICOM Segmentation of the source's study and frame of reference.

    Parameters
    ----------
    volume : LabelledVolume
        On the grid of `source`; segment numbers are 1, 2, 3, … in its order.
    path : Path
        `.dcm`.
    source : DicomSource
        The images.
    labelmap : bool
        One number a voxel instead of one bit a segment; cannot hold overlaps, and 3D Slicer cannot read it
        yet.

    Returns
    -------
    tuple of Path
        The file.

    Raises
    ------
    SettingsError
        When there is no mask, or overlapping ones are too many for the memory.
    """
    if not volume.segments:
        raise SettingsError("There is no mask to export. Ask for a structure first.")
    volume = volume.renumber()
    with limits.quiet():
        segmentation = highdicom.seg.Segmentation(
            source_images=source.headers,
            pixel_array=_pixels(volume, source),
            segmentation_type=SegmentationTypeValues.LABELMAP if labelmap else SegmentationTypeValues.BINARY,
            segment_descriptions=[_describe(n, s) for n, s in enumerate(volume.segments, 1)],
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MAKER,
            manufacturer_model_name=NAME,
            software_versions=__version__,
            device_serial_number="0",
            series_description=f"{NAME} segmentation",
            transfer_syntax_uid=ExplicitVRLittleEndian,
        )
        segmentation.SpecificCharacterSet = "ISO_IR 192"
        _name_foreign(segmentation, volume)
        if labelmap:  # by pydicom itself: GDCM, which highdicom would take, ends the process on small frames
            segmentation.compress(RLELossless, encoding_plugin="pydicom", generate_instance_uid=False)
        elif limits.product(volume.geometry.shape[1:]) < 8:
            segmentation.PixelData = _run_on(segmentation)
        segmentation.save_as(path)
    return (path,)


def _describe(number: int, segment: Segment) -> SegmentDescription:
    identification = highdicom.AlgorithmIdentificationSequence(
        name=NAME, family=codes.DCM.ArtificialIntelligence, version=__version__, source=MAKER
    )
    described = SegmentDescription(
        segment_number=number,
        segment_label=segment.name,
        segmented_property_category=category_code(segment),
        segmented_property_type=type_code(segment),
        algorithm_type=segment.origin,
        algorithm_identification=None if segment.origin == MANUAL else identification,
        tracking_uid=segment.tracking_uid,
        tracking_id=segment.tracking_id,
        display_color=CIELabColor.from_rgb(*segment.colour),
    )
    described.SegmentedPropertyTypeCodeSequence = [type_to_item(segment)]
    if segment.verdict:
        described.SegmentDescription = CONFIRMED if segment.verdict != PROPOSAL else PROPOSED
    return described


def _name_foreign(segmentation: highdicom.seg.Segmentation, volume: LabelledVolume) -> None:
    """Claim no algorithm of ours for masks from elsewhere; highdicom wants one named at first."""
    foreign = {n for n, s in enumerate(volume.segments, 1) if s.foreign and s.origin != MANUAL}
    for item in segmentation.SegmentSequence:
        if int(item.SegmentNumber) in foreign:
            del item.SegmentationAlgorithmIdentificationSequence
            item.SegmentAlgorithmName = FOREIGN


def _run_on(segmentation: highdicom.seg.Segmentation) -> bytes:
    """Return the bits of all frames without gaps, as PS3.5 8.1.1 wants them.

    highdicom 0.28 starts each frame of fewer than eight pixels at a byte of its own.
    """
    pixels, count = segmentation.Rows * segmentation.Columns, int(segmentation.NumberOfFrames)
    stored = np.frombuffer(segmentation.PixelData, np.uint8)[:count, None]
    packed = np.packbits(np.unpackbits(stored, axis=1, bitorder="little")[:, :pixels], bitorder="little")
    return packed.tobytes() + bytes(packed.size % 2)


def _pixels(volume: LabelledVolume, source: DicomSource) -> NDArray:
    """Return labels (frame, row, column), or where masks overlap 0 and 1 (frame, row, column, segment)."""
    frames = (
        [frame.number for frame in source.frames] if source.is_multiframe else range(volume.geometry.shape[0])
    )
    count = int(source.headers[0].NumberOfFrames) if source.is_multiframe else len(frames)
    size = volume.geometry.shape[1:]
    if not volume.overlapping:
        largest = len(volume.segments)
        labels = np.zeros((count, *size), np.uint8 if largest < 256 else np.uint16)
        labels[frames] = volume.layers[0]
        return labels
    needed = count * size[0] * size[1] * len(volume.segments)
    if needed > _LARGEST:
        raise SettingsError(
            f"{len(volume.segments)} overlapping masks need {needed / 2**30:.1f} GiB to become a DICOM-SEG. "
            "Export fewer at a time, or .seg.nrrd."
        )
    masks = np.zeros((count, *size, len(volume.segments)), np.uint8)
    for k, segment in enumerate(volume.segments):
        masks[frames, ..., k] = volume.mask(segment)
    return masks
