"""Measurements as a DICOM structured report, TID 1500, through highdicom, beside the segments it measures.

Each segment is one measurement group (TID 1411): what it is, its tracking UID, how the person left it,
volume, diameters and, of CT, attenuation. How far a segment is reviewed has no code in the standard: a coding
scheme of ours says "proposed" or "confirmed", and so does the description of the segment.

References
----------
DICOM PS3.16 TID 1500, TID 1411, TID 1419; CID 218 and 7469 (names), CID 7181 (units).
"""

from __future__ import annotations

from pathlib import Path

import highdicom
import pydicom
from highdicom.sr import (
    AlgorithmIdentification,
    Comprehensive3DSR,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    QualitativeEvaluation,
    ReferencedSegment,
    SourceSeriesForSegmentation,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from napari_mediround import __version__
from napari_mediround.domain.segments import MANUAL, LabelledVolume, Segment
from napari_mediround.io import limits
from napari_mediround.io.coding import category_code, side_code, type_code
from napari_mediround.io.export.dicom_seg import MAKER, NAME, write_dicom_seg
from napari_mediround.io.export.dicom_source import DicomSource
from napari_mediround.io.export.measurements import measure
from napari_mediround.io.export.receipt import Check
from napari_mediround.io.export.report_back import read_report, read_study_uid

SCHEME = "99MEDIROUND"
REVIEW = Code("review", SCHEME, "Review of the segment")
CONFIRMED = Code("confirmed", SCHEME, "Confirmed by a person")
PROPOSED = Code("proposed", SCHEME, "Proposed, not reviewed")
UNKNOWN = Code("unknown", SCHEME, "Review not known")
SERIES_NUMBER = 901
Wanted = tuple[Code, Code | None, float, Code]
"""A measurement: what, how derived, the number, its unit."""


def review_of(segment: Segment) -> Code:
    """Return how far a segment is reviewed."""
    if not segment.verdict:
        return UNKNOWN
    return CONFIRMED if segment.verdict in ("accepted", "corrected") else PROPOSED


def wanted_measurements(
    volume: LabelledVolume, segment: Segment, pixels: NDArray | None, modality: str
) -> tuple[Wanted, ...]:
    """Return what is measured of a segment; values without a unit are left out.

    Parameters
    ----------
    volume : LabelledVolume
        Where it lies.
    segment : Segment
        Which one.
    pixels : ndarray, optional
        Grey values (plane, row, column) on the volume's grid; attenuation is told of CT alone.
    modality : str
        DICOM's code.
    """
    m = measure(volume, segment, pixels)
    hounsfield = codes.UCUM.HounsfieldUnit
    found = [
        (codes.SCT.Volume, None, m.volume_ml, codes.UCUM.CubicCentimeter),
        (codes.SCT.Diameter, codes.SCT.Maximum, m.longest_mm, codes.UCUM.Millimeter),
        (codes.SCT.LongAxis, None, m.plane_longest_mm, codes.UCUM.Millimeter),
        (codes.SCT.ShortAxis, None, m.plane_across_mm, codes.UCUM.Millimeter),
    ]
    if modality == "CT":
        found += [
            (codes.DCM.AttenuationCoefficient, codes.SCT.Mean, m.mean, hounsfield),
            (codes.DCM.AttenuationCoefficient, codes.SCT.StandardDeviation, m.sd, hounsfield),
        ]
    return tuple((what, how, round(float(v), 4), unit) for what, how, v, unit in found if v is not None)


def segmentation_path(path: Path) -> Path:
    """Return the file beside a report that holds the segments."""
    return path.with_name(f"{path.name.removesuffix('.dcm')}_seg.dcm")


def write_measurement_report(
    volume: LabelledVolume, path: Path, source: DicomSource, pixels: NDArray | None = None
) -> tuple[Path, ...]:
    """Write a report and the segmentation that it measures.

    Parameters
    ----------
    volume : LabelledVolume
        On the grid of `source`.
    path : Path
        `.dcm`, of the report; the segmentation is `…_seg.dcm`.
    source : DicomSource
        The images.
    pixels : ndarray, optional
        As in `wanted_measurements`.

    Returns
    -------
    tuple of Path
        Segmentation and report.

    Raises
    ------
    SettingsError
        As `write_dicom_seg`.
    """
    volume = volume.renumber()
    segments = segmentation_path(path)
    write_dicom_seg(volume, segments, source)
    with limits.quiet():
        segmentation = pydicom.dcmread(segments)
        series = str(source.headers[0].SeriesInstanceUID)
        groups = [
            _group(volume, number, segment, segmentation, pixels, source.modality, series)
            for number, segment in enumerate(volume.segments, 1)
        ]
        device = DeviceObserverIdentifyingAttributes(
            uid=highdicom.UID(), name=NAME, manufacturer_name=MAKER, model_name=NAME
        )
        observer = ObserverContext(observer_type=codes.DCM.Device, observer_identifying_attributes=device)
        report = MeasurementReport(
            observation_context=ObservationContext(observer_device_context=observer),
            procedure_reported=codes.SCT.ImagingProcedure,
            imaging_measurements=groups,
            title=codes.DCM.ImagingMeasurementReport,
        )
        confirmed = all(review_of(segment) == CONFIRMED for segment in volume.segments)
        written = Comprehensive3DSR(
            evidence=[segmentation, *source.headers],
            content=report[0],
            series_instance_uid=highdicom.UID(),
            series_number=SERIES_NUMBER,
            sop_instance_uid=highdicom.UID(),
            instance_number=1,
            manufacturer=MAKER,
            is_complete=confirmed,
            series_description=f"{NAME} measurements",
        )
        written.SpecificCharacterSet = "ISO_IR 192"
        written.CodingSchemeIdentificationSequence = [_scheme()]
        written.save_as(path)
    return segments, path


def _group(
    volume: LabelledVolume,
    number: int,
    segment: Segment,
    segmentation: Dataset,
    pixels: NDArray | None,
    modality: str,
    series: str,
) -> VolumetricROIMeasurementsAndQualitativeEvaluations:
    algorithm = AlgorithmIdentification(name=NAME, version=__version__)
    of_ours = not segment.foreign and segment.origin != MANUAL
    side = side_code(segment)
    return VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=TrackingIdentifier(segment.tracking_uid, segment.tracking_id),
        referenced_segment=ReferencedSegment(
            sop_class_uid=segmentation.SOPClassUID,
            sop_instance_uid=segmentation.SOPInstanceUID,
            segment_number=number,
            source_series=SourceSeriesForSegmentation(series),
        ),
        finding_category=category_code(segment),
        finding_type=type_code(segment),
        finding_sites=[FindingSite(type_code(segment), laterality=side)] if side else None,
        algorithm_id=algorithm if of_ours else None,
        measurements=[
            Measurement(name=what, value=value, unit=unit, derivation=how)
            for what, how, value, unit in wanted_measurements(volume, segment, pixels, modality)
        ],
        qualitative_evaluations=[QualitativeEvaluation(REVIEW, review_of(segment))],
    )


def check_report(
    volume: LabelledVolume, path: Path, pixels: NDArray | None, modality: str
) -> tuple[Check, ...]:
    """Compare a report, read again, with the masks, measured again; one check for each segment."""
    found, meant = read_report(path), volume.renumber()
    study, named = volume.geometry.study_uid, read_study_uid(path)
    checks = [
        Check("study of the report", study, named, study == named),
        Check(
            "measurement groups", str(len(meant.segments)), str(len(found)), len(meant.segments) == len(found)
        ),
    ]
    uid = str(pydicom.dcmread(segmentation_path(path), stop_before_pixels=True).SOPInstanceUID)
    for number, (segment, group) in enumerate(zip(meant.segments, found, strict=False), 1):
        wanted = tuple(
            (what.value, how.value if how else "", value, unit.value)
            for what, how, value, unit in wanted_measurements(meant, segment, pixels, modality)
        )
        pairs = {
            "tracking": (
                (segment.tracking_id, segment.tracking_uid),
                (group.tracking_id, group.tracking_uid),
            ),
            "segment": ((uid, number), group.segment),
            "review": (review_of(segment).value, group.review),
            "measurements": (wanted, group.numbers),
        }
        for what, (one, other) in pairs.items():
            checks.append(
                Check(f"{what} of {segment.name} in the report", str(one), str(other), one == other)
            )
    return tuple(checks)


def _scheme() -> Dataset:
    item = Dataset()
    item.CodingSchemeDesignator, item.CodingSchemeName = SCHEME, f"{NAME}, review of segments"
    item.CodingSchemeResponsibleOrganization = MAKER
    return item
