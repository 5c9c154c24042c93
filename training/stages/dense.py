"""The dense stage, before stage 1a: context, coarse masks and structure vectors, all structures at once.

A plane passes the context once and gives the loss of all its structures, and of some that it lacks. The mask
decoder does not run, so a plane costs a fiftieth of what its masks would cost there. The only text it knows
are names of structures.
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
from napari_mediround.training.stages.loop import Loop, Memory, Schedule, half_precision, mean_dice
from napari_mediround.training.stages.losses import iou
from napari_mediround.training.stages.pixels import PixelStage, structure_weights

ABSENT_WEIGHT = 0.5
"""Weight of the mean loss of absent structures; the mean loss of visible ones has weight 1."""


@dataclass(frozen=True)
class DenseSettings:
    """Settings of the dense stage.

    Parameters
    ----------
    steps, planes : int
        Optimiser steps; planes a step.
    absent : int
        Largest number of absent structures for each plane.
    rate, vector_rate : float
        AdamW learning rates.
    seed : int
        Seed of every draw.
    bf16 : bool
        Multiply in bfloat16: about twice as fast on processors that have it (AMX, GPUs), slower elsewhere.
    """

    steps: int = 1600
    planes: int = 8
    absent: int = 6
    rate: float = 1.5e-3
    vector_rate: float = 1e-2
    seed: int = 0
    bf16: bool = False


def cell_shares(labels: np.ndarray, values: list[tuple[int, ...]], grid: int) -> np.ndarray:
    """Return the share of each grid cell that each union of label values covers, float32 (N, grid, grid)."""
    side, most = labels.shape[0] // grid, int(labels.max()) + 1
    cell = np.arange(labels.shape[0]) // side
    index = (cell[:, None] * grid + cell) * most + labels
    counts = np.bincount(index.ravel(), minlength=grid * grid * most).reshape(grid, grid, most)
    return np.stack([counts[..., [v for v in union if v < most]].sum(-1) for union in values]) / np.float32(
        side * side
    )


def share_loss(logits: Tensor, shares: Tensor) -> Tensor:
    """Return cross entropy × 2 + soft Dice loss, (N,), of logits and shares (N, h, w).

    Foreground is weighted by the root of its rarity. Most structures cover few cells, and without the weight
    training stays at empty answers.
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
    """Return structures of a plane and some absent ones, with their shares (N, grid, grid) in a view."""
    shown = [name for name in planes.values[row] if name in known]
    lacked = []
    for names in planes.absent(row, known):
        lacked += list(rng.permutation(names)[: absent // 2])
    unions = [planes.values[row][name] for name in shown] + [()] * len(lacked)
    return shown + lacked, cell_shares(view.labels, unions, grid)


def train_dense(model: MediRound, folder: Path, out: Path, settings: DenseSettings) -> PixelStage:
    """Train context and coarse masks of the model, in place, and a vector for each structure.

    Logs to ``out/dense.jsonl``, saves ``out/dense.pt`` every 100 steps, and goes on from that file.
    """
    device, planes = model.device, Planes(folder)
    structures = structure_weights(planes)[0]
    stage = PixelStage(structures, model, settings.seed, ("context", "glance")).to(device)
    groups = stage.groups(settings.rate, vectors=settings.vector_rate)
    seed = (settings.seed, 5)
    loop = Loop(
        out / "dense", groups, Schedule(settings.steps, 100, 0.05), seed, Memory(stage.keep, stage.recall)
    )
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
