"""The image encoder of `lite`: what makes it fast must not change what it computes."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from napari_mediround.model.tinyvit import MBConv, TinyViT, TinyViTBlock, fold_batch_norms


@pytest.fixture
def encoder() -> TinyViT:
    """Return a small encoder whose batch norms have seen data."""
    torch.manual_seed(0)
    encoder = TinyViT((8, 16, 16, 16), (1, 1, 1, 1), (2, 2, 2, 2), (4, 4, 4, 4), outputs=8)
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return encoder.eval()


@torch.no_grad()
def test_folded_batch_norms_compute_the_same(encoder):
    image = torch.rand(2, 3, 64, 64)
    folded = fold_batch_norms(copy.deepcopy(encoder))
    assert not any(isinstance(m, nn.BatchNorm2d) for m in folded.modules())
    assert torch.allclose(folded(image), encoder(image), atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("rows", [16, 17, 33, 64])
def test_strips_compute_the_same_as_the_whole(rows):
    torch.manual_seed(0)
    block = MBConv(4).eval()
    x = torch.randn(1, 4, rows, 12)
    assert torch.allclose(block(x), block._strip(x, 0, rows), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("shape", [(64, 64), (32, 64)])
def test_the_embedding_has_a_quarter_of_the_side(encoder, shape):
    assert encoder(torch.rand(1, 3, *shape)).shape == (1, 8, shape[0] // 4, shape[1] // 4)


@torch.no_grad()
def test_windows_that_do_not_fit_are_padded_and_cut_again():
    torch.manual_seed(0)
    block = TinyViTBlock(8, 2, 4).eval()
    x = torch.randn(1, 10, 7, 8)
    assert block(x).shape == x.shape
    corner = x.clone()
    corner[:, 8:, :] = 0
    # The first window row attends only inside itself; the 3×3 convolution after it reaches one pixel.
    assert torch.allclose(block(x)[:, :3], block(corner)[:, :3], atol=1e-6)


@torch.no_grad()
def test_a_bias_belongs_to_its_offset(encoder):
    image = torch.rand(1, 3, 64, 64)
    before = encoder(image)
    encoder.layers[1].blocks[0].attn.attention_biases[:, 1] += 5
    assert not torch.allclose(encoder(image), before)
