"""An adapter beside a model: peft's list, the judge's calibration, and files that are refused."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from peft.tuners.lora import LoraLayer
from scripted import make_plane, write_preset

from napari_mediround.errors import AdapterError
from napari_mediround.model.adapter import (
    WEIGHTS,
    Adapter,
    AdapterShape,
    attach_folder,
    hash_base,
    is_adapter,
    read_adapter,
    write_adapter,
)
from napari_mediround.model.build import build_mediround


@torch.no_grad()
def compute(model) -> list[torch.Tensor]:
    """Return hidden states, logits, a mask and its judged quality."""
    ids = torch.tensor([model.language.encode("Segment the liver [SEG].")])
    hidden = model.language.hidden(model.language.embed(ids))[0]
    features = model.encode_image(make_plane())
    decoded = model.segment(features, model.project_seg(hidden[-2:]))
    return [hidden, model.language.logits(hidden), decoded.logits, decoded.quality]


def same(one, other) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def learn_something(adapter: Adapter) -> dict[str, torch.Tensor]:
    """Give an adapter values that float32 holds, in every tensor."""
    generator = torch.Generator().manual_seed(3)
    state = adapter.state()
    state |= {n: torch.randint(-8, 9, v.shape, generator=generator) / 64 for n, v in state.items()}
    state["judge"] = torch.tensor([1.5, -0.25])
    adapter.load(state)
    return state


@pytest.fixture
def model():
    return build_mediround("tiny")


def test_a_fresh_adapter_is_identity(model):
    before = compute(model)
    Adapter(model)
    assert same(compute(model), before)


def test_a_learned_one_changes_every_part_and_taken_off_restores_all_bits(model):
    before, weights = compute(model), copy.deepcopy(model.state_dict())
    adapter = Adapter(model)
    learn_something(adapter)
    assert not any(torch.equal(a, b) for a, b in zip(compute(model), before, strict=True))
    adapter.detach()
    assert same(compute(model), before)
    assert weights.keys() == model.state_dict().keys()
    assert same(model.state_dict().values(), weights.values())


def test_switched_off_for_a_while_it_computes_as_without(model):
    before = compute(model)
    adapter = Adapter(model)
    learn_something(adapter)
    learned = compute(model)
    with adapter.off():
        assert same(compute(model), before)
    assert same(compute(model), learned)


@torch.no_grad()
def test_merged_it_computes_what_it_did_beside_the_weights(model):
    adapter = Adapter(model)
    learn_something(adapter)
    beside = compute(model)
    for layer in (m for m in model.modules() if isinstance(m, LoraLayer)):
        layer.merge()
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(compute(model), beside, strict=True))


def test_the_base_model_still_chats_without_any_adapter(model):
    ids = torch.tensor([model.language.encode("hello")])
    with torch.no_grad(), model.language.adapter_off():
        before = model.language.hidden(model.language.embed(ids))
    learn_something(Adapter(model))
    with torch.no_grad(), model.language.adapter_off():
        assert torch.equal(model.language.hidden(model.language.embed(ids)), before)


def test_the_judge_is_scaled_and_shifted(model):
    adapter, features = Adapter(model), torch.randn(3, model.judge.mlp[0].in_features)
    before = model.judge.mlp(features)
    adapter.calibrate(0.5, 1.0)
    assert torch.allclose(model.judge.mlp(features), 0.5 * before + 1, atol=1e-5)
    adapter.calibrate(1.0, 0.0)
    assert torch.equal(model.judge.mlp(features), before)


def test_a_second_one_at_once_is_refused(model):
    Adapter(model)
    with pytest.raises(AdapterError, match="Remove it first"):
        Adapter(model)


@pytest.fixture
def folder(model, tmp_path):
    adapter = Adapter(model, AdapterShape(2, 3))
    state = learn_something(adapter)
    adapter.detach()
    write_adapter(tmp_path / "a", state, adapter.shape, {"base": hash_base(model)})
    return tmp_path / "a"


def test_written_and_attached_it_computes_the_same(model, folder):
    state, shape, card = read_adapter(folder)
    assert is_adapter(folder)
    assert shape == AdapterShape(2, 3)
    assert card["base"] == hash_base(model)
    attached = attach_folder(model, folder)
    assert same(attached.state().values(), [state[name] for name in attached.state()])


def test_on_other_weights_it_is_refused_and_nothing_changes(folder):
    other = build_mediround("tiny", seed=1)
    before = compute(other)
    with pytest.raises(AdapterError, match="was learned on the weights"):
        attach_folder(other, folder)
    assert same(compute(other), before)


def test_a_changed_weight_of_any_part_is_another_base(model):
    known = hash_base(model)
    for part in (model.image_encoder, model.mask_decoder, model.judge, model.language.network):
        parameter = next(p for p in part.parameters())
        parameter.data.view(-1)[0] += 1
        assert hash_base(model) != known
        parameter.data.view(-1)[0] -= 1


def test_of_another_preset_it_is_refused_and_taken_off(model, folder, tmp_path):
    other = build_mediround(write_preset(tmp_path, decoder={"mlp": 32}))
    card = json.loads((folder / "card.json").read_text()) | {"base": hash_base(other)}
    (folder / "card.json").write_text(json.dumps(card))
    with pytest.raises(AdapterError, match="another preset"):
        attach_folder(other, folder)
    Adapter(other)  # none is left


@pytest.mark.parametrize("damage", ["flip", "cut", "no card", "no weights"])
def test_a_damaged_one_is_refused(folder, damage):
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= damage == "flip"
    (folder / WEIGHTS).write_bytes(content[:-9] if damage == "cut" else content)
    if damage.startswith("no"):
        (folder / ("card.json" if damage == "no card" else WEIGHTS)).unlink()
    with pytest.raises(AdapterError, match=r"damaged|holds no adapter"):
        read_adapter(folder)


def test_values_that_are_no_numbers_are_refused(folder):
    state, shape, card = read_adapter(folder)
    state["judge"] = torch.tensor([float("nan"), 0.0])
    write_adapter(folder, state, shape, card)
    with pytest.raises(AdapterError, match="not numbers"):
        read_adapter(folder)
