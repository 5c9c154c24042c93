"""Measurement reports read back with pydicom alone; shares nothing with the code that writes them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset

GROUP, TRACKING_ID, TRACKING_UID = "125007", "112039", "112040"
REFERENCED_SEGMENT, DERIVATION = "121191", "121401"


@dataclass(frozen=True)
class Measured:
    """One measurement group of a report.

    Parameters
    ----------
    tracking_id, tracking_uid : str
        Of the segment.
    segment : (str, int)
        SOP instance of the segmentation, and the segment's number in it.
    review : str
        Code of its review: "confirmed", "proposed" or "unknown"; "" where the report does not say.
    numbers : tuple of (str, str, float, str)
        Code of the measurement, code of its derivation or "", the number, and its unit.
    """

    tracking_id: str
    tracking_uid: str
    segment: tuple[str, int]
    review: str
    numbers: tuple[tuple[str, str, float, str], ...]


def read_report(path: Path) -> tuple[Measured, ...]:
    """Return the measurement groups of a report, in its order."""
    dataset = pydicom.dcmread(path)
    return tuple(_measured(item) for item in _walk(dataset) if _concept(item) == GROUP)


def read_study_uid(path: Path) -> str:
    """Return the study that a report belongs to."""
    return str(pydicom.dcmread(path).get("StudyInstanceUID", ""))


def _walk(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence") or ():
        yield child
        yield from _walk(child)


def _concept(item: Dataset) -> str:
    named = item.get("ConceptNameCodeSequence")
    return str(named[0].CodeValue) if named else ""


def _measured(group: Dataset) -> Measured:
    texts, segment, review, numbers = {}, ("", 0), "", []
    for item in group.ContentSequence:
        kind, concept = item.ValueType, _concept(item)
        if kind == "NUM":
            value = item.MeasuredValueSequence[0]
            how = next((_code(c) for c in item.get("ContentSequence") or () if _concept(c) == DERIVATION), "")
            unit = str(value.MeasurementUnitsCodeSequence[0].CodeValue)
            numbers.append((concept, how, float(value.NumericValue), unit))
        elif kind == "IMAGE" and concept == REFERENCED_SEGMENT:
            there = item.ReferencedSOPSequence[0]
            segment = str(there.ReferencedSOPInstanceUID), int(there.ReferencedSegmentNumber)
        elif kind == "CODE" and concept == "review":
            review = _code(item)
        elif kind in ("TEXT", "UIDREF"):
            texts[concept] = str(item.TextValue if kind == "TEXT" else item.UID)
    return Measured(texts.get(TRACKING_ID, ""), texts.get(TRACKING_UID, ""), segment, review, tuple(numbers))


def _code(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)
