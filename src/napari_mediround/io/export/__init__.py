"""Masks out; each file is read back by another library before it takes its name. No torch and no Qt."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from numpy.typing import NDArray

from napari_mediround import files
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.errors import CancelledError, MismatchError, SettingsError, UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.export import deidentify
from napari_mediround.io.export.dicom_source import DicomSource, read_source
from napari_mediround.io.export.formats import FORMATS, MEASUREMENTS, Format, Sources, guess_format, misfits
from napari_mediround.io.export.measurements import check_measurements, write_measurements
from napari_mediround.io.export.receipt import Check, Receipt, Volumes, compare, describe_file

__all__ = ["FORMATS", "MEASUREMENTS", "Options", "Receipt", "export", "guess_format", "misfits"]

RECEIPT = ".receipt.json"
"""Ending of the receipt that lies beside an export."""

_CANNOT = (ValueError, TypeError, LookupError, AttributeError, NotImplementedError, ArithmeticError)
_ONE_PLACE = (
    "The image's sform and qform differ, and this format holds one place, the sform's: a program that goes "
    "by the qform (3D Slicer, ITK-SNAP) shows these masks beside the image. A NIfTI label map fits in all."
)
_NO_SPACING = "The image does not state its spacing: nothing is measured in millimetres or millilitres."
_NO_DEPTH = "The image does not state the depth of its planes: no volume, no length in 3-D is measured."
_NO_PLACE = "This format holds no geometry: the label values alone were compared."


@dataclass(frozen=True, eq=False)
class Options:
    """How to export.

    Parameters
    ----------
    overwrite : bool
        Whether files of the same name may be replaced.
    key : str
        Not empty: the export leaves the site, and is de-identified with this secret.
    with_images : bool
        Of a de-identified DICOM export, also write de-identified copies of the images, into a folder beside.
    dicom : Path, optional
        The DICOM file or folder that the image was opened from.
    pixels : ndarray, optional
        Grey values (plane, row, column) on the masks' grid, for measurements.
    left_out : tuple of str
        Masks that stay behind, in words: the receipt names them, or counts them where it leaves the site.
    notes : tuple of str
        For the receipt; nothing of a person.
    report : callable
        Told what is being done.
    cancelled : callable
        Asked between steps; True stops, and nothing was written.
    """

    overwrite: bool = False
    key: str = ""
    with_images: bool = False
    dicom: Path | None = None
    pixels: NDArray | None = None
    left_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    report: Callable[[str], object] = field(default=lambda text: None)
    cancelled: Callable[[], bool] = field(default=lambda: False)

    def step(self, text: str) -> None:
        """Say what comes next.

        Raises
        ------
        CancelledError
            When the user cancelled.
        """
        if self.cancelled():
            raise CancelledError("The export was cancelled; nothing was written.")
        self.report(text)


def export(volume: LabelledVolume, path: Path, form: str = "", options: Options | None = None) -> Receipt:
    """Write masks, read them back with another library, and put the files in place if they are equal.

    Parameters
    ----------
    volume : LabelledVolume
        On the grid of the source file.
    path : Path
        The main file; its receipt, `<name>.receipt.json`, and what else the format needs lie beside it.
    form : str
        A key of `FORMATS` or "csv"; by default what the path's ending means.
    options : Options, optional
        How.

    Returns
    -------
    Receipt
        All of whose checks agree.

    Raises
    ------
    ExistingFileError
        When a file would be replaced and `overwrite` is False; nothing was written.
    MismatchError
        When the file did not read back as it was meant; it is there, its name ending in `.mismatch`.
    SettingsError
        When the format does not fit the path or the image, or there is no mask.
    CancelledError
        When it was cancelled; nothing was written.
    UnreadableFileError
        When the DICOM images cannot be read again.
    """
    path, options = Path(path), options or Options()
    form = form or guess_format(path)
    _check(volume, path, form, options)
    notes: tuple[str, ...] = ()
    if options.key:
        volume, notes = deidentify.clean_names(volume, load_anatomy())
    with files.staging(path.parent) as stage:
        if form == MEASUREMENTS:
            receipt, written = _measure(volume, stage / path.name, options)
        else:
            receipt, written = _write(volume, stage / path.name, FORMATS[form], options)
        more = (*_left_out(options), *_unmeasured(volume.geometry))
        receipt = replace(receipt, notes=(*notes, *more, *receipt.notes))
        report = stage / (path.name + RECEIPT)
        text = json.dumps(receipt.to_dict(), indent=2, ensure_ascii=False) + "\n"
        report.write_bytes(text.encode("utf-8", "backslashreplace"))  # a name that is no text: as JSON has it
        options.step("Putting the files in place …")
        everything = [report, *written]
        if not options.overwrite:
            files.refuse_existing(path.parent / file.name for file in everything)
        if not receipt.ok:
            files.move_all(everything, path.parent, True, files.MISMATCH)
            raise MismatchError(
                f"{path.name} did not read back as it was meant and is marked {files.MISMATCH}. "
                f"Do not use it.\n{receipt.to_text()}",
                receipt,
            )
        files.move_all(everything, path.parent, options.overwrite)
    return receipt


def _check(volume: LabelledVolume, path: Path, form: str, options: Options) -> None:
    """Refuse, before anything is written, what cannot come out right."""
    if not volume.segments:
        raise SettingsError("There is no mask to export. Ask for a structure first.")
    if form not in (*FORMATS, MEASUREMENTS):
        raise SettingsError(f"There is no format {form!r}. Choose one of {', '.join(FORMATS)} or csv.")
    suffixes = FORMATS[form].suffixes if form in FORMATS else (".csv",)
    if not path.name.lower().endswith(suffixes):
        raise SettingsError(f"{path.name}: the name of this format ends in {' or '.join(suffixes)}.")
    if form in FORMATS and FORMATS[form].dicom and options.dicom is None:
        raise SettingsError(
            f"{FORMATS[form].title} points at the DICOM images it belongs to. "
            "Open the image from its DICOM files, or export NIfTI or .seg.nrrd."
        )
    if options.key and form in FORMATS and FORMATS[form].stays:
        raise SettingsError(
            f"{FORMATS[form].title} cannot leave the site: no de-identified form of it is written. "
            "Export the DICOM Segmentation or the table of measurements."
        )
    if options.with_images and not options.key:
        raise SettingsError("Copies of the images are written for de-identified exports only.")
    if options.with_images:
        files.refuse_existing([image_folder(path)])
    if not options.overwrite:
        files.refuse_existing([path, path.with_name(path.name + RECEIPT)])


def _write(
    volume: LabelledVolume, path: Path, form: Format, options: Options
) -> tuple[Receipt, tuple[Path, ...]]:
    """Write and read back one format; return the receipt and the files."""
    volume, notes = _fit(volume, form)
    source = None
    if form.dicom:
        options.step("Reading the DICOM headers …")
        source = read_source(options.dicom, volume.geometry)
        notes += source.notes
        volume = replace(volume, geometry=replace(volume.geometry, **_uids_of(source)))
    options.step(f"Writing {form.title} …")
    sources = Sources(source, options.pixels, options.cancelled)
    with _refusal(form):
        written = form.write(volume, path, sources)
    if options.key and form.dicom:
        options.step("Removing what tells who the patient is …")
        deidentify.deidentify_object(path, options.key, volume)
        volume = deidentify.remap_volume(volume, options.key)
        if options.with_images:
            written, more = _images(source, path, options, written)
            notes += more
    options.step(f"Reading back with {form.reader} …")
    checks, segments, dice = _look_again(volume, path, form)
    checks += form.check(volume, path, sources)
    hashes = tuple(describe_file(file) for file in written if file.is_file())
    return Receipt(form.title, hashes, form.reader, segments, checks, dice, notes), written


@contextmanager
def _refusal(form: Format) -> Iterator[None]:
    """Turn what a library raises at images that it cannot write masks for into one `SettingsError`."""
    try:
        yield
    except _CANNOT as error:
        raise SettingsError(
            f"{form.title} cannot be written for these images ({type(error).__name__} in the library that "
            "writes it): their headers are unusual. Export NIfTI or .seg.nrrd."
        ) from error


def _look_again(
    volume: LabelledVolume, path: Path, form: Format
) -> tuple[tuple[Check, ...], tuple[Volumes, ...], tuple[tuple[str, float], ...]]:
    """Read a file back and compare; one that cannot be read is not what was meant."""
    try:
        return compare(volume, form.read(path, volume.geometry), form.fields, form.exact, form.placed)
    except UnreadableFileError as error:
        why = f"{error.cause}. {error.remedy}"
    except limits.FOREIGN_FAILURES as error:
        why = f"{type(error).__name__} while it was read"
    return (Check("the file", "readable", why, False),), (), ()


def _uids_of(source: DicomSource) -> dict[str, str]:
    """Return what masks of these images must name, as fields of `Geometry`."""
    header = source.headers[0]
    return {
        "series_uid": str(header.SeriesInstanceUID),
        "study_uid": str(header.StudyInstanceUID),
        "frame_of_reference_uid": str(header.FrameOfReferenceUID),
    }


def _fit(volume: LabelledVolume, form: Format) -> tuple[LabelledVolume, tuple[str, ...]]:
    """Return the volume as the format can hold it, and what is lost."""
    notes = () if form.placed else (_NO_PLACE,)
    forms = volume.geometry.forms
    if form.placed and forms is not None and forms.differ and form is not FORMATS["nifti"]:
        notes += (_ONE_PLACE,)
    if not form.overlaps:
        volume, hidden = volume.flatten()
        notes += tuple(
            f"{count} voxels of {name} lie under earlier masks and are not in this file."
            for name, count in hidden.items()
        )
    return volume, notes


def _measure(volume: LabelledVolume, path: Path, options: Options) -> tuple[Receipt, tuple[Path, ...]]:
    options.step("Measuring …")
    written = write_measurements(volume, path, options.pixels)
    checks, segments = check_measurements(volume, path, options.pixels)
    notes = () if options.pixels is not None else ("No image was given: intensities are not measured.",)
    hashes = tuple(describe_file(file) for file in written)
    return Receipt("Measurements", hashes, "Python's csv", segments, checks, (), notes), written


def _left_out(options: Options) -> tuple[str, ...]:
    """Return what the receipt says of masks that stay behind; names of masks may be anything."""
    if not options.left_out:
        return () if options.key else options.notes
    if options.key:
        return (f"{len(options.left_out)} masks that nobody accepted were left out.",)
    return (*options.notes, f"Left out, as nobody accepted them: {', '.join(options.left_out)}.")


def _unmeasured(grid: Geometry) -> tuple[str, ...]:
    """Return what the receipt says where sizes are unknown."""
    return () if grid.has_volume else (_NO_DEPTH if grid.calibrated else _NO_SPACING,)


def _images(
    source: DicomSource, path: Path, options: Options, written: tuple[Path, ...]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write de-identified copies of the images; return all files and what must be looked at."""
    folder = image_folder(path)
    folder.mkdir()
    looked = []
    for number, header in enumerate(source.headers):
        options.step(f"De-identifying image {number + 1} of {len(source.headers)} …")
        target = folder / f"{number:04d}.dcm"
        looked.append(deidentify.deidentify_file(Path(header.filename), target, options.key))
    notes = [f"{len(source.headers)} de-identified images lie in {folder.name}."]
    notes += [deidentify.BURNED_IN] * any(image.written_on for image in looked)
    if several := sum(image.had_more for image in looked):
        notes.append(deidentify.OVERLAYS.format(several))
    return (folder, *written), tuple(notes)


def image_folder(path: Path) -> Path:
    """Return the folder beside an export for de-identified copies of its images."""
    return path.with_name(f"{path.name.split('.')[0]}_images")
