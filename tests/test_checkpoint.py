"""Trained weights as a folder: what is stored comes back, what does not fit is refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
from scripted import make_plane, write_preset

from napari_mediround.errors import MissingWeightsError
from napari_mediround.model.build import build_mediround
from napari_mediround.model.checkpoint import CARD, WEIGHTS, load_trained, save_trained, trained_state
from napari_mediround.model.prototypes import Prototypes


def train_a_little(model) -> None:
    """Give every trained tensor another value that float16 holds."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randint(-8, 9, parameter.shape, generator=generator) / 64)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> tuple[object, Path]:
    """Return a model that learned something, and the folder it was saved to."""
    model, folder = build_mediround("tiny"), tmp_path_factory.mktemp("weights") / "mine"
    train_a_little(model)
    model.landmarks = Prototypes(("liver", "spleen"), torch.eye(2, model.channels))
    save_trained(model, folder, {"recipe": "test", "data": ["none"]})
    return model, folder


@torch.no_grad()
def test_what_is_saved_comes_back(trained):
    model, folder = trained
    again = build_mediround("tiny", trained=folder)
    kept, state = trained_state(model), trained_state(again)
    assert kept.keys() == state.keys()
    assert all(torch.equal(state[name], value) for name, value in kept.items())
    ids = torch.tensor([model.language.encode("liver [SEG]")])
    assert torch.equal(*(m.language.hidden(m.language.embed(ids)) for m in (model, again)))
    assert again.landmarks.names == ("liver", "spleen")
    assert torch.equal(again.landmarks.vectors, model.landmarks.vectors)


def test_landmarks_that_the_card_does_not_name_are_refused(trained, tmp_path):
    (tmp_path / WEIGHTS).write_bytes((trained[1] / WEIGHTS).read_bytes())
    card = json.loads((trained[1] / CARD).read_text()) | {"landmarks": ["liver"]}
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(MissingWeightsError, match="landmarks"):
        load_trained(build_mediround("tiny"), tmp_path)


def test_only_what_was_trained_is_stored(trained):
    names = set(trained_state(trained[0]))
    assert not any(name.startswith(("image_encoder", "vision")) or "gaussian" in name for name in names)
    assert not any("base_layer" in name or "mlp.up_proj" in name for name in names)
    assert any("lora_A" in name for name in names)
    assert any("trainable_tokens" in name for name in names)


def test_the_card_explains_the_file(trained):
    card = json.loads((trained[1] / CARD).read_text())
    assert card["recipe"] == "test"
    assert card["parameters"] == 2 * trained[0].channels + sum(
        v.numel() for v in trained_state(trained[0]).values()
    )
    assert not list(trained[1].glob(".*"))


@pytest.mark.parametrize("damage", ["flip", "cut", "no card", "no weights"])
def test_a_damaged_folder_is_refused(trained, tmp_path, damage):
    content, card = (bytearray((trained[1] / name).read_bytes()) for name in (WEIGHTS, CARD))
    content[-1] ^= damage == "flip"
    if damage != "no weights":
        (tmp_path / WEIGHTS).write_bytes(content[:-9] if damage == "cut" else content)
    if damage != "no card":
        (tmp_path / CARD).write_bytes(card)
    with pytest.raises(MissingWeightsError, match=r"damaged|holds no trained"):
        load_trained(build_mediround("tiny"), tmp_path)


@pytest.mark.parametrize(
    "change", [{"lora": {"targets": ["q_proj"]}}, {"judge": {"hidden": 16}}, {"lora": {"rank": 2}}]
)
def test_weights_of_another_preset_are_refused_and_nothing_changes(trained, tmp_path, change):
    model = build_mediround(write_preset(tmp_path, **change))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(MissingWeightsError, match="another preset"):
        load_trained(model, trained[1])
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@torch.no_grad()
def test_a_merged_adapter_computes_the_same(trained):
    language = copy.deepcopy(trained[0].language)
    ids = torch.tensor([language.encode("Segment the liver [SEG].")])
    before = language.logits(language.hidden(language.embed(ids)))
    merged = language.network.merge_and_unload()
    assert torch.allclose(merged(ids).logits, before, atol=1e-4)


@torch.no_grad()
def test_the_image_encoder_is_the_same_with_and_without_training(trained):
    plane, fresh = make_plane(), build_mediround("tiny")
    assert torch.equal(trained[0].encode_image(plane).embedding, fresh.encode_image(plane).embedding)
