"""Stage 1a: one vector a structure and the mask decoder, on cached embeddings; no language model.

The language model is then taught (stage 1b) to point at these vectors. Checkpoints hold everything, so a
stopped run goes on. Knows no text but structure names.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mediround.model.mediround import MediRound
from napari_mediround.model.sam import decode_masks
from napari_mediround.training.losses import cosine_schedule, iou, mask_loss
from napari_mediround.training.planes import Planes


@dataclass(frozen=True)
class PixelSettings:
    """Settings of stage 1a.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    coarse : int
        Of these, how many at the start on half the grid (32×32): a mask costs a fifth of the time there.
    coarse_planes, planes, masks : int
        Planes a step in either part; masks a plane at most.
    decoder_rate, vector_rate : float
        AdamW learning rates.
    click_share, box_share : float
        Share of the masks that also get clicks, or a box; half of these lose their vector.
    seed : int
        Of sampling and initial vectors.
    """

    steps: int = 3000
    coarse: int = 2400
    coarse_planes: int = 6
    planes: int = 3
    masks: int = 2
    decoder_rate: float = 2e-4
    vector_rate: float = 3e-3
    click_share: float = 0.15
    box_share: float = 0.1
    seed: int = 0


class PixelStage(nn.Module):
    """The table of structure vectors beside a model's prompt encoder (frozen) and mask decoder."""

    def __init__(self, structures: list[str], model: MediRound, seed: int) -> None:
        super().__init__()
        self.structures = structures
        generator = torch.Generator().manual_seed(seed)
        self.vectors = nn.Parameter(0.2 * torch.randn(len(structures), model.channels, generator=generator))
        self.prompt_encoder, self.mask_decoder = model.prompt_encoder, model.mask_decoder

    def forward(
        self, embedding: Tensor, vectors: Tensor, clicks: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return logits (N, 4g, 4g) and SAM's IoU (N,) for embeddings (N, 256, g, g)."""
        sparse, _ = self.prompt_encoder(points=clicks, boxes=None, masks=None)
        sparse = torch.cat([vectors[:, None], sparse], 1)
        dense = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1).expand_as(embedding)
        position = self.prompt_encoder.pe_layer(embedding.shape[-2:])[None]
        logits, quality, _ = decode_masks(self.mask_decoder, embedding, position, sparse, dense)
        return logits[:, 0], quality


def draw_clicks(
    masks: np.ndarray, settings: PixelSettings, rng: np.random.Generator
) -> tuple[np.ndarray, ...]:
    """Return click coordinates (N, 3, 2) x, y and labels (N, 3), and whether each mask keeps its vector.

    Labels follow SAM's prompt encoder: 1 inside, 0 outside, 2 and 3 a box's corners, −1 unused.
    """
    count = len(masks)
    xy, labels = np.zeros((count, 3, 2), np.float32), np.full((count, 3), -1)
    keeps = np.ones(count, bool)
    for i, mask in enumerate(masks):
        chance = rng.random()
        inside = np.argwhere(mask)
        if chance < settings.click_share:
            for k in range(rng.integers(1, 4)):
                pool = inside if k == 0 or rng.random() < 0.5 else np.argwhere(~mask)
                xy[i, k], labels[i, k] = pool[rng.integers(len(pool))][::-1] + 0.5, int(pool is inside)
            keeps[i] = rng.random() < 0.5
        elif chance < settings.click_share + settings.box_share:
            low, high = inside.min(0), inside.max(0) + 1
            jitter = rng.normal(0, 0.05, (2, 2)) * (high - low)
            xy[i, 0], xy[i, 1], labels[i, :2] = (low + jitter[0])[::-1], (high + jitter[1])[::-1], (2, 3)
            keeps[i] = rng.random() < 0.5
    return xy, labels, keeps


def structure_weights(planes: Planes) -> tuple[list[str], dict[str, float]]:
    """Return the structures, sorted, and how often to draw each: rare ones more often than they occur."""
    counts = Counter(name for values in planes.values.values() for name in values)
    return sorted(counts), {name: count**-0.6 for name, count in counts.items()}


@dataclass(frozen=True)
class Batch:
    """Masks of a step: embeddings float32 (N, C, g, g), masks bool (N, 4g, 4g), names, rows of the planes."""

    embedding: np.ndarray
    masks: np.ndarray
    names: list[str]
    rows: list[int]


def draw_batch(
    planes: Planes, weights: dict[str, float], count: int, each: int, rng: np.random.Generator
) -> Batch:
    """Draw `count` planes and of each at most `each` masks, among the structures that have a weight."""
    embeddings, masks, names, rows = [], [], [], []
    by_set = planes.by_set
    while len(set(rows)) < count and len(names) < count * each:
        pool = by_set[list(by_set)[rng.integers(len(by_set))]] if rng.random() < 0.5 else planes.rows
        row = int(pool[rng.integers(len(pool))])
        choices = [name for name in planes.values[row] if name in weights]
        if not choices:
            continue
        chance = np.array([weights[c] for c in choices])
        for index in rng.choice(len(choices), min(each, len(choices)), False, chance / chance.sum()):
            embeddings.append(planes.embedding(row))
            masks.append(planes.mask(row, planes.values[row][choices[index]]))
            names.append(choices[index])
            rows.append(row)
    return Batch(np.stack(embeddings).astype(np.float32), np.stack(masks), names, rows)


def train_pixels(model: MediRound, folder: Path, out: Path, settings: PixelSettings) -> PixelStage:
    """Train stage 1a: the model's mask decoder, in place, and a vector for each structure.

    Logs to ``out/pixels.jsonl``, saves ``out/pixels.pt`` every 100 steps and goes on from there.
    """
    device = model.device
    planes = Planes(folder)
    structures, weights = structure_weights(planes)
    stage = PixelStage(structures, model, settings.seed).to(device)
    groups = [
        {"params": stage.mask_decoder.parameters(), "lr": settings.decoder_rate},
        {"params": [stage.vectors], "lr": settings.vector_rate, "weight_decay": 0.0},
    ]
    optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
    rates, start, checkpoint = [g["lr"] for g in groups], 0, out / "pixels.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint, map_location=device, weights_only=True)
        if saved["structures"] == structures:
            stage.load_state_dict(saved["stage"])
            optimiser.load_state_dict(saved["optimiser"])
            start = saved["step"]
    row_of = {name: i for i, name in enumerate(structures)}
    log, began = [], time.monotonic()
    for step in range(start, settings.steps):
        rng = np.random.default_rng([settings.seed, step])
        for group, rate in zip(optimiser.param_groups, rates, strict=True):
            group["lr"] = rate * cosine_schedule(step, settings.steps, 100)
        if step % 200 == 0:
            planes.refresh()
        coarse = step < settings.coarse
        count = settings.coarse_planes if coarse else settings.planes
        batch = draw_batch(planes, weights, count, settings.masks, rng)
        xy, labels, keeps = draw_clicks(batch.masks, settings, rng)
        source, target = (
            torch.from_numpy(batch.embedding).to(device),
            torch.from_numpy(batch.masks).float().to(device),
        )
        if coarse:
            source, target = F.avg_pool2d(source, 2), F.avg_pool2d(target[:, None], 2)[:, 0]
        vectors = (
            stage.vectors[[row_of[n] for n in batch.names]] * torch.from_numpy(keeps).to(device)[:, None]
        )
        logits, quality = stage(
            source, vectors, (torch.from_numpy(xy).to(device), torch.from_numpy(labels).to(device))
        )
        true_iou = iou(logits.detach(), target > 0.5)
        loss = mask_loss(logits, target).mean() + 0.1 * (quality - true_iou).pow(2).mean()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(stage.parameters(), 1.0)
        optimiser.step()
        log.append((loss.item(), float((2 * true_iou / (1 + true_iou)).mean())))
        if step % 20 == 19:
            mean = np.mean(log, 0)
            line = {
                "step": step + 1,
                "loss": round(float(mean[0]), 4),
                "dice": round(float(mean[1]), 4),
                "seconds": round(time.monotonic() - began, 1),
            }
            with open(out / "pixels.jsonl", "a") as file:
                file.write(json.dumps(line) + "\n")
            log = []
        if step % 100 == 99 or step + 1 == settings.steps:
            torch.save(
                {
                    "stage": stage.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "step": step + 1,
                    "structures": structures,
                },
                checkpoint.with_suffix(".tmp"),
            )
            checkpoint.with_suffix(".tmp").replace(checkpoint)
    return stage
