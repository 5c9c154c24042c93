"""The language model that only answers: what transformers and peft compute, bit for bit; when it is taken."""

from __future__ import annotations

import copy
import json
import re
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
import torch

import napari_mediround.resources
from napari_mediround.domain.rounds import Conversation
from napari_mediround.errors import MissingWeightsError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.adapter import hash_base
from napari_mediround.model.build import build_mediround
from napari_mediround.model.checkpoint import load_trained_state, trained_state
from napari_mediround.model.language import LanguageModel, build_random_language
from napari_mediround.model.llama import AnsweringLanguage, is_plain

LORA = {"rank": 4, "alpha": 8, "targets": ("q_proj", "v_proj")}
TEMPLATE = "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>\n' }}"
TEMPLATE += "{% endfor %}"
TEMPLATE += "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
TEXTS = ("<|im_start|>user\nSegment [SEG] and   the naïve 肝<|im_end|>", "x", "", "[SEG]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Return a folder with a tiny random Llama, as transformers writes it."""
    folder = tmp_path_factory.mktemp("llama")
    network, tokenizer = build_random_language(32, 2, 2, seed=0)
    tokenizer.chat_template = TEMPLATE
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def languages(folder):
    """Return (answering, complete) with the same random adapter."""
    answering = AnsweringLanguage(folder, **LORA).eval()
    generator = torch.Generator().manual_seed(1)
    state = answering.adapter_state()
    answering.load_adapter_state({k: torch.randn(v.shape, generator=generator) for k, v in state.items()})
    return answering, answering.complete()


def ids_of(language, text: str) -> torch.Tensor:
    return torch.tensor([language.encode(text)], dtype=torch.long)


def test_texts_are_read_and_written_as_transformers_does(languages):
    answering, complete = languages
    assert isinstance(complete, LanguageModel)
    assert answering.new_ids == complete.new_ids
    assert (answering.end_id, answering.width) == (complete.end_id, complete.width)
    for text in TEXTS:
        ids = answering.encode(text)
        assert ids == complete.encode(text)
        for skip in (True, False):
            texts = [each.tokenizer.decode(ids, skip_special_tokens=skip) for each in languages]
            assert texts[0] == texts[1]
    chat = [{"role": "user", "content": " hello\n"}, {"role": "assistant", "content": "yes"}]
    assert answering.chat_prompt(chat) == complete.chat_prompt(chat)


@pytest.mark.parametrize("off", [False, True])
@torch.no_grad()
def test_states_and_scores_are_the_same_with_a_cache_that_grows_and_shrinks(languages, off):
    caches = [language.new_cache() for language in languages]
    with ExitStack() as stack:
        for language in languages if off else ():
            stack.enter_context(language.adapter_off())
        for text in ("<|im_start|>Segment the liver.", "x", "and [SEG] too", "y"):
            ids = ids_of(languages[0], text)
            rows = [language.embed(ids) for language in languages]
            assert torch.equal(*rows)
            states = [a.hidden(e, c) for a, e, c in zip(languages, rows, caches, strict=True)]
            assert torch.equal(*states)
            torch.testing.assert_close(*(a.base_logits(s) for a, s in zip(languages, states, strict=True)))
            if not off:
                torch.testing.assert_close(*(a.logits(s) for a, s in zip(languages, states, strict=True)))
            for cache in caches:
                cache.crop(-1)
        wide = [copy.deepcopy(cache) for cache in caches]
        for cache in wide:
            cache.batch_repeat_interleave(3)
        rows = languages[0].embed(torch.arange(12).view(3, 4))
        assert torch.equal(*(a.hidden(rows, c) for a, c in zip(languages, wide, strict=True)))


@torch.no_grad()
def test_the_base_model_answers_bit_for_bit_as_released(languages, folder):
    from transformers import LlamaForCausalLM

    answering, released = languages[0], LlamaForCausalLM.from_pretrained(folder).eval()
    ids = ids_of(answering, TEXTS[0].replace("[SEG]", "it"))
    with answering.adapter_off():
        scores = answering.base_logits(answering.hidden(answering.embed(ids)))
    assert torch.equal(scores, released(ids).logits)


def test_an_answer_is_the_same_with_and_without_drafts(languages):
    start = [language.embed(ids_of(language, "Segment the liver.")) for language in languages]
    said = [
        a.generate(e, a.new_cache(), 12, draft=draft)[0]
        for a, e in zip(languages, start, strict=True)
        for draft in (None, lambda ids: [5, 6, 7])
    ]
    assert said[0] == said[1] == said[2] == said[3]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("model_type", "mistral"),
        ("attention_bias", True),
        ("tie_word_embeddings", False),
        ("dtype", "bfloat16"),
    ],
)
def test_another_kind_of_model_is_left_to_transformers(folder, tmp_path, name, value):
    assert is_plain(folder)
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    settings = json.loads((folder / "config.json").read_text("utf-8"))
    (tmp_path / "config.json").write_text(json.dumps(settings | {name: value}))
    assert not is_plain(tmp_path)
    assert not is_plain(tmp_path / "missing")


def test_a_damaged_file_is_said(folder, tmp_path):
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 64)
    with pytest.raises(MissingWeightsError, match="Fetch the weights again"):
        AnsweringLanguage(tmp_path, **LORA)


def test_a_predictor_that_answers_can_learn_when_asked_to(folder, tmp_path):
    preset = tmp_path / "answering.toml"
    own = (Path(napari_mediround.resources.__file__).parent / "presets/tiny.toml").read_text("utf-8")
    own = re.sub(r"\[language\][^\[]*", '[language]\nweights = "tiny_llama"\n\n', own)
    preset.write_text(own, "utf-8")
    models = [
        build_mediround(preset, folders={"tiny_llama": folder}, answering=answering)
        for answering in (True, False)
    ]
    assert [type(model.language) for model in models] == [AnsweringLanguage, LanguageModel]
    load_trained_state(models[0], trained_state(models[1]))
    predictors = [Predictor(model, "cpu") for model in models]
    image = np.random.default_rng(0).integers(0, 255, (48, 40, 3), np.uint8)
    answers = []
    for predictor in predictors:
        predictor.set_image(image)
        answers.append(predictor.ask("Segment the liver.", Conversation()))
    assert answers[0] == answers[1]
    copied = predictors[0].copy()
    assert {type(p.model.language) for p in (copied, predictors[0])} == {LanguageModel}
    assert hash_base(predictors[0].model) == hash_base(models[1]) == hash_base(copied.model)
    assert predictors[0].ask("Segment the liver.", Conversation()) == answers[0]
