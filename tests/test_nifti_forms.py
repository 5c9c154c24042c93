"""Labels lie on a NIfTI image in every program, whichever of the image's two forms the program goes by."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.errors import MismatchError
from napari_mediround.io import read_study
from napari_mediround.io.export import Options, export
from napari_mediround.io.export import nifti as nifti_export
from napari_mediround.io.labels import write_label_volume
from napari_mediround.io.masks import read_masks

SHAPE = (9, 8, 7)
AXES = np.diag([-1.0, -1.0, 2.0, 1.0])
NOTE = "its sform and qform differ"


def turned(degrees: float, axis: int = 2, shift=(0, 0, 0), flip: bool = False) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz"[axis], degrees, degrees=True).as_matrix()
    affine[:3, 3] = shift
    return affine @ AXES @ np.diag([1.0, 1.0, -1.0 if flip else 1.0, 1.0])


def save(path: Path, sform, qform, codes=(2, 1), unit: str = "mm", kind=nibabel.Nifti1Image) -> Path:
    image = kind(np.arange(np.prod(SHAPE), dtype=np.int16).reshape(SHAPE), None)
    image.header.set_qform(qform, codes[1])
    image.header.set_sform(sform, codes[0])
    image.header.set_xyzt_units(unit)
    nibabel.save(image, path)
    return path


def write_both(folder: Path, image: Path) -> list[Path]:
    """Write labels for an image in both ways that the package has."""
    study = read_study(image)
    labels = np.zeros(study.source_geometry.shape, np.uint16)
    labels[2:4, 1:3, 2:6] = 1
    volume = LabelledVolume.from_labels(study.source_geometry, labels, [make_segment(1, "liver")])
    assert export(volume, folder / "a.nii.gz", "nifti", Options(overwrite=True)).ok
    write_label_volume(folder / "b.nii", study.order.apply(labels), study, {1: "liver"})
    for name in ("a.nii.gz", "b.nii"):
        again = read_masks(folder / name, study.source_geometry)
        assert np.array_equal(again.layers[0], labels)
    return [folder / "a.nii.gz", folder / "b.nii"]


def itk_place(path: Path) -> np.ndarray:
    image = SimpleITK.ReadImage(str(path))
    corners = np.array(np.meshgrid(*[(0, n - 1) for n in SHAPE])).reshape(3, -1).T
    return np.array([image.TransformIndexToPhysicalPoint(c.tolist()) for c in corners])


@settings(max_examples=40, deadline=None)
@given(
    st.floats(-44, 44),
    st.integers(0, 2),
    st.tuples(*[st.floats(-200, 200)] * 3),
    st.tuples(st.integers(0, 4), st.integers(0, 4)),
    st.sampled_from(("mm", "micron", "unknown")),
    st.booleans(),
    st.sampled_from((nibabel.Nifti1Image, nibabel.Nifti2Image)),
)
def test_labels_lie_on_their_image_for_nibabel_and_for_itk(degrees, axis, shift, codes, unit, flip, kind):
    with TemporaryDirectory() as folder:
        folder = Path(folder)
        forms = turned(0, flip=flip), turned(degrees, axis, shift, flip)
        image = save(folder / "image.nii", *forms, codes, unit, kind)
        for labels in write_both(folder, image):
            nibabels = nibabel.load(labels), nibabel.load(image)
            assert np.allclose(nibabels[0].affine, nibabels[1].affine, atol=1e-3)
            assert [int(nibabels[0].header[f"{n}form_code"]) for n in "sq"] == list(codes)
            if kind is nibabel.Nifti1Image:  # SimpleITK reads no NIfTI-2
                assert np.abs(itk_place(labels) - itk_place(image)).max() < 1e-3


@pytest.mark.parametrize("codes", [(s, q) for s in (0, 1, 2, 4) for q in (0, 1, 2)])
@pytest.mark.parametrize(
    ("sform", "qform", "differ"),
    [
        (turned(0), turned(0), False),
        (turned(0), turned(0, shift=(0.4, 0, 0)), False),
        (turned(0), turned(0, shift=(0.6, 0, 0)), True),
        (turned(0), turned(0, shift=(0, 0, 0.9)), False),
        (turned(0), turned(0, shift=(0, 0, 1.1)), True),
        (turned(0), turned(1), False),
        (turned(0), turned(6), True),
        (turned(44), turned(1), True),
    ],
)
def test_a_reader_is_told_where_the_forms_differ_by_half_a_voxel(tmp_path, codes, sform, qform, differ):
    study = read_study(save(tmp_path / "a.nii", sform, qform, codes))
    assert any(NOTE in note for note in study.notes) == (differ and min(codes) > 0)
    affine = np.diag([-1, -1, 1, 1]) @ (sform if codes[0] else qform)
    if max(codes):
        assert np.allclose(study.source_geometry.affine[:, [2, 1, 0, 3]], affine, atol=1e-5)


@pytest.mark.parametrize("field", ["pixdim", "quatern_b", "srow_x"])
def test_a_form_that_does_not_count_may_hold_anything(tmp_path, field):
    image = nibabel.Nifti1Image(np.zeros(SHAPE, np.int16), None)
    image.header.set_sform(turned(10), 1 if field != "srow_x" else 0)
    image.header.set_qform(turned(10), 0 if field != "srow_x" else 1)
    if field == "pixdim":
        image.header["pixdim"][:4] = 0, 1.01, 0.99, 2.01
    else:
        image.header[field] = np.nan
    nibabel.save(image, tmp_path / "image.nii")
    for labels in write_both(tmp_path, tmp_path / "image.nii"):
        assert np.allclose(itk_place(labels), itk_place(tmp_path / "image.nii"), atol=1e-3)


def test_a_format_of_one_place_says_so(tmp_path):
    study = read_study(save(tmp_path / "a.nii", turned(0), turned(20)))
    labels = np.ones(study.source_geometry.shape, np.uint16)
    volume = LabelledVolume.from_labels(study.source_geometry, labels, [make_segment(1, "liver")])
    assert any("the sform's" in n for n in export(volume, tmp_path / "a.seg.nrrd").notes)
    assert not any("the sform's" in n for n in export(volume, tmp_path / "b.nii.gz").notes)


def test_the_receipt_sees_a_form_that_is_lost(tmp_path, monkeypatch):
    study = read_study(save(tmp_path / "a.nii", turned(0), turned(20)))
    volume = LabelledVolume.from_labels(
        study.source_geometry, np.ones(study.source_geometry.shape, np.uint16), [make_segment(1, "liver")]
    )
    whole = nifti_export.save_grid

    def forget(path, array, geometry):
        whole(path, array, geometry)
        image = nibabel.load(path)
        image.set_qform(image.affine, 1)
        nibabel.save(nibabel.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)

    monkeypatch.setattr(nifti_export, "save_grid", forget)
    with pytest.raises(MismatchError, match="sform and qform"):
        export(volume, tmp_path / "b.nii.gz")
    receipt = json.loads((tmp_path / "b.nii.gz.receipt.json.mismatch").read_text())
    assert not receipt["ok"]
