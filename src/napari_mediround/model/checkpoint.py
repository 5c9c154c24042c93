"""Trained MediRound weights as a folder: ``mediround.safetensors`` and ``card.json`` that explains it.

A finder, where there is one, has a file of its own beside them, ``finder.safetensors``.

Only what was trained is stored: projectors, context, first look, prompt maps, prompt encoder, decoder, judge,
corrector, LoRA and token rows; the bases are named by hash. Knows no recipe.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from napari_mediround.errors import MissingWeightsError
from napari_mediround.files import write_whole
from napari_mediround.model.finder import Finder
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prototypes import Prototypes

WEIGHTS, CARD, LANDMARKS = "mediround.safetensors", "card.json", "landmarks"
FINDER = "finder.safetensors"
PARTS = (
    "image_projector",
    "box_encoder",
    "seg_projection",
    "context",
    "glance",
    "maps",
    "prompt_encoder",
    "mask_decoder",
    "judge",
    "corrector",
)


def trained_state(model: MediRound) -> dict[str, Tensor]:
    """Return every trained tensor by name, the adapter's under ``language.``."""
    state = {name: p.detach() for name, p in model.named_parameters() if name.partition(".")[0] in PARTS}
    adapter = model.language.adapter_state()
    return state | {f"language.{name}": value for name, value in adapter.items()}


def load_trained_state(model: MediRound, state: dict[str, Tensor]) -> None:
    """Put trained tensors into `model`.

    Raises
    ------
    MissingWeightsError
        When a tensor is missing, left over or of another shape.
    """
    own = model.state_dict()
    parts = {name: value for name, value in state.items() if not name.startswith("language.")}
    expected = {name for name, _ in model.named_parameters() if name.partition(".")[0] in PARTS}
    adapter = {
        name.removeprefix("language."): value for name, value in state.items() if name.startswith("language.")
    }
    trained = trained_state(model)
    wanted = {name.removeprefix("language.") for name in trained if name.startswith("language.")}
    if set(parts) != expected or set(adapter) != wanted:
        odd = sorted((set(parts) ^ expected) | (set(adapter) ^ wanted))
        raise MissingWeightsError(f"These trained weights belong to another preset: {odd[:3]} … do not fit.")
    for name, value in state.items():
        if trained[name].shape != value.shape:
            raise MissingWeightsError(
                f"These trained weights belong to another preset: {name} has another shape."
            )
    model.load_state_dict({name: value.to(own[name].dtype) for name, value in parts.items()}, strict=False)
    model.language.load_adapter_state(adapter)


def save_trained(model: MediRound, folder: Path, card: dict) -> None:
    """Write the trained weights and landmarks as float16 with their card; their hash goes into the card.

    Parameters
    ----------
    model : MediRound
        Trained.
    folder : Path
        Made if missing; written through temporary names.
    card : dict
        Recipe, data, metrics, base hashes: whatever JSON holds.
    """
    from safetensors.torch import save

    state, names = trained_state(model), []
    if model.landmarks is not None:
        state, names = state | {LANDMARKS: model.landmarks.vectors}, list(model.landmarks.names)
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in state.items()}
    content = save(tensors)
    card = {
        **card,
        "landmarks": names,
        "parameters": sum(t.numel() for t in tensors.values()),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    files = {WEIGHTS: content}
    if model.finder is not None:
        found = {
            name: value.detach().cpu().half().contiguous()
            for name, value in model.finder.state_dict().items()
        }
        files[FINDER] = save(found)
        shape, seen = model.finder.shape, hashlib.sha256(files[FINDER]).hexdigest()
        card["finder"] = {"names": list(model.finder.names), "shape": shape, "sha256": seen}
    for name, data in (*files.items(), (CARD, json.dumps(card, indent=1, sort_keys=True).encode())):
        write_whole(folder / name, partial(Path.write_bytes, data=data))


def load_trained(model: MediRound, folder: Path) -> dict:
    """Load a folder that `save_trained` wrote; return its card.

    Raises
    ------
    MissingWeightsError
        When files are missing or damaged, or the weights are for another preset.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content, card = (folder / WEIGHTS).read_bytes(), json.loads((folder / CARD).read_text())
        expected = card["sha256"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise MissingWeightsError(f"{folder} holds no trained MediRound weights ({error}).") from error
    if hashlib.sha256(content).hexdigest() != expected:
        raise MissingWeightsError(
            f"{folder / WEIGHTS} is damaged: its hash is not that of its card. Install MediRound again."
        )
    try:
        state = load(content)
    except SafetensorError as error:
        raise MissingWeightsError(
            f"{folder / WEIGHTS} holds more than tensors. Install MediRound again."
        ) from error
    vectors, names = state.pop(LANDMARKS, None), card.get("landmarks", [])
    with torch.no_grad():
        load_trained_state(model, state)
    if vectors is not None:
        if vectors.shape != (len(names), model.channels):
            raise MissingWeightsError(
                f"{folder / CARD} names other prototypes than the weights hold. Install MediRound again."
            )
        model.landmarks = Prototypes(tuple(map(str, names)), vectors.float())
    model.finder = load_finder(folder, card["finder"]).to(model.device) if "finder" in card else None
    return card


def load_finder(folder: Path, card: dict) -> Finder:
    """Return the finder of a folder, in evaluation mode; `card` is its part of the folder's card.

    Raises
    ------
    MissingWeightsError
        When its file is missing, damaged or of another shape.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        content = (folder / FINDER).read_bytes()
        if hashlib.sha256(content).hexdigest() != card["sha256"]:
            raise ValueError("its hash is not the card's")
        finder = Finder(tuple(map(str, card["names"])), **card["shape"])
        finder.load_state_dict({name: value.float() for name, value in load(content).items()})
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise MissingWeightsError(
            f"{folder / FINDER} is damaged or missing ({error}). Install MediRound again."
        ) from error
    return finder.eval()
