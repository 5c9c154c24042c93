"""Masks of files for an image: whose they are, on which grid, and what they became."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from exports import write_series
from test_export import GRID, make_discs

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import MANUAL, LabelledVolume, make_segment
from napari_mediround.errors import OtherGridError, UnreadableFileError
from napari_mediround.io.export import Options, export
from napari_mediround.io.labels import save_grid
from napari_mediround.io.masks.outside import RESAMPLED, read_incoming, resample_masks


def test_a_label_map_tells_its_hash_form_and_origin(tmp_path):
    save_grid(tmp_path / "a.nii.gz", make_discs().flatten()[0].layers[0], GRID)
    found = read_incoming(tmp_path / "a.nii.gz", GRID)
    source = found.source_of(found.volume.segments[0])
    digest = hashlib.sha256((tmp_path / "a.nii.gz").read_bytes()).hexdigest()
    assert (source.sha256, source.form, source.origin, source.resampled) == (digest, "nifti", MANUAL, False)


def test_another_grid_is_told_in_millimetres_and_resampled_only_when_told_to(tmp_path):
    affine = GRID.affine.copy()
    affine[:3, 3] += 0.4 * affine[:3, 1]
    save_grid(tmp_path / "a.nii.gz", make_discs().flatten()[0].layers[0], replace(GRID, affine=affine))
    with pytest.raises(OtherGridError, match=r"mm apart.*--resample"):
        read_incoming(tmp_path / "a.nii.gz", GRID)
    found = read_incoming(tmp_path / "a.nii.gz", GRID, resample=True)
    assert RESAMPLED in found.volume.notes
    assert found.source.resampled
    # 0.4 of a voxel is nearest to the voxel that it came from.
    assert np.array_equal(found.volume.layers[0], make_discs().flatten()[0].layers[0])


def test_resampling_keeps_a_box_where_it_lies_in_millimetres():
    fine = Geometry((20, 20, 20), np.diag([1.0, 1, 1, 1]))
    coarse = Geometry(
        (10, 10, 10), np.array([[2.0, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1]])
    )
    mask = np.zeros(fine.shape, bool)
    mask[4:12, 6:14, 2:10] = True
    moved = resample_masks(LabelledVolume.from_masks(fine, [(make_segment(1, "liver"), mask)]), coarse)
    assert np.array_equal(moved.layers[0] == 1, mask[::2, ::2, ::2])


@pytest.fixture
def seg(tmp_path):
    """Return a DICOM series and a DICOM-SEG of it."""
    series = write_series(tmp_path / "series", GRID)
    export(make_discs(), tmp_path / "seg.dcm", "dicom-seg", Options(dicom=series))
    return series, tmp_path / "seg.dcm"


def test_masks_of_another_patient_or_examination_are_refused(tmp_path, seg):
    series, path = seg
    image = sorted(series.iterdir())[0]
    assert read_incoming(path, GRID, image=image).source.form == "dicom-seg"
    dataset = pydicom.dcmread(path)
    for keyword, match in (("PatientID", "another patient"), ("StudyInstanceUID", "another examination")):
        changed = pydicom.dcmread(path)
        setattr(changed, keyword, "1.2.3.4")
        changed.save_as(tmp_path / "other.dcm")
        if keyword == "PatientID" and not dataset.get("PatientID"):
            continue
        with pytest.raises(UnreadableFileError, match=match):
            read_incoming(tmp_path / "other.dcm", GRID, image=image)


def test_the_masks_of_the_open_image_are_taken_from_a_monai_label_folder(tmp_path):
    for name in ("one", "two"):
        save_grid(tmp_path / f"{name}.nii.gz", np.zeros(GRID.shape, np.uint16), GRID)
        (tmp_path / "labels" / "final").mkdir(parents=True, exist_ok=True)
        labels = np.full(GRID.shape, 1 + (name == "two"), np.uint16)
        save_grid(tmp_path / "labels" / "final" / f"{name}.nii.gz", labels, GRID)
    found = read_incoming(tmp_path, GRID, load_anatomy(), tmp_path / "two.nii.gz")
    assert [s.value for s in found.volume.segments] == [2]
    with pytest.raises(UnreadableFileError, match="masks of 2 images"):
        read_incoming(tmp_path, GRID, load_anatomy(), tmp_path / "three.nii.gz")


def test_a_file_without_a_mask_is_refused(tmp_path):
    save_grid(tmp_path / "a.nii.gz", np.zeros(GRID.shape, np.uint16), GRID)
    with pytest.raises(UnreadableFileError, match="no mask"):
        read_incoming(tmp_path / "a.nii.gz", GRID)


def test_a_tiff_has_no_place_and_is_taken_plane_by_plane_where_it_fits(tmp_path):
    volume = make_discs().flatten()[0]
    export(volume, tmp_path / "a.tif")
    found = read_incoming(tmp_path / "a.tif", GRID, load_anatomy())
    assert np.array_equal(found.volume.layers[0], volume.layers[0])
    assert [s.name for s in found.volume.segments] == [s.name for s in volume.segments]
    assert any("no place" in note for note in found.volume.notes)
    small = Geometry((1, *GRID.shape[1:]), GRID.affine)
    with pytest.raises(UnreadableFileError, match="no place in millimetres"):
        read_incoming(tmp_path / "a.tif", small)
