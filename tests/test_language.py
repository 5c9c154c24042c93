"""The frozen language model and the adapter beside it."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from transformers import DynamicCache

from napari_mediround.model.language import LanguageModel, build_random_language
from napari_mediround.model.prompt import NEW_TOKENS, SEG


@pytest.fixture
def language() -> LanguageModel:
    """Return a small model with a fresh adapter."""
    network, tokenizer = build_random_language(32, 2, 2, seed=0)
    return LanguageModel(network, tokenizer, 4, 8, targets=("q_proj", "v_proj")).eval()


def train_a_little(language: LanguageModel) -> None:
    """Give every trained tensor another value."""
    generator = torch.Generator().manual_seed(1)
    for parameter in language.parameters():
        if parameter.requires_grad:
            parameter.data += torch.randn(parameter.shape, generator=generator)


def read(language: LanguageModel, text: str = "Segment the liver.") -> torch.Tensor:
    """Return next-token scores (1, T, V) of a text."""
    return language.logits(language.hidden(language.embed(torch.tensor([language.encode(text)]))))


@torch.no_grad()
def test_a_fresh_adapter_is_the_identity(language):
    with_adapter = read(language)
    with language.adapter_off():
        without = read(language)
    known = language.base_vocabulary
    assert torch.equal(without[..., :known], with_adapter[..., :known])
    assert torch.allclose(without, with_adapter, atol=1e-6), "ours are summed in another order"


def test_our_rows_are_those_that_peft_puts_into_its_tables(language):
    train_a_little(language)
    ids = torch.tensor([[5, *language.new_ids.values(), 7]])
    table, head = language.network.get_input_embeddings(), language.network.get_output_embeddings()
    embeddings, states = language.embed(ids), torch.randn(1, 3, language.width)
    assert torch.equal(embeddings, table(ids))
    assert not torch.equal(embeddings, table.token_adapter.get_base_layer()(ids))
    assert torch.allclose(language.logits(states), head(states), atol=1e-5)
    slopes = []
    for embed, score in ((language.embed, language.logits), (table, head)):
        language.zero_grad()
        (score(states).square().sum() + embed(ids).sum()).backward()
        slopes.append(table.token_adapter.trainable_tokens_delta["default"].grad.clone())
    assert torch.allclose(*slopes, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_with_the_adapter_off_it_is_the_base_model_bit_for_bit(language):
    network, _ = build_random_language(32, 2, 2, seed=0)
    ids = torch.tensor([language.encode("Hello")])
    base = network.eval()(ids).logits
    train_a_little(language)
    assert not torch.equal(read(language, "Hello")[..., : base.shape[-1]], base)
    with language.adapter_off():
        assert torch.equal(language.base_logits(language.hidden(language.embed(ids))), base)


def test_only_the_adapter_and_the_new_rows_learn(language):
    learning = {name for name, p in language.named_parameters() if p.requires_grad}
    assert learning
    assert all("lora_" in name or "trainable_tokens" in name for name in learning)
    rows = [p for n, p in language.named_parameters() if "trainable_tokens" in n]
    assert rows[0].shape == (len(NEW_TOKENS), language.width)


def test_new_tokens_are_one_id_each_and_read_in_any_text(language):
    assert language.encode(SEG) == [language.new_ids[SEG]]
    ids = language.encode("liver [SEG].")
    assert ids.count(language.new_ids[SEG]) == 1
    assert language.tokenizer.decode(ids) == "liver [SEG]."
    assert min(language.new_ids.values()) >= language.base_vocabulary


@torch.no_grad()
def test_generating_with_a_cache_equals_reading_it_all_each_time(language):
    train_a_little(language)
    ids = language.encode("Segment the liver.")
    answer, states = language.generate(language.embed(torch.tensor([ids])), DynamicCache(), 12)
    for count, (token, state) in enumerate(zip(answer, states, strict=True)):
        whole = language.hidden(language.embed(torch.tensor([ids + answer[:count]])))[0, -1]
        assert torch.allclose(whole, state, atol=1e-5)
        assert int(language.logits(whole).argmax()) == token


@torch.no_grad()
@pytest.mark.parametrize("right", [0, 1, 3, 99])
def test_drafts_change_no_token(language, right):
    train_a_little(language)
    ids, cache, plain = language.encode("Segment the liver."), DynamicCache(), DynamicCache()
    start = language.embed(torch.tensor([ids]))
    answer, states = language.generate(start, plain, 12)
    drafted = []

    def draft(said):
        follows = answer[len(said) : len(said) + right]
        drafted.append(len(follows))
        return [*follows, 7, 7]

    again, same = language.generate(start, cache, 12, draft=draft)
    assert again == answer
    assert torch.allclose(torch.stack(same), torch.stack(states), atol=1e-5)
    assert cache.get_seq_length() == plain.get_seq_length() == len(ids) + len(answer) - 1
    assert len(drafted) == -(-len(answer) // (right + 1))  # so many passes and no more


@torch.no_grad()
def test_generation_stops_at_its_limit_and_when_cancelled(language):
    start = language.embed(torch.tensor([language.encode("x")]))
    assert len(language.generate(start, DynamicCache(), 3)[0]) <= 3
    assert len(language.generate(start, DynamicCache(), 30, cancelled=lambda: True)[0]) == 1


@torch.no_grad()
def test_the_base_model_never_says_a_new_token(language):
    table = language.network.get_base_model().model.embed_tokens.token_adapter
    table.base_layer.weight[language.new_ids[SEG]] *= 100
    start = language.embed(torch.tensor([language.encode("x")]))
    answer, _ = language.generate(start, DynamicCache(), 8, base=True)
    assert max(answer) < language.base_vocabulary


def test_training_changes_adapter_and_rows_only(language):
    before = copy.deepcopy(language.state_dict())
    ids = torch.tensor([language.encode("the liver [SEG]")])
    optimizer = torch.optim.SGD([p for p in language.parameters() if p.requires_grad], 1.0)
    loss = F.cross_entropy(language.logits(language.hidden(language.embed(ids))[0, :-1]), ids[0, 1:])
    loss.backward()
    optimizer.step()
    changed = {n for n, v in language.state_dict().items() if not torch.equal(v, before[n])}
    assert any("lora_B" in n for n in changed)
    assert all("lora_" in n or "trainable_tokens" in n for n in changed)
