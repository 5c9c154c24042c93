"""Stage 1c: decoder and SEG projection together, on the language model's own states.

The language model's hidden states for every structure it can name are collected once, in a bank. A step then
runs the decoder only. Knows no text.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prototypes import Prototypes
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.stages.loop import Loop, Memory, Schedule, half_precision, mean_dice
from napari_mediround.training.stages.losses import iou, mask_loss
from napari_mediround.training.stages.pixels import DECODER_PARTS, draw_batch, structure_weights
from napari_mediround.training.stages.projection import ask_plainly, fit_projection, read_vectors
from napari_mediround.training.stages.prompts import PromptSettings, decode_prompted
from napari_mediround.training.stages.text import TextSettings, draw_lesson, keeping


@dataclass(frozen=True)
class JointSettings:
    """Settings of stage 1c.

    Parameters
    ----------
    lessons : int
        Dialogues read for the bank of hidden states, beside one plain question for each structure.
    projection_steps : int
        Steps that first fit the SEG projection to the vectors of stage 1a.
    steps, planes, masks : int
        Optimiser steps on the full grid; planes a step; masks a plane at most.
    absent_share : float
        Share of the steps that also ask for structures that the planes lack.
    decoder_rate, head_rate : float
        AdamW learning rates.
    seed : int
        Seed of every draw.
    bf16 : bool
        Multiply in bfloat16: about twice as fast on processors that have it (AMX, GPUs), slower elsewhere.
    """

    lessons: int = 150
    projection_steps: int = 400
    steps: int = 600
    planes: int = 3
    masks: int = 2
    absent_share: float = 0.3
    decoder_rate: float = 1e-4
    head_rate: float = 3e-5
    seed: int = 0
    bf16: bool = False


@torch.no_grad()
def collect_bank(
    model: MediRound, planes: Planes, names: list[str], settings: JointSettings
) -> dict[str, Tensor]:
    """Return, by structure name, the hidden states (K, D) that predict `[SEG]` in questions and dialogues."""
    language = model.language
    bank = {name: list(states) for name, states in ask_plainly(model, names, planes.anatomy).items()}
    draws = TextSettings(text_share=0.0)
    for number in range(settings.lessons):
        lesson = draw_lesson(model, planes, draws, np.random.default_rng([settings.seed, 2, number]))
        hidden = language.hidden(model.embed_pieces(lesson.pieces, lesson.raw))[0]
        for place, name, _ in lesson.segs:
            bank.setdefault(name, []).append(hidden[place])
    return {name: torch.stack(states) for name, states in bank.items()}


@torch.no_grad()
def collect_landmarks(model: MediRound, bank: Path) -> Prototypes:
    """Return the prototypes: the structures of a bank, each with the mean of its SEG vectors."""
    states = torch.load(bank, map_location=model.device, weights_only=True)
    vectors = [model.project_seg(states[name]).mean(0) for name in states]
    return Prototypes(tuple(states), torch.stack(vectors))


def train_joint(model: MediRound, folder: Path, out: Path, settings: JointSettings) -> None:
    """Train stage 1c, logging to ``out/joint.jsonl`` and saving ``out/joint.pt`` every 50 steps."""
    planes = Planes(folder)
    names, weights = structure_weights(planes)
    if not (out / "bank.pt").exists():
        torch.save(collect_bank(model, planes, names, settings), out / "bank.pt")
    bank = torch.load(out / "bank.pt", map_location=model.device, weights_only=True)
    table, row_of = read_vectors(out / "pixels.pt", model)
    right = fit_projection(model, bank, table, row_of, settings.projection_steps)
    (out / "projection.json").write_text(json.dumps({"nearest_is_right": round(right, 4)}))
    model.context.requires_grad_(False)
    decoder = [p for name in DECODER_PARTS for p in getattr(model, name).parameters() if p.requires_grad]
    heads = list(model.seg_projection.parameters())
    groups = [{"params": decoder, "lr": settings.decoder_rate}, {"params": heads, "lr": settings.head_rate}]
    keep, recall = keeping(model)
    seed, device = (settings.seed, 3), model.device
    loop = Loop(out / "joint", groups, Schedule(settings.steps, 30, 0.01), seed, Memory(keep, recall, 50))
    for _, rng in loop:
        batch = draw_batch(planes, weights, settings.planes, settings.masks, rng, settings.absent_share)
        states = torch.stack([bank[n][rng.integers(len(bank[n]))] for n in batch.names])
        with half_precision(device, settings.bf16):
            vectors = model.project_seg(states)
            decoded = decode_prompted(model, batch.see(model), vectors, batch.masks, PromptSettings(), rng)
        target = torch.from_numpy(batch.masks).to(device)
        true_iou = iou(decoded.logits.detach(), target)
        loss = mask_loss(decoded.logits, target).mean() + 0.1 * F.mse_loss(decoded.iou.float(), true_iou)
        loop.learn(loss, dice=mean_dice(true_iou))
