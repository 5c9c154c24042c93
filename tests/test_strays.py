"""Files of a folder that are none of a stack's slices are left out and named; values are right or refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from test_dicom import AXIAL, CORONAL, RNG, add_pixels, header, write_series

from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import list_series, read_study
from napari_mediround.io.export import Options, export

PLACE = {"ImagePositionPatient": [0, 0, 9], "ImageOrientationPatient": list(CORONAL), "PixelSpacing": [1, 1]}


def add(folder: Path, name: str, pixels=None, **values) -> None:
    """Write one more file into the series of `write_series`."""
    dataset = header("1.2.4", **values)
    if pixels is not None:
        add_pixels(dataset, pixels)
    dataset.save_as(folder / name, enforce_file_format=True)


GREY, SMALL = np.zeros((6, 8), np.uint16), np.zeros((9, 4), np.uint16)
STRAYS = {
    "a localizer": {"pixels": GREY, "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"], **PLACE},
    "a localizer of another size": {
        "pixels": SMALL,
        "ImageType": ["DERIVED", "SECONDARY", "LOCALIZER"],
        **PLACE,
    },
    "a page without a place": {"pixels": SMALL.astype(np.uint8)},
    "a page of the same size": {"pixels": GREY},
    "a rendering in colours": {"pixels": np.zeros((6, 8, 3), np.uint8), **PLACE},
    "an unmarked scout": {"pixels": SMALL, **PLACE},
    "a report": {"modality": "SR"},
    "a structure set": {"modality": "RTSTRUCT"},
}


@pytest.mark.parametrize("kind", STRAYS)
@pytest.mark.parametrize("name", ["000.dcm", "zzz.dcm"])
def test_a_stray_is_left_out_and_named(tmp_path, kind, name):
    stored = write_series(tmp_path, heights=range(0, 25, 5))
    add(tmp_path, name, **STRAYS[kind])
    study = read_study(tmp_path)
    assert np.array_equal(study.pixels, stored.astype(int) - 1024)
    (note,) = study.notes
    assert name in note
    assert list_series(tmp_path)[0].shape == (5, 6, 8)
    labels = np.ones(study.source_geometry.shape, np.uint16)
    volume = LabelledVolume.from_labels(study.source_geometry, labels, [make_segment(1, "liver")])
    assert export(volume, tmp_path.with_suffix(".dcm"), "dicom-seg", Options(dicom=tmp_path)).ok


def test_companions_of_macos_are_passed_over(tmp_path):
    stored = write_series(tmp_path)
    for file in list(tmp_path.iterdir())[:2]:
        (tmp_path / f"._{file.name}").write_bytes(b"\0\5\x16\7" + bytes(200))
    study = read_study(tmp_path)
    assert np.array_equal(study.pixels, stored.astype(int) - 1024)
    assert "macOS" in study.notes[0]
    with pytest.raises(UnreadableFileError, match=r"companion .* Open s03\.dcm instead"):
        read_study(next(f for f in tmp_path.iterdir() if f.name == "._s03.dcm"))


def test_a_series_of_localizers_alone_is_still_read(tmp_path):
    stored = write_series(tmp_path, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    assert np.array_equal(read_study(tmp_path).pixels, stored.astype(int) - 1024)


def test_a_slice_that_may_be_lost_is_no_stray(tmp_path):
    write_series(tmp_path, heights=range(0, 25, 5))
    add(tmp_path, "odd.dcm", SMALL, **PLACE | {"ImageOrientationPatient": list(AXIAL)})
    with pytest.raises(UnreadableFileError, match="differ in Rows"):
        read_study(tmp_path)


def rewrite(folder: Path, change, which=slice(None)) -> None:
    for file in sorted(folder.iterdir())[which]:
        dataset = pydicom.dcmread(file)
        change(dataset)
        dataset.save_as(file)


def without_rescale(dataset: Dataset) -> None:
    del dataset.RescaleSlope, dataset.RescaleIntercept


def test_one_slice_without_rescale_is_refused_and_named(tmp_path):
    write_series(tmp_path)
    rewrite(tmp_path, without_rescale, slice(1, 2))
    with pytest.raises(UnreadableFileError, match=r"s03\.dcm and the other files .* do not rescale"):
        read_study(tmp_path)


def test_a_ct_without_rescale_is_brought_to_hounsfield_units_or_doubted(tmp_path):
    write_series(tmp_path)
    rewrite(tmp_path, without_rescale)
    assert "may be none" in read_study(tmp_path).notes[0]
    body = np.full((40, 40), -1000.0)
    body[4:36, 4:36] = RNG.normal(-90, 20, (32, 32))
    body[9:31, 9:31] = RNG.normal(45, 20, (22, 22))
    body[18:21, 18:21] = 600

    def draw(dataset: Dataset) -> None:
        add_pixels(dataset, (body + 1024).round().astype(np.uint16))

    rewrite(tmp_path, draw)
    study = read_study(tmp_path)
    assert np.array_equal(study.pixels[0], body.round())
    assert (study.modality, study.stated) == ("CT", True)
    assert "1024 was taken off" in study.notes[0]


@pytest.mark.parametrize("ids", [("A", "B"), ("", "")])
def test_two_patients_in_one_series_are_refused_without_their_names(tmp_path, ids):
    write_series(tmp_path)
    for k, which in enumerate((slice(0, 2), slice(2, 4))):
        rewrite(tmp_path, lambda d, k=k: setattr(d, "PatientID", ids[k]), which)
        rewrite(tmp_path, lambda d, k=k: setattr(d, "PatientName", f"Doe^{'JM'[k]}"), which)
    with pytest.raises(UnreadableFileError, match="of two patients") as caught:
        read_study(tmp_path)
    assert "Doe" not in str(caught.value)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize(("bits", "high"), [(12, 15), (12, 13), (10, 15), (8, 15)])
def test_values_in_the_upper_bits_are_taken_out(tmp_path, signed, bits, high):
    low, top = (-(2 ** (bits - 1)), 2 ** (bits - 1)) if signed else (0, 2**bits)
    values = RNG.integers(low, top, (6, 8)).astype(np.int16 if signed else np.uint16)
    dataset = header("1.2.4", "MR")
    junk = RNG.integers(0, 2 ** (high + 1 - bits), (6, 8)).astype(values.dtype)
    add_pixels(dataset, (values << (high + 1 - bits)) | junk)
    dataset.BitsStored, dataset.HighBit = bits, high
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert np.array_equal(read_study(tmp_path / "a.dcm").pixels[0], values)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
@pytest.mark.parametrize("vr", ["OW", "US"])
@pytest.mark.parametrize("first", [0, 100, -50])
def test_a_modality_lut_of_any_depth_is_looked_up(tmp_path, bits, vr, first):
    table = RNG.integers(0, 2**bits, 300).astype("<u2")
    values = RNG.integers(-100, 500, (6, 8)).astype(np.int16)
    dataset, item = add_pixels(header("1.2.4", "MR"), values), Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [300, first, bits])
    item.add_new("LUTData", vr, table.tobytes() if vr == "OW" else table.tolist())
    dataset.ModalityLUTSequence = [item]
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    expected = table[np.clip(values.astype(int) - first, 0, 299)]
    assert np.array_equal(read_study(tmp_path / "a.dcm").pixels[0], expected)


def test_numbers_that_rescale_nothing_are_refused(tmp_path):
    write_series(tmp_path, RescaleSlope=0)
    with pytest.raises(UnreadableFileError, match="slope 0"):
        read_study(tmp_path)


@pytest.mark.parametrize(
    ("name", "start", "said"),
    [
        ("a.nii", b"\x1f\x8b\x08", "Add .gz to its name"),
        ("a.nrrd", b"\x1f\x8b\x08", "packed by gzip. Unpack"),
        ("a.dcm", b"PK\x03\x04", "packed by zip"),
        ("a.mha", b"BZh9", "packed by bzip2"),
        ("a.nii.gz", b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        ("a.dcm", b"", "it is empty"),
    ],
)
def test_what_a_file_is_instead_of_an_image_is_said(tmp_path, name, start, said):
    (tmp_path / name).write_bytes(start)
    with pytest.raises(UnreadableFileError, match=said):
        read_study(tmp_path / name)
