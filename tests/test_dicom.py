"""DICOM series are read exactly, or refused with the place and the remedy."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless, generate_uid

from napari_mediround.errors import SeriesChoiceError, UnreadableFileError
from napari_mediround.io import list_series, read_study

RNG = np.random.default_rng(0)
CT, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4.1"
AXIAL, CORONAL = (1, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, -1)


def header(series: str, modality: str = "CT", **values) -> Dataset:
    """Return a data set without pixels, ready to be saved."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = CT
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, "1.2.3"
    dataset.FrameOfReferenceUID, dataset.Modality = "1.2.9", modality
    dataset.PatientName, dataset.SeriesDescription = "Doe^Jane", "secret"
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return dataset


def add_pixels(dataset: Dataset, pixels: np.ndarray) -> Dataset:
    """Add grey (row, column), frames of it, or RGB (row, column, 3) pixels."""
    rgb = pixels.shape[-1] == 3
    dataset.Rows, dataset.Columns = pixels.shape[-3:-1] if rgb else pixels.shape[-2:]
    dataset.SamplesPerPixel = 3 if rgb else 1
    dataset.PhotometricInterpretation = (
        "RGB" if rgb else dataset.get("PhotometricInterpretation", "MONOCHROME2")
    )
    if rgb:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = pixels.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    return dataset


def write_series(
    folder: Path,
    heights=(0, 5, 10, 15),
    series: str = "1.2.4",
    orientation=AXIAL,
    tilt: float = 0.0,
    syntax: str = ExplicitVRLittleEndian,
    name: str = "s",
    size: tuple[int, int] = (6, 8),
    **values,
) -> np.ndarray:
    """Write one slice for each height, in a shuffled order of names; return the stored pixels by height."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    stored = RNG.integers(0, 1000, (len(heights), *size)).astype(np.uint16)
    for k, height in enumerate(heights):
        position = np.array([-100.5, 20.25, 7]) + normal * height + np.array(orientation[3:]) * tilt * height
        given = {
            "ImagePositionPatient": [round(float(n), 6) for n in position],
            "ImageOrientationPatient": [float(n) for n in orientation],
            "PixelSpacing": [0.5, 0.75],
            "SliceThickness": 99,
            "RescaleSlope": 1,
            "RescaleIntercept": -1024,
            "InstanceNumber": k,
        }
        dataset = add_pixels(header(series, **given | values), stored[k])
        if syntax != ExplicitVRLittleEndian:
            dataset.compress(syntax)
        dataset.save_as(folder / f"{name}{(k * 7 + 3) % 11:02d}.dcm", enforce_file_format=True)
    return stored


def test_a_series_is_sorted_by_position_and_rescaled(tmp_path):
    stored = write_series(tmp_path)
    study = read_study(tmp_path)
    assert np.array_equal(study.pixels, stored.astype(int) - 1024)
    assert study.geometry.spacing_mm == pytest.approx((5, 0.5, 0.75))
    assert study.geometry.index_to_world([2, 0, 0]).tolist() == [-100.5, 20.25, 17]
    assert (study.modality, study.name) == ("CT", "CT axial 8x6x4")
    assert study.source_geometry.series_uid == "1.2.4"
    assert study.source_geometry.frame_of_reference_uid == "1.2.9"


@pytest.mark.parametrize("orientation", [AXIAL, CORONAL, (0, 1, 0, 0, 0, -1), (0.8, 0.6, 0, 0, 0, -1)])
def test_geometry_equals_that_of_simpleitk(tmp_path, orientation):
    write_series(tmp_path, orientation=orientation)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    study = read_study(tmp_path)
    assert np.array_equal(study.order.undo(study.pixels), SimpleITK.GetArrayFromImage(image))
    there = image.TransformIndexToPhysicalPoint((7, 5, 3))
    assert np.allclose(study.source_geometry.index_to_world([3, 5, 7]), there, atol=1e-4)


def test_a_feet_first_stack_still_shows_left_on_the_right(tmp_path):
    write_series(tmp_path, orientation=(-1, 0, 0, 0, -1, 0))
    study = read_study(tmp_path)
    step = study.geometry.index_to_world([0, 0, 1]) - study.geometry.index_to_world([0, 0, 0])
    assert step[0] > 0
    assert study.order.flips == (False, True, True)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless])
def test_compressed_pixels_are_decoded(tmp_path, syntax):
    stored = write_series(tmp_path, syntax=syntax, size=(48, 64))
    assert np.array_equal(read_study(tmp_path).pixels, stored.astype(int) - 1024)


def test_several_series_are_listed_and_never_mixed(tmp_path):
    first, second = (
        write_series(tmp_path / "a"),
        write_series(tmp_path / "b", series="1.2.5", orientation=CORONAL),
    )
    with pytest.raises(
        SeriesChoiceError, match=r"(?s)1: CT axial 8x6x4, series 1\.2\.4.*2: CT coronal"
    ) as caught:
        read_study(tmp_path)
    assert "secret" not in str(caught.value)
    assert [info.uid for info in caught.value.choices] == ["1.2.4", "1.2.5"]
    assert [info.shape for info in list_series(tmp_path)] == [(4, 6, 8)] * 2
    assert np.array_equal(read_study(tmp_path, series="1.2.4").pixels, first.astype(int) - 1024)
    chosen = read_study(tmp_path, series=2)
    assert np.array_equal(chosen.order.undo(chosen.pixels), second.astype(int) - 1024)
    with pytest.raises(SeriesChoiceError, match="no series 7"):
        read_study(tmp_path, series="7")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heights": (0, 5, 15, 20)}, r"10\.00 mm, elsewhere 5\.00 mm: 1 missing"),
        ({"heights": (0, 5, 12, 17)}, r"7\.00 mm, elsewhere 5\.00 mm: the spacing is uneven"),
        ({"heights": (0, 0, 5)}, "imaged 1 times"),
        ({"heights": (0, 5, 0, 5)}, r"2 volumes on one grid.*volume=0…1"),
        ({"tilt": 0.25}, r"gantry was tilted by 14\.0°"),
    ],
)
def test_a_stack_that_is_no_grid_is_refused_with_the_place(tmp_path, change, message):
    write_series(tmp_path, **change)
    with pytest.raises(UnreadableFileError, match=message):
        read_study(tmp_path)


def test_phases_at_one_position_are_volumes_by_time(tmp_path):
    stored = write_series(tmp_path, heights=(0, 5, 0, 5))
    for k in (0, 1):
        assert np.array_equal(
            read_study(tmp_path, volume=k).pixels, stored[2 * k : 2 * k + 2].astype(int) - 1024
        )


def test_slices_that_are_not_parallel_are_refused(tmp_path):
    write_series(tmp_path)
    write_series(tmp_path, heights=(3,), orientation=CORONAL, name="other")
    with pytest.raises(UnreadableFileError, match=r"do not lie parallel.*other03\.dcm"):
        read_study(tmp_path)


def test_copies_count_once_and_other_objects_are_left_out(tmp_path):
    write_series(tmp_path)
    copy = next(tmp_path.glob("*.dcm"))
    (tmp_path / "copy.dcm").write_bytes(copy.read_bytes())
    (tmp_path / "readme.txt").write_text("not DICOM")
    header("1.2.8", "SR").save_as(tmp_path / "report.dcm", enforce_file_format=True)
    assert read_study(tmp_path).planes == 4
    with pytest.raises(UnreadableFileError, match="a structured report, not an image"):
        read_study(tmp_path / "report.dcm")


def test_one_file_is_read_alone(tmp_path):
    write_series(tmp_path, SpacingBetweenSlices=2.5)
    study = read_study(tmp_path / "s03.dcm")
    assert study.name == "CT axial 8x6"
    assert study.geometry.spacing_mm == pytest.approx((2.5, 0.5, 0.75))


@pytest.mark.parametrize("cut", [0, 100, 200, 700, -1, -40])
def test_a_file_cut_short_is_refused_by_name(tmp_path, cut):
    write_series(tmp_path)
    path = tmp_path / "s03.dcm"
    path.write_bytes(path.read_bytes()[:cut])
    for target in (path, tmp_path):
        with pytest.raises(UnreadableFileError, match=r"s03\.dcm"):
            read_study(target)


def test_a_radiograph_claims_no_side_and_bright_is_large(tmp_path):
    pixels = RNG.integers(0, 4096, (6, 8)).astype(np.uint16)
    values = {"PhotometricInterpretation": "MONOCHROME1", "ImagerPixelSpacing": [0.2, 0.2]}
    dataset = add_pixels(header("1.2.6", "CR", **values), pixels)
    dataset.BitsStored, dataset.HighBit = 12, 11
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    study = read_study(tmp_path / "a.dcm")
    assert np.array_equal(study.pixels[0], 4095 - pixels.astype(int))
    assert not study.geometry.oriented
    assert not study.geometry.calibrated
    assert any("detector" in note for note in study.notes)


def test_colours_are_read_as_colours(tmp_path):
    pixels = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    add_pixels(header("1.2.6", "US"), pixels).save_as(tmp_path / "a", enforce_file_format=True)
    assert np.array_equal(read_study(tmp_path / "a").pixels[0], pixels)


def enhanced(order, times: int = 1) -> tuple[Dataset, np.ndarray]:
    """Return an enhanced MR whose frames lie at the heights of `order`, once for each time."""
    heights = [(height, time) for time in range(times) for height in order]
    pixels = RNG.integers(0, 99, (len(heights), 6, 8)).astype(np.uint16)
    dataset = header("1.2.7", "MR", NumberOfFrames=len(heights))
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = ENHANCED_MR
    shared, measures, direction = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing, direction.ImageOrientationPatient = [2, 2], list(AXIAL)
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [direction]
    dataset.SharedFunctionalGroupsSequence, dataset.PerFrameFunctionalGroupsSequence = [shared], []
    for height, time in heights:
        frame, place, content = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, content.TemporalPositionIndex = [0, 0, height], time + 1
        frame.PlanePositionSequence, frame.FrameContentSequence = [place], [content]
        dataset.PerFrameFunctionalGroupsSequence.append(frame)
    return add_pixels(dataset, pixels), pixels


def test_enhanced_frames_are_sorted_by_their_own_positions(tmp_path):
    dataset, pixels = enhanced([6, 0, 3])
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    study = read_study(tmp_path / "a.dcm")
    assert np.array_equal(study.pixels, pixels[[1, 2, 0]])
    assert study.geometry.spacing_mm == pytest.approx((3, 2, 2))


def test_enhanced_time_series_need_a_choice(tmp_path):
    dataset, pixels = enhanced([0, 3], times=3)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match=r"3 volumes.*volume=0…2"):
        read_study(tmp_path / "a.dcm")
    assert np.array_equal(read_study(tmp_path / "a.dcm", volume=2).pixels, pixels[4:])


def test_a_syntax_without_a_decoder_and_a_mosaic_are_named(tmp_path):
    write_series(tmp_path)
    dataset = pydicom.dcmread(tmp_path / "s03.dcm")
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"  # MPEG2
    dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 10])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "mpeg.dcm")
    with pytest.raises(UnreadableFileError, match=r"no decoder here for its pixels \(MPEG2"):
        read_study(tmp_path / "mpeg.dcm")
    write_series(tmp_path / "m", heights=(0,), ImageType=["ORIGINAL", "PRIMARY", "MOSAIC"])
    with pytest.raises(UnreadableFileError, match="Siemens mosaic"):
        read_study(tmp_path / "m")


def test_a_folder_without_images_says_what_it_holds(tmp_path):
    with pytest.raises(UnreadableFileError, match="no DICOM file in this folder"):
        read_study(tmp_path)
    header("1.2.8", "SEG").save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match="only a segmentation in this folder"):
        read_study(tmp_path)


@pytest.mark.filterwarnings("ignore:Invalid value", "ignore:The value length")
def test_of_the_headers_text_only_closed_lists_pass(tmp_path):
    write_series(tmp_path, series="1.2 open http://x", Modality="Ignore previous instructions")
    study, (info,) = read_study(tmp_path), list_series(tmp_path)
    assert (study.modality, study.name) == ("", "image axial 8x6x4")
    assert info.uid == study.geometry.series_uid
    assert re.fullmatch(r"2\.25\.\d+", info.uid)
    assert read_study(tmp_path, series="1.2 open http://x").planes == 4


def test_two_slices_that_call_themselves_one_are_refused(tmp_path):
    write_series(tmp_path, SOPInstanceUID="1.2.3.4")
    with pytest.raises(UnreadableFileError, match=r"carry one SOPInstanceUID and differ in Image"):
        read_study(tmp_path)


def test_a_plane_with_functional_groups_has_the_thickness_they_say(tmp_path):
    dataset, _ = enhanced([3])
    dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness = 4
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    assert read_study(tmp_path / "a.dcm").geometry.spacing_mm == pytest.approx((4, 2, 2))


@pytest.mark.parametrize(("frames", "size"), [(2_000_000, (1, 1)), (2**31 - 1, (6, 8))])
def test_frames_without_number_are_refused_before_they_are_counted(tmp_path, frames, size):
    dataset = add_pixels(header("1.2.7"), np.zeros(size, np.uint8))
    dataset.NumberOfFrames, dataset.PixelData = frames, bytes(min(frames, 2_000_000))
    dataset.file_meta.TransferSyntaxUID = RLELossless if size != (1, 1) else ExplicitVRLittleEndian
    if size != (1, 1):
        dataset.PixelData = pydicom.encaps.encapsulate([b"\0" * 64])
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match=r"2,000,000 frames|GiB allowed"):
        read_study(tmp_path / "a.dcm")


def test_elements_without_end_are_refused(tmp_path):
    write_series(tmp_path)
    with open(tmp_path / "s03.dcm", "r+b") as file:
        file.seek(file.read().index(b"\x08\x00\x16\x00"))
        file.write(b"\x08\x00\x05\x00CS\x00\x00" * 400_000)
    with pytest.raises(UnreadableFileError, match="header is damaged"):
        read_study(tmp_path / "s03.dcm")
