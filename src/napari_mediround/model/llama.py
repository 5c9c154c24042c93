"""A Llama that only answers: weights mapped from the file, no gradient, no library to import but torch.

Importing transformers and peft takes longer than all else before the first answer of a session, and answering
needs little of them. The arithmetic is theirs, operation by operation, so that answers are the same;
`AnsweringLanguage.complete` gives the model that can learn and take adapters. Knows no image.

References
----------
transformers' `modeling_llama` and `sdpa_attention`, peft's LoRA and `trainable_token_indices`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from tokenizers import Tokenizer
from torch import Tensor, nn

from napari_mediround.errors import MissingWeightsError
from napari_mediround.model.language import Language, LanguageModel, load_language_folder
from napari_mediround.model.prompt import NEW_TOKENS

_PLAIN = {
    "model_type": "llama",
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": True,
    "dtype": "float32",
}
_TABLE = "model.embed_tokens.weight"
_NEW_ROWS = "base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta"
_LAYER = "base_model.model.model.layers.{}.self_attn.{}.lora_{}.weight"


class KeyValues:
    """Keys and values (B, heads, T, head size) of each layer, of the tokens read so far."""

    def __init__(self) -> None:
        self._layers: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return self._layers[0][0].shape[2] if self._layers else 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Keep more tokens of a layer; return those of all tokens."""
        if layer == len(self._layers):
            self._layers.append((keys, values))
        else:
            old = self._layers[layer]
            self._layers[layer] = torch.cat([old[0], keys], 2), torch.cat([old[1], values], 2)
        return self._layers[layer]

    def crop(self, removed: int) -> None:
        """Forget the last tokens, `removed` of them as a number below 0."""
        if removed:
            self._layers = [(k[:, :, :removed], v[:, :, :removed]) for k, v in self._layers]

    def batch_repeat_interleave(self, times: int) -> None:
        """Have the same tokens in a batch of `times`."""
        self._layers = [
            (k.repeat_interleave(times, 0), v.repeat_interleave(times, 0)) for k, v in self._layers
        ]


class PlainTokenizer:
    """What answering needs of a tokenizer, from its ``tokenizer.json``.

    Parameters
    ----------
    folder : Path
        Of the language model.
    """

    def __init__(self, folder: Path) -> None:
        self._core = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._words = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
        self._template = (folder / "chat_template.jinja").read_text("utf-8")
        self.eos_token: str = self._words["eos_token"]
        self.eos_token_id = self._core.token_to_id(self.eos_token)

    def __len__(self) -> int:
        return self._core.get_vocab_size()

    def add(self, tokens: tuple[str, ...]) -> list[int]:
        """Add special tokens; return their ids."""
        self._core.add_special_tokens(list(tokens))
        return [self._core.token_to_id(token) for token in tokens]

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Return token ids."""
        return self._core.encode(text, add_special_tokens=add_special_tokens).ids

    def decode(self, ids: list[int], skip_special_tokens: bool = False) -> str:
        """Return the text of token ids."""
        return self._core.decode(ids, skip_special_tokens=skip_special_tokens)

    def write_chat(self, messages: list[dict[str, str]]) -> str:
        """Return a chat as the base model learned it, up to the start of the answer."""
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        template = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(
            self._template
        )
        named = {name: word for name, word in self._words.items() if name.endswith("_token")}
        return template.render(messages=messages, add_generation_prompt=True, **named)


class _Linear(nn.Module):
    """A matrix, with LoRA beside it where it was trained."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.register_buffer("down", None)
        self.register_buffer("up", None)
        self.scale = 1.0

    def forward(self, x: Tensor, adapted: bool) -> Tensor:
        y = F.linear(x, self.weight)
        if self.down is None or not adapted:
            return y
        return y + F.linear(F.linear(x, self.down), self.up) * self.scale


class _Norm(nn.Module):
    """Llama's root-mean-square norm."""

    def __init__(self, weight: Tensor, epsilon: float) -> None:
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(weight, requires_grad=False), epsilon

    def forward(self, x: Tensor) -> Tensor:
        wide = x.to(torch.float32)
        wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return self.weight * wide.to(x.dtype)


class _Layer(nn.Module):
    """Attention and MLP, each on what a norm gives, each added."""

    def __init__(self, weights: Callable[[str], Tensor], settings: Mapping) -> None:
        super().__init__()
        epsilon = settings["rms_norm_eps"]
        self.head, self.shared = settings["head_dim"], settings["num_attention_heads"]
        self.shared //= settings["num_key_value_heads"]
        self.input_norm = _Norm(weights("input_layernorm.weight"), epsilon)
        self.inner_norm = _Norm(weights("post_attention_layernorm.weight"), epsilon)
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.add_module(name, _Linear(weights(f"self_attn.{name}.weight")))
        for name in ("gate_proj", "up_proj", "down_proj"):
            self.add_module(name, _Linear(weights(f"mlp.{name}.weight")))

    def forward(self, x: Tensor, turn: tuple[Tensor, Tensor], mask: Tensor | None, keep, on: bool) -> Tensor:
        """Map (B, T, D) to the same shape; `keep` takes keys and values, and gives those of all tokens."""
        y = self.input_norm(x)
        query, key, value = (
            part(y, on).view(*y.shape[:-1], -1, self.head).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        key, value = keep(_rotate(key, turn), value)
        if mask is not None:
            key, value = (part.repeat_interleave(self.shared, 1) for part in (key, value))
        y = F.scaled_dot_product_attention(
            _rotate(query, turn),
            key,
            value,
            attn_mask=mask,
            is_causal=mask is None and x.shape[1] > 1,
            scale=self.head**-0.5,
            enable_gqa=mask is None,
        )
        x = x + self.o_proj(y.transpose(1, 2).reshape(*x.shape[:-1], -1), on)
        y = self.inner_norm(x)
        return x + self.down_proj(F.silu(self.gate_proj(y, on)) * self.up_proj(y, on), on)


def _rotate(x: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Turn pairs of numbers by their token's place."""
    first, second = x.chunk(2, -1)
    return x * turn[0] + torch.cat((-second, first), -1) * turn[1]


class AnsweringLanguage(Language):
    """A small Llama with its tokenizer, LoRA and token rows, for answers alone.

    Parameters
    ----------
    folder : Path
        As `is_plain` wants it.
    rank, alpha, dropout, targets
        As of `LanguageModel`.

    Raises
    ------
    MissingWeightsError
        When the folder is damaged.
    """

    def __init__(self, folder: Path, **lora) -> None:
        super().__init__()
        self._folder, self._lora, self._adapted = folder, lora, True
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        self.width, self._heads = settings["hidden_size"], settings["num_attention_heads"]
        try:
            self._map(folder / "model.safetensors", settings)
            self.tokenizer = PlainTokenizer(folder)
        except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
            remedy = "Fetch the weights again."
            raise MissingWeightsError(
                f"{folder} holds no language model that can be read. {remedy}"
            ) from error
        self.base_vocabulary = self.table.shape[0]
        self.new_ids = dict(zip(NEW_TOKENS, self.tokenizer.add(NEW_TOKENS), strict=True))
        theta, size = settings["rope_parameters"]["rope_theta"], settings["head_dim"]
        frequencies = 1.0 / (theta ** (torch.arange(0, size, 2, dtype=torch.float) / size))
        self.register_buffer("frequencies", frequencies, persistent=False)

    def _map(self, path: Path, settings: Mapping) -> None:
        with safe_open(path, "pt") as file:  # the tensors stay mapped when it is closed
            self.table = nn.Parameter(file.get_tensor(_TABLE), requires_grad=False)
            self.norm = _Norm(file.get_tensor("model.norm.weight"), settings["rms_norm_eps"])
            layers = [f"model.layers.{i}." for i in range(settings["num_hidden_layers"])]
            self.layers = nn.ModuleList(
                _Layer(lambda name, start=start: file.get_tensor(start + name), settings) for start in layers
            )
        rank, shape = self._lora["rank"], (len(NEW_TOKENS), self.width)
        self.register_buffer("new_rows", torch.zeros(shape))
        for linear in (getattr(layer, name) for layer in self.layers for name in self._lora["targets"]):
            outputs, inputs = linear.weight.shape
            linear.down, linear.up = torch.zeros(rank, inputs), torch.zeros(outputs, rank)
            linear.scale = self._lora["alpha"] / rank

    def adapter_state(self) -> dict[str, Tensor]:
        """Return what was trained, by peft's names."""
        places = [(i, name) for i in range(len(self.layers)) for name in self._lora["targets"]]
        linear = {(i, name): getattr(self.layers[i], name) for i, name in places}
        state = {_LAYER.format(i, name, "A"): each.down for (i, name), each in linear.items()}
        state |= {_LAYER.format(i, name, "B"): each.up for (i, name), each in linear.items()}
        return state | {_NEW_ROWS: self.new_rows}

    def load_adapter_state(self, state: Mapping[str, Tensor]) -> None:
        """Take what `adapter_state` names."""
        for name, own in self.adapter_state().items():
            own.copy_(state[name])

    def complete(self) -> LanguageModel:
        """Return the same model as one that learns; imports transformers and peft."""
        network, tokenizer = load_language_folder(self._folder)
        model = LanguageModel(network, tokenizer, **self._lora)
        model.load_adapter_state(self.adapter_state())
        return model.to(self.table.device).eval()

    def chat_prompt(self, messages: list[dict[str, str]]) -> list[int]:
        """As of `Language`."""
        return self.encode(self.tokenizer.write_chat(messages))

    def embed(self, ids: Tensor) -> Tensor:
        """As of `Language`."""
        rows = F.embedding(ids.clamp(max=self.base_vocabulary - 1), self.table)
        own = ids - self.base_vocabulary
        if not bool((own >= 0).any()):
            return rows
        # The rows that the base model starts with: the mean of all others.
        new = self.new_rows if self._adapted else self.table.mean(0).expand_as(self.new_rows)
        return torch.where((own >= 0)[..., None], F.embedding(own.clamp(min=0), new), rows)

    def hidden(self, embeddings: Tensor, cache: KeyValues | None = None) -> Tensor:
        """As of `Language`."""
        cache = KeyValues() if cache is None else cache
        before, tokens, device = len(cache), embeddings.shape[1], embeddings.device
        angles = (torch.arange(tokens, device=device) + before)[None, :, None].float() * self.frequencies
        angles = torch.cat((angles, angles), -1)[:, None]
        turn = angles.cos().to(embeddings.dtype), angles.sin().to(embeddings.dtype)
        mask = None
        if before and tokens > 1:
            mask = torch.ones(tokens, before + tokens, dtype=torch.bool, device=device).tril(before)[
                None, None
            ]
        for i, layer in enumerate(self.layers):
            embeddings = layer(embeddings, turn, mask, lambda k, v, i=i: cache.extend(i, k, v), self._adapted)
        return self.norm(embeddings)

    def logits(self, hidden: Tensor) -> Tensor:
        """As of `Language`."""
        return torch.cat([self.base_logits(hidden), F.linear(hidden, self.new_rows)], -1)

    def base_logits(self, hidden: Tensor) -> Tensor:
        """As of `Language`."""
        return F.linear(hidden, self.table)

    def new_cache(self) -> KeyValues:
        """As of `Language`."""
        return KeyValues()

    @contextmanager
    def adapter_off(self) -> Iterator[None]:
        """As of `Language`."""
        self._adapted = False
        try:
            yield
        finally:
            self._adapted = True


def is_plain(folder: Path) -> bool:
    """Whether a folder holds what `AnsweringLanguage` computes: a small Llama in one float32 file."""
    words = "tokenizer_config.json"
    files = ("model.safetensors", "tokenizer.json", "chat_template.jinja")
    try:
        settings = json.loads((folder / "config.json").read_text("utf-8"))
        rope = settings["rope_parameters"]["rope_type"] == "default"
        ends = isinstance(json.loads((folder / words).read_text("utf-8"))["eos_token"], str)
    except (OSError, ValueError, KeyError, TypeError):
        return False
    known = all(settings.get(name) == value for name, value in _PLAIN.items())
    return known and rope and ends and all((folder / name).is_file() for name in files)
