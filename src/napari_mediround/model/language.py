"""The language model: a frozen causal LM, a LoRA adapter beside it, a few trained token rows.

Knows no image: it takes embeddings and gives hidden states.

References
----------
peft's LoRA (`LoraConfig`, `trainable_token_indices`); SmolLM2-135M-Instruct (Apache-2.0).
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mediround.errors import MissingWeightsError
from napari_mediround.libraries import one_at_a_time
from napari_mediround.model.prompt import NEW_TOKENS

ADAPTER = "default"
"""Peft's name of the LoRA adapter and of the trained token rows."""


class Language(nn.Module):
    """What a dialogue asks of a causal language model: `LanguageModel` learns too, another only answers.

    Attributes
    ----------
    tokenizer
        With MediRound's tokens added.
    base_vocabulary : int
        Rows of the base model's own table.
    new_ids : dict of str to int
        MediRound's tokens.
    """

    @property
    def end_id(self) -> int:
        """Token id that ends an answer."""
        return self.tokenizer.eos_token_id

    def encode(self, text: str) -> list[int]:
        """Return token ids of a text, special tokens in it recognised, none added."""
        return self.tokenizer.encode(text, add_special_tokens=False)

    @torch.no_grad()
    def generate(
        self, embeddings: Tensor, cache, limit: int, cancelled=None, base: bool = False, draft=None
    ) -> tuple[list[int], list[Tensor]]:
        """Answer greedily.

        Parameters
        ----------
        embeddings : Tensor
            (1, T, D), the end of the prompt that is not in `cache` yet.
        cache : DynamicCache
            Grows by T and by every token of the answer but the last.
        limit : int
            Most tokens of the answer.
        cancelled : callable, optional
            Asked between tokens; the answer ends early when it returns true.
        base : bool
            Use the frozen base model and its own vocabulary.
        draft : callable, optional
            Tokens so far to tokens that may follow (`model.drafts`): read in the same pass, and kept as far
            as the model says them too.

        Returns
        -------
        ids : list of int
            The answer, its end token included if there was one.
        hidden : list of Tensor
            (D,) for each id: the state that predicted it.
        """
        ids, states = [], []
        with self.adapter_off() if base else nullcontext():
            while True:
                guess = draft(ids)[: limit - len(ids) - 1] if draft else []
                ahead = self.embed(torch.tensor([guess], dtype=torch.long, device=embeddings.device))
                hidden = self.hidden(torch.cat([embeddings, ahead], 1), cache)[0, -1 - len(guess) :]
                said = (self.base_logits(hidden) if base else self.logits(hidden)).argmax(-1).tolist()
                wrong = (i for i, (a, b) in enumerate(zip(said, guess, strict=False)) if a != b)
                new = said[: next(wrong, len(guess)) + 1]
                new = new[: new.index(self.end_id) + 1] if self.end_id in new else new
                if len(new) <= len(guess):
                    cache.crop(len(new) - 1 - len(guess))
                ids += new
                states += hidden[: len(new)]
                done = new[-1] == self.end_id or len(ids) >= limit
                if done or (cancelled is not None and cancelled()):
                    return ids, states
                embeddings = self.embed(torch.tensor([new[-1:]], device=embeddings.device))


class LanguageModel(Language):
    """A causal language model with its tokenizer and adapter.

    Parameters
    ----------
    network : PreTrainedModel
        Any causal LM of transformers; frozen here.
    tokenizer : PreTrainedTokenizerBase
        Its tokenizer; MediRound's tokens are added to it.
    rank, alpha, dropout : int, float, float
        Of the LoRA adapter.
    targets : list of str
        Module names that get LoRA.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer,
        rank: int = 16,
        alpha: float = 32,
        dropout: float = 0.0,
        targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj"),
    ) -> None:
        with one_at_a_time():
            from peft import LoraConfig, get_peft_model

        super().__init__()
        self.tokenizer = tokenizer
        self.base_vocabulary = network.get_input_embeddings().weight.shape[0]
        tokenizer.add_tokens(list(NEW_TOKENS), special_tokens=True)
        if len(tokenizer) > self.base_vocabulary:
            network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
            rows = network.get_input_embeddings().weight
            with torch.no_grad():  # a fixed start: trained values come with the adapter
                rows[self.base_vocabulary :] = rows[: self.base_vocabulary].mean(0)
        # In a list, so that it is not registered twice: the base model's own output rows, for its chat.
        self._output_rows = [network.get_output_embeddings().weight]
        token_ids = tokenizer.convert_tokens_to_ids(list(NEW_TOKENS))
        self.new_ids = dict(zip(NEW_TOKENS, token_ids, strict=True))
        config = LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=list(targets),
            trainable_token_indices=token_ids,
            task_type="CAUSAL_LM",
        )
        if not network.config.tie_word_embeddings:
            config.trainable_token_indices = {"embed_tokens": token_ids, "lm_head": token_ids}
        with warnings.catch_warnings():  # peft 0.21 asks for an attribute that transformers 5 renamed
            warnings.filterwarnings("ignore", "`is_gradient_checkpointing` is deprecated", FutureWarning)
            self.network = get_peft_model(network, config)

    @property
    def width(self) -> int:
        """Hidden size D."""
        return self.network.config.hidden_size

    def chat_prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """Return token ids of a chat as the base model learned it, the start of the answer last."""
        if self.tokenizer.chat_template:
            text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        else:
            text = "".join(f"{m['role']}: {m['content']}\n" for m in messages) + "assistant: "
        return self.encode(text)

    def embed(self, ids: Tensor) -> Tensor:
        """Return input embeddings (…, D) of token ids (…)."""
        table = self.network.get_input_embeddings().token_adapter
        rows = table.get_base_layer()(ids)
        if table.disable_adapters:
            return rows
        own = ids[..., None] == self._own_ids(table)
        return torch.where(own.any(-1, keepdim=True), own.to(rows) @ _own_rows(table).to(rows), rows)

    def hidden(self, embeddings: Tensor, cache=None) -> Tensor:
        """Return the last hidden states.

        Parameters
        ----------
        embeddings : Tensor
            (B, T, D), the tokens that are not yet in `cache`.
        cache : DynamicCache, optional
            Keys and values so far; grows by T.

        Returns
        -------
        Tensor
            (B, T, D).
        """
        core = self.network.get_base_model().model
        return core(
            inputs_embeds=embeddings, past_key_values=cache, use_cache=cache is not None
        ).last_hidden_state

    def logits(self, hidden: Tensor) -> Tensor:
        """Return next-token logits (…, V) of hidden states (…, D)."""
        table = self.network.get_output_embeddings().token_adapter
        scores = table.get_base_layer()(hidden)
        if table.disable_adapters:
            return scores
        return scores.index_copy(-1, self._own_ids(table), hidden @ _own_rows(table).to(hidden).T)

    def base_logits(self, hidden: Tensor) -> Tensor:
        """Return next-token logits over the base model's own vocabulary, bit for bit as without our tokens.

        A product over more rows may sum in another order, so the new rows are left out before it.
        """
        return F.linear(hidden, self._output_rows[0][: self.base_vocabulary])

    def new_cache(self):
        """Return an empty cache for `hidden`."""
        with one_at_a_time():
            from transformers import DynamicCache

        return DynamicCache()

    def adapter_state(self) -> dict[str, Tensor]:
        """Return LoRA and token rows by peft's names."""
        with one_at_a_time():
            from peft import get_peft_model_state_dict

        return get_peft_model_state_dict(self.network, save_embedding_layers=False)

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `adapter_state` names."""
        with one_at_a_time():
            from peft import set_peft_model_state_dict

        set_peft_model_state_dict(self.network, {name: value.float() for name, value in state.items()})

    def _own_ids(self, table: nn.Module) -> Tensor:
        return torch.tensor(table.token_indices[ADAPTER], device=table.get_base_layer().weight.device)

    @contextmanager
    def adapter_off(self) -> Iterator[None]:
        """Run as the frozen base model."""
        with self.network.disable_adapter():
            yield


def _own_rows(table: nn.Module) -> Tensor:
    """Return the trained rows (N, D) of a table. Peft's own pass copies the whole table to put them in."""
    return table.trainable_tokens_delta[ADAPTER]


def load_language_folder(folder: Path, dtype: torch.dtype = torch.float32):
    """Return (network, tokenizer) from a folder that transformers reads; no network, no remote code.

    A LLaVA-Med folder (`LlavaMistralForCausalLM`) gives its Mistral; its vision tower and projector are left.

    Raises
    ------
    MissingWeightsError
        When the folder is not a model, is damaged, or would need code of its own.
    """
    from safetensors import SafetensorError

    try:
        return _load_language_folder(folder, dtype)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        remedy = "Nothing in it was run. Fetch it again, or choose a folder of safetensors."
        raise MissingWeightsError(f"{folder} holds no language model that can be read. {remedy}") from error


def _load_language_folder(folder: Path, dtype: torch.dtype):
    with one_at_a_time():
        from transformers import AutoModelForCausalLM, MistralConfig, MistralForCausalLM
        from transformers.utils import logging

    class LlavaMistral(MistralForCausalLM):
        _keys_to_ignore_on_load_unexpected = (r"vision_tower\.", r"mm_projector\.")

    logging.disable_progress_bar()  # one for each tensor, in the middle of our own output
    local = {"local_files_only": True, "trust_remote_code": False}
    weights = {"use_safetensors": True, "dtype": dtype}
    settings = json.loads((folder / "config.json").read_text())
    if settings.get("model_type") != "llava_mistral":
        tokenizer = _load_tokenizer(folder, **local)
        return AutoModelForCausalLM.from_pretrained(str(folder), **local, **weights), tokenizer
    del settings["model_type"], settings["architectures"]
    config = MistralConfig.from_dict(settings)
    tokenizer = _load_tokenizer(folder, config=config, **local)
    network = LlavaMistral.from_pretrained(str(folder), config=config, local_files_only=True, **weights)
    return network, tokenizer


def _load_tokenizer(folder: Path, **options):
    with one_at_a_time():
        from transformers import AutoTokenizer, PreTrainedTokenizerFast

    # A serialised tokenizer says it all; AutoTokenizer parses it twice, and stops every thread meanwhile.
    kind = PreTrainedTokenizerFast if (folder / "tokenizer.json").exists() else AutoTokenizer
    return kind.from_pretrained(str(folder), **options)


def build_random_language(width: int, depth: int, heads: int, seed: int):
    """Return (network, tokenizer): a random Llama over bytes, for tests."""
    with one_at_a_time():
        from tokenizers import Tokenizer, decoders, models, pre_tokenizers
        from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate(["<|im_start|>", "<|im_end|>", *alphabet])}
    core = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<|im_start|>", eos_token="<|im_end|>", pad_token="<|im_end|>"
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(vocabulary),
                hidden_size=width,
                intermediate_size=2 * width,
                num_hidden_layers=depth,
                num_attention_heads=heads,
                num_key_value_heads=heads,
                max_position_embeddings=4096,
                tie_word_embeddings=True,
                bos_token_id=0,
                eos_token_id=1,
                pad_token_id=1,
            )
        )
    return network, tokenizer
