"""Learned adapters: LoRA beside a model, attached, taken off, written and read.

LoRA on the language model (beside the one that came with the weights), on the SEG projection and on the
mask decoder, and a calibration of the judge. The weights of the model are never changed: without the adapter
the model computes what it did before, bit for bit. Knows no journal and no recipe.

References
----------
peft: `PeftModel.add_adapter`, `get_peft_model` on plain modules, `unload`.
"""

from __future__ import annotations

import copy
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from napari_mediround.errors import AdapterError
from napari_mediround.files import write_whole
from napari_mediround.libraries import one_at_a_time
from napari_mediround.model.mediround import MediRound

NAME = "learned"
WEIGHTS, CARD = "adapter.safetensors", "card.json"
_GLANCE = 4096  # bytes of each tensor of the frozen language model that go into the base's hash
_UNUSED = re.compile(r"output_hypernetworks_mlps\.[1-9]")  # of the masks that nobody asks for


@dataclass(frozen=True)
class AdapterShape:
    """Ranks and places of an adapter.

    Parameters
    ----------
    language_rank, head_rank : int
        Ranks of LoRA on the language model, and on SEG projection and mask decoder; α is twice the rank.
    language_targets : tuple of str
        Module names of the language model that get LoRA.
    """

    language_rank: int = 8
    head_rank: int = 8
    language_targets: tuple[str, ...] = ("q_proj", "v_proj")


class Adapter:
    """An adapter on a model, attached on construction. A fresh adapter changes nothing.

    Parameters
    ----------
    model : MediRound
        Model without another adapter of this kind.
    shape : AdapterShape
        Ranks and places.
    seed : int
        Seed of the initial LoRA A; B is zero.

    Attributes
    ----------
    sha256 : str
        Hash of the file that the adapter was read from; "" for a fresh one.

    Raises
    ------
    AdapterError
        When the model has an adapter already.
    """

    def __init__(self, model: MediRound, shape: AdapterShape | None = None, seed: int = 0) -> None:
        with one_at_a_time():
            from peft import LoraConfig, get_peft_model

        self.model, self.shape, self.sha256 = model, shape or AdapterShape(), ""
        self._network = model.language.network
        if NAME in self._network.peft_config:
            raise AdapterError("The model already has an adapter. Remove it first.")
        self._trainable = {p: p.requires_grad for p in model.parameters()}  # peft freezes what it wraps
        rank, heads = self.shape.language_rank, nn.ModuleDict()
        heads["seg"], heads["decoder"] = model.seg_projection, model.mask_decoder
        config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=list(self.shape.language_targets))
        rank = self.shape.head_rank
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self._network.add_adapter(NAME, config)
            linear = [n for n, m in heads.named_modules() if isinstance(m, nn.Linear)]
            targets = [n for n in linear if not _UNUSED.search(n)]
            self._heads = get_peft_model(
                heads, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), NAME
            )
        self._network.base_model.set_adapter([*self._network.active_adapters, NAME])
        self._judge = model.judge.mlp[-1]
        self._judged = self._judge.weight.data, self._judge.bias.data
        self.calibration = (1.0, 0.0)
        model.to(model.device)

    def language_parameters(self) -> list[nn.Parameter]:
        """Return the LoRA parameters of the language model."""
        return [p for name, p in self._tensors().items() if name.startswith("language.")]

    def head_parameters(self) -> list[nn.Parameter]:
        """Return the LoRA parameters of SEG projection and mask decoder."""
        return [p for name, p in self._tensors().items() if name.startswith("heads.")]

    def _tensors(self) -> dict[str, nn.Parameter]:
        parts = {"language": self._network, "heads": self._heads}
        mark = f".{NAME}."
        return {
            f"{part}.{name.replace(mark, '.')}": parameter
            for part, network in parts.items()
            for name, parameter in network.named_parameters()
            if mark in name
        }

    def calibrate(self, scale: float, offset: float) -> None:
        """Replace the judge's logit by `scale` times the logit plus `offset`."""
        weight, bias = self._judged
        self._judge.weight.data, self._judge.bias.data = weight * scale, bias * scale + offset
        self.calibration = (scale, offset)

    def state(self) -> dict[str, Tensor]:
        """Return every tensor of the adapter by name."""
        state = {name: parameter.detach().clone() for name, parameter in self._tensors().items()}
        return state | {"judge": torch.tensor(self.calibration)}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Load the tensors of `state`.

        Raises
        ------
        AdapterError
            When a tensor is missing, left over or of another shape; nothing has then changed.
        """
        own = self._tensors()
        shapes = {name: tuple(value.shape) for name, value in own.items()} | {"judge": (2,)}
        if shapes != {name: tuple(value.shape) for name, value in state.items()}:
            odd = sorted(shapes.keys() ^ state.keys()) or ["a tensor has another shape"]
            raise AdapterError(f"This adapter belongs to another preset or has other ranks: {odd[:3]} …")
        for name, parameter in own.items():
            parameter.copy_(state[name])
        self.calibrate(*state["judge"].tolist())

    @contextmanager
    def off(self) -> Iterator[None]:
        """Return a context in which the model computes without the adapter."""
        kept = self.calibration
        others = [n for n in self._network.active_adapters if n != NAME]
        self.calibrate(1.0, 0.0)
        with ExitStack() as stack:
            stack.enter_context(self._heads.disable_adapter())
            self._network.base_model.set_adapter(others)
            try:
                yield
            finally:
                self._network.base_model.set_adapter([*others, NAME])
                self.calibrate(*kept)

    def detach(self) -> None:
        """Take the adapter off. The model is then what it was before."""
        others = [n for n in self._network.active_adapters if n != NAME]
        self._network.delete_adapter(NAME)
        self._network.base_model.set_adapter(others)
        self._heads.unload()
        self._judge.weight.data, self._judge.bias.data = self._judged
        for parameter, flag in self._trainable.items():
            parameter.requires_grad_(flag)


@torch.no_grad()
def hash_base(model: MediRound) -> str:
    """Return 16 hex digits of the weights that an adapter belongs to; `model` has no adapter.

    Of the frozen language model only the first bytes of each tensor are read, so that this takes a moment.
    The finder does not count: it works by name, beside what an adapter changes, so that adapters outlive it.
    """
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        if name.startswith("finder."):
            continue
        content = value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy()
        frozen = name.startswith("language.") and not ("lora_" in name or "trainable_tokens" in name)
        digest.update(f"{name} {tuple(value.shape)}".encode())
        digest.update((content[:_GLANCE] if frozen else content).tobytes())
    return digest.hexdigest()[:16]


def is_adapter(folder: Path) -> bool:
    """Return whether a folder holds an adapter, not a whole set of trained weights."""
    return (Path(folder) / WEIGHTS).is_file()


def write_adapter(folder: Path, state: Mapping[str, Tensor], shape: AdapterShape, card: dict) -> None:
    """Write ``adapter.safetensors`` (float32) and ``card.json`` with its hash, through temporary names."""
    from safetensors.torch import save

    content = save({n: v.detach().cpu().float().contiguous() for n, v in state.items()})
    card = {**card, "shape": asdict(shape), "sha256": hashlib.sha256(content).hexdigest()}
    for name, data in ((WEIGHTS, content), (CARD, json.dumps(card, indent=1, sort_keys=True).encode())):
        write_whole(folder / name, partial(Path.write_bytes, data=data))


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], AdapterShape, dict]:
    """Return the tensors, shape and card of an adapter. No code in its files is run.

    Raises
    ------
    AdapterError
        When the adapter is missing, damaged, or holds a value that is not a number.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    folder = Path(folder)
    try:
        content, card = (folder / WEIGHTS).read_bytes(), json.loads((folder / CARD).read_text("utf-8"))
        values = dict(card["shape"])
        shape = AdapterShape(**values | {"language_targets": tuple(values["language_targets"])})
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AdapterError(f"{folder} holds no adapter ({error}). Choose another folder.") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise AdapterError(
            f"{folder / WEIGHTS} is damaged: its hash differs from the one in its card. Export it again."
        )
    try:
        state = load(content)
    except SafetensorError as error:
        raise AdapterError(f"{folder / WEIGHTS} holds more than tensors. Export it again.") from error
    if not all(math.isfinite(float(v.float().abs().sum())) for v in state.values()):
        raise AdapterError(f"{folder / WEIGHTS} holds values that are not numbers. Train it again.")
    return state, shape, card


def attach_folder(model: MediRound, folder: Path) -> Adapter:
    """Attach an adapter that `write_adapter` wrote.

    Raises
    ------
    AdapterError
        When the adapter is damaged or was learned on other weights; the model is then unchanged.
    """
    state, shape, card = read_adapter(folder)
    if card.get("base") != (own := hash_base(model)):
        raise AdapterError(
            f"{folder} was learned on the weights {card.get('base')}, but these are {own}. "
            "Use the preset and weights that it was learned on, or train it again."
        )
    adapter = Adapter(model, shape)
    try:
        adapter.load(state)
    except AdapterError:
        adapter.detach()
        raise
    adapter.sha256 = card["sha256"]
    return adapter


def copy_model(model: MediRound, adapter: Adapter | None = None) -> MediRound:
    """Return a model that shares the memory of another one's weights, frozen, without its adapter.

    Parameters
    ----------
    model : MediRound
    adapter : Adapter, optional
        The adapter that is attached to the model; it stays attached there.
    """
    shared = {id(tensor): _alias(tensor) for tensor in (*model.parameters(), *model.buffers())}
    tokenizer = model.language.tokenizer  # never changed; to copy it stops every other thread
    shared[id(tokenizer)] = tokenizer
    copied, attached = copy.deepcopy((model, adapter), shared)
    if attached is not None:
        attached.detach()
    return copied


def _alias(tensor: Tensor) -> Tensor:
    """Return another tensor on the same memory; a parameter stays one, frozen."""
    return (
        nn.Parameter(tensor.data, requires_grad=False)
        if isinstance(tensor, nn.Parameter)
        else tensor.detach()
    )
