"""Judgment & correction: of a doubtful mask and the corrector's the better judged stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scripted import make_plane

from napari_mediround.inference.predictor import Predictor
from napari_mediround.inference.refinement import main_parts
from napari_mediround.model.build import build_mediround


@pytest.fixture
def model():
    built = build_mediround("tiny", seed=1).eval()
    for part in (built.corrector.mlp[-1], built.glance.fine):
        torch.nn.init.normal_(part.weight)
    return built


def draw_vector(model) -> torch.Tensor:
    return torch.randn(1, model.channels, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("judged", "keep_better", "winner"),
    [((0.7,), True, 0), ((0.3, 0.2), True, 0), ((0.3, 0.31), True, 1), ((0.3, 0.2), False, 1)],
)
def test_the_better_judged_mask_stays_or_as_published_the_corrected_one(
    model, monkeypatch, judged, keep_better, winner
) -> None:
    model.correction = replace(model.correction, keep_better=keep_better)
    vector, qualities = draw_vector(model), iter(judged)
    monkeypatch.setattr(model, "judge_masks", lambda *_: torch.tensor([next(qualities)]))
    with torch.no_grad():
        features = model.encode_image(make_plane())
        seen = model.see(features)
        masks = [model.decode(seen, v).logits for v in (vector, model.corrector(vector))]
        found = model.segment(features, vector)
    assert next(qualities, None) is None
    assert not torch.equal(*masks)
    assert torch.equal(found.logits, masks[winner])
    assert (found.quality.item(), found.corrected.item()) == (pytest.approx(judged[winner]), winner == 1)


def test_only_doubtful_masks_are_corrected(model, monkeypatch) -> None:
    judged = iter((torch.tensor([0.7, 0.3]), torch.tensor([0.9])))
    monkeypatch.setattr(model, "judge_masks", lambda *_: next(judged))
    with torch.no_grad():
        found = model.segment(model.encode_image(make_plane()), draw_vector(model).repeat(2, 1))
    assert found.corrected.tolist() == [False, True]
    assert found.quality.tolist() == pytest.approx([0.7, 0.9])


def test_switched_off_nothing_is_corrected(model, monkeypatch) -> None:
    model.correction = replace(model.correction, enabled=False)
    monkeypatch.setattr(model, "judge_masks", lambda vectors, *_: torch.zeros(len(vectors)))
    with torch.no_grad():
        assert not model.segment(
            model.encode_image(make_plane()), torch.randn(2, model.channels)
        ).corrected.any()


def test_words_alone_give_the_corrected_mask_again(model, monkeypatch) -> None:
    predictor, vector = Predictor(model, "cpu"), draw_vector(model)
    judged = iter((0.3, 0.8, 0.3, 0.8))
    monkeypatch.setattr(model, "judge_masks", lambda *_: torch.tensor([next(judged)]))
    predictor.set_image(make_plane())
    [target] = predictor.segment(vector, ["liver"])
    assert target.corrected
    again, quality = predictor.refine(previous=target.mask)
    assert np.array_equal(main_parts(again.to_array()), target.mask.to_array()), "specks aside"
    assert quality == pytest.approx(0.8)
