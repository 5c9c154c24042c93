"""Masks survive run-length coding, and their boxes and areas are those of the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from napari_mediround.domain.mask import Mask

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


@given(MASKS)
def test_coding_and_back_is_exact(array):
    mask = Mask.from_array(array)
    assert np.array_equal(mask.to_array(), array)
    assert mask.area == array.sum()
    assert Mask.from_array(mask.to_array()) == mask


@given(MASKS)
def test_the_box_is_half_open_and_tight(array):
    box = Mask.from_array(array).box_xyxy
    if not array.any():
        assert box is None
        return
    x0, y0, x1, y1 = box
    assert array[y0:y1, x0:x1].sum() == array.sum()
    inside = array[y0:y1, x0:x1]
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()


@given(st.lists(st.integers(0, 5), max_size=6))
def test_runs_must_fill_the_shape(runs):
    if sum(runs) == 12:
        assert Mask((3, 4), tuple(runs)).area == sum(runs[1::2])
    else:
        with pytest.raises(ValueError, match="add up"):
            Mask((3, 4), tuple(runs))


def test_any_dtype_is_taken_and_negative_runs_are_not():
    assert Mask.from_array(np.array([[0, 255], [7, 0]], np.uint8)).area == 2
    with pytest.raises(ValueError, match="add up"):
        Mask((1, 2), (3, -1))
