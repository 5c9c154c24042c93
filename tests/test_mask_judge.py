"""How far to trust masks from elsewhere: a number where the model can redraw them, none where it cannot."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mediround.domain.mask import Mask
from napari_mediround.errors import MediRoundError
from napari_mediround.inference.predictor import Predictor


@pytest.fixture(scope="module")
def predictor():
    return Predictor.from_preset("tiny", device="cpu")


def box(rows, columns, shape=(90, 100)):
    """Return a box as a mask of a plane."""
    mask = np.zeros(shape, bool)
    mask[slice(*rows), slice(*columns)] = True
    return Mask.from_array(mask)


def test_a_mask_is_judged_between_0_and_1_whatever_it_is_called(predictor):
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (90, 100, 3), np.uint8))
    for name in ("liver", "GTV", "liver tumour"):
        assert 0 <= predictor.judge(box((20, 60), (30, 70)), name) <= 1


def test_a_mask_too_small_to_redraw_is_not_judged(predictor):
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (90, 100, 3), np.uint8))
    assert predictor.judge(box((20, 22), (30, 32)), "left adrenal gland") is None


def test_a_mask_outside_the_body_is_judged_on_the_whole_plane(predictor):
    image = np.zeros((90, 100, 3), np.uint8)
    image[20:70, 5:60] = np.random.default_rng(0).integers(80, 255, (50, 55, 3), np.uint8)
    predictor.set_image(image)
    assert 0 <= predictor.judge(box((60, 88), (70, 99)), "left humerus") <= 1


def test_nothing_is_judged_without_a_plane():
    with pytest.raises(MediRoundError):
        Predictor.from_preset("tiny", device="cpu").judge(box((2, 60), (3, 70)), "liver")
