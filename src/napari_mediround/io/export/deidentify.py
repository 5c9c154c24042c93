"""Exports that leave the site: PS3.15's basic profile, then a closed list of what may stay.

dicom-anonymizer (BSD-3, Kitware) carries the profile's table, which says what becomes of the elements that it
knows; of all others those in `kept` stay and nothing else, in every item of every sequence. Images are
written anew from the values of their pixels, so that overlays, comments of compressed frames and padding go.
New UIDs come from a key, not from chance, so that masks and images that are exported apart, with one key,
still belong together.

References
----------
DICOM PS3.15 2026c, table E.1-1 (Basic Application Level Confidentiality Profile), E.3.6 (Clean Descriptors
Option); PS3.10 7.1 (the preamble); PS3.16 CID 7050 (codes of methods); PS3.5 8.1.1 (bits of a pixel).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from dicomanonymizer.simpledicomanonymizer import (
    delete,
    delete_or_empty_or_replace_UID,
    initialize_actions,
    keep,
    replace_UID,
)
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, UID_dictionary, generate_uid

from napari_mediround import __version__
from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.segments import LabelledVolume, new_uid
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.coding import code_to_item
from napari_mediround.io.dicom import instances
from napari_mediround.io.export import kept, stored
from napari_mediround.io.export.dicom_seg import MAKER, NAME
from napari_mediround.io.masks.seg_reader import LABEL_MAP

STANDARD = "dicomfields_2026c"
METHODS = (codes.DCM.BasicApplicationConfidentialityProfile, codes.DCM.CleanDescriptorsOption)
"""What was done: the basic profile; names of structures are kept, cleaned."""

BURNED_IN = (
    "The images may show text in their pixels (names, dates): look at them before they leave. "
    "What the pixels show was not changed."
)
OVERLAYS = "Overlays, and bits of pixels that are not the image's, were left out of {} images."
# Modalities whose pictures commonly have text drawn in: captures, ultrasound, films, reports of devices.
_OFTEN_WRITTEN_ON = frozenset(
    ("US", "IVUS", "XC", "ES", "OT", "CR", "DX", "MG", "RG", "RF", "XA", "PX", "IO", "SC")
)
_OURS = frozenset((NAME, MAKER, __version__, f"{NAME} {__version__}", "0"))
_DIMENSIONS = frozenset(("Segment Number", "Image Position Patient", "Image Position Patient "))


@dataclass(frozen=True)
class Looked:
    """What was seen in the pixels of an image: whether they may show text, and had bits of something else."""

    written_on: bool
    had_more: bool


def clean_names(volume: LabelledVolume, anatomy: Anatomy) -> tuple[LabelledVolume, tuple[str, ...]]:
    """Return the volume with names from the anatomy only, and fresh tracking UIDs; and what was replaced.

    A name that the anatomy does not know may be anything, a patient's name as well: it becomes "structure K".
    """
    segments, replaced = [], 0
    for segment in volume.segments:
        structure = anatomy.find(segment.name)
        name = structure.name if structure else f"structure {segment.value}"
        replaced += structure is None
        segments.append(replace(segment, name=name, tracking_uid=new_uid(), tracking_id=""))
    notes = (f"{replaced} names that are no known structure were replaced by numbers.",) if replaced else ()
    return LabelledVolume(volume.geometry, volume.layers, tuple(segments)), notes


def deidentify(dataset: Dataset, key: str, words: Iterable[str] = ()) -> None:
    """Remove from a DICOM object, in place, what can tell who the patient is.

    Parameters
    ----------
    dataset : Dataset
        Whole, pixels included; they are not touched.
    key : str
        Secret of the site. The same key gives the same new UIDs and the same patient ID.
    words : iterable of str
        Texts that may stay where names of structures stand: cleaned names, tracking IDs.
    """
    patient = _text(dataset, "PatientID") or _text(dataset, "StudyInstanceUID")
    with limits.quiet():
        _treat(dataset, _actions(), key, frozenset(words) | _OURS | _DIMENSIONS)
    dataset.PatientID = dataset.PatientName = pseudonym(patient, key)
    dataset.PatientIdentityRemoved = "YES"
    dataset.DeidentificationMethod = "PS3.15 2026c basic profile, clean descriptors"
    dataset.DeidentificationMethodCodeSequence = [code_to_item(code) for code in METHODS]
    dataset.LongitudinalTemporalInformationModified = "REMOVED"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.preamble = b"\0" * 128
    syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID


def deidentify_object(path: Path, key: str, volume: LabelledVolume) -> None:
    """De-identify, in place, an object that was written here, of masks with clean names."""
    dataset = instances.read_dataset(path)
    words = {word for s in volume.segments for word in (s.name, s.tracking_id)}
    numbered = {word for s in volume.renumber().segments for word in (s.name, s.tracking_id)}
    deidentify(dataset, key, words | numbered)
    dataset.save_as(path, enforce_file_format=True)


def remap_volume(volume: LabelledVolume, key: str) -> LabelledVolume:
    """Return the volume with the UIDs that stand for its own under a key."""
    uids = ("series_uid", "study_uid", "frame_of_reference_uid")
    geometry = replace(volume.geometry, **{u: remap_uid(getattr(volume.geometry, u), key) for u in uids})
    segments = (replace(s, tracking_uid=remap_uid(s.tracking_uid, key)) for s in volume.segments)
    return LabelledVolume(geometry, volume.layers, tuple(segments))


def deidentify_file(source: Path, target: Path, key: str) -> Looked:
    """Write a de-identified copy of a DICOM image, its pixels unpacked; return what was seen in them.

    Raises
    ------
    UnreadableFileError
        When it cannot be read, or an element that says what the pixels mean would be lost.
    """
    with limits.quiet(), limits.refusal(source, "it is no readable DICOM file"):
        dataset = instances.read_dataset(source)
        written_on = burned_in(dataset)
        overlaid = any(tag.group & 0xFF00 == 0x6000 for tag in list(dataset.keys()))
        had_more = stored.write_anew(source, dataset)
        meant = _meaning_of_pixels(dataset)
        deidentify(dataset, key)
        if _meaning_of_pixels(dataset) != meant:
            cause = "its copy would lose what its pixels mean (rescaling or size)"
            raise UnreadableFileError(source, cause, "Export without copies of the images.")
        _afresh(dataset).save_as(target, enforce_file_format=True)
    return Looked(written_on, overlaid or had_more)


def _afresh(dataset: Dataset) -> Dataset:
    """Return a data set of the same elements that may be written in another byte order than it was read."""
    fresh = Dataset(dict(dataset))
    fresh.file_meta, fresh.preamble = dataset.file_meta, dataset.preamble
    return fresh


def burned_in(header: Dataset) -> bool:
    """Return whether an image says, or is of a kind, that text is drawn in its pixels."""
    said = str(header.get("BurnedInAnnotation") or "").upper()
    if said in ("YES", "NO"):
        return said == "YES"
    captured = "SECONDARY" in (header.get("ImageType") or ()) or header.get("ConversionType")
    coloured = header.get("SamplesPerPixel") not in (None, 1)
    return bool(captured or coloured) or header.get("Modality") in _OFTEN_WRITTEN_ON


def remap_uid(uid: str, key: str) -> str:
    """Return the UID that stands for `uid` under a key; the standard's own ones stay."""
    if not uid or uid in UID_dictionary or uid == LABEL_MAP:  # newer than pydicom's list
        return uid
    return generate_uid(entropy_srcs=[key, uid])


def pseudonym(patient: str, key: str) -> str:
    """Return what a patient is called under a key."""
    digest = hmac.new(key.encode("utf-8"), patient.encode("utf-8", "surrogatepass"), hashlib.sha256)
    return f"case-{digest.hexdigest()[:16]}"


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "")
    except limits.FOREIGN_FAILURES:
        return ""


def _actions() -> dict:
    """Return what the profile makes of each element: a dummy, or nothing; not of UIDs."""
    apart = (replace_UID, delete_or_empty_or_replace_UID, keep)
    return {tag: action for tag, action in initialize_actions(STANDARD).items() if action not in apart}


def _treat(dataset: Dataset, actions: dict, key: str, words: frozenset[str]) -> None:
    """Leave in a data set, and in every item of its sequences, what may stay."""
    for tag in list(dataset.keys()):
        place = (tag.group, tag.element)
        written = kept.keyword_of(tag) in kept.WRITTEN
        action = None if written else actions.get(place)
        if action is None and not kept.is_listed(tag):
            del dataset[tag]
            continue
        try:
            if action is not None:
                _dummy(dataset, place, action)
            else:
                _keep(dataset, tag, actions, key, words)
        except (NotImplementedError, *limits.FOREIGN_FAILURES):  # no value of its kind, or damaged
            dataset.pop(tag, None)


def _dummy(dataset: Dataset, place: tuple[int, int], action: Callable) -> None:
    """Do what the profile says with an element; of sequences and bytes nothing stays."""
    if dataset[place].VR in ("SQ", "UI") or isinstance(dataset[place].value, bytes):
        action = delete
    action(dataset, place)


def _keep(dataset: Dataset, tag, actions: dict, key: str, words: frozenset[str]) -> None:
    """Keep what may stay of a listed element."""
    element = dataset[tag]
    if element.keyword in kept.PIXELS:
        return
    if element.keyword not in kept.SEQUENCES:
        clean = kept.clean_element(dataset, element, lambda uid: remap_uid(uid, key), words)
        if clean is None:
            del dataset[tag]
        else:
            dataset[tag] = clean
        return
    if element.VR != "SQ":
        raise TypeError("not a sequence")
    if element.keyword.endswith("CodeSequence") or element.keyword == "AnatomicRegionSequence":
        _keep_codes(dataset, tag, actions, key, words)
        return
    for item in element.value:
        _treat(item, actions, key, words)
    if not any(len(item) for item in element.value) and len(element.value):
        del dataset[tag]


def _keep_codes(dataset: Dataset, tag, actions: dict, key: str, words: frozenset[str]) -> None:
    """Keep the codes of a sequence that the standard lists, with their modifiers."""
    items = []
    for item in dataset[tag].value:
        modifier = "SegmentedPropertyTypeModifierCodeSequence"
        more = item.get(modifier)
        if kept.is_known_code(item):
            if more:
                setattr(item, modifier, more)
                _keep(item, item[modifier].tag, actions, key, words)
            items.append(item)
    if items:
        dataset[tag].value = items
    else:
        del dataset[tag]


def _meaning_of_pixels(dataset: Dataset) -> tuple:
    """Return, for comparison, what says how pixels become values, in the data set and its groups."""
    words = (
        "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "BitsAllocated", "BitsStored", "HighBit",
        "PixelRepresentation", "PhotometricInterpretation", "RescaleSlope", "RescaleIntercept",
        "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
    )  # fmt: skip
    groups = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence",
              "PixelValueTransformationSequence", "ModalityLUTSequence")  # fmt: skip
    nested = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *groups)
    own = tuple(_numbers(dataset.get(word)) for word in words)
    below = (dataset.get(name) or () for name in nested)
    return own, tuple(tuple(_meaning_of_pixels(item) for item in items) for items in below)


def _numbers(value: object) -> object:
    """Return a value, or each of several, as numbers where they are."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        return value
    several = value if hasattr(value, "__iter__") else [value]
    return tuple(float(f"{float(n):.9g}") for n in several)
