"""LiteMedSAM with the true box: released parts, prompted with the box in the model's own pixels."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from napari_mediround.model.build import build_mediround
from napari_mediround.model.crop import whole_plane
from napari_mediround.model.features import ImageFeatures
from napari_mediround.training.evaluation.box_baseline import BoxedLiteMedSam, find_boxed


def write_released(folder: Path):
    """Write the tiny model's parts under LiteMedSAM's names; return the model and the file."""
    model, path = build_mediround("tiny"), folder / "released.pth"
    parts = ("image_encoder", "prompt_encoder", "mask_decoder")
    torch.save({k: v for k, v in model.state_dict().items() if k.startswith(parts)}, path)
    return model, path


def test_it_decodes_the_box_as_our_own_decoder_does_before_training(tmp_path: Path) -> None:
    model, path = write_released(tmp_path)
    boxed = BoxedLiteMedSam(path, size=64, channels=32, mlp=64)
    shape, box = (40, 80), (10, 4, 50, 30)  # 80 px become 64: a factor of 0.8
    embedding = torch.randn(1, 32, 16, 16, generator=torch.Generator().manual_seed(0))
    features = ImageFeatures(
        embedding, torch.zeros(1, 1), np.zeros((*shape, 3), np.uint8), whole_plane(shape)
    )
    seen = model.look(embedding, torch.rand(1, 3, 64, 64))
    with torch.no_grad():
        decoded = model.decode(seen, boxes=torch.tensor([[8.0, 3.2, 40.0, 24.0]]))
    expected = model.masks_on_plane(decoded.logits, features.frame)[0]
    assert 0 < expected.sum() < expected.size
    assert np.array_equal(boxed.segment(features, box), expected)


def test_it_stands_beside_models_with_its_own_encoder_only() -> None:
    assert find_boxed(SimpleNamespace(preset="tiny")) is None
    assert find_boxed(SimpleNamespace()) is None
