"""NIfTI, NRRD and MetaImage: right geometry, or one clear error."""

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import read_study
from napari_mediround.io.volumes.volume import lps_to_ras, ras_to_lps

RNG = np.random.default_rng(0)


def save(path: Path, voxels, affine, sform: int = 1, qform: int = 1) -> Path:
    """Write a NIfTI file; codes of 0 leave the orientation unsaid."""
    image = nibabel.Nifti1Image(voxels, affine)
    image.set_sform(affine, sform)
    image.set_qform(affine, qform)
    nibabel.save(image, path)
    return path


@given(st.permutations(range(3)), st.tuples(*[st.sampled_from((-1.5, 1.0, 2.0))] * 3))
def test_ras_and_lps_convert_exactly(axes, steps):
    affine = np.eye(4)
    affine[:3, :3] = np.diag(steps)[:, axes]
    affine[:3, 3] = 0.1, -7.3, 11.7
    assert np.array_equal(lps_to_ras(ras_to_lps(affine)), affine)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "LAS", "ASR", "SPL", "PIR"])
def test_a_voxel_on_the_patients_left_is_shown_on_the_right(tmp_path, codes):
    axcodes = nibabel.orientations.axcodes2ornt(codes)
    affine = np.diag([-2.0, -2.0, 2.0, 1.0])
    voxels = np.zeros((9, 8, 7), np.int16)
    voxels[8, 0, 6] = 7  # in LPS: left, front, top
    plain = nibabel.Nifti1Image(voxels, affine)
    turned = plain.as_reoriented(nibabel.orientations.ornt_transform(nibabel.io_orientation(affine), axcodes))
    study = read_study(save(tmp_path / "a.nii.gz", np.asarray(turned.dataobj), turned.affine), view="axial")
    assert study.pixels.shape == (7, 8, 9)
    assert np.argwhere(study.pixels == 7).tolist() == [[6, 0, 8]]
    assert study.geometry.index_to_world(np.array([6, 0, 8])).tolist() == [16.0, 0.0, 12.0]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_geometry_equals_that_of_simpleitk(tmp_path, suffix):
    image = SimpleITK.GetImageFromArray(RNG.integers(0, 500, (4, 5, 6)).astype(np.int16))
    image.SetSpacing((0.7, 0.9, 3.0))
    image.SetOrigin((-20.5, 11.25, 7.0))
    turn = SimpleITK.Euler3DTransform((0, 0, 0), 0.1, -0.2, 0.3)
    image.SetDirection(turn.GetMatrix())
    path = tmp_path / f"a{suffix}"
    SimpleITK.WriteImage(image, str(path))
    study = read_study(path)
    assert np.array_equal(study.order.undo(study.pixels), SimpleITK.GetArrayFromImage(image))
    for plane, row, column in ((0, 0, 0), (3, 4, 5), (1, 2, 3)):
        there = image.TransformIndexToPhysicalPoint((column, row, plane))
        assert np.allclose(study.source_geometry.index_to_world([plane, row, column]), there, atol=1e-4)


def test_four_dimensions_need_a_choice(tmp_path):
    path = save(tmp_path / "a.nii", RNG.integers(0, 9, (3, 4, 5, 2)).astype(np.uint8), np.eye(4))
    with pytest.raises(UnreadableFileError, match="volume=0…1"):
        read_study(path)
    with pytest.raises(UnreadableFileError, match="no volume 2"):
        read_study(path, volume=2)
    voxels = np.asarray(nibabel.load(path).dataobj)[..., 1]
    study = read_study(path, volume=1)
    assert np.array_equal(study.order.undo(study.pixels), voxels.T)


def test_several_values_a_voxel_need_a_choice(tmp_path):
    image = SimpleITK.GetImageFromArray(RNG.random((3, 4, 5, 2)).astype(np.float32), isVector=True)
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    with pytest.raises(UnreadableFileError, match="2 values a voxel"):
        read_study(tmp_path / "a.nrrd")
    assert read_study(tmp_path / "a.nrrd", volume=1).pixels.shape == (3, 4, 5)


def test_an_unsaid_orientation_claims_no_side(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16), np.diag([2.0, 2.0, 3.0, 1.0]), 0, 0)
    study = read_study(path)
    assert not study.geometry.oriented
    assert study.geometry.spacing_mm == (3.0, 2.0, 2.0)
    assert "no side is claimed" in study.notes[0]
    with pytest.raises(UnreadableFileError, match="Leave the view out"):
        read_study(path, view="coronal")


@pytest.mark.parametrize(
    ("name", "stated", "oriented"),
    [
        ("a.nrrd", "spacings: 2 2 3", False),
        ("a.nrrd", "space dimension: 3\nspace directions: (2,0,0) (0,2,0) (0,0,3)", False),
        ("a.nrrd", "space: scanner-xyz\nspace directions: (2,0,0) (0,2,0) (0,0,3)", False),
        ("a.nrrd", "space: left-posterior-superior\nspace directions: (2,0,0) (0,2,0) (0,0,3)", True),
        ("a.nrrd", "Space: RAS\nspace directions: (-2,0,0) (0,-2,0) (0,0,3)", True),
        ("a.mha", "ElementSpacing = 2 2 3", False),
        ("a.mha", "ElementSpacing = 2 2 3\nTransformMatrix = 1 0 0 0 1 0 0 0 1", True),
        ("a.mha", "ElementSpacing = 2 2 3\nOrientation = 1 0 0 0 1 0 0 0 1", True),
    ],
)
def test_a_side_is_claimed_only_where_a_header_states_directions(tmp_path, name, stated, oriented):
    nrrd = f"NRRD0004\ntype: int16\ndimension: 3\nsizes: 5 4 3\n{stated}\nendian: little\nencoding: raw\n\n"
    meta = f"ObjectType = Image\nNDims = 3\nDimSize = 5 4 3\n{stated}\nElementType = MET_SHORT\n"
    header = nrrd if name == "a.nrrd" else meta + "ElementDataFile = LOCAL\n"
    (tmp_path / name).write_bytes(header.encode() + np.arange(60, dtype="<i2").tobytes())
    study = read_study(tmp_path / name)
    assert (study.geometry.oriented, study.geometry.plane_name) == (oriented, "axial" if oriented else "")
    assert any("no side is claimed" in note for note in study.notes) != oriented
    assert np.array_equal(study.pixels, np.arange(60).reshape(3, 4, 5))
    assert study.geometry.spacing_mm == (3.0, 2.0, 2.0)


def test_a_series_in_time_whose_axes_the_reader_takes_for_others_claims_no_side(tmp_path):
    directions = "(2,0,0,0) (0,2,0,0) (0,0,3,0) (0,0,0,1)"
    for space, oriented in (("RAST", False), ("left-posterior-superior-time", True)):
        fields = f"space: {space}\nsizes: 5 4 3 2\nspace directions: {directions}\nencoding: raw"
        header = f"NRRD0004\ntype: int16\ndimension: 4\n{fields}\nendian: little\n\n"
        (tmp_path / "a.nrrd").write_bytes(header.encode() + np.arange(120, dtype="<i2").tobytes())
        assert read_study(tmp_path / "a.nrrd", volume=1).geometry.oriented == oriented


def test_contradicting_forms_are_refused(tmp_path):
    image = nibabel.Nifti1Image(np.ones((3, 4, 5), np.int16), np.eye(4))
    image.set_sform(np.diag([-1.0, 1, 1, 1]), 1)
    image.set_qform(np.eye(4), 1)
    nibabel.save(image, tmp_path / "a.nii")
    with pytest.raises(UnreadableFileError, match=r"LAS and RAS.*set_qform"):
        read_study(tmp_path / "a.nii")


def test_sheared_and_singular_affines_are_refused(tmp_path):
    sheared = np.eye(4)
    sheared[0, 1] = 0.4
    with pytest.raises(UnreadableFileError, match=r"sheared by 21\.8°.*Resample"):
        read_study(save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16), sheared, 1, 0))
    path = save(tmp_path / "b.nii", np.ones((3, 4, 5), np.int16), np.eye(4), 1, 0)
    header = bytearray(path.read_bytes())
    header[280:296] = bytes(16)  # srow_x
    path.write_bytes(header)
    with pytest.raises(UnreadableFileError, match="not invertible"):
        read_study(path)


def test_voxels_that_are_not_numbers_are_replaced_and_counted(tmp_path):
    voxels = np.arange(60, dtype=np.float32).reshape(3, 4, 5)
    voxels[0, 0, :3] = np.nan, np.inf, -np.inf
    study = read_study(save(tmp_path / "a.nii", voxels, np.eye(4)))
    assert (study.pixels.min(), study.pixels.max()) == (3.0, 59.0)
    assert study.notes == ("3 voxels were not finite numbers",)
    with pytest.raises(UnreadableFileError, match="not one"):
        read_study(save(tmp_path / "b.nii", np.full((2, 2, 2), np.nan), np.eye(4)))


def test_rgb_volumes_are_read_as_colours(tmp_path):
    rgb = np.zeros((4, 5, 3), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    rgb["G"] = 200
    study = read_study(save(tmp_path / "a.nii", rgb, np.eye(4)))
    assert study.is_rgb
    assert study.pixels[0, 0, 0].tolist() == [0, 200, 0]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
def test_a_file_cut_short_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    SimpleITK.WriteImage(
        SimpleITK.GetImageFromArray(RNG.integers(0, 999, (9, 9, 9)).astype(np.int16)), str(path)
    )
    data = path.read_bytes()
    for length in (0, 20, len(data) // 2, len(data) - 9):
        path.write_bytes(data[:length])
        with pytest.raises(UnreadableFileError, match="Copy or export the file again") as caught:
            read_study(path)
        assert str(path) in str(caught.value)


def test_a_header_cannot_ask_for_more_memory_than_the_file_holds(tmp_path):
    path = save(tmp_path / "a.nii", np.ones((3, 4, 5), np.int16), np.eye(4))
    data = bytearray(path.read_bytes())
    data[42:48] = np.array([30000] * 3, "<i2").tobytes()
    path.write_bytes(data)
    with pytest.raises(UnreadableFileError, match="54,000,000,000,000 bytes"):
        read_study(path)
    (tmp_path / "b.nii.gz").write_bytes(gzip.compress(bytes(data)))
    with pytest.raises(UnreadableFileError, match="cut short or damaged"):
        read_study(tmp_path / "b.nii.gz")


def test_unknown_formats_and_missing_files_are_named(tmp_path):
    with pytest.raises(UnreadableFileError, match="no such file"):
        read_study(tmp_path / "none.nii")
    (tmp_path / "a.mnc").write_bytes(b"CDF\x01")
    with pytest.raises(UnreadableFileError, match=r"Convert it; DICOM, NIfTI"):
        read_study(tmp_path / "a.mnc")
