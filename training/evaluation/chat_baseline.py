"""Whether our chat is the frozen base model's, bit for bit: the base model, loaded from its own files.

Knows no image and no adapter.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from napari_mediround.model.build import read_preset
from napari_mediround.model.language import build_random_language, load_language_folder
from napari_mediround.weights import locate

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor


def load_base(preset: str | Path, seed: int = 0) -> tuple[nn.Module, object]:
    """Return (network, tokenizer) of a preset's language model as released: no adapter, no added token.

    Raises
    ------
    MissingWeightsError
        When its files are not on this machine.
    """
    language = read_preset(preset)["language"]
    if "weights" not in language:
        network, tokenizer = build_random_language(
            language["width"], language["depth"], language["heads"], seed
        )
    else:
        dtype = getattr(torch, language.get("dtype", "float32"))
        network, tokenizer = load_language_folder(locate(language["weights"]), dtype)
    return network.eval(), tokenizer


@torch.no_grad()
def compare_chat(
    predictor: Predictor, base: tuple[nn.Module, object], question: str, answer: str, limit: int = 96
) -> tuple[bool, bool]:
    """Compare the chat answer to a first question with the base model's answer.

    Parameters
    ----------
    predictor : Predictor
    base : tuple
        From `load_base`.
    question, answer : str
        What was asked, and the predictor's answer.
    limit : int
        Most tokens; the predictor's own.

    Returns
    -------
    same_text : bool
    same_bits : bool
        Whether the next-token logits of the whole prompt are equal, bit for bit.
    """
    network, tokenizer = base[0].to(predictor.device), base[1]
    language = predictor.model.language
    ids = language.chat_prompt([{"role": "user", "content": question}])
    ids = torch.tensor([ids], device=predictor.device)
    step = network(ids, use_cache=True)
    with language.adapter_off():
        ours = language.base_logits(language.hidden(language.embed(ids)))
    same_bits = torch.equal(step.logits, ours)
    said: list[int] = []
    while True:
        said.append(int(step.logits[0, -1].argmax()))
        if said[-1] == tokenizer.eos_token_id or len(said) == limit:
            return tokenizer.decode(said, skip_special_tokens=True).strip() == answer, same_bits
        token = torch.tensor([[said[-1]]], device=predictor.device)
        step = network(token, past_key_values=step.past_key_values, use_cache=True)
