"""Label volumes go back to the source grid exactly, whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from fakes import make_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_geometry import VIEWS, geometries

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.study import Study, make_study
from napari_mediround.errors import SettingsError
from napari_mediround.io import read_study
from napari_mediround.io.labels import PALETTE, label_files, write_label_volume, write_overlay
from napari_mediround.io.volumes.volume import ras_to_lps

NAMES = {1: "liver", 2: "left kidney", 300: "aorta"}


def study_of(geometry: Geometry, view: str | None = None) -> Study:
    return make_study(np.zeros(geometry.shape, np.int16), geometry, "CT", view)


def labels_for(study: Study) -> np.ndarray:
    return np.random.default_rng(1).choice(np.array([0, 1, 2, 300], np.uint16), study.geometry.shape)


@settings(max_examples=20)
@given(geometries(), st.sampled_from((None, *VIEWS)))
def test_nibabel_and_simpleitk_read_the_source_grid(tmp_path_factory, geometry, view):
    study = study_of(geometry, view)
    labels = labels_for(study)
    path = write_label_volume(tmp_path_factory.mktemp("labels") / "a.nii.gz", labels, study, NAMES)
    source = study.order.undo(labels)
    image = nibabel.load(path)
    assert np.array_equal(np.asarray(image.dataobj).T, source)
    assert np.allclose(ras_to_lps(image.affine), geometry.affine, atol=1e-4)
    assert image.get_sform(coded=True)[1] == image.get_qform(coded=True)[1] == 1
    other = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(other), source)
    last = np.array(geometry.shape) - 1
    there = other.TransformIndexToPhysicalPoint(last[::-1].tolist())
    assert np.allclose(there, geometry.index_to_world(last), atol=1e-2)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_the_affine_of_a_nifti_source_returns_bit_for_bit(tmp_path, suffix):
    affine = nibabel.affines.from_matvec(
        np.array([[-0.1, 1.9, 0], [0.7, 0.3, 0.1], [0, -0.2, 2.9]]), [3.3, -7, 9]
    )
    u, _, v = np.linalg.svd(affine[:3, :3])
    affine[:3, :3] = u @ v * (0.77, 0.91, 2.5)
    image = nibabel.Nifti1Image(np.ones((4, 5, 6), np.int16), affine)
    image.set_sform(affine, 1)
    nibabel.save(image, tmp_path / "source.nii")
    study = read_study(tmp_path / "source.nii", view="coronal")
    labels = labels_for(study)
    path = write_label_volume(tmp_path / f"labels{suffix}", labels, study, NAMES)
    assert np.array_equal(nibabel.load(path).affine, nibabel.load(tmp_path / "source.nii").affine)


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".nii"])
def test_our_own_reader_gets_back_what_was_written(tmp_path, suffix):
    study = study_of(Geometry((3, 4, 5), np.diag([-3.0, 0.7, 0.9, 1.0])))
    labels = labels_for(study)
    again = read_study(write_label_volume(tmp_path / f"a{suffix}", labels, study, NAMES))
    assert np.array_equal(again.order.undo(again.pixels), study.order.undo(labels))
    assert np.allclose(again.source_geometry.affine, study.source_geometry.affine, atol=1e-5)


def test_names_stand_beside_the_volume(tmp_path):
    study = study_of(Geometry((2, 3, 4), np.eye(4)))
    files = label_files(tmp_path / "out" / "a.nii.gz", study)
    assert write_label_volume(files[0], labels_for(study), study, NAMES) == files[0]
    sidecar = json.loads((tmp_path / "out" / "a.json").read_text("utf-8"))
    assert sidecar == {"labels": {"1": "liver", "2": "left kidney", "300": "aorta"}}
    assert set((tmp_path / "out").iterdir()) == set(files)


def test_a_failed_writing_leaves_the_old_file(tmp_path, monkeypatch):
    study = study_of(Geometry((2, 3, 4), np.eye(4)))
    path = write_label_volume(tmp_path / "a.nii", labels_for(study), study, NAMES)
    before = path.read_bytes()

    def fail(image, target):
        target.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(nibabel, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        write_label_volume(path, labels_for(study) * 0, study, NAMES)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.nii"]


def test_labels_of_a_picture_are_a_picture_and_claim_no_side(tmp_path):
    Image.fromarray(np.zeros((5, 7), np.uint8)).save(tmp_path / "image.png")
    study = read_study(tmp_path / "image.png")
    labels = np.zeros((1, 5, 7), np.uint8)
    labels[0, 1, 2] = 2
    path = write_label_volume(tmp_path / "labels.png", labels, study, NAMES)
    assert np.array_equal(np.array(Image.open(path)), labels[0])
    volume = nibabel.load(write_label_volume(tmp_path / "labels.nii", labels, study, NAMES))
    assert volume.header["sform_code"] == volume.header["qform_code"] == 0


def test_what_cannot_be_written_is_refused_before_writing(tmp_path):
    study = study_of(Geometry((2, 3, 4), np.eye(4)))
    labels = labels_for(study)
    with pytest.raises(ValueError, match="do not fit"):
        write_label_volume(tmp_path / "a.nii", labels[:1], study, NAMES)
    with pytest.raises(ValueError, match=r"\[300\] have no name"):
        write_label_volume(tmp_path / "a.nii", labels, study, {1: "liver", 2: "kidney"})
    with pytest.raises(SettingsError, match="one plane"):
        write_label_volume(tmp_path / "a.png", labels, study, NAMES)
    with pytest.raises(SettingsError, match=r"\.nii\.gz"):
        write_label_volume(tmp_path / "a.txt", labels, study, NAMES)
    assert not list(tmp_path.iterdir())


def test_the_overlay_outlines_and_names_each_mask(tmp_path):
    image = np.full((32, 48, 3), 100, np.uint8)
    mask = np.zeros((32, 48), bool)
    mask[8:24, 10:30] = True
    path = write_overlay(tmp_path / "a.png", image, [mask], ["liver"])
    shown = np.array(Image.open(path))
    factor = shown.shape[1] // 48
    assert shown.shape[1] == 48 * factor >= 512
    assert shown[8 * factor, 10 * factor].tolist() == list(PALETTE[0])
    assert shown[0, 0].tolist() == [100, 100, 100]
    middle = shown[16 * factor, 20 * factor].astype(int)
    assert 100 < middle[0] < PALETTE[0][0]
    assert shown[32 * factor :].any()
    with pytest.raises(ValueError, match="shape of the image"):
        write_overlay(tmp_path / "b.png", image, [mask[1:]], ["liver"])


def test_a_file_that_was_cut_short_is_no_success(tmp_path: Path, monkeypatch) -> None:
    study = make_volume()
    labels = (np.random.default_rng(0).random(study.geometry.shape) > 0.5).astype(np.uint8)
    write = SimpleITK.WriteImage

    def cut(image, name, *more) -> None:
        write(image, name, *more)
        Path(name).write_bytes(Path(name).read_bytes()[:-40])

    monkeypatch.setattr(SimpleITK, "WriteImage", cut)
    with pytest.raises((OSError, RuntimeError)):
        write_label_volume(tmp_path / "a.nrrd", labels, study, {1: "liver"})
    assert not list(tmp_path.iterdir())
