"""CT is shown by window, the rest by percentiles of the volume, pictures as they are."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.study import Study, make_study
from napari_mediround.domain.windows import WINDOWS, render_plane, window_for_question
from napari_mediround.errors import SettingsError


def study(pixels: np.ndarray, modality: str) -> Study:
    affine = np.eye(4)[[2, 1, 0, 3]]
    return make_study(pixels, Geometry(pixels.shape[:3], affine), modality, 0)


def test_ct_runs_through_the_window():
    ct = study(np.array([[[-1000, -160, 40, 240, 3000]]], np.int16), "CT")
    shown = render_plane(ct, 0, "soft_tissue")
    assert shown.shape == (1, 5, 3)
    assert shown[0, :, 0].tolist() == [0, 0, 128, 255, 255]
    assert np.array_equal(render_plane(ct, 0), shown)
    assert render_plane(ct, 0, (0, 2000))[0, :, 1].tolist() == [0, 107, 133, 158, 255]


def test_mr_keeps_one_grey_scale_over_the_volume():
    pixels = np.zeros((2, 10, 10), np.int16)
    pixels[0], pixels[1] = 100, 1000
    mr = study(pixels, "MR")
    assert render_plane(mr, 0).max() == 0
    assert render_plane(mr, 1).min() == 255
    assert np.array_equal(render_plane(mr, 1, "lung"), render_plane(mr, 1, (-600, 1500)))


def test_pictures_stay_as_they_are():
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (1, 4, 5), np.uint8)
    assert np.array_equal(render_plane(study(grey, ""), 0)[..., 2], grey[0])
    colour = rng.integers(0, 256, (1, 4, 5, 3), np.uint8)
    assert np.array_equal(render_plane(study(colour, "US"), 0), colour[0])


def test_an_empty_volume_is_black_and_a_missing_plane_is_an_error():
    empty = study(np.zeros((2, 3, 3), np.float32), "MR")
    assert not render_plane(empty, 1).any()
    with pytest.raises(IndexError, match="planes 0 to 1"):
        render_plane(empty, 2)


def test_the_question_chooses_the_window():
    assert window_for_question("Segment the nodule in the left lung", None) == "lung"
    assert window_for_question("the pulmonary artery", None) is None
    assert window_for_question("Outline the lateral ventricles", None) == "brain"
    assert window_for_question("the liver and the third rib", "soft_tissue") == "soft_tissue"
    assert window_for_question("hello", "liver") == "liver"


def test_unknown_windows_are_refused_by_name():
    ct = study(np.zeros((1, 2, 2), np.int16), "CT")
    with pytest.raises(SettingsError, match="soft_tissue"):
        render_plane(ct, 0, "tissue")
    with pytest.raises(SettingsError, match="positive width"):
        render_plane(ct, 0, (40, 0))
    assert set(WINDOWS) >= {"soft_tissue", "lung", "bone", "brain", "liver", "mediastinum"}


def test_large_volumes_are_sampled_for_their_greys():
    pixels = np.random.default_rng(0).integers(1, 1001, (40, 300, 300)).astype(np.int16)
    low, high = study(pixels, "MR").grey_range
    assert low == pytest.approx(5, abs=2)
    assert high == pytest.approx(995, abs=2)
