"""Tiny models for tests: presets written to a folder, and language models that say what the test wants."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.domain.rounds import Conversation, Round
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.build import read_preset


def write_preset(folder: Path, base: str = "tiny", **changes: dict) -> Path:
    """Write a bundled preset with other values and return its path; None leaves a key out."""
    settings = read_preset(base)
    for section, values in changes.items():
        settings[section] = {k: v for k, v in {**settings[section], **values}.items() if v is not None}
    path = folder / "preset.toml"
    path.write_text(
        "".join(
            f"[{section}]\n" + "".join(f"{k} = {_to_toml(v)}\n" for k, v in values.items())
            for section, values in settings.items()
        )
    )
    return path


def _to_toml(value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return '"' + value.replace("\n", "\\n") + '"' if isinstance(value, str) else repr(value)


def make_plane(seed: int = 0, shape: tuple[int, int] = (48, 64)) -> NDArray[np.uint8]:
    """Return a plane with two bright discs on noise, uint8 (H, W, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    grey = rng.integers(0, 60, shape)
    for row, column in rng.uniform(0.3, 0.7, (2, 2)) * shape:
        grey = np.where((y - row) ** 2 + (x - column) ** 2 < 60, 200, grey)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


def script_answers(predictor: Predictor, *answers: str) -> list[int]:
    """Make the adapted model say `answers`, one a question; the network still reads every token.

    The base model, which chats, says what it says.

    Returns
    -------
    list of int
        Grows with the number of positions read at each step: the length of the prompt, then ones.
    """
    language = predictor.model.language
    lines = [[*language.encode(text), language.end_id] for text in answers]
    read: list[int] = []
    waiting: list[int] = []
    real = type(language)

    def generate(embeddings, cache, limit, cancelled=None, base=False, draft=None):  # says it token by token
        waiting[:] = [] if base else lines.pop(0)
        return real.generate(language, embeddings, cache, limit, cancelled, base)

    def hidden(embeddings, cache=None):
        read.append(embeddings.shape[1])
        return real.hidden(language, embeddings, cache)

    def logits(states):
        scores = real.logits(language, states)
        if waiting:
            scores = torch.zeros_like(scores)
            scores[..., waiting.pop(0)] = 1
        return scores

    language.generate, language.hidden, language.logits = generate, hidden, logits
    return read


def ask(
    predictor: Predictor, conversation: Conversation, text: str, references=(), plane: int = 0
) -> Conversation:
    """Ask one question; return the conversation with its round."""
    answer = predictor.ask(text, conversation, tuple(references))
    return conversation.add(Round(len(conversation) + 1, plane, text, tuple(references), answer))
