"""Stage 1a: one vector for each structure and the mask decoder, on cached embeddings; no language model.

Stage 1b then teaches the language model to point at these vectors. Checkpoints hold everything, so a stopped
run goes on. The only text it knows are names of structures.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from napari_mediround.model.features import DecoderFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.data.warping import View, stack_views
from napari_mediround.training.stages.loop import Loop, Memory, Schedule, half_precision, mean_dice
from napari_mediround.training.stages.losses import iou, mask_loss
from napari_mediround.training.stages.prompts import PromptSettings, decode_prompted

LEAST_PX = 20
"""Masks that have fewer pixels than this after augmentation are not drawn."""
DECODER_PARTS = ("context", "glance", "maps", "prompt_encoder", "mask_decoder")
"""Parts of the model that the dense stage and stage 1a train. From 1a on the context is frozen."""


@dataclass(frozen=True)
class PixelSettings:
    """Settings of stage 1a.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    coarse : int
        Number of first steps that run on half the grid of the embedding (32×32), where a mask costs a fifth
        of the time. The true mask stays on the grid of the pixels.
    coarse_planes, planes, masks : int
        Planes a step on half and on the full grid; largest number of masks a plane.
    absent_share : float
        Share of the steps that also ask for structures that the planes lack.
    decoder_rate, maps_rate, vector_rate : float
        AdamW learning rates.
    seed : int
        Seed of sampling and of the initial vectors.
    bf16 : bool
        Multiply in bfloat16: about twice as fast on processors that have it (AMX, GPUs), slower elsewhere.
    """

    steps: int = 3000
    coarse: int = 2400
    coarse_planes: int = 6
    planes: int = 3
    masks: int = 2
    absent_share: float = 0.3
    decoder_rate: float = 2e-4
    maps_rate: float = 1e-3
    vector_rate: float = 3e-3
    seed: int = 0
    bf16: bool = False


class PixelStage(nn.Module):
    """A table of structure vectors, and parts of a model. The vectors begin as the model's prototypes."""

    def __init__(
        self, structures: list[str], model: MediRound, seed: int, parts: tuple[str, ...] = DECODER_PARTS
    ) -> None:
        super().__init__()
        self.structures = structures
        generator = torch.Generator().manual_seed(seed)
        vectors = 0.2 * torch.randn(len(structures), model.channels, generator=generator)
        if model.landmarks is not None:
            known = dict(zip(model.landmarks.names, model.landmarks.vectors.cpu(), strict=True))
            vectors = torch.stack([known.get(n, v) for n, v in zip(structures, vectors, strict=True)])
        self.vectors = nn.Parameter(vectors)
        for name in parts:
            setattr(self, name, getattr(model, name))

    def groups(self, rate: float, **rates: float) -> list[dict]:
        """Return the parameter groups: each part in `rates` at its rate; vectors without weight decay."""
        groups = {name: {"params": [], "lr": own} for name, own in {"": rate, **rates}.items()}
        groups["vectors"]["weight_decay"] = 0.0
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                part = name.partition(".")[0]
                groups[part if part in rates else ""]["params"].append(parameter)
        return list(groups.values())

    def keep(self) -> dict:
        """Return the content of a checkpoint of this stage."""
        return {"stage": self.state_dict(), "structures": self.structures}

    def recall(self, saved: dict) -> bool:
        """Load a checkpoint; return False if it holds other structures."""
        if saved["structures"] == self.structures:
            self.load_state_dict(saved["stage"])
        return saved["structures"] == self.structures


def structure_weights(planes: Planes) -> tuple[list[str], dict[str, float]]:
    """Return the structures, sorted, and how often to draw each. Rare ones are drawn more often."""
    counts = Counter(name for values in planes.values.values() for name in values)
    return sorted(counts), {name: count**-0.6 for name, count in counts.items()}


@dataclass(frozen=True)
class Batch:
    """The masks of one step.

    Parameters
    ----------
    views : list of View
        The P planes.
    of : list of int
        Index of the view of each mask.
    masks : ndarray
        bool (N, 4g, 4g).
    names : list of str
        Their structures.
    rows : list of int
        Row of each mask's plane in the prepared planes.
    """

    views: list[View]
    of: list[int]
    masks: np.ndarray
    names: list[str]
    rows: list[int]

    @torch.no_grad()
    def see(self, model: MediRound, coarse: bool = False) -> DecoderFeatures:
        """Return the decoder features of the plane of each mask, on the full or on half the grid."""
        embeddings, pixels = (x.to(model.device) for x in stack_views(self.views))
        return model.look(F.avg_pool2d(embeddings, 2) if coarse else embeddings, pixels).take(self.of)


def draw_batch(
    planes: Planes,
    weights: dict[str, float],
    count: int,
    each: int,
    rng: np.random.Generator,
    absent_share: float = 0.0,
) -> Batch:
    """Draw `count` planes and at most `each` masks of each, of structures that have a weight.

    With probability `absent_share`, each plane also gives an empty mask of an absent structure.
    """
    lacking = rng.random() < absent_share
    views, of, masks, names, rows = [], [], [], [], []
    while len(set(rows)) < count and len(names) < count * (each + lacking):
        row = planes.draw(rng)
        view = planes.view(row, rng)
        shown = {n: view.mask(values) for n, values in planes.values[row].items() if n in weights}
        choices = [name for name, mask in shown.items() if mask.sum() >= LEAST_PX]
        if not choices:
            continue
        views.append(view)
        chance = np.array([weights[c] for c in choices])
        for index in rng.choice(len(choices), min(each, len(choices)), False, chance / chance.sum()):
            of.append(len(views) - 1)
            masks.append(shown[choices[index]])
            names.append(choices[index])
            rows.append(row)
        lacked = [found for found in planes.absent(row, weights) if found] if lacking else []
        if lacked:
            choices = lacked[rng.integers(len(lacked))]
            of.append(len(views) - 1)
            masks.append(view.mask(()))
            names.append(choices[rng.integers(len(choices))])
            rows.append(row)
    return Batch(views, of, np.stack(masks), names, rows)


def train_pixels(model: MediRound, folder: Path, out: Path, settings: PixelSettings) -> PixelStage:
    """Train the mask decoder of the model, in place, and a vector for each structure.

    Logs to ``out/pixels.jsonl``, saves ``out/pixels.pt`` every 100 steps and goes on from there.
    """
    device = model.device
    planes = Planes(folder)
    structures, weights = structure_weights(planes)
    stage = PixelStage(structures, model, settings.seed).to(device)
    model.context.requires_grad_(False)
    groups = stage.groups(settings.decoder_rate, maps=settings.maps_rate, vectors=settings.vector_rate)
    if (out / "dense.pt").exists():  # goes on from there: vectors, context and first look
        begun = torch.load(out / "dense.pt", map_location=device, weights_only=True)["stage"]
        stage.load_state_dict(begun, strict=False)
    seed = (settings.seed,)
    loop = Loop(
        out / "pixels", groups, Schedule(settings.steps, 100, 0.01), seed, Memory(stage.keep, stage.recall)
    )
    row_of = {name: i for i, name in enumerate(structures)}
    for step, rng in loop:
        if step % 200 == 0:
            planes.refresh()
        coarse = step < settings.coarse
        count = settings.coarse_planes if coarse else settings.planes
        batch = draw_batch(planes, weights, count, settings.masks, rng, settings.absent_share)
        vectors = stage.vectors[[row_of[n] for n in batch.names]]
        with half_precision(device, settings.bf16):
            seen = batch.see(model, coarse)
            decoded = decode_prompted(model, seen, vectors, batch.masks, PromptSettings(), rng)
        target = torch.from_numpy(batch.masks).to(device)
        true_iou = iou(decoded.logits.detach(), target)
        loss = mask_loss(decoded.logits, target).mean() + 0.1 * F.mse_loss(decoded.iou.float(), true_iou)
        loop.learn(loss, dice=mean_dice(true_iou))
    return stage
