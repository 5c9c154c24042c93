"""Encoded planes bent: image, embedding and labels stay together; nothing where it is not drawn."""

from __future__ import annotations

import numpy as np
import pytest

from napari_mediround.training.data.warping import View, warp


def make_view() -> View:
    """Return a disc, label 300, whose embedding is how much of a cell it fills."""
    y, x = np.ogrid[:128, :128]
    disc = (y - 50) ** 2 + (x - 70) ** 2 <= 24**2
    cells = disc.reshape(32, 4, 32, 4).mean((1, 3)).astype(np.float32)
    return View(
        np.repeat(cells[None], 40, 0),
        np.repeat(disc[None].astype(np.float32), 3, 0),
        np.where(disc, 300, 0).astype(np.uint16),
    )


@pytest.mark.parametrize("seed", range(6))
def test_image_embedding_and_labels_stay_together(seed: int) -> None:
    view = warp(make_view(), np.random.default_rng(seed), share=1.0)
    assert (view.embedding.dtype, view.pixels.dtype, view.labels.dtype) == (np.float32, np.float32, np.uint16)
    assert set(np.unique(view.labels)) == {0, 300}
    mask, bright = view.mask((300,)), view.pixels[0] > 0.5 * view.pixels.max()
    assert (mask != bright).sum() < 0.1 * mask.sum()
    cells = mask.reshape(32, 4, 32, 4).mean((1, 3))
    spoken = view.embedding[view.embedding.any((1, 2))].mean(0)
    assert ((spoken > 0.5) != (cells > 0.5)).sum() < 0.2 * (cells > 0.5).sum()
    assert not np.array_equal(view.labels, make_view().labels)
    assert 0 <= view.pixels.min() <= view.pixels.max() <= 1


def test_it_follows_the_seed_and_the_share() -> None:
    first, second = (warp(make_view(), np.random.default_rng(1), 1.0) for _ in range(2))
    assert np.array_equal(first.embedding, second.embedding)
    assert np.array_equal(first.labels, second.labels)
    view = make_view()
    assert warp(view, np.random.default_rng(1), 0.0) is view
    rng = np.random.default_rng(0)
    assert 0.5 < np.mean([warp(view, rng) is not view for _ in range(60)]) < 0.9
