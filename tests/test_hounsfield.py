"""CT is known by its values, however a file stores them; MR and label maps are not taken for CT."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.domain.hounsfield import SHIFT, add_to, find_shift, take_for
from napari_mediround.domain.windows import choose_window, render_plane
from napari_mediround.io import read_study

SAMPLE = Path(str(resources.files("napari_mediround.resources"))) / "sample" / "ct_abdomen" / "image.nii.gz"
RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def ct():
    return read_study(SAMPLE)


def padded(values, share: float, value: float):
    values = values.copy()
    values[:, : int(share * values.shape[1])] = value
    return values


STORED = {
    "whole": lambda v: v,
    "fractional": lambda v: v + RNG.normal(0, 0.3, v.shape).astype(np.float32),
    "noisy": lambda v: v + RNG.normal(0, 25, v.shape).astype(np.float32),
    "double": lambda v: v.astype(np.float64),
    "padding -8192": lambda v: padded(v, 0.25, -8192),
    "padding -32768": lambda v: padded(v, 0.25, -32768),
    "padding -2000 for all air": lambda v: np.where(v < -900, -2000, v),
    "padding -3024, a little": lambda v: padded(v, 0.03, -3024),
    "blurred": lambda v: (v[1:].astype(np.float32) + v[:-1]) / 2,
    "few planes": lambda v: v[8:11],
    "one plane": lambda v: v[10:11],
}
SHIFTED = {
    "unsigned": lambda v: (v.astype(np.int32) + 1024).clip(0).astype(np.uint16),
    "12 bits": lambda v: (v.astype(np.int32) + 1024).clip(0, 4095).astype(np.uint16),
    "signed": lambda v: (v + 1024).astype(np.int16),
    "fractional": lambda v: v + np.float32(1024) + RNG.normal(0, 0.3, v.shape).astype(np.float32),
    "padding -8192": lambda v: padded(v + 1024, 0.25, -8192),
    "1000 added": lambda v: (v.astype(np.int32) + 1000).clip(0).astype(np.uint16),
}


@pytest.mark.parametrize("stored", STORED)
def test_hounsfield_units_are_known_however_they_are_stored(ct, stored):
    assert find_shift(STORED[stored](ct.pixels)) == 0.0


@pytest.mark.parametrize("stored", SHIFTED)
def test_hounsfield_units_with_1024_added_are_known(ct, stored):
    assert find_shift(SHIFTED[stored](ct.pixels)) == SHIFT


def head(rng, white: float = 1000.0) -> np.ndarray:
    """Return what a head looks like on MR: noise outside, tissues of any grey, each with a spread."""
    values = np.abs(rng.normal(0, 15, (6, 60, 60)))
    for k, grey in enumerate(rng.uniform(0.1, 2.2, 5) * white):
        values[:, 8 + 9 * k : 17 + 9 * k, 10:50] = rng.normal(grey, 0.08 * grey, (6, 9, 40))
    return values.clip(0)


def test_mr_is_hardly_ever_taken_for_ct():
    taken = []
    for seed in range(300):
        values = head(np.random.default_rng(seed), (300, 700, 1000, 2000)[seed % 4])
        stored = (
            values.astype(np.uint16),
            padded(values, 0.2, -32768),
            (values - values.mean()) / values.std(),
        )
        taken += [find_shift(one if one.dtype.kind == "u" else one.astype(np.float32)) for one in stored]
    # Five greys drawn at random may happen to be those of air, fat, muscle and contrast medium.
    assert sum(shift is not None for shift in taken) <= 0.01 * len(taken)


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(-4096, 4096, (5, 40, 40)).astype(np.int16),  # a phase
        RNG.normal(0, 300, (5, 40, 40)).astype(np.float32),  # a difference, a real part
        RNG.integers(0, 256, (5, 40, 40)).astype(np.uint8),
        RNG.choice([0, 1000, 1001, 1012, 1035, 24, 7], (5, 40, 40)).astype(np.int16),  # labels of FreeSurfer
        np.zeros((3, 4, 5), np.int16),
        np.full((3, 4, 5), -1000, np.int16),
        RNG.integers(0, 3000, (5, 40, 40)).astype(np.uint16),
    ],
)
def test_other_values_are_not_taken_for_ct(values):
    assert find_shift(values) is None


def save(path: Path, values) -> Path:
    if path.name.endswith(".nii.gz"):
        nibabel.save(nibabel.Nifti1Image(values.T, np.diag([-1.0, -1, 2, 1])), path)
    else:
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(values), str(path))
    return path


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha"])
def test_a_shifted_ct_is_read_in_hounsfield_units_with_a_note(tmp_path, ct, name):
    source = ct.order.undo(ct.pixels)
    study = read_study(save(tmp_path / name, SHIFTED["unsigned"](source)))
    assert (study.modality, study.stated, study.shift, study.pixels.dtype) == ("CT", False, SHIFT, np.int16)
    assert np.array_equal(study.order.undo(study.pixels), source.clip(-1024))
    assert [n for n in study.notes if "taken for CT" in n]
    assert [n for n in study.notes if "1024 was taken off" in n]
    as_stored = read_study(tmp_path / name, modality="MR")
    assert (as_stored.modality, as_stored.stated, as_stored.pixels.min()) == ("MR", True, 0)
    assert not any("CT" in n or "taken off" in n for n in as_stored.notes)


def test_a_person_is_obeyed_in_modality_and_window(tmp_path):
    path = save(tmp_path / "a.nii.gz", head(RNG).astype(np.int16))
    mr = read_study(path)
    assert (mr.modality, mr.name.split()[0], mr.stated) == ("", "image", False)
    assert any("not those of CT" in note for note in mr.notes)
    told = read_study(path, modality="CT")
    assert (told.modality, told.name.split()[0], told.shift) == ("CT", "CT", 0.0)
    assert np.array_equal(told.pixels, mr.pixels)
    assert np.array_equal(render_plane(mr, 1, "lung"), render_plane(told, 1, "lung"))
    # The words of a question speak of HU, and choose a window on CT only.
    assert (choose_window(told, "the left lung"), choose_window(mr, "the left lung")) == ("lung", None)
    assert choose_window(mr, "the left lung", "bone") == "bone"


def test_what_a_study_is_taken_for_can_change_and_change_back(ct):
    stored = replace(ct, pixels=SHIFTED["unsigned"](ct.pixels), modality="", stated=False)
    there = take_for(stored, "CT")
    assert there.shift == SHIFT
    assert there.pixels.min() == -1024
    assert np.array_equal(take_for(there, "").pixels, stored.pixels)
    assert take_for(there, "CT").pixels is there.pixels


@given(st.sampled_from((np.int16, np.uint16, np.int32, np.float32)), st.sampled_from((-1024, 1024)))
def test_adding_is_exact_in_a_kind_that_holds_the_sum(kind, amount):
    values = np.array([0, 1, 30000, 32767], kind)
    assert add_to(values, amount).tolist() == [v + amount for v in (0, 1, 30000, 32767)]
