"""A predictor that puts adapters on and off: same bits without, copies that do not disturb."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from scripted import make_plane, script_answers
from test_adapter import learn_something

from napari_mediround.domain.rounds import Conversation
from napari_mediround.errors import AdapterError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.adapter import Adapter, hash_base, read_adapter, write_adapter
from napari_mediround.model.build import build_mediround


@pytest.fixture
def predictor() -> Predictor:
    return Predictor(build_mediround("tiny"), "cpu", preset="tiny")


@pytest.fixture
def folder(tmp_path):
    model = build_mediround("tiny")
    adapter = Adapter(model)
    state = learn_something(adapter)
    adapter.detach()
    write_adapter(tmp_path / "a001", state, adapter.shape, {"base": hash_base(model)})
    return tmp_path / "a001"


def hash_answer(predictor) -> str:
    """Return a hash of an answer's text, masks and qualities, and of what a click gives, asked afresh.

    A question asked again is read from the key-value cache, which changes last bits.
    """
    predictor.reader.forget()
    script_answers(predictor, "The liver [SEG] and the spleen [SEG].")
    predictor.set_image(make_plane())
    answer = predictor.ask("Segment the liver and the spleen.", Conversation())
    clicked = predictor.refine(np.array([[20.0, 20.0]]), np.array([True]))
    return hashlib.sha256(repr((answer.text, answer.targets, clicked)).encode()).hexdigest()


def test_without_the_adapter_answers_are_what_they_were_bit_for_bit(predictor, folder):
    before = hash_answer(predictor)
    predictor.use_adapter(folder)
    assert hash_answer(predictor) != before
    assert predictor.describe()["adapter"] == "a001"
    assert predictor.describe()["adapter_sha256"] == read_adapter(folder)[2]["sha256"]
    predictor.use_adapter(None)
    assert hash_answer(predictor) == before
    assert "adapter" not in predictor.describe()


def test_a_refused_adapter_leaves_none(predictor, folder):
    before = hash_answer(predictor)
    (folder / "adapter.safetensors").write_bytes(b"nothing")
    with pytest.raises(AdapterError):
        predictor.use_adapter(folder)
    assert hash_answer(predictor) == before


def test_it_starts_with_an_adapter_where_the_folder_holds_one(folder):
    predictor = Predictor.from_preset("tiny", "cpu", folder)
    assert predictor.describe()["adapter"] == "a001"


def test_a_copy_shares_weights_and_embeddings_but_no_adapter(predictor, folder):
    before = hash_answer(predictor)
    predictor.use_adapter(folder)
    learned, other = hash_answer(predictor), predictor.copy()
    assert hash_answer(other) == before
    weights = [next(p.model.image_encoder.parameters()) for p in (predictor, other)]
    assert weights[0].data_ptr() == weights[1].data_ptr()
    assert other.encode(make_plane()).embedding is predictor.encode(make_plane()).embedding
    other.use_adapter(folder)
    other.use_adapter(None)
    predictor.forget()  # read anew, as at first: the key-value cache may change the last bit
    assert hash_answer(predictor) == learned


def test_a_copy_moves_and_learns_without_the_other(predictor):
    before, other = hash_answer(predictor), predictor.copy()
    learn_something(Adapter(other.model))
    other.model.to(torch.float64)
    assert hash_answer(predictor) == before


def test_encoding_a_plane_leaves_the_current_one(predictor):
    predictor.set_image(make_plane())
    current = predictor._current
    predictor.encode(make_plane(1))
    assert predictor._current == current
