"""What leaves the site: nobody's name, new UIDs that still fit, methods written, a warning for pixels."""

from __future__ import annotations

import gzip

import numpy as np
import pydicom
import pytest
from canaries import check_copies
from exports import FRAME, SERIES, STUDY, write_series
from pydicom.dataset import Dataset
from test_export import GRID, make_discs

from napari_mediround.domain.geometry import Geometry
from napari_mediround.errors import SettingsError
from napari_mediround.io.export import FORMATS, Options, export
from napari_mediround.io.export.deidentify import deidentify, remap_uid
from napari_mediround.io.export.stored import own_bits

PRIVATE = ("Doe", "PID-8842", "19600102", "20260102", "secret", "Hidden", "mole", SERIES, STUDY, FRAME)


def hide(dataset: Dataset) -> None:
    """Put a name into a nested item, a private element and the preamble."""
    request = Dataset()
    request.RequestingPhysician, request.StudyInstanceUID = "Hidden^Harry", STUDY
    dataset.RequestAttributesSequence = [request]
    dataset.private_block(0x0011, "MAKER", create=True).add_new(1, "LO", "Hidden")
    dataset.preamble = b"Hidden".ljust(128, b"\0")


@pytest.mark.parametrize("form", ["dicom-seg", "dicom-labelmap", "rtstruct"])
def test_nothing_that_tells_the_patient_is_left_in_any_file(tmp_path, form):
    series = write_series(tmp_path / "series", GRID)
    for file in series.iterdir():
        dataset = pydicom.dcmread(file)
        hide(dataset)
        dataset.save_as(file)
    options = Options(dicom=series, key="k" * 32, with_images=True)
    receipt = export(make_discs(overlapping=False), tmp_path / "out" / "a.dcm", form, options)
    written = [p for p in (tmp_path / "out").rglob("*") if p.is_file()]
    assert len(written) == 2 + GRID.shape[0]
    for file in written:
        content = file.read_bytes()
        assert [word for word in PRIVATE if word.encode() in content] == []
    dataset = pydicom.dcmread(tmp_path / "out" / "a.dcm")
    methods = [item.CodeValue for item in dataset.DeidentificationMethodCodeSequence]
    assert (dataset.PatientIdentityRemoved, methods) == ("YES", ["113100", "113105"])
    assert dataset.preamble == bytes(128)
    assert any("no known structure" in note for note in receipt.notes)


def test_masks_and_images_still_belong_together(tmp_path):
    series = write_series(tmp_path / "series", GRID)
    options = Options(dicom=series, key="k" * 32, with_images=True)
    export(make_discs(), tmp_path / "a.dcm", options=options)
    images = [pydicom.dcmread(file) for file in sorted((tmp_path / "a_images").iterdir())]
    mask = pydicom.dcmread(tmp_path / "a.dcm")
    reference = mask.ReferencedSeriesSequence[0]
    named = {item.ReferencedSOPInstanceUID for item in reference.ReferencedInstanceSequence}
    assert named == {image.SOPInstanceUID for image in images}
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID"):
        assert {image[keyword].value for image in images} == {mask[keyword].value}
    assert reference.SeriesInstanceUID == images[0].SeriesInstanceUID != SERIES


def test_the_same_key_gives_the_same_uids_and_another_key_others():
    assert remap_uid(STUDY, "a") == remap_uid(STUDY, "a") != remap_uid(STUDY, "b")
    assert remap_uid("1.2.840.10008.5.1.4.1.1.2", "a") == "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, False),
        ({"BurnedInAnnotation": "YES"}, True),
        ({"Modality": "US"}, True),
        ({"Modality": "US", "BurnedInAnnotation": "NO"}, False),
        ({"ConversionType": "WSD"}, True),
    ],
)
def test_text_in_the_pixels_is_warned_of(tmp_path, values, warned):
    series = write_series(tmp_path / "series", GRID, **values)
    options = Options(dicom=series, key="k" * 32, with_images=True)
    receipt = export(make_discs(), tmp_path / "a.dcm", options=options)
    assert any("text in their pixels" in note for note in receipt.notes) == warned


def test_dates_in_the_past_and_device_numbers_are_gone(tmp_path):
    series = write_series(tmp_path / "series", GRID, DeviceSerialNumber="SN1", PatientAge="066Y")
    dataset = pydicom.dcmread(next(series.iterdir()))
    deidentify(dataset, "k")
    assert dataset.StudyDate == "00010101"
    assert dataset.DeviceSerialNumber == "ANONYMIZED"
    assert "PatientAge" not in dataset
    assert "SeriesDescription" not in dataset


def test_dates_of_other_calendars_and_unlisted_free_text_are_gone(tmp_path):
    values = {
        "PatientBirthDateInAlternativeCalendar": "S35.01.02",
        "PatientDeathDateInAlternativeCalendar": "R5.01.02",
        "PatientAlternativeCalendar": "JAPANESE",
        "SetupImageComment": "Hidden",
        "EvaluatorName": "Hidden^Harry",
        "StudyUpdateDateTime": "20260102",
        "TextValue": "Hidden",
        "KVP": "120",
    }
    dataset = pydicom.dcmread(next(write_series(tmp_path, GRID, **values).iterdir()))
    request = Dataset()
    request.TextValue = "Hidden"
    dataset.RequestAttributesSequence = [request]
    deidentify(dataset, "k")
    assert [keyword for keyword in values if keyword in dataset] == ["KVP"]
    assert "TextValue" not in dataset.get("RequestAttributesSequence", [Dataset()])[0]


def test_names_are_cleaned_in_every_format(tmp_path):
    export(make_discs(), tmp_path / "a.nii.gz", options=Options(key="k" * 32))
    table = (tmp_path / "a.tsv").read_text("utf-8")
    assert "left kidney" in table
    assert "structure 9" in table
    assert "Jane" not in table
    with pytest.raises(SettingsError, match="de-identified"):
        export(make_discs(), tmp_path / "b.nii.gz", options=Options(with_images=True))


@pytest.mark.filterwarnings("ignore")
def test_no_canary_passes(tmp_path):
    planted, files, refused, faults = check_copies(tmp_path, 4000)
    assert faults == []
    assert planted >= 4000
    assert refused <= files // 10


@pytest.mark.parametrize(("kind", "stored", "high", "value", "left"), [
    ("u2", 12, 11, 0xF123, 0x123), ("u2", 16, 15, 0xF123, 0xF123), ("u2", 12, 15, 0xF12F, 0xF120),
    ("i2", 12, 11, 0x7123, 0x123), ("i2", 12, 11, 0x0FFF, -1), ("i2", 16, 15, -3, -3),
    ("u1", 7, 6, 0xFF, 0x7F),
])  # fmt: skip
def test_bits_that_are_not_the_images_are_cleared(kind, stored, high, value, left):
    pixels = np.array([value]).astype(kind)
    assert own_bits(pixels, stored, high, 8 * pixels.itemsize)[0] == left
    with pytest.raises(ValueError, match="bits"):
        own_bits(pixels, 8 * pixels.itemsize + 1, high, 8 * pixels.itemsize)


def test_overlays_go_and_are_said(tmp_path):
    series = write_series(tmp_path / "series", GRID)
    for file in series.iterdir():
        dataset = pydicom.dcmread(file)
        dataset.add_new(0x60000022, "LO", "Hidden")
        dataset.BitsStored, dataset.HighBit = 12, 11
        dataset.PixelData = np.full(GRID.shape[1:], 0x8123, "<u2").tobytes()
        dataset.save_as(file)
    receipt = export(
        make_discs(), tmp_path / "a.dcm", options=Options(dicom=series, key="k" * 32, with_images=True)
    )
    for file in (tmp_path / "a_images").iterdir():
        dataset = pydicom.dcmread(file)
        assert (dataset.pixel_array == 0x123).all()
        assert not any(tag.group == 0x6000 for tag in list(dataset.keys()))
    assert any("Overlays" in note and f"{GRID.shape[0]} images" in note for note in receipt.notes)


@pytest.mark.parametrize("form", [form for form in FORMATS if form != "dicom-sr"])  # never leaves the site
def test_masks_of_every_format_hold_no_name_of_the_person(tmp_path, form):
    grid = Geometry((1, *GRID.shape[1:]), GRID.affine, True, SERIES, STUDY, FRAME) if form == "png" else GRID
    series = write_series(tmp_path / "series", grid, StudyDescription="Hidden", PatientComments="Hidden")
    masks = make_discs(grid, overlapping=False)
    path = tmp_path / "out" / f"a{FORMATS[form].suffixes[0]}"
    export(masks, path, form, Options(dicom=series, key="k" * 32))
    for file in path.parent.iterdir():
        raw = file.read_bytes()
        raw += gzip.decompress(raw) if file.name.endswith(".gz") else b""
        assert [word for word in PRIVATE if word.encode() in raw] == []
        assert not any(s.tracking_uid.encode() in raw for s in masks.segments)
