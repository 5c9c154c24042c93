"""Judgment & correction: of a doubtful mask, the corrector's and the first look the best-judged stays."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from scripted import make_plane

from napari_mediround.model.build import build_mediround
from napari_mediround.model.context import resize


@pytest.fixture
def model():
    built = build_mediround("tiny", seed=1).eval()
    for part in (built.corrector.mlp[-1], built.glance.fine):
        torch.nn.init.normal_(part.weight)
    return built


@pytest.mark.parametrize(
    ("judged", "winner"),
    [
        ((0.7,), 0),
        ((0.3, 0.2, 0.1), 0),
        ((0.3, 0.5, 0.4), 1),
        ((0.3, 0.2, 0.5), 2),
        ((0.3, 0.4, 0.5), 2),
        ((0.3, 0.35, 0.34), 0),
    ],  # hardly better is not better
)
def test_the_best_judged_mask_stays(model, monkeypatch, judged, winner) -> None:
    vector = torch.randn(1, model.channels, generator=torch.Generator().manual_seed(0))
    qualities = iter(judged)
    monkeypatch.setattr(model, "judge_masks", lambda *_: torch.tensor([next(qualities)]))
    with torch.no_grad():
        features = model.encode_image(make_plane())
        seen = model.see(features)
        first = model.decode(seen, vector)
        look = resize(model.glance(seen, vector), first.logits.shape[-2:])[:, 0]
        masks = [first.logits, model.decode(seen, model.corrector(vector)).logits, look]
        found = model.segment(features, vector)
    assert next(qualities, None) is None
    assert torch.equal(found.logits, masks[winner])
    assert not any(torch.equal(masks[winner], other) for k, other in enumerate(masks) if k != winner)
    assert (found.quality.item(), found.corrected.item()) == (pytest.approx(judged[winner]), winner > 0)


def test_switched_off_nothing_is_corrected(model, monkeypatch) -> None:
    model.correction = replace(model.correction, enabled=False)
    monkeypatch.setattr(model, "judge_masks", lambda vectors, *_: torch.zeros(len(vectors)))
    with torch.no_grad():
        assert not model.segment(
            model.encode_image(make_plane()), torch.randn(2, model.channels)
        ).corrected.any()
