"""Prompts of a training step: clicks, boxes, masks to be corrected."""

import numpy as np
import pytest
import torch

from napari_mediround.model.build import build_mediround
from napari_mediround.training.stages.prompts import (
    PromptSettings,
    click_error,
    click_errors,
    decode_prompted,
    jitter_boxes,
)


@pytest.fixture(scope="module")
def model():
    return build_mediround("tiny", untrained=True)


def make_mask(top, left, bottom, right, side=64):
    mask = np.zeros((side, side), bool)
    mask[top:bottom, left:right] = True
    return mask


def test_a_click_goes_to_the_middle_of_the_widest_error():
    truth, mask = make_mask(10, 10, 31, 31), make_mask(10, 10, 31, 14)
    (x, y), positive = click_error(mask, truth)
    assert positive
    assert (truth & ~mask)[int(y), int(x)]
    assert abs(int(y) - 20) <= 3


def test_a_leak_is_clicked_away():
    truth, mask = make_mask(10, 10, 20, 20), make_mask(10, 10, 20, 60)
    (x, y), positive = click_error(mask, truth)
    assert not positive
    assert (mask & ~truth)[int(y), int(x)]


def test_where_nothing_is_wrong_the_click_confirms_it():
    truth = np.zeros((9, 9), bool)
    rng = np.random.default_rng(0)
    assert click_error(truth, truth, rng)[1] is False
    truth[3:6, 3:6] = True
    (x, y), positive = click_error(truth, truth, rng)
    assert positive
    assert truth[int(y), int(x)]


def test_an_error_at_the_border_of_the_image_is_clicked_inside():
    (_, y), positive = click_error(np.zeros((64, 64), bool), make_mask(0, 10, 20, 50))
    assert positive
    assert 5 <= y <= 15


def test_clicks_and_boxes_are_in_pixels_of_the_model_square():
    rng = np.random.default_rng(0)
    truth = make_mask(16, 32, 32, 48)[None]
    xy, labels = click_errors(np.zeros_like(truth), truth, 256, rng)
    assert labels.tolist() == [[1]]
    assert 128 <= xy[0, 0, 0] <= 192
    assert 64 <= xy[0, 0, 1] <= 128
    assert jitter_boxes(truth, 256, rng)[0].tolist() == pytest.approx([128, 64, 192, 128], abs=16)


@pytest.mark.parametrize("kind", ["click_share", "box_share", "correction_share"])
def test_every_kind_of_prompt_reaches_the_decoder_with_a_gradient(model, kind):
    shares = dict.fromkeys(("click_share", "box_share", "correction_share"), 0.0) | {kind: 1.0}
    rng = np.random.default_rng(1)
    embedding, vectors = torch.randn(2, model.channels, 16, 16), torch.randn(2, model.channels)
    seen = model.look(embedding, torch.rand(2, 3, 64, 64))
    masks = np.stack([make_mask(5, 5, 30, 30), make_mask(40, 20, 60, 50)])
    decoded = decode_prompted(model, seen, vectors, masks, PromptSettings(**shares), rng)
    decoded.logits.sum().backward()
    assert decoded.logits.shape == (2, 64, 64)
    assert any(p.grad is not None and p.grad.any() for p in model.prompt_encoder.parameters())


@pytest.mark.parametrize("kind", ["words", "box_share", "correction_share"])
def test_on_half_the_grid_truth_and_logits_keep_that_of_the_pixels(model, kind):
    shares = dict.fromkeys(("click_share", "box_share", "correction_share"), 0.0)
    shares |= {kind: 1.0} if kind in shares else {}
    seen = model.look(torch.randn(2, model.channels, 8, 8), torch.rand(2, 3, 64, 64))
    thin = np.stack([make_mask(5, 5, 6, 30), make_mask(40, 20, 60, 21)])
    vectors, rng = torch.randn(2, model.channels), np.random.default_rng(1)
    decoded = decode_prompted(model, seen, vectors, thin, PromptSettings(**shares), rng)
    assert decoded.logits.shape == (2, 64, 64)
