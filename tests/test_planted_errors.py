"""The receipt finds an error planted in what each writer wrote."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
import SimpleITK
from exports import FRAME, SERIES, STUDY, write_series
from test_export import GRID

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.errors import MismatchError
from napari_mediround.io import export as exporting
from napari_mediround.io.export import FORMATS, Options, export

DICOM = tuple(name for name, form in FORMATS.items() if form.dicom)
PLACED = tuple(name for name, form in FORMATS.items() if form.placed)


def make_masks(grid: Geometry) -> LabelledVolume:
    """Return a ring with a hole and a block, neither alike when turned over; large, so that Dice is blind."""
    ring, block = np.zeros(grid.shape, bool), np.zeros(grid.shape, bool)
    ring[: max(grid.shape[0] - 1, 1), 2:12, 2:14] = True
    ring[:, 4:6, 5:7] = False
    block[:1, 13:18, 9:23] = True
    segments = make_segment(1, "liver", verdict="accepted", quality=0.9), make_segment(2, "spleen")
    return LabelledVolume.from_masks(grid, zip(segments, (ring, block), strict=True))


def with_layers(volume: LabelledVolume, change) -> LabelledVolume:
    """Return the volume with its arrays changed."""
    return replace(volume, layers=tuple(np.ascontiguousarray(change(layer)) for layer in volume.layers))


def fill_hole(layer: np.ndarray) -> np.ndarray:
    """Return a layer whose ring has no hole."""
    filled = layer.copy()
    filled[: max(layer.shape[0] - 1, 1), 4:6, 5:7] = 1
    return filled


def swap_numbers(volume: LabelledVolume) -> LabelledVolume:
    """Return the volume whose voxels have each other's numbers."""
    return with_layers(volume, lambda layer: np.array([0, 2, 1], np.uint16)[layer])


def drop_segment(volume: LabelledVolume) -> LabelledVolume:
    """Return the volume without its second mask."""
    without = with_layers(volume, lambda layer: np.where(layer == 2, 0, layer).astype(np.uint16))
    return replace(without, segments=without.segments[:1])


def rename(volume: LabelledVolume) -> LabelledVolume:
    """Return the volume whose names are swapped."""
    one, two = volume.segments
    return replace(volume, segments=(replace(one, name=two.name), replace(two, name=one.name)))


BEFORE = {
    "shift by a column": lambda v: with_layers(v, lambda a: np.roll(a, 1, 2)),
    "shift by a row": lambda v: with_layers(v, lambda a: np.roll(a, 1, 1)),
    "shift by a plane": lambda v: with_layers(v, lambda a: np.roll(a, 1, 0)),
    "columns flipped": lambda v: with_layers(v, lambda a: a[:, :, ::-1]),
    "rows flipped": lambda v: with_layers(v, lambda a: a[:, ::-1]),
    "planes flipped": lambda v: with_layers(v, lambda a: a[::-1]),
    "swapped label numbers": swap_numbers,
    "dropped segment": drop_segment,
    "hole filled": lambda v: with_layers(v, fill_hole),
    "swapped names": rename,
}
"""Errors of a writer, made by giving it something else."""


def spoil(monkeypatch, form: str, before=lambda volume: volume, after=lambda path: None) -> None:
    """Have a format's writer write something else than it was given, or spoil its file."""
    true = FORMATS[form]

    def write_wrong(volume, path, sources):
        written = true.write(before(volume), path, sources)
        after(path)
        return written

    monkeypatch.setitem(exporting.FORMATS, form, replace(true, write=write_wrong))


def check_found(tmp_path, form: str, key: str = "") -> str:
    """Export and return what the receipt found; fail where it found nothing."""
    flat = form == "png"
    grid = Geometry((1, *GRID.shape[1:]), GRID.affine, True, SERIES, STUDY, FRAME) if flat else GRID
    series = write_series(tmp_path / "series", grid)
    path = tmp_path / f"a{FORMATS[form].suffixes[0]}"
    with pytest.raises(MismatchError) as caught:
        export(make_masks(grid), path, form, Options(dicom=series, key=key))
    assert not path.exists()
    assert path.with_name(path.name + ".mismatch").exists()
    return str(caught.value)


@pytest.mark.parametrize("error", list(BEFORE))
@pytest.mark.parametrize("form", list(FORMATS))
def test_an_error_of_a_writer_is_found(tmp_path, monkeypatch, form, error):
    if form == "png" and "plane" in error:
        pytest.skip("one plane")
    spoil(monkeypatch, form, BEFORE[error])
    check_found(tmp_path, form)


@pytest.mark.parametrize("form", list(FORMATS))
def test_nothing_is_found_where_nothing_is_wrong(tmp_path, form):
    flat = form == "png"
    grid = Geometry((1, *GRID.shape[1:]), GRID.affine, True, SERIES, STUDY, FRAME) if flat else GRID
    series = write_series(tmp_path / "series", grid)
    for key in ("",) if form == "dicom-sr" else ("", "k" * 32):  # a report never leaves the site
        path = tmp_path / f"a{len(key)}{FORMATS[form].suffixes[0]}"
        assert export(make_masks(grid), path, form, Options(dicom=series, key=key)).ok


def edit_dicom(change):
    """Return what changes the data set of a file."""

    def after(path):
        dataset = pydicom.dcmread(path)
        change(dataset)
        dataset.save_as(path)

    return after


def scale_pixels(dataset) -> None:
    """State a wrong spacing: of a segmentation, or in the points of contours."""
    if "SharedFunctionalGroupsSequence" in dataset:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        measures.PixelSpacing = [float(n) * 1.1 for n in measures.PixelSpacing]
    for roi in dataset.get("ROIContourSequence", ()):
        for contour in roi.ContourSequence:
            contour.ContourData = [f"{float(n) * 1.1:.6f}" for n in contour.ContourData]


def turn_over(dataset) -> None:
    """State a wrong direction of the columns."""
    turn = dataset.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    turn.ImageOrientationPatient = [-float(n) for n in turn.ImageOrientationPatient[:3]] + list(
        turn.ImageOrientationPatient[3:]
    )


def move_frames(dataset) -> None:
    """Give each frame the place of the next."""
    items = dataset.PerFrameFunctionalGroupsSequence
    places = [item.PlanePositionSequence[0].ImagePositionPatient for item in items]
    for item, place in zip(items, [*places[1:], places[0]], strict=True):
        item.PlanePositionSequence[0].ImagePositionPatient = place


def set_frame(dataset) -> None:
    """Name another frame of reference."""
    dataset.FrameOfReferenceUID = "1.2.3"
    for roi in dataset.get("StructureSetROISequence", ()):
        roi.ReferencedFrameOfReferenceUID = "1.2.3"


def set_study(dataset) -> None:
    """Name another study."""
    dataset.StudyInstanceUID = "1.2.3"


@pytest.mark.parametrize(("change", "words"), [
    (scale_pixels, "differ|do not lie|lies on no plane"), (set_frame, "frame of reference"),
    (set_study, "study"),
])  # fmt: skip
@pytest.mark.parametrize("form", DICOM)
def test_a_wrong_place_of_a_dicom_object_is_found(tmp_path, monkeypatch, form, change, words):
    import re

    if form == "dicom-sr" and change is not set_study:
        pytest.skip("A report has neither pixels nor a frame of reference of its own.")
    spoil(monkeypatch, form, after=edit_dicom(change))
    assert re.search(words, check_found(tmp_path, form))


@pytest.mark.parametrize("change", [turn_over, move_frames])
@pytest.mark.parametrize("form", ["dicom-seg", "dicom-labelmap"])
def test_a_wrong_direction_or_order_of_frames_is_found(tmp_path, monkeypatch, form, change):
    spoil(monkeypatch, form, after=edit_dicom(change))
    check_found(tmp_path, form)


def edit_image(change):
    """Return what changes the geometry of an image file through SimpleITK, its keys kept."""

    def after(path):
        image = SimpleITK.ReadImage(str(path))
        keys = {key: image.GetMetaData(key) for key in image.GetMetaDataKeys()}
        change(image)
        for key, value in keys.items():
            image.SetMetaData(key, value)
        SimpleITK.WriteImage(image, str(path), True)

    return after


@pytest.mark.parametrize("change", [
    lambda image: image.SetSpacing([n * 1.1 for n in image.GetSpacing()]),
    lambda image: image.SetOrigin([image.GetOrigin()[0] + 0.5, *image.GetOrigin()[1:]]),
    lambda image: image.SetDirection([-n for n in image.GetDirection()[:1]] + list(image.GetDirection()[1:])),
], ids=["spacing", "origin", "direction"])  # fmt: skip
@pytest.mark.parametrize("form", ["nifti", "seg-nrrd"])
def test_a_wrong_place_of_an_image_file_is_found(tmp_path, monkeypatch, form, change):
    spoil(monkeypatch, form, after=edit_image(change))
    check_found(tmp_path, form)


def test_another_space_of_a_nrrd_file_is_found(tmp_path, monkeypatch):
    def after(path):
        raw = path.read_bytes()
        path.write_bytes(raw.replace(b"left-posterior-superior", b"right-anterior-superior"))

    spoil(monkeypatch, "seg-nrrd", after=after)
    check_found(tmp_path, "seg-nrrd")


@pytest.mark.parametrize(
    ("first", "last", "bits"),
    [(79, 80, 0x80), (256, 262, 64), (268, 280, 64), (280, 284, 64), (252, 254, 64)],
)
def test_a_form_of_a_nifti_header_that_differs_is_found(tmp_path, monkeypatch, first, last, bits):
    import gzip

    def after(path):
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[first:last] = bytes(b ^ bits for b in raw[first:last])
        path.write_bytes(gzip.compress(bytes(raw)))

    spoil(monkeypatch, "nifti", after=after)
    check_found(tmp_path, "nifti")


def test_a_description_that_names_other_values_is_found(tmp_path, monkeypatch):
    def after(path):
        beside = path.with_name("a.json")
        said = json.loads(beside.read_text("utf-8"))
        said["labels"] = {"1": "spleen", "2": "liver"}
        beside.write_text(json.dumps(said), "utf-8")

    spoil(monkeypatch, "nifti", after=after)
    check_found(tmp_path, "nifti")


@pytest.mark.parametrize("error", [*BEFORE, "wrong spacing", "a cell"])
def test_an_error_in_the_table_of_measurements_is_found(tmp_path, monkeypatch, error):
    if "flipped" in error or error in ("shift by a column", "shift by a row"):
        pytest.skip("the same numbers")
    true = exporting.write_measurements

    def write_wrong(volume, path, pixels):
        if error == "wrong spacing":
            affine = volume.geometry.affine.copy()
            affine[:3, 2] *= 1.1
            volume = replace(volume, geometry=replace(volume.geometry, affine=affine))
        else:
            volume = BEFORE.get(error, lambda v: v)(volume)
        written = true(volume, path, pixels)
        if error == "a cell":
            head, first, *rest = path.read_text("utf-8").splitlines()
            cells = first.split(",")
            cells[-3] = "1.0"
            path.write_text("\n".join([head, ",".join(cells), *rest]) + "\n", "utf-8")
        return written

    monkeypatch.setattr(exporting, "write_measurements", write_wrong)
    with pytest.raises(MismatchError):
        export(make_masks(GRID), tmp_path / "a.csv")
