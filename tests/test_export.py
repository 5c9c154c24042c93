"""What goes out comes back: every voxel, place, name and code, in other libraries' eyes."""

from __future__ import annotations

import json
from dataclasses import replace

import nibabel
import numpy as np
import pydicom
import pytest
from exports import (
    FRAME,
    SERIES,
    STUDY,
    seen_by_highdicom,
    seen_by_nibabel,
    seen_by_pynrrd,
    seen_by_simpleitk,
    volumes,
    write_series,
)
from hypothesis import HealthCheck, given, settings
from pydicom.datadict import dictionary_VR
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from tifffile import TiffFile

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import (
    MANUAL,
    SEMIAUTOMATIC,
    LabelledVolume,
    Segment,
    make_segment,
)
from napari_mediround.errors import (
    CancelledError,
    ExistingFileError,
    MismatchError,
    SettingsError,
    UnreadableFileError,
)
from napari_mediround.io import export as exporting
from napari_mediround.io import read_study
from napari_mediround.io.export import FORMATS, Options, export, guess_format
from napari_mediround.io.export.rtstruct_back import read_back_rtstruct
from napari_mediround.io.masks import read_masks

few = settings(max_examples=6, suppress_health_check=[HealthCheck.too_slow])
AFFINE = np.array([[0.1, -0.2, 0.8, -90], [0.2, 0.9, 0.2, 20], [3.9, -0.1, 0, 7], [0, 0, 0, 1.0]])


def straighten(affine: np.ndarray) -> np.ndarray:
    """Return an affine with axes at right angles and the same spacings."""
    u, _, v = np.linalg.svd(affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0))
    straight = affine.copy()
    straight[:3, :3] = (u @ v) * np.linalg.norm(affine[:3, :3], axis=0)
    return straight


GRID = Geometry((4, 20, 24), straighten(AFFINE), True, SERIES, STUDY, FRAME)


def make_discs(grid: Geometry = GRID, overlapping: bool = True) -> LabelledVolume:
    """Return two discs and a ring; the second disc lies in the ring's hole and, if asked, over its rim."""
    y, x = np.indices(grid.shape[1:])
    far = np.hypot(y - 9, x - 11)
    anatomy = load_anatomy()
    reach = 4.5 if overlapping else 2.5
    masks = [
        (make_segment(1, "left kidney", anatomy), np.broadcast_to((far < 7) & (far > 3), grid.shape)),
        (make_segment(5, "liver tumour", anatomy, SEMIAUTOMATIC), np.broadcast_to(far < reach, grid.shape)),
        (make_segment(9, "Jane Doe's mole", anatomy, MANUAL), np.broadcast_to(far > 12, grid.shape)),
    ]
    return LabelledVolume.from_masks(grid, masks)


@few
@given(volumes())
def test_nifti_is_exact_for_nibabel_and_simpleitk(tmp_path_factory, volume):
    path = tmp_path_factory.mktemp("out") / "a_dseg.nii.gz"
    assert export(volume, path).ok
    for seen in (seen_by_nibabel, seen_by_simpleitk):
        labels, affine = seen(path)
        assert np.array_equal(labels.reshape(volume.geometry.shape), volume.layers[0])
        assert np.allclose(affine, volume.geometry.affine, atol=1e-3)
    assert np.array_equal(
        seen_by_nibabel(path)[1].astype(np.float32), volume.geometry.affine.astype(np.float32)
    )


@few
@given(volumes(overlapping=True))
def test_seg_nrrd_is_exact_for_pynrrd_and_simpleitk(tmp_path_factory, volume):
    path = tmp_path_factory.mktemp("out") / "a.seg.nrrd"
    assert export(volume, path).ok
    meant = np.stack(volume.layers, -1)
    for seen in (seen_by_pynrrd, seen_by_simpleitk):
        labels, affine = seen(path)
        assert np.array_equal(labels.reshape(meant.shape), meant)
        assert np.allclose(affine, volume.geometry.affine, atol=1e-9)


@few
@given(volumes(overlapping=True))
def test_dicom_seg_is_exact_for_pydicom_and_highdicom(tmp_path_factory, volume):
    folder = tmp_path_factory.mktemp("out")
    series = write_series(folder / "series", volume.geometry)
    assert export(volume, folder / "a.dcm", "dicom-seg", Options(dicom=series)).ok
    masks = seen_by_highdicom(folder / "a.dcm", volume.geometry)
    for mask, segment in zip(masks, volume.segments, strict=True):
        assert np.array_equal(mask, volume.mask(segment))


@few
@given(volumes())
def test_a_label_map_segmentation_is_exact(tmp_path_factory, volume):
    folder = tmp_path_factory.mktemp("out")
    series = write_series(folder / "series", volume.geometry)
    assert export(volume, folder / "a.dcm", "dicom-labelmap", Options(dicom=series)).ok


@few
@given(volumes())
def test_tiff_keeps_every_value(tmp_path_factory, volume):
    path = tmp_path_factory.mktemp("out") / "a.tif"
    assert export(volume, path).ok
    with TiffFile(path) as file:
        assert np.array_equal(np.stack([page.asarray() for page in file.pages]), volume.layers[0])


@few
@given(volumes(overlapping=True))
def test_contours_keep_their_shape_and_the_receipt_says_how_well(tmp_path_factory, volume):
    folder = tmp_path_factory.mktemp("out")
    series = write_series(folder / "series", volume.geometry)
    receipt = export(volume, folder / "a.dcm", "rtstruct", Options(dicom=series))
    assert len(receipt.dice) == len(volume.segments)
    assert min(dice for _, dice in receipt.dice) >= 0.9


@pytest.mark.parametrize("form", list(FORMATS))
def test_each_format_is_read_in_again_with_names_and_codes(tmp_path, form):
    grid = Geometry((1, *GRID.shape[1:]), GRID.affine, True, SERIES, STUDY, FRAME) if form == "png" else GRID
    series = write_series(tmp_path / "series", grid)
    volume, path = (
        make_discs(grid, overlapping=FORMATS[form].overlaps),
        tmp_path / f"a{FORMATS[form].suffixes[0]}",
    )
    export(volume, path, form, Options(dicom=series))
    if not FORMATS[form].placed or form == "dicom-sr":  # of a report the masks lie beside it
        return
    again = read_masks(path, grid)
    for before, after in zip(volume.segments, again.segments, strict=True):
        assert np.array_equal(again.mask(after), volume.mask(before))
        assert (after.name, after.code, after.side, after.origin) == (
            before.name,
            before.code,
            before.side,
            before.origin,
        )


def test_overlaps_that_a_format_cannot_hold_are_counted(tmp_path):
    receipt = export(make_discs(), tmp_path / "a.nii.gz")
    assert receipt.ok
    assert any("liver tumour lie under earlier masks" in note for note in receipt.notes)


def test_a_file_that_reads_back_otherwise_is_marked_and_named(tmp_path, monkeypatch):
    form = FORMATS["nifti"]

    def write_wrong(volume, path, sources):
        wrong = volume.layers[0].copy()
        wrong[0, 0, 0] = 1
        moved = Geometry(volume.geometry.shape, volume.geometry.affine + np.diag([0, 0, 0, 0.0]))
        return form.write(LabelledVolume.from_labels(moved, wrong, volume.segments), path, sources)

    monkeypatch.setitem(exporting.FORMATS, "nifti", exporting.replace(form, write=write_wrong))
    with pytest.raises(MismatchError, match="left kidney that differ") as caught:
        export(make_discs(), tmp_path / "a.nii.gz")
    assert not caught.value.receipt.ok
    assert not (tmp_path / "a.nii.gz").exists()
    assert (tmp_path / "a.nii.gz.mismatch").exists()
    report = json.loads((tmp_path / "a.nii.gz.receipt.json.mismatch").read_text("utf-8"))
    assert report["ok"] is False


@pytest.mark.parametrize("shift", [0.02, 0.5])
def test_a_shifted_grid_is_a_mismatch_in_millimetres(tmp_path, monkeypatch, shift):
    form = FORMATS["nifti"]

    def write_shifted(volume, path, sources):
        affine = volume.geometry.affine.copy()
        affine[0, 3] += shift
        moved = LabelledVolume(Geometry(volume.geometry.shape, affine), volume.layers, volume.segments)
        return form.write(moved, path, sources)

    monkeypatch.setitem(exporting.FORMATS, "nifti", exporting.replace(form, write=write_shifted))
    with pytest.raises(MismatchError, match=r"corner, mm|do not lie on"):
        export(make_discs(), tmp_path / "a.nii.gz")


def test_nothing_is_overwritten_unless_told(tmp_path):
    volume, path = make_discs(), tmp_path / "a.nii.gz"
    export(volume, path)
    before = path.read_bytes()
    with pytest.raises(ExistingFileError, match=r"a\.nii\.gz exists"):
        export(volume, path)
    (tmp_path / "b.tsv").write_text("mine")
    with pytest.raises(ExistingFileError, match=r"b\.tsv"):
        export(volume, tmp_path / "b.nii.gz")
    assert not (tmp_path / "b.nii.gz").exists()
    assert path.read_bytes() == before
    other = LabelledVolume.from_masks(GRID, [(make_segment(1, "spleen"), np.ones(GRID.shape, bool))])
    assert export(other, path, options=Options(overwrite=True)).ok
    assert path.read_bytes() != before


def test_a_cancelled_export_leaves_nothing(tmp_path):
    said = []
    options = Options(report=said.append, cancelled=lambda: len(said) > 1)
    with pytest.raises(CancelledError):
        export(make_discs(), tmp_path / "a.nii.gz", options=options)
    assert list(tmp_path.iterdir()) == []


def test_the_receipt_has_the_hashes_of_the_files(tmp_path):
    import hashlib

    receipt = export(make_discs(), tmp_path / "a.seg.nrrd")
    written = json.loads((tmp_path / "a.seg.nrrd.receipt.json").read_text("utf-8"))
    (file,) = written["files"]
    assert file["sha256"] == hashlib.sha256((tmp_path / "a.seg.nrrd").read_bytes()).hexdigest()
    assert "Read back and equal (SimpleITK" in receipt.to_text()
    assert "left kidney" in receipt.to_text()


def test_dicom_seg_says_what_each_mask_is(tmp_path):
    series = write_series(tmp_path / "series", GRID)
    export(make_discs(), tmp_path / "a.dcm", options=Options(dicom=series))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    kidney, tumour, mole = dataset.SegmentSequence
    assert (dataset.StudyInstanceUID, dataset.FrameOfReferenceUID) == (STUDY, FRAME)
    assert dataset.SeriesInstanceUID != SERIES
    assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
    kind = kidney.SegmentedPropertyTypeCodeSequence[0]
    assert (kind.CodeValue, kind.CodeMeaning) == ("64033007", "Kidney")
    assert kind.SegmentedPropertyTypeModifierCodeSequence[0].CodeValue == "7771000"
    assert tumour.SegmentedPropertyCategoryCodeSequence[0].CodeValue == "49755003"
    assert [s.SegmentAlgorithmType for s in (kidney, tumour, mole)] == [
        "AUTOMATIC",
        "SEMIAUTOMATIC",
        "MANUAL",
    ]
    assert kidney.SegmentationAlgorithmIdentificationSequence[0].AlgorithmName == "MediRound"
    assert "SegmentationAlgorithmIdentificationSequence" not in mole
    assert kidney.TrackingID
    assert kidney.TrackingUID


@pytest.mark.filterwarnings("ignore:Invalid value for VR")
@pytest.mark.parametrize(
    ("keyword", "odd", "kept"),
    [("StudyTime", "09:11:56", "091156"), ("StudyTime", "noon", ""), ("PatientSex", "N/A", ""),
     ("StudyDate", "2026.01.02", "20260102"), ("PatientBirthDate", "1960", "")],
)  # fmt: skip
def test_headers_with_odd_values_get_their_segmentation(tmp_path, keyword, odd, kept):
    series = write_series(tmp_path / "series", GRID)
    vr = dictionary_VR(keyword)
    for path in series.iterdir():
        dataset = pydicom.dcmread(path)
        dataset[keyword] = pydicom.DataElement(keyword, vr, odd, validation_mode=pydicom.config.IGNORE)
        dataset.save_as(path)
    export(make_discs(), tmp_path / "a.dcm", options=Options(dicom=series))
    assert str(pydicom.dcmread(tmp_path / "a.dcm")[keyword].value or "") == kept


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
def test_a_structure_without_contours_is_read_back_in_any_syntax(tmp_path, syntax):
    """GDCM hands out null for a sequence without items, and items that end with their sequence."""
    volume = make_discs(overlapping=False)
    empty = (Segment(11, "spleen"), np.zeros(GRID.shape, bool))
    masks = [(segment, volume.mask(segment)) for segment in volume.segments]
    volume, path = LabelledVolume.from_masks(GRID, [*masks, empty]), tmp_path / "a.dcm"
    receipt = export(volume, path, "rtstruct", Options(dicom=write_series(tmp_path / "series", GRID)))
    assert receipt.ok
    dataset = pydicom.dcmread(path)
    assert "ContourSequence" not in dataset.ROIContourSequence[-1]
    dataset.ROIContourSequence[-1].ContourSequence = []
    dataset.file_meta.TransferSyntaxUID = syntax
    pydicom.dcmwrite(
        path, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, overwrite=True
    )
    again = read_back_rtstruct(path, GRID)
    assert [s.name for s in again.segments] == [s.name for s in volume.segments]
    for one, other in zip(again.segments, volume.segments, strict=True):
        assert np.array_equal(again.mask(one), volume.mask(other))


@pytest.mark.parametrize("form", ["dicom-seg", "rtstruct"])
def test_masks_of_one_phase_point_at_its_images_alone(tmp_path, form):
    for phase in range(3):
        folder = write_series(tmp_path / "series" / "cab"[phase], GRID, TemporalPositionIdentifier=phase + 1)
        for number, file in enumerate(sorted(folder.iterdir())):  # names in another order than the phases
            file.rename(file.parent.parent / f"{(number + phase) % 3}{number}{phase}.dcm")
    headers = [pydicom.dcmread(file) for file in tmp_path.rglob("*.dcm")]
    phases = {header.SOPInstanceUID: header.TemporalPositionIdentifier - 1 for header in headers}
    for phase in (2, 0):
        grid = read_study(tmp_path / "series", volume=phase).source_geometry
        export(make_discs(grid), tmp_path / f"{phase}.dcm", form, Options(dicom=tmp_path / "series"))
        written = pydicom.dcmread(tmp_path / f"{phase}.dcm")
        named = [str(e.value) for e in written.iterall() if e.keyword == "ReferencedSOPInstanceUID"]
        assert {phases[uid] for uid in named if uid in phases} == {phase}
    later = replace(grid, volume=3)
    with pytest.raises(UnreadableFileError, match="no volume 3"):
        export(make_discs(later), tmp_path / "b.dcm", form, Options(dicom=tmp_path / "series"))


def test_a_volume_without_a_place_keeps_its_distances(tmp_path):
    image = nibabel.Nifti1Image(np.arange(960, dtype=np.int16).reshape(12, 10, 8), None)
    image.header.set_zooms((1.0, 2.0, 3.0))
    nibabel.save(image, tmp_path / "image.nii.gz")
    grid = read_study(tmp_path / "image.nii.gz").source_geometry
    assert not grid.oriented
    masks = [(Segment(3, "liver"), np.random.default_rng(0).random(grid.shape) < 0.5)]
    export(LabelledVolume.from_masks(grid, masks), tmp_path / "a.nii.gz")
    written = nibabel.load(tmp_path / "a.nii.gz")
    assert written.header.get_zooms() == (1.0, 2.0, 3.0)
    assert np.array_equal(np.asarray(written.dataobj).transpose(2, 1, 0) == 3, masks[0][1])


def test_bids_names_stand_in_the_table(tmp_path):
    export(make_discs(), tmp_path / "sub-1_dseg.nii.gz")
    lines = (tmp_path / "sub-1_dseg.tsv").read_text("utf-8").splitlines()
    assert lines[0].split("\t")[:3] == ["index", "name", "color"]
    assert lines[1].split("\t")[:3] == ["1", "left kidney", "#e69f00"]
    assert json.loads((tmp_path / "sub-1_dseg.json").read_text("utf-8"))["Manual"] is False


def test_what_cannot_come_out_right_is_refused(tmp_path):
    volume = make_discs()
    with pytest.raises(SettingsError, match="from its DICOM files"):
        export(volume, tmp_path / "a.dcm")
    with pytest.raises(SettingsError, match=r"\.nii\.gz"):
        export(volume, tmp_path / "a.txt")
    with pytest.raises(SettingsError, match="ends in"):
        export(volume, tmp_path / "a.nii.gz", "tiff")
    with pytest.raises(SettingsError, match="one plane"):
        export(volume, tmp_path / "a.png")
    with pytest.raises(SettingsError, match="no mask"):
        export(LabelledVolume.from_masks(GRID, []), tmp_path / "a.nii.gz")
    assert list(tmp_path.iterdir()) == []


def test_the_ending_chooses_the_format(tmp_path):
    names = {
        "a.nii.gz": "nifti",
        "a.DCM": "dicom-seg",
        "a.seg.nrrd": "seg-nrrd",
        "a.tiff": "tiff",
        "a.csv": "csv",
    }
    assert {name: guess_format(tmp_path / name) for name in names} == names
