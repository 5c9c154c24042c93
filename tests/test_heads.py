"""Projections, judge and corrector: shapes, what they look at, and how a fresh one behaves."""

from __future__ import annotations

import pytest
import torch

from napari_mediround.errors import SettingsError
from napari_mediround.model.heads import (
    SHAPE_FEATURES,
    Corrector,
    Judge,
    build_mlp,
    describe_mask,
    pool_mask,
)


def judge_inputs(count: int = 2, channels: int = 8) -> dict[str, torch.Tensor]:
    """Return random inputs of a judge."""
    generator = torch.Generator().manual_seed(0)
    shapes = {
        "vector": (count, channels),
        "embedding": (1, channels, 8, 8),
        "logits": (count, 32, 32),
        "token": (count, channels),
        "iou": (count,),
    }
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def test_the_published_heads_have_the_published_size():
    heads = Judge(256, 512, "vector"), Corrector(256, 512, residual=False)
    assert round(sum(p.numel() for head in heads for p in head.parameters()) / 1e6, 2) == 0.92


def test_the_published_judge_sees_the_vector_alone():
    judge, inputs = Judge(8, 16, "vector"), judge_inputs()
    other = {**judge_inputs(), "logits": torch.zeros(2, 32, 32), "embedding": torch.ones(1, 8, 8, 8)}
    assert torch.equal(judge(**inputs), judge(**other))


@pytest.mark.parametrize("name", ["vector", "embedding", "logits", "token", "iou"])
def test_our_judge_sees_everything(name):
    torch.manual_seed(0)
    judge, inputs = Judge(8, 16), judge_inputs()
    changed = {**inputs, name: inputs[name].flip(0) if name != "embedding" else inputs[name] + 1}
    assert judge(**inputs).shape == (2,)
    assert not torch.allclose(judge(**inputs), judge(**changed))


def test_a_fresh_corrector_of_ours_changes_nothing_and_the_published_one_replaces():
    vector = torch.randn(3, 8)
    assert torch.equal(Corrector(8, 16)(vector), vector)
    assert not torch.allclose(Corrector(8, 16, residual=False)(vector), vector)


def test_pooling_averages_inside_the_mask_and_gives_zeros_for_an_empty_one():
    embedding = torch.zeros(1, 3, 4, 4)
    embedding[:, :, :2] = 5
    masks = torch.zeros(3, 16, 16)
    masks[0, :8] = 1
    masks[1, 8:] = 1
    pooled = pool_mask(embedding, masks)
    assert torch.allclose(pooled, torch.tensor([5.0, 0, 0])[:, None].expand(3, 3))
    masks[2, 1, 1] = 1  # one pixel, less than a cell
    assert torch.allclose(pool_mask(embedding, masks)[2], torch.full((3,), 5.0))


def test_a_certain_mask_and_a_doubtful_one_are_described_differently():
    square = torch.full((1, 16, 16), -9.0)
    square[:, 4:12, 4:12] = 9
    certain, doubtful, empty = describe_mask(torch.cat([square, square / 20, torch.full_like(square, -9)]))
    assert certain.shape == (SHAPE_FEATURES,)
    assert certain[0] == doubtful[0] == pytest.approx(0.5)
    assert certain[4] == pytest.approx(1)
    assert doubtful[4] == 0
    assert certain[5] == pytest.approx(1)
    assert torch.isfinite(empty).all()


def test_unknown_choices_are_refused_in_words():
    with pytest.raises(SettingsError, match="'pixels' or 'vector'"):
        Judge(8, 8, "stars")
    with pytest.raises(SettingsError, match="relu, gelu"):
        build_mlp(2, 3, activation="tanh")
