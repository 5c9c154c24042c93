"""SAM's parts without torchvision, and the single-mask decoding that skips what nobody asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.model.sam import (
    build_mask_decoder,
    build_prompt_encoder,
    decode_masks,
    fit_to_square,
    fitted_shape,
    logits_to_plane,
)

IMPORT = """
import importlib.abc, sys

def stand_ins():
    return [name for name in sys.modules if name.partition('.')[0] == 'torchvision']

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] == 'torchvision':
            raise ImportError('no torchvision here')
        assert not stand_ins(), name  # what another thread would see meanwhile

sys.meta_path.insert(0, Missing())
from napari_mediround.model.sam import build_mask_decoder
build_mask_decoder(32, 32, 1)
assert 'segment_anything.modeling' in sys.modules
assert 'segment_anything' not in sys.modules  # the empty package is gone
assert not stand_ins()
"""


def test_the_import_needs_no_torchvision_and_nothing_stands_in_for_it():
    done = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture
def parts():
    """Return a small prompt encoder and mask decoder."""
    torch.manual_seed(0)
    return build_prompt_encoder(64, 16, 32).eval(), build_mask_decoder(32, 64).eval()


@torch.no_grad()
def test_decoding_equals_the_mask_decoder_with_one_mask(parts):
    prompts, decoder = parts
    embedding = torch.randn(1, 32, 16, 16)
    boxes = torch.tensor([[4.0, 4, 30, 40], [10, 20, 50, 60], [0, 0, 64, 64]])
    sparse, dense = prompts(points=None, boxes=boxes, masks=None)
    theirs = decoder(embedding, prompts.get_dense_pe(), sparse, dense, multimask_output=False)
    logits, iou, token = decode_masks(decoder, embedding, prompts.get_dense_pe(), sparse, dense)
    assert torch.allclose(logits, theirs[0], atol=1e-5)
    assert torch.allclose(iou, theirs[1][:, 0], atol=1e-5)
    assert token.shape == (3, 32)


@torch.no_grad()
def test_several_images_decode_as_one_by_one(parts):
    prompts, decoder = parts
    embeddings, sparse = torch.randn(2, 32, 16, 16), torch.randn(2, 1, 32)
    dense = torch.zeros(2, 32, 16, 16)
    together = decode_masks(decoder, embeddings, prompts.get_dense_pe(), sparse, dense)[0]
    for i in range(2):
        one = [part[i : i + 1] for part in (embeddings, sparse, dense)]
        alone = decode_masks(decoder, one[0], prompts.get_dense_pe(), one[1], one[2])[0]
        assert torch.allclose(together[i], alone[0], atol=1e-5)


@given(st.integers(8, 90), st.integers(8, 90))
def test_a_plane_goes_into_the_square_and_comes_back(height, width):
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    plane = (x + y)[None, None]
    square = fit_to_square(plane, 64)
    rows, columns = fitted_shape((height, width), 64)
    assert square.shape == (1, 1, 64, 64)
    assert max(rows, columns) == 64
    assert not square[..., rows:, :].any()
    assert not square[..., columns:].any()
    back = logits_to_plane(square, (height, width), 64)
    assert back.shape == plane.shape
    assert (back - plane).abs().mean() < 0.12
