"""Exports that leave the site: PS3.15's basic profile through dicom-anonymizer, names from a closed list.

dicom-anonymizer (BSD-3, Kitware) carries the profile's table and acts on the outermost data set only; here
every item of every sequence is treated, and names, dates and free text that the table does not list go too.
New UIDs come from a key, not from chance, so that masks and images
that are exported apart, with one key, still belong together.

References
----------
DICOM PS3.15 2026c, table E.1-1 (Basic Application Level Confidentiality Profile), E.3.6 (Clean Descriptors
Option); PS3.10 7.1 (the preamble); PS3.16 CID 7050 (codes of methods).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

import pydicom
from dicomanonymizer.simpledicomanonymizer import (
    delete,
    delete_or_empty_or_replace_UID,
    initialize_actions,
    keep,
    replace_UID,
)
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sr.codedict import codes
from pydicom.uid import generate_uid

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.segments import LabelledVolume, new_uid
from napari_mediround.io import limits
from napari_mediround.io.coding import code_to_item

STANDARD = "dicomfields_2026c"
METHODS = (codes.DCM.BasicApplicationConfidentialityProfile, codes.DCM.CleanDescriptorsOption)
"""What was done: the basic profile; names of structures are kept, cleaned."""

BURNED_IN = (
    "The images may show text in their pixels (names, dates): look at them before they leave. "
    "Nothing in the pixels was changed."
)
# Modalities whose pictures commonly have text drawn in: captures, ultrasound, films, reports of devices.
_OFTEN_WRITTEN_ON = frozenset(
    ("US", "IVUS", "XC", "ES", "OT", "CR", "DX", "MG", "RG", "RF", "XA", "PX", "IO", "SC")
)
_ROI_NAME, _TRACKING_ID = (0x3006, 0x0026), (0x0062, 0x0020)
# Birth and death date in another calendar, and which calendar: not in the profile's table.
_OTHER_CALENDAR = ((0x0010, 0x0033), (0x0010, 0x0034), (0x0010, 0x0035))
# Kinds of values that may hold anything (PS3.5 6.2): person names, dates, free text.
_FREE = frozenset(("PN", "DA", "DT", "LT", "ST", "UT"))
_KEPT_META = ("MediaStorageSOPClassUID", "TransferSyntaxUID", "ImplementationClassUID")


def clean_names(volume: LabelledVolume, anatomy: Anatomy) -> tuple[LabelledVolume, tuple[str, ...]]:
    """Return the volume with names from the anatomy only, and fresh tracking UIDs; and what was replaced.

    A name that the anatomy does not know may be anything, a patient's name as well: it becomes "structure K".
    """
    segments, replaced = [], 0
    for segment in volume.segments:
        structure = anatomy.find(segment.name)
        name = structure.name if structure else f"structure {segment.value}"
        replaced += structure is None
        segments.append(replace(segment, name=name, tracking_uid=new_uid()))
    notes = (f"{replaced} names that are no known structure were replaced by numbers.",) if replaced else ()
    return LabelledVolume(volume.geometry, volume.layers, tuple(segments)), notes


def deidentify(dataset: Dataset, key: str) -> None:
    """Remove from a DICOM object, in place, what can tell who the patient is.

    Parameters
    ----------
    dataset : Dataset
        Whole, pixels included; they are not touched. Names of regions of interest and tracking IDs stay:
        clean them before.
    key : str
        Secret of the site. The same key gives the same new UIDs and the same patient ID.
    """
    actions, patient = _actions(key), str(dataset.get("PatientID") or dataset.StudyInstanceUID)
    with limits.quiet():
        _treat(dataset, actions)
        dataset.remove_private_tags()
    dataset.PatientID = dataset.PatientName = pseudonym(patient, key)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "PS3.15 2026c basic profile, clean descriptors"
    dataset.DeidentificationMethodCodeSequence = [code_to_item(code) for code in METHODS]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    dataset.preamble = b"\0" * 128
    for element in list(dataset.file_meta):
        if element.keyword not in _KEPT_META:
            del dataset.file_meta[element.tag]
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def deidentify_object(path: Path, key: str) -> None:
    """De-identify, in place, an object that was written here."""
    dataset = pydicom.dcmread(path)
    deidentify(dataset, key)
    dataset.save_as(path, enforce_file_format=True)


def remap_volume(volume: LabelledVolume, key: str) -> LabelledVolume:
    """Return the volume with the UIDs that stand for its own under a key."""
    uids = ("series_uid", "study_uid", "frame_of_reference_uid")
    geometry = replace(volume.geometry, **{u: remap_uid(getattr(volume.geometry, u), key) for u in uids})
    segments = (replace(s, tracking_uid=remap_uid(s.tracking_uid, key)) for s in volume.segments)
    return LabelledVolume(geometry, volume.layers, tuple(segments))


def deidentify_file(source: Path, target: Path, key: str) -> bool:
    """Write a de-identified copy of a DICOM image; return whether its pixels may show text (`BURNED_IN`).

    Raises
    ------
    UnreadableFileError
        When it cannot be read.
    """
    with limits.quiet(), limits.refusal(source, "it is no readable DICOM file"):
        dataset = pydicom.dcmread(source)
        written_on = burned_in(dataset)
        deidentify(dataset, key)
        dataset.save_as(target, enforce_file_format=True)
    return written_on


def burned_in(header: Dataset) -> bool:
    """Return whether an image says, or is of a kind, that text is drawn in its pixels."""
    said = str(header.get("BurnedInAnnotation") or "").upper()
    if said in ("YES", "NO"):
        return said == "YES"
    captured = "SECONDARY" in (header.get("ImageType") or ()) or header.get("ConversionType")
    return bool(captured) or header.get("Modality") in _OFTEN_WRITTEN_ON


def remap_uid(uid: str, key: str) -> str:
    """Return the UID that stands for `uid` under a key; the standard's own ones stay."""
    return uid if not uid or uid.startswith("1.2.840.10008.") else generate_uid(entropy_srcs=[key, uid])


def pseudonym(patient: str, key: str) -> str:
    """Return what a patient is called under a key."""
    digest = hmac.new(key.encode("utf-8"), patient.encode("utf-8"), hashlib.sha256).hexdigest()
    return f"case-{digest[:16]}"


def _actions(key: str) -> dict:
    """Return what the profile does to each tag, with UIDs from the key."""

    def replace_uid(dataset: Dataset, tag: tuple[int, int]) -> None:
        element = dataset[tag]
        several = element.value if isinstance(element.value, list | MultiValue) else [element.value]
        new = [remap_uid(str(uid or ""), key) for uid in several]
        element.value = new if len(new) > 1 else new[0]

    actions = initialize_actions(STANDARD)
    for tag, action in actions.items():
        if action is replace_UID:
            actions[tag] = replace_uid
        elif action is delete_or_empty_or_replace_UID:
            actions[tag] = keep  # the references stay; the UIDs inside are replaced in their turn
    actions |= dict.fromkeys((_ROI_NAME, _TRACKING_ID), keep)  # names of structures, cleaned before
    return actions | dict.fromkeys(_OTHER_CALENDAR, delete)


def _treat(dataset: Dataset, actions: dict) -> None:
    """Carry out the actions on a data set and on every item that is left in its sequences."""
    for tag in list(dataset.keys()):
        place = (tag.group, tag.element)
        action = actions.get(place) or next(
            (a for t, a in actions.items() if len(t) == 4 and _in_group(place, t)), None
        )
        if action is None and dataset[tag].VR in _FREE:
            action = delete
        if action is not None:
            try:
                action(dataset, place)
            except NotImplementedError:  # a kind of value for which the library has no dummy
                del dataset[tag]
        if tag in dataset and dataset[tag].VR == "SQ":
            for item in dataset[tag].value:
                _treat(item, actions)


def _in_group(place: tuple[int, int], pattern: tuple[int, int, int, int]) -> bool:
    """Return whether a tag is of a repeating group, given as (group, element, mask, mask)."""
    masked = zip(place, pattern[:2], pattern[2:], strict=True)
    return all(number & mask == value & mask for number, value, mask in masked)
