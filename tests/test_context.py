"""The context of an embedding: nothing when fresh, the whole plane when trained; its detail; a first look."""

from __future__ import annotations

import pytest
import torch

from napari_mediround.model.context import CoarseMask, Context
from napari_mediround.model.features import DecoderFeatures

PIXELS = torch.rand(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def make_context(trained: bool) -> Context:
    """Return a small one; a trained one is one whose last layers are no longer zero."""
    torch.manual_seed(0)
    context = Context(8, layers=1, heads=2, mlp=16, grid=4, fine=8, width=8, blocks=1, mid=8, detail=4)
    if trained:
        torch.nn.init.normal_(context.out.weight)
        torch.nn.init.normal_(context.lower.weight)
    return context


@pytest.mark.parametrize("side", [8, 16])
def test_a_fresh_one_changes_nothing(side: int) -> None:
    embedding = torch.randn(2, 8, side, side)
    assert torch.equal(make_context(trained=False)(embedding, PIXELS[:2]).embedding, embedding)


def test_a_change_in_one_corner_is_felt_in_the_other() -> None:
    context, embedding = make_context(trained=True), torch.randn(1, 8, 16, 16)
    other = embedding.clone()
    other[..., :4, :4] += 5 * torch.randn(1, 8, 4, 4)
    felt = context(other, PIXELS[:1]).embedding - context(embedding, PIXELS[:1]).embedding
    assert felt[..., 8:, 8:].abs().max() > 1e-3


@pytest.mark.parametrize("side", [8, 16])
def test_the_detail_is_on_half_the_grid_of_the_pixels_and_sees_them(side: int) -> None:
    context, embedding, other = make_context(trained=True), torch.randn(1, 8, side, side), PIXELS[:1].clone()
    other[..., 40, 20] = 1 - other[..., 40, 20]
    changed = (context(embedding, other).detail - context(embedding, PIXELS[:1]).detail).abs().sum(1)[0]
    assert changed.shape == (32, 32)
    assert divmod(int(changed.argmax()), 32) in {(r, c) for r in (19, 20, 21) for c in (9, 10, 11)}


def test_planes_of_a_batch_do_not_mix() -> None:
    context, embedding = make_context(trained=True), torch.randn(3, 8, 16, 16)
    together, one = context(embedding, PIXELS).take([1]), context(embedding[1:2], PIXELS[1:2])
    again = context(embedding, PIXELS).split()[1]
    for other in (together, again):
        assert torch.allclose(other.embedding, one.embedding, atol=1e-6)
        assert torch.allclose(other.detail, one.detail, atol=1e-5)


def make_glance() -> tuple[CoarseMask, DecoderFeatures, torch.Tensor]:
    """Return one that uses all its parts, three planes, a vector for each."""
    torch.manual_seed(0)
    glance = CoarseMask(8, detail=4)
    torch.nn.init.normal_(glance.fine.weight)
    torch.nn.init.normal_(glance.token.weight)
    return glance, DecoderFeatures(torch.randn(3, 8, 16, 12), torch.randn(3, 4, 32, 24)), torch.randn(3, 8)


@pytest.mark.parametrize("part", ["forward", "sharpen"])
def test_a_first_look_sees_one_plane_for_many_vectors_or_one_each(part: str) -> None:
    glance, seen, vectors = make_glance()
    each = getattr(glance, part)(seen, vectors)
    assert each.shape == (3, 1, 32, 24)
    assert torch.allclose(getattr(glance, part)(seen.take([1]), vectors)[1], each[1], atol=1e-5)


def test_a_first_look_is_a_bilinear_form() -> None:
    glance, seen, vectors = make_glance()
    flat = DecoderFeatures(seen.embedding[:1, :, :1, :1].expand(1, 8, 8, 8), seen.detail[:1])
    query = glance.query(vectors)
    keys = glance.norm(flat.embedding[0, :, 0, 0])
    coarse = query[:, :-1] @ keys / 8**0.5 + query[:, -1]
    fine = glance.fine(vectors) @ flat.detail[0, :, 5, 7]
    assert torch.allclose(glance(flat, vectors)[:, 0, 5, 7], coarse + fine, atol=1e-5)


def test_a_fresh_one_leaves_the_decoders_mask_alone() -> None:
    _, seen, vectors = make_glance()
    assert not CoarseMask(8, detail=4).sharpen(seen, vectors).any()
