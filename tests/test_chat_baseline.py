"""Chat against the base model from its own files: equal as long as nobody touches it."""

from __future__ import annotations

import torch

from napari_mediround.domain.rounds import Conversation
from napari_mediround.inference.predictor import Predictor
from napari_mediround.training.evaluation.chat_baseline import compare_chat, load_base

QUESTION = "What is a liver?"


def chat() -> tuple[Predictor, str]:
    """Return a tiny predictor whose adapter is not at rest, and its chat answer."""
    predictor = Predictor.from_preset("tiny", device="cpu")
    with torch.no_grad():
        for name, weight in predictor.model.language.named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.3)
    return predictor, predictor.reader.chat(QUESTION, Conversation())


def test_chat_is_the_base_models_bit_for_bit() -> None:
    predictor, answer = chat()
    assert answer
    assert compare_chat(predictor, load_base("tiny"), QUESTION, answer) == (True, True)


def test_a_changed_answer_or_a_changed_base_is_noticed() -> None:
    predictor, answer = chat()
    base = load_base("tiny")
    assert compare_chat(predictor, base, QUESTION, answer + "!") == (False, True)
    with torch.no_grad():
        base[0].get_input_embeddings().weight[5] += 1e-3
        base[0].model.norm.weight[0] *= 1.0001
    assert compare_chat(predictor, base, QUESTION, answer)[1] is False
