"""Masks out; each file is read back by another library before it takes its name. No torch and no Qt."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from numpy.typing import NDArray

from napari_mediround import files
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.errors import CancelledError, MismatchError, SettingsError
from napari_mediround.io.export import deidentify
from napari_mediround.io.export.dicom_source import DicomSource, read_source
from napari_mediround.io.export.formats import FORMATS, MEASUREMENTS, Format, Sources, guess_format
from napari_mediround.io.export.measurements import check_measurements, write_measurements
from napari_mediround.io.export.receipt import Receipt, compare, describe_file
from napari_mediround.io.export.rtstruct import has_holes

__all__ = ["FORMATS", "MEASUREMENTS", "Options", "Receipt", "export", "guess_format"]

RECEIPT = ".receipt.json"
"""Ending of the receipt that lies beside an export."""

_HOLES = "Masks with holes: readers that unite contours instead of counting crossings fill them."
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
        receipt = replace(receipt, notes=(*notes, *_unmeasured(volume.geometry), *receipt.notes))
        report = stage / (path.name + RECEIPT)
        report.write_text(json.dumps(receipt.to_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
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
    options.step(f"Writing {form.title} …")
    written = form.write(volume, path, Sources(source, options.pixels, options.cancelled))
    if options.key and form.dicom:
        options.step("Removing what tells who the patient is …")
        deidentify.deidentify_object(path, options.key)
        volume = deidentify.remap_volume(volume, options.key)
        if options.with_images:
            written, more = _images(source, path, options, written)
            notes += more
    options.step(f"Reading back with {form.reader} …")
    found = form.read(path, volume.geometry)
    checks, segments, dice = compare(volume, found, form.fields, form.exact, form.placed)
    hashes = tuple(describe_file(file) for file in written if file.is_file())
    return Receipt(form.title, hashes, form.reader, segments, checks, dice, notes), written


def _fit(volume: LabelledVolume, form: Format) -> tuple[LabelledVolume, tuple[str, ...]]:
    """Return the volume as the format can hold it, and what is lost."""
    notes = () if form.placed else (_NO_PLACE,)
    if not form.overlaps:
        volume, hidden = volume.flatten()
        notes += tuple(
            f"{count} voxels of {name} lie under earlier masks and are not in this file."
            for name, count in hidden.items()
        )
    if not form.exact and has_holes(volume):
        notes += (_HOLES,)
    return volume, notes


def _measure(volume: LabelledVolume, path: Path, options: Options) -> tuple[Receipt, tuple[Path, ...]]:
    options.step("Measuring …")
    written = write_measurements(volume, path, options.pixels)
    checks, segments = check_measurements(volume, path)
    notes = () if options.pixels is not None else ("No image was given: intensities are not measured.",)
    hashes = tuple(describe_file(file) for file in written)
    return Receipt("Measurements", hashes, "Python's csv", segments, checks, (), notes), written


def _unmeasured(grid: Geometry) -> tuple[str, ...]:
    """Return what the receipt says where sizes are unknown."""
    return () if grid.has_volume else (_NO_DEPTH if grid.calibrated else _NO_SPACING,)


def _images(
    source: DicomSource, path: Path, options: Options, written: tuple[Path, ...]
) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Write de-identified copies of the images; return all files and what must be looked at."""
    folder = image_folder(path)
    folder.mkdir()
    written_on = False
    for number, header in enumerate(source.headers):
        options.step(f"De-identifying image {number + 1} of {len(source.headers)} …")
        target = folder / f"{number:04d}.dcm"
        written_on |= deidentify.deidentify_file(Path(header.filename), target, options.key)
    notes = (f"{len(source.headers)} de-identified images lie in {folder.name}.",)
    return (folder, *written), notes + ((deidentify.BURNED_IN,) if written_on else ())


def image_folder(path: Path) -> Path:
    """Return the folder beside an export for de-identified copies of its images."""
    return path.with_name(f"{path.name.split('.')[0]}_images")
