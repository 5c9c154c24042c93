"""Stage 1a: one vector a structure and the mask decoder, on cached embeddings; no language model.

The language model is then taught (stage 1b) to point at these vectors. Checkpoints hold everything, so a
stopped run goes on. Knows no text but structure names.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from napari_mediround.model.features import Seen
from napari_mediround.model.mediround import MediRound
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.data.warping import View, stack_views
from napari_mediround.training.stages.loop import Loop, half_precision, mean_dice
from napari_mediround.training.stages.losses import iou, mask_loss
from napari_mediround.training.stages.prompts import PromptSettings, decode_prompted

LEAST_PX = 20
"""A mask that bending leaves smaller than this is not asked for."""
DECODER_PARTS = ("context", "glance", "maps", "prompt_encoder", "mask_decoder")
"""Parts of the model that the dense stage and stage 1a train; from 1a on the context stays as it is."""


@dataclass(frozen=True)
class PixelSettings:
    """Settings of stage 1a.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    coarse : int
        Of these, how many at the start with the embedding on half the grid (32×32): a mask costs a fifth of
        the time there. What the mask should be stays on the grid of the pixels.
    coarse_planes, planes, masks : int
        Planes a step in either part; masks a plane at most.
    absent_share : float
        Share of the steps that also ask for structures that the planes lack.
    decoder_rate, maps_rate, vector_rate : float
        AdamW learning rates.
    seed : int
        Of sampling and initial vectors.
    bf16 : bool
        Products in bfloat16: about twice as fast where the processor has them (AMX, GPUs), slower elsewhere.
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
    """The table of structure vectors beside parts of a model; the vectors begin as the model's landmarks."""

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
        """Return parameter groups of what learns: parts in `rates` at their own; vectors do not decay."""
        groups = {name: {"params": [], "lr": own} for name, own in {"": rate, **rates}.items()}
        groups["vectors"]["weight_decay"] = 0.0
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                part = name.partition(".")[0]
                groups[part if part in rates else ""]["params"].append(parameter)
        return list(groups.values())

    def keep(self) -> dict:
        """Return what a checkpoint holds of the stage."""
        return {"stage": self.state_dict(), "structures": self.structures}

    def recall(self, saved: dict) -> bool:
        """Take a checkpoint; return False where it is of other structures."""
        if saved["structures"] == self.structures:
            self.load_state_dict(saved["stage"])
        return saved["structures"] == self.structures


def structure_weights(planes: Planes) -> tuple[list[str], dict[str, float]]:
    """Return the structures, sorted, and how often to draw each: rare ones more often than they occur."""
    counts = Counter(name for values in planes.values.values() for name in values)
    return sorted(counts), {name: count**-0.6 for name, count in counts.items()}


@dataclass(frozen=True)
class Batch:
    """Masks of a step.

    Parameters
    ----------
    views : list of View
        The planes, P of them.
    of : list of int
        The view of each mask.
    masks : ndarray
        bool (N, 4g, 4g).
    names : list of str
        Their structures.
    rows : list of int
        The row of each mask's plane in the preparation.
    """

    views: list[View]
    of: list[int]
    masks: np.ndarray
    names: list[str]
    rows: list[int]

    @torch.no_grad()
    def see(self, model: MediRound, coarse: bool = False) -> Seen:
        """Return the plane of each mask as the model's decoder sees it, also on half the grid."""
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
    """Draw `count` planes and of each at most `each` masks, among the structures that have a weight.

    With a chance of `absent_share` each plane also gives an empty mask, of a structure that it lacks.
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
    """Train stage 1a: the model's mask decoder, in place, and a vector for each structure.

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
    loop = Loop(out / "pixels", groups, settings.steps, 100, seed, stage.keep, stage.recall, 0.01)
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
