"""Which DICOM files lie in a folder and which series they make up. Reads headers, never pixels."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial
from pydicom.tag import Tag

from napari_mediround.domain.geometry import Geometry, plane_of_normal
from napari_mediround.errors import SeriesChoiceError, UnreadableFileError, printable
from napari_mediround.io import limits
from napari_mediround.io.dicom.codes import read_modality, read_uid
from napari_mediround.io.dicom.frames import first_frame
from napari_mediround.io.dicom.packed import check_deflated
from napari_mediround.io.dicom.strays import describe_files, split_strays

DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")

NOT_IMAGES = {
    "SEG": "a segmentation",
    "RTSTRUCT": "a structure set",
    "RTPLAN": "a treatment plan",
    "RTDOSE": "a dose grid",
    "SR": "a structured report",
    "PR": "a presentation state",
    "KO": "a list of key images",
    "REG": "a registration",
    "RWV": "a map of real-world values",
    "DOC": "a document",
    "ECG": "a curve",
}
"""DICOM modalities that are no images to segment, in words."""

APPLE_DOUBLE = b"\x00\x05\x16\x07"
"""How a companion file of macOS begins."""

MAX_ELEMENTS = 20_000
"""Elements of one data set, those in its sequences not counted, above which it is taken for damage."""

_PIXELS = (0x7FE00008, 0x7FE00009, 0x7FE00010)  # float, double, integer
_MEDIA_DIRECTORY = "1.2.840.10008.1.3.10"
_DAMAGED = "Copy or export the file again."
_NO_PIXELS = "a DICOM object without pixels"

# Everything that `dicom_frames` and `dicom` ask of a header; reading no more keeps large folders quick.
_KEYWORDS = (
    "SOPClassUID",
    "SOPInstanceUID",
    "PatientID",
    "PatientName",
    "Modality",
    "ImageType",
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "ImagerPixelSpacing",
    "SliceThickness",
    "SpacingBetweenSlices",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "InstanceNumber",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "EchoTime",
    "TriggerTime",
    "DiffusionBValue",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "SequenceOfUltrasoundRegions",
    "SeriesDescription",  # for the chooser on the screen alone
)
_TAGS = [Tag(keyword) for keyword in _KEYWORDS]


@dataclass(frozen=True)
class SeriesInfo:
    """One series of a folder, described without patient data but for `description`.

    Parameters
    ----------
    uid : str
        SeriesInstanceUID, "" when the files have none.
    modality : str
        DICOM's code.
    label : str
        Modality, plane and size ("CT axial 512x512x120"); never the series description.
    files : tuple of Path
        In the order of their names.
    shape : tuple of int
        (frames, rows, columns); frames of several volumes are counted together.
    description : str
        SeriesDescription, "" for none. It may name a patient: for the screen only.
    """

    uid: str
    modality: str
    label: str
    files: tuple[Path, ...]
    shape: tuple[int, int, int]
    description: str = ""


def looks_like_dicom(path: Path) -> bool:
    """Return whether the file starts as a DICOM file, with a preamble or, as old ones, without."""
    try:
        with open(path, "rb") as file:
            start = file.read(132)
    except OSError as error:
        raise UnreadableFileError(path, "it cannot be opened", "Check its permissions.") from error
    return start[128:] == b"DICM" or start[:2] in (b"\x08\x00", b"\x02\x00")


def read_header(path: Path) -> Dataset:
    """Return the header of one DICOM file, with `filename` set; pixels are not read.

    Raises
    ------
    UnreadableFileError
        When the file is damaged, or is a DICOMDIR.
    """
    try:
        header = read_dataset(path, pixels=False)
        for tag in list(header.keys()):
            header[tag]  # converts the raw value, so that damage shows here
    except limits.FOREIGN_FAILURES as error:
        raise UnreadableFileError(path, "its DICOM header is damaged or cut short", _DAMAGED) from error
    meta = getattr(header, "file_meta", {})
    if _MEDIA_DIRECTORY in (header.get("SOPClassUID"), meta.get("MediaStorageSOPClassUID")):
        raise UnreadableFileError(path, "it is the table of contents of a disk", "Open the folder instead.")
    if not len(header):
        raise UnreadableFileError(path, "it holds no DICOM header, or a damaged one", _DAMAGED)
    return header


def check_frame(path: Path, named: Iterable[object], grid: Geometry) -> None:
    """Refuse masks of another patient or examination, whose coordinates mean other places.

    Parameters
    ----------
    path : Path
        For the message.
    named : iterable
        Frame of reference UIDs of the masks; missing ones are doubted no further.
    grid : Geometry
        Of the images.

    Raises
    ------
    UnreadableFileError
        When the images and the masks name frames of reference, and not the same.
    """
    uids = {read_uid(uid) for uid in named} - {""}
    if uids and grid.frame_of_reference_uid and grid.frame_of_reference_uid not in uids:
        cause = "it belongs to images of another frame of reference"
        raise UnreadableFileError(path, cause, "Open the images that it was drawn on.")


def read_dataset(path: Path, pixels: bool = True) -> Dataset:
    """Return the data set of a file: all of it, or only what `dicom_frames` and `dicom` ask of a header.

    Raises
    ------
    ValueError
        When it has more than `MAX_ELEMENTS` elements; and whatever pydicom raises on damage.
    """
    count = 0

    def is_enough(tag: int, *_: object) -> bool:
        nonlocal count
        count += 1
        if count > MAX_ELEMENTS:
            raise ValueError("more elements than any image has")
        return not pixels and tag in _PIXELS

    check_deflated(path)
    with open(path, "rb") as file:
        return read_partial(file, is_enough, force=True, specific_tags=None if pixels else _TAGS)


def is_image(header: Dataset) -> bool:
    """Return whether a header describes pixels of an image (no segmentation, report, structure set, …)."""
    return str(header.get("Modality")) not in NOT_IMAGES and bool(
        header.get("Rows") and header.get("Columns")
    )


def check_is_image(path: Path, header: Dataset) -> None:
    """Refuse a DICOM object without an image.

    Raises
    ------
    UnreadableFileError
        Naming what the object is.
    """
    if not is_image(header):
        kind = NOT_IMAGES.get(str(header.get("Modality")), _NO_PIXELS)
        raise UnreadableFileError(path, f"it is {kind}, not an image", "Open the image series it belongs to.")


@dataclass(frozen=True, eq=False)
class Folder:
    """The DICOM images under a folder.

    Parameters
    ----------
    series : dict
        Headers by SeriesInstanceUID, each list in the order of file names.
    left_out : tuple of str
        Which other files there are, in words.
    """

    series: dict[str, list[Dataset]]
    left_out: tuple[str, ...]


def scan(folder: Path) -> Folder:
    """Return the image headers under a folder by series.

    Files that are no DICOM are passed over; copies of one instance count once.

    Raises
    ------
    UnreadableFileError
        When a DICOM file is damaged, or there is no image at all.
    """
    series: dict[str, dict[str, Dataset]] = {}
    others: dict[str, list[Path]] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name.upper() != "DICOMDIR"):
        if not looks_like_dicom(path):
            if _is_companion(path):
                others.setdefault("a companion that macOS made", []).append(path)
            elif path.suffix.lower() in DICOM_SUFFIXES:
                raise UnreadableFileError(path, "it is empty or no DICOM file", "Copy it again or remove it.")
            continue
        header = read_header(path)
        if is_image(header):
            instance = str(header.get("SOPInstanceUID") or path)
            of_series = series.setdefault(read_uid(header.get("SeriesInstanceUID")), {})
            _check_copy(path, header, of_series.setdefault(instance, header))
        else:
            others.setdefault(NOT_IMAGES.get(str(header.get("Modality")), _NO_PIXELS), []).append(path)
    if not series:
        found = f"only {', '.join(sorted(others))}" if others else "no DICOM file"
        raise UnreadableFileError(
            folder,
            f"there is {found} in this folder",
            "Choose a folder with images, or give another kind of file itself.",
        )
    left_out = tuple(describe_files(what, files) for what, files in sorted(others.items()))
    return Folder({uid: list(headers.values()) for uid, headers in sorted(series.items())}, left_out)


def _is_companion(path: Path) -> bool:
    """Whether a file is what macOS puts beside a file that it copies to a foreign disk."""
    with open(path, "rb") as file:
        return file.read(len(APPLE_DOUBLE)) == APPLE_DOUBLE


def _check_copy(path: Path, header: Dataset, kept: Dataset) -> None:
    """Refuse two slices that call themselves one: the second would be lost without a word."""
    for keyword in ("ImagePositionPatient", "InstanceNumber", "NumberOfFrames"):
        if header.get(keyword) != kept.get(keyword):
            cause = f"it and {Path(kept.filename).name} carry one SOPInstanceUID and differ in {keyword}"
            raise UnreadableFileError(path, cause, "Export the series again.")


def describe_series(headers: list[Dataset]) -> SeriesInfo:
    """Return the description of one series, given its headers."""
    headers, _ = split_strays(headers)
    first = headers[0]
    frames = sum(int(header.get("NumberOfFrames") or 1) for header in headers)
    shape = (frames, int(first.Rows), int(first.Columns))
    size = f"{shape[2]}x{shape[1]}" + (f"x{frames}" if frames > 1 else "")
    modality = read_modality(first.get("Modality"))
    orientation = first_frame(first).orientation
    plane = "" if orientation is None else plane_of_normal(np.cross(*orientation))
    label = " ".join(word for word in (modality or "image", plane, size) if word)
    files = tuple(Path(header.filename) for header in headers)
    description = printable(str(first.get("SeriesDescription") or "").strip())
    return SeriesInfo(read_uid(first.get("SeriesInstanceUID")), modality, label, files, shape, description)


def choose_series(
    folder: Path, found: Folder, choice: str | int | None
) -> tuple[list[Dataset], tuple[str, ...]]:
    """Return the headers of the chosen series, or of the only one, and what was left out.

    Parameters
    ----------
    folder : Path
        For the message.
    found : Folder
        As `scan` returned it.
    choice : str or int, optional
        A SeriesInstanceUID, or the 1-based number in the order of UIDs.

    Raises
    ------
    SeriesChoiceError
        When there are several and none was chosen, or the chosen one is not there.
    """
    uids, chosen = list(found.series), None
    if choice is None and len(uids) == 1:
        chosen = uids[0]
    elif choice is not None and (uid := read_uid(choice)) in found.series:
        chosen = uid
    elif str(choice).isdecimal() and 1 <= int(choice) <= len(uids):
        chosen = uids[int(choice) - 1]
    if chosen is not None:
        headers, strays = split_strays(found.series[chosen])
        return headers, (*strays, *found.left_out)
    infos = tuple(describe_series(headers) for headers in found.series.values())
    lines = "".join(f"\n  {k}: {info.label}, series {info.uid}" for k, info in enumerate(infos, 1))
    what = f"holds {len(infos)} series" if choice is None else f"has no series {printable(choice)}"
    raise SeriesChoiceError(
        f"{printable(folder)}: the folder {what}. Choose one by its number or UID:{lines}", infos
    )
