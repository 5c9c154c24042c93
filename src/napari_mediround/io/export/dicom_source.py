"""The DICOM images that masks were drawn on: their whole headers, and which frame is which plane."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.datadict import dictionary_VR
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from napari_mediround.domain.geometry import Geometry
from napari_mediround.errors import SettingsError, UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.dicom import instances
from napari_mediround.io.dicom.codes import read_uid
from napari_mediround.io.dicom.frames import Frame, choose_volume, frames_of
from napari_mediround.io.dicom.strays import split_strays

_PLAIN = "Export NIfTI, PNG or .seg.nrrd."
_NO_SERIES = "Open the image from its DICOM files, or export NIfTI or .seg.nrrd."
_ELSE = "Export NIfTI or .seg.nrrd."
_NO_FRAME = "The images name no frame of reference: the export names one of its own."
_FRAME_OF_SOME = "Some of the images name no frame of reference: the export names that of the others."
_FAR = 0.25
"""A frame further from a plane than this share of the spacing belongs to another plane."""

# Type 2 in the patient and study modules (PS3.3 C.7.1.1, C.7.2.1): may be empty, must be there.
_MAY_BE_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "StudyID",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class DicomSource:
    """Headers of a series, and the frame of each plane of a grid.

    Parameters
    ----------
    headers : tuple of Dataset
        Without pixels; of several files each is one plane, in the order of the grid's planes; a multi-frame
        file stands alone.
    frames : tuple of Frame
        One for each plane of the grid.
    notes : tuple of str
        What the images lacked.
    """

    headers: tuple[Dataset, ...]
    frames: tuple[Frame, ...]
    notes: tuple[str, ...] = ()

    @property
    def modality(self) -> str:
        """DICOM's code, "" where the images do not say."""
        return str(self.headers[0].get("Modality") or "")

    @property
    def is_multiframe(self) -> bool:
        """Whether one file holds all planes."""
        return int(self.headers[0].get("NumberOfFrames") or 1) > 1

    def header_of(self, plane: int) -> Dataset:
        """Return the header of the file that holds a plane."""
        return self.headers[0] if self.is_multiframe else self.headers[plane]


def read_source(path: Path, grid: Geometry) -> DicomSource:
    """Read the headers of the series that a grid came from.

    Parameters
    ----------
    path : Path
        What was opened: a DICOM file, or a folder with the series among others.
    grid : Geometry
        The source's own, with its series UID.

    Raises
    ------
    SettingsError
        When the grid is not that of a DICOM series with positions.
    UnreadableFileError
        When the files are no longer what they were: a plane has no frame.
    """
    if grid.series_uid and not grid.oriented:
        raise SettingsError(f"The image has no position in the patient, and DICOM objects need one. {_PLAIN}")
    if not grid.series_uid:
        raise SettingsError(f"DICOM objects point at the DICOM images they belong to. {_NO_SERIES}")
    if not (path.is_dir() or path.is_file()):
        raise UnreadableFileError(path, "the DICOM files are not there any more", "Open them again.")
    with limits.quiet(), limits.refusal(path, "its DICOM headers cannot be read again"):
        files = _files(path, grid.series_uid)
        headers = [pydicom.dcmread(file, stop_before_pixels=True, force=True) for file in files]
        return match_source(path, headers, grid)


def _files(path: Path, series_uid: str) -> list[Path]:
    if not path.is_dir():
        return [path]
    series = {read_uid(uid): headers for uid, headers in instances.scan(path).series.items()}
    if series_uid not in series:
        cause = "the series of the image is not in this folder"
        raise UnreadableFileError(path, cause, "Choose the folder that the image was opened from.")
    return [Path(header.filename) for header in split_strays(series[series_uid])[0]]


def match_source(path: Path, headers: list[Dataset], grid: Geometry) -> DicomSource:
    """Return the headers of a grid's volume in the order of its planes.

    Raises
    ------
    UnreadableFileError
        When a plane has no frame, the series has no such volume, the planes are spread over several
        multi-frame files, or the images do not say what an object of theirs must say.
    """
    owners = {Path(header.filename): header for header in headers}
    frames = [frame for header in headers for frame in frames_of(header)]
    placed = [f for f in frames if f.position is not None and f.orientation is not None]
    shown = choose_volume(path, placed, grid.volume) if placed else []
    found = [_nearest(path, shown, grid, plane) for plane in range(grid.shape[0])]
    chosen = [(owners[frame.path], frame) for frame in found]
    used = list({id(header): header for header, _ in chosen}.values())
    if len(used) > 1 and len(used) < len(chosen):
        raise UnreadableFileError(path, "its planes lie in several multi-frame files", _NO_SERIES)
    _check_identity(path, used)
    for header in used:
        if (header.get("Rows"), header.get("Columns")) != grid.shape[1:]:
            raise UnreadableFileError(path, "its images have another size than the masks", "Open it again.")
        header.decode()
    notes = _mend_all(used)
    for header in used:
        _share(header, used[0], grid.spacing_mm[0])
        header.SpecificCharacterSet = "ISO_IR 192"
    named = [uid for header in used if (uid := read_uid(header.get("FrameOfReferenceUID")))]
    if len(named) < len(used):
        notes += (_FRAME_OF_SOME if named else _NO_FRAME,)
    # From the series, so that all exports of it agree.
    own = generate_uid(entropy_srcs=[grid.series_uid, "frame of reference"])
    for header in used:
        header.FrameOfReferenceUID = next(iter(named), own)
    return DicomSource(tuple(used), tuple(frame for _, frame in chosen), notes)


def _check_identity(path: Path, headers: list[Dataset]) -> None:
    """Refuse images that do not say which they are, or that are of several studies or frames of reference.

    Raises
    ------
    UnreadableFileError
        Naming the element.
    """
    for keyword in ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        for header in headers:
            said = str(header.get(keyword) or "")
            if not said or read_uid(said) != said:
                cause = f"its images do not say their {keyword}, to which DICOM masks refer"
                raise UnreadableFileError(path, cause, _ELSE)
    for keyword in (
        "SOPClassUID",
        "StudyInstanceUID",
        "SeriesInstanceUID",
        "FrameOfReferenceUID",
        "PatientID",
    ):
        if len({str(header.get(keyword) or "") for header in headers} - {""}) > 1:
            cause = f"its images differ in {keyword}, of which DICOM masks have one"
            raise UnreadableFileError(path, cause, _ELSE)


def _mend_all(headers: list[Dataset]) -> tuple[str, ...]:
    """Put right what the patient and study modules may leave empty; return what had to be emptied."""
    emptied: dict[str, None] = {}
    for header in headers:
        for keyword in _MAY_BE_EMPTY:
            try:
                had = bool(str(header.get(keyword) or ""))
                _mend(header, keyword)
            except limits.FOREIGN_FAILURES:
                had = True
                header.pop(keyword, None)
                setattr(header, keyword, "")
            if had and not header[keyword].value:
                emptied[keyword] = None
    if not emptied:
        return ()
    return (f"The images have no valid {', '.join(emptied)}: empty in the export.",)


def _mend(header: Dataset, keyword: str) -> None:
    """Empty what is none, or not one; "09:11:56" of ACR-NEMA is written as DICOM does (PS3.5 6.2)."""
    if keyword not in header or dictionary_VR(keyword) != header[keyword].VR:
        header.pop(keyword, None)
        setattr(header, keyword, "")
    value, kind = header[keyword].value, {"DA": DA, "TM": TM}.get(header[keyword].VR)
    if isinstance(value, MultiValue | list):
        setattr(header, keyword, "")
    elif kind is not None:
        text = str(value or "").replace("." if kind is DA else ":", "")
        try:
            kind(text)
        except ValueError:
            text = ""
        setattr(header, keyword, text)
    elif keyword == "PatientSex" and value not in ("M", "F", "O"):
        header.PatientSex = ""  # PS3.3 C.7.1.1; highdicom takes nothing else


def _share(header: Dataset, first: Dataset, spacing_mm: float) -> None:
    """State once, in this copy of a header, what the reader found equal for all planes: highdicom insists."""
    if not header.get("PerFrameFunctionalGroupsSequence"):
        header.ImageOrientationPatient = first.ImageOrientationPatient
        header.PixelSpacing = first.PixelSpacing
        header.SliceThickness = header.get("SliceThickness") or spacing_mm
        return
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    for keyword in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        own = header.PerFrameFunctionalGroupsSequence[0].get(keyword)
        if keyword not in shared and own:
            setattr(shared, keyword, own)
    header.SharedFunctionalGroupsSequence = [shared]


def _nearest(path: Path, frames: list[Frame], grid: Geometry, plane: int) -> Frame:
    place = grid.affine[:3, 3] + plane * grid.affine[:3, 0]
    far = max(_FAR * grid.spacing_mm[0], 0.2)
    distances = [float(np.linalg.norm(frame.position - place)) for frame in frames]
    if not distances or min(distances) > far:
        cause = f"no image lies where plane {plane} is"
        raise UnreadableFileError(path, cause, "Choose the files that the image was opened from.")
    return frames[int(np.argmin(distances))]
