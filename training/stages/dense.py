"""Before stage 1a: context, detail, first look and structure vectors, on every structure of a plane at once.

A plane passes the context once and answers for all its structures, and for those that it could show and does
not; the mask decoder is not in the loop, so a plane costs what a fiftieth of its masks would cost there.
Knows no text but structure names.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mediround.model.mediround import MediRound
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.data.warping import View, stack_views
from napari_mediround.training.stages.loop import Loop, half_precision, mean_dice
from napari_mediround.training.stages.losses import iou
from napari_mediround.training.stages.pixels import PixelStage, structure_weights

ABSENT_WEIGHT = 0.5
"""Of the mean loss of absent structures beside the mean loss of those shown."""


@dataclass(frozen=True)
class DenseSettings:
    """Settings of the dense stage.

    Parameters
    ----------
    steps, planes : int
        Optimiser steps; planes a step.
    absent : int
        Structures a plane that it does not show, at most.
    rate, vector_rate : float
        AdamW learning rates.
    seed : int
        Of every draw.
    bf16 : bool
        Products in bfloat16: about twice as fast where the processor has them (AMX, GPUs), slower elsewhere.
    """

    steps: int = 1600
    planes: int = 8
    absent: int = 6
    rate: float = 1.5e-3
    vector_rate: float = 1e-2
    seed: int = 0
    bf16: bool = False


def cell_shares(labels: np.ndarray, values: list[tuple[int, ...]], grid: int) -> np.ndarray:
    """Return which share of each cell belongs to each union of label values: float32 (N, grid, grid)."""
    side, most = labels.shape[0] // grid, int(labels.max()) + 1
    cell = np.arange(labels.shape[0]) // side
    index = (cell[:, None] * grid + cell) * most + labels
    counts = np.bincount(index.ravel(), minlength=grid * grid * most).reshape(grid, grid, most)
    return np.stack([counts[..., [v for v in union if v < most]].sum(-1) for union in values]) / np.float32(
        side * side
    )


def share_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Return cross entropy × 2 + soft Dice loss, (N,), of logits and shares (N, h, w).

    Foreground weighs more by the root of its rarity: most structures are few cells, and an empty answer to
    all of them is a plateau that nothing leaves.
    """
    probability, share = logits.sigmoid().flatten(1), shares.flatten(1)
    rarity = (share.mean(1).clamp_min(1e-3) ** -0.5).where(share.sum(1) > 0, share.new_ones(1))
    weight = 1 + share * (rarity[:, None] - 1)
    pixel = F.binary_cross_entropy_with_logits(logits.flatten(1), share, weight, reduction="none")
    dice = 1 - (2 * (probability * share).sum(1) + 1) / (probability.sum(1) + share.sum(1) + 1)
    return 2 * pixel.mean(1) + dice


def plane_targets(
    planes: Planes,
    row: int,
    view: View,
    known: Container[str],
    absent: int,
    grid: int,
    rng: np.random.Generator,
) -> tuple[list[str], np.ndarray]:
    """Return a plane's structures and some that it lacks, with their shares (N, grid, grid) of a view."""
    shown = [name for name in planes.values[row] if name in known]
    lacked = []
    for names in planes.absent(row, known):
        lacked += list(rng.permutation(names)[: absent // 2])
    unions = [planes.values[row][name] for name in shown] + [()] * len(lacked)
    return shown + lacked, cell_shares(view.labels, unions, grid)


def train_dense(model: MediRound, folder: Path, out: Path, settings: DenseSettings) -> PixelStage:
    """Train the dense stage: the model's context and first look, in place, and a vector for each structure.

    Logs to ``out/dense.jsonl``, saves ``out/dense.pt`` every 100 steps and goes on from there.
    """
    device, planes = model.device, Planes(folder)
    structures = structure_weights(planes)[0]
    stage = PixelStage(structures, model, settings.seed, ("context", "glance")).to(device)
    groups = stage.groups(settings.rate, vectors=settings.vector_rate)
    seed = (settings.seed, 5)
    loop = Loop(out / "dense", groups, settings.steps, 100, seed, stage.keep, stage.recall, 0.05)
    row_of = {name: i for i, name in enumerate(structures)}
    for _, rng in loop:
        rows = [planes.draw(rng) for _ in range(settings.planes)]
        views = [planes.view(row, rng) for row in rows]
        source, pixels = stack_views(views)
        with half_precision(device, settings.bf16):
            seen = model.look(source.to(device), pixels.to(device))
        losses, overlaps = [], []
        for plane, row, view in zip(seen.split(), rows, views, strict=True):
            grid = plane.detail.shape[-1]
            names, shares = plane_targets(planes, row, view, row_of.keys(), settings.absent, grid, rng)
            target = torch.from_numpy(shares).to(device)
            vectors = stage.vectors[[row_of[n] for n in names]]
            with half_precision(device, settings.bf16):
                logits = model.glance(plane, vectors)[:, 0]
            logits = logits.float()
            each, shown = share_loss(logits, target), target.flatten(1).any(1)
            losses.append(
                sum(w * each[x].mean() for w, x in ((1, shown), (ABSENT_WEIGHT, ~shown)) if x.any())
            )
            overlaps.append(iou(logits.detach()[shown], target[shown] >= 0.5))
        loop.learn(torch.stack(losses).mean(), dice=mean_dice(torch.cat(overlaps)))
    return stage
