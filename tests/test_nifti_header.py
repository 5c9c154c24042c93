"""NIfTI headers are doubted before a voxel is read."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import read_study

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def write(path: Path, codes: tuple[int, int] = (1, 1), unit: str = "mm") -> Path:
    image = nibabel.Nifti1Image(VOXELS, np.diag([2.0, 3.0, 4.0, 1.0]))
    image.set_sform(image.affine, codes[0])
    image.set_qform(image.affine, codes[1])
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def patch(path: Path, at: int, form: str, *values) -> Path:
    data = bytearray(path.read_bytes())
    struct.pack_into(form, data, at, *values)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1)])
def test_lengths_become_millimetres_as_simpleitk_has_them(tmp_path, unit, factor):
    path = write(tmp_path / "a.nii", unit=unit)
    if unit == "meter":  # 2 m voxels are no patient's
        patch(path, 80, "<3f", 0.002, 0.003, 0.004)
        for row in range(3):
            patch(path, 280 + 20 * row, "<f", 0.002 + 0.001 * row)
        factor = 1
    study = read_study(path)
    assert study.source_geometry.spacing_mm == pytest.approx((4 * factor, 3 * factor, 2 * factor))
    assert SimpleITK.ReadImage(str(path)).GetSpacing()[::-1] == pytest.approx(
        study.source_geometry.spacing_mm
    )


def test_a_spacing_that_contradicts_the_sform_is_refused(tmp_path):
    path = patch(write(tmp_path / "a.nii", (1, 0)), 80, "<f", 5.0)
    with pytest.raises(
        UnreadableFileError, match=r"sform and pixdim contradict.*\[2.0, 3.0, 4.0\] and \[5.0"
    ):
        read_study(path)


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_spacing_is_not_made_up(tmp_path, value):
    path = patch(write(tmp_path / "a.nii", (0, 1)), 84, "<f", value)
    with pytest.raises(UnreadableFileError, match="gives its voxels no size"):
        read_study(path)


@pytest.mark.parametrize("offset", [0.0, 1e9, float("nan"), -1.0])
def test_the_voxels_lie_behind_the_header(tmp_path, offset):
    with pytest.raises(UnreadableFileError, match="voxels"):
        read_study(patch(write(tmp_path / "a.nii"), 108, "<f", offset))


def test_two_negative_sizes_do_not_make_a_positive_one(tmp_path):
    with pytest.raises(UnreadableFileError, match="gives it the size"):
        read_study(patch(write(tmp_path / "a.nii"), 42, "<2h", -3, -4))


def test_bytes_behind_the_last_voxel_are_noted(tmp_path):
    path = patch(write(tmp_path / "a.nii"), 42, "<h", 2)
    assert any("bytes follow" in note for note in read_study(path).notes)


def test_a_bomb_is_refused_by_its_promise_or_left_alone(tmp_path):
    path = patch(write(tmp_path / "a.nii"), 40, "<5h", 4, 20, 3000, 3000, 3)
    zeros = gzip.compress(bytes(2**24), 9) * 40
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(path.read_bytes()) + zeros)
    with pytest.raises(UnreadableFileError, match="bytes of voxels promised"):
        read_study(tmp_path / "a.nii.gz")
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(write(tmp_path / "b.nii").read_bytes()) + zeros)
    assert any("bytes follow" in note for note in read_study(tmp_path / "b.nii.gz").notes)


def test_a_wrong_ending_is_named(tmp_path):
    path = write(tmp_path / "a.nii").rename(tmp_path / "a.nii.gz")
    with pytest.raises(UnreadableFileError, match="not packed by gzip"):
        read_study(path)


def test_extensions_are_never_parsed(tmp_path, monkeypatch):
    image = nibabel.Nifti1Image(VOXELS, np.eye(4))
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 40))
    nibabel.save(image, tmp_path / "a.nii")
    patch(tmp_path / "a.nii", 360 - 4, "<i", 2)  # now it calls itself DICOM
    monkeypatch.setattr(nibabel.nifti1.Nifti1DicomExtension, "__init__", None)
    assert read_study(tmp_path / "a.nii").pixels.size == 60


@pytest.mark.parametrize(("step", "unit"), [(0.001, "metres"), (1.0, ""), (0.03, ""), (60.0, "micrometres")])
def test_a_size_of_voxels_that_is_no_patients_is_doubted(tmp_path, step, unit):
    image = nibabel.Nifti1Image(VOXELS, np.diag([step, step, 2 * step, 1.0]))
    nibabel.save(image, tmp_path / "a.nii")
    notes = [note for note in read_study(tmp_path / "a.nii").notes if "a voxel measures" in note]
    assert [note.rpartition(" ")[2] for note in notes] == ([unit] if unit else [])


def test_a_header_without_its_voxels_and_a_double_gzip_are_named(tmp_path):
    path = patch(write(tmp_path / "a.nii"), 344, "<4s", b"ni1\0")
    with pytest.raises(UnreadableFileError, match="in another file"):
        read_study(path)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(gzip.compress(bytes(400))))
    with pytest.raises(UnreadableFileError, match="packed by gzip twice"):
        read_study(tmp_path / "b.nii.gz")
