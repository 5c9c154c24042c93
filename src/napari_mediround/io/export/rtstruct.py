"""RT Structure Sets: contours by scikit-image, the object by pydicom. Lossy: the receipt says how much.

Each mask is outlined halfway between the pixels inside and outside; holes are keyholes (see `outline`).

References
----------
DICOM PS3.3 A.19, C.8.8.5 (Structure Set), C.8.8.6 (ROI Contour), C.8.8.8 (RT ROI Observations).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from napari_mediround import __version__
from napari_mediround.domain.segments import MANUAL, LabelledVolume, Segment
from napari_mediround.errors import CancelledError, SettingsError
from napari_mediround.io import limits
from napari_mediround.io.coding import type_to_item
from napari_mediround.io.export.dicom_seg import MAKER, NAME, SERIES_NUMBER
from napari_mediround.io.export.dicom_source import DicomSource
from napari_mediround.io.export.outline import outline_mask
from napari_mediround.io.masks.rtstruct_reader import STRUCTURE_SET

_DECIMALS = 6
_FROM_STUDY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "PatientIdentityRemoved",
    "StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName",
    "StudyDescription", "PositionReferenceIndicator",
)  # fmt: skip


def write_rtstruct(
    volume: LabelledVolume, path: Path, source: DicomSource, cancelled: Callable[[], bool] = lambda: False
) -> tuple[Path, ...]:
    """Write masks as contours on the source's planes.

    Parameters
    ----------
    volume : LabelledVolume
        On the grid of `source`; ROI numbers are its values, those that people know. Masks may overlap.
    path : Path
        `.dcm`.
    source : DicomSource
        The images.
    cancelled : callable
        Asked between structures.

    Returns
    -------
    tuple of Path
        The file.

    Raises
    ------
    SettingsError
        When there is no mask.
    CancelledError
        When `cancelled` said so.
    """
    if not volume.segments:
        raise SettingsError("There is no mask to export. Ask for a structure first.")
    dataset = _begin(source)
    frame_of_reference = source.headers[0].FrameOfReferenceUID
    dataset.ReferencedFrameOfReferenceSequence = [_reference(source)]
    dataset.StructureSetROISequence, dataset.ROIContourSequence = [], []
    dataset.RTROIObservationsSequence = []
    for segment in volume.segments:
        if cancelled():
            raise CancelledError("The export was cancelled; nothing was written.")
        dataset.StructureSetROISequence.append(_roi(segment.value, segment, frame_of_reference))
        dataset.ROIContourSequence.append(_contours(segment.value, segment, volume, source))
        dataset.RTROIObservationsSequence.append(_observation(segment.value, segment))
    with limits.quiet():
        dataset.save_as(path, enforce_file_format=True)
    return (path,)


def _begin(source: DicomSource) -> Dataset:
    """Return the object's general part: the source's patient and study, a series of its own."""
    dataset, header, now = Dataset(), source.headers[0], datetime.now()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in _FROM_STUDY:
        if keyword in header:
            dataset[keyword] = header[keyword]
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = STRUCTURE_SET
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", generate_uid()
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER + 1, 1
    dataset.SeriesDescription = f"{NAME} structure set"
    dataset.FrameOfReferenceUID = header.FrameOfReferenceUID
    dataset.setdefault("PositionReferenceIndicator", "")
    dataset.OperatorsName = ""
    dataset.Manufacturer, dataset.ManufacturerModelName, dataset.SoftwareVersions = MAKER, NAME, __version__
    dataset.StructureSetLabel = dataset.StructureSetName = NAME
    dataset.StructureSetDate = dataset.InstanceCreationDate = dataset.SeriesDate = now.strftime("%Y%m%d")
    dataset.StructureSetTime = dataset.InstanceCreationTime = dataset.SeriesTime = now.strftime("%H%M%S")
    dataset.ApprovalStatus = "UNAPPROVED"
    return dataset


def _reference(source: DicomSource) -> Dataset:
    """Return frame of reference, study, series and images that the contours lie on."""
    first = source.headers[0]
    series, study, frame = Dataset(), Dataset(), Dataset()
    series.SeriesInstanceUID = first.SeriesInstanceUID
    series.ContourImageSequence = [_image(header) for header in source.headers]
    study.ReferencedSOPClassUID = "1.2.840.10008.3.1.2.3.1"
    study.ReferencedSOPInstanceUID = first.StudyInstanceUID
    study.RTReferencedSeriesSequence = [series]
    frame.FrameOfReferenceUID = first.FrameOfReferenceUID
    frame.RTReferencedStudySequence = [study]
    return frame


def _image(header: Dataset, frame: int | None = None) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    if frame is not None:
        image.ReferencedFrameNumber = frame
    return image


def _roi(number: int, segment: Segment, frame_of_reference: str) -> Dataset:
    roi = Dataset()
    roi.ROINumber, roi.ROIName = number, segment.name
    roi.ReferencedFrameOfReferenceUID = frame_of_reference
    roi.ROIGenerationAlgorithm = segment.origin
    if segment.origin != MANUAL:
        roi.ROIGenerationDescription = f"{NAME} {__version__}"
    return roi


def _observation(number: int, segment: Segment) -> Dataset:
    observation = Dataset()
    observation.ObservationNumber = observation.ReferencedROINumber = number
    observation.RTROIInterpretedType, observation.ROIInterpreter = "ORGAN", ""
    observation.RTROIIdentificationCodeSequence = [type_to_item(segment)]
    return observation


def _contours(number: int, segment: Segment, volume: LabelledVolume, source: DicomSource) -> Dataset:
    roi = Dataset()
    roi.ReferencedROINumber, roi.ROIDisplayColor = number, list(segment.colour)
    contours = [
        _contour(outline, plane, volume, source)
        for plane, mask in enumerate(volume.mask(segment))
        for outline in (outline_mask(mask) if mask.any() else ())
    ]
    if contours:  # PS3.3 C.8.8.6: a sequence that is there has at least one item
        roi.ContourSequence = contours
    return roi


def _contour(outline: NDArray, plane: int, volume: LabelledVolume, source: DicomSource) -> Dataset:
    contour = Dataset()
    frame = source.frames[plane].number + 1 if source.is_multiframe else None
    contour.ContourImageSequence = [_image(source.header_of(plane), frame)]
    contour.ContourGeometricType = "CLOSED_PLANAR"
    contour.NumberOfContourPoints = len(outline)
    index = np.column_stack([np.full(len(outline), float(plane)), outline])
    points = volume.geometry.index_to_world(index)
    contour.ContourData = [_decimal(n) for n in points.ravel()]
    return contour


def _decimal(value: float) -> str:
    """Return a coordinate as DICOM's decimal string (16 characters), to a nanometre where it has room."""
    text = f"{value:.{_DECIMALS}f}"
    return text if len(text) <= 16 else f"{value:.10g}"
