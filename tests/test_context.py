"""The context of an embedding: nothing when fresh, the whole plane when trained, on any grid."""

from __future__ import annotations

import pytest
import torch

from napari_mediround.model.context import Context, Glance


def make_context(trained: bool) -> Context:
    """Return a small one; a trained one is one whose last layer is no longer zero."""
    torch.manual_seed(0)
    context = Context(8, layers=1, heads=2, mlp=16, grid=4, fine=8, width=8, blocks=1)
    if trained:
        torch.nn.init.normal_(context.out.weight)
    return context


@pytest.mark.parametrize("side", [8, 16])
def test_a_fresh_one_changes_nothing(side: int) -> None:
    embedding = torch.randn(2, 8, side, side)
    assert torch.equal(make_context(trained=False)(embedding), embedding)


def test_a_change_in_one_corner_is_felt_in_the_other() -> None:
    context, embedding = make_context(trained=True), torch.randn(1, 8, 16, 16)
    other = embedding.clone()
    other[..., :4, :4] += 5 * torch.randn(1, 8, 4, 4)
    felt = (context(other) - context(embedding))[..., 8:, 8:].abs().max()
    assert felt > 1e-3


def test_planes_of_a_batch_do_not_mix() -> None:
    context, embedding = make_context(trained=True), torch.randn(3, 8, 16, 16)
    assert torch.allclose(context(embedding)[1:2], context(embedding[1:2]), atol=1e-6)


def test_a_first_look_sees_one_plane_for_many_vectors_or_one_each() -> None:
    torch.manual_seed(0)
    glance, seen, vectors = Glance(8), torch.randn(3, 8, 16, 12), torch.randn(3, 8)
    each = glance(seen, vectors)
    assert each.shape == (3, 1, 16, 12)
    assert torch.allclose(glance(seen[1:2], vectors)[1], each[1], atol=1e-5)


def test_a_first_look_is_a_bilinear_form() -> None:
    torch.manual_seed(0)
    glance, seen, vectors = Glance(8), torch.randn(1, 8, 4, 4), torch.randn(1, 8)
    query = glance.query(vectors)[0]
    pixel = glance.norm(seen[0, :, 2, 3])
    assert torch.allclose(
        glance(seen, vectors)[0, 0, 2, 3], pixel @ query[:-1] / 8**0.5 + query[-1], atol=1e-5
    )
