"""Stage 2: judge and corrector, all else frozen; on subjects that stage 1 did not see, where there are any.

The judge learns from masks of right, disturbed and wrong SEG vectors; the corrector learns to undo the
disturbance through the frozen decoder. Knows no text.

References
----------
MediRound, arXiv 2511.12110, stage 2. Where we differ: held-out subjects, wrong structures and absent ones
among the examples, a judge that sees pixels, a corrector that adds to the vector.
"""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mediround.model.mediround import MediRound
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.data.warping import stack_views
from napari_mediround.training.stages.loop import Descent, Schedule
from napari_mediround.training.stages.losses import iou, mask_loss
from napari_mediround.training.stages.pixels import draw_batch, structure_weights
from napari_mediround.training.stages.prompts import click_through, disturb

BATCH = 64
"""Examples in a step of the judge."""


@dataclass(frozen=True)
class JudgingSettings:
    """Settings of stage 2.

    Parameters
    ----------
    examples : int
        Masks decoded for the judge.
    epochs : int
        Passes over the examples.
    corrector_steps : int
        Optimiser steps of the corrector, on half the grid.
    disturbance : float
        Largest relative noise on a SEG vector.
    wrong_share : float
        Share of examples with the vector of another structure, visible or not.
    rate : float
        AdamW learning rate of both.
    seed : int
        Seed of every draw.
    """

    examples: int = 1500
    epochs: int = 40
    corrector_steps: int = 200
    disturbance: float = 1.0
    wrong_share: float = 0.25
    rate: float = 5e-4
    seed: int = 0


def draw_vectors(
    model: MediRound,
    bank: dict[str, Tensor],
    names: list[str],
    settings: JudgingSettings,
    rng: np.random.Generator,
) -> tuple[Tensor, list[str]]:
    """Return SEG vectors (N, C), some disturbed or of another structure, and the structure of each."""
    wrong = rng.random(len(names)) < settings.wrong_share
    others = list(bank)
    spoken = [others[rng.integers(len(others))] if w else n for w, n in zip(wrong, names, strict=True)]
    states = torch.stack([bank[n][rng.integers(len(bank[n]))] for n in spoken])
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    strength = rng.uniform(0, settings.disturbance, len(names)) * (rng.random(len(names)) < 0.4)
    return disturb(model.project_seg(states), torch.tensor(strength).float(), generator), spoken


@torch.no_grad()
def collect_examples(model: MediRound, planes: Planes, bank: dict[str, Tensor], settings: JudgingSettings):
    """Return judge inputs (M, F) and true IoU (M,) of decoded masks.

    A mask from the vector of another structure is compared with that structure's mask, if the plane shows
    the structure. If not, its IoU is 0.
    """
    weights = weights_in(planes, bank)
    inputs: list[Tensor] = []
    truths: list[Tensor] = []
    hook = model.judge.mlp.register_forward_pre_hook(lambda module, arguments: inputs.append(arguments[0]))
    try:
        for step in itertools.count():
            rng = np.random.default_rng([settings.seed, 4, step])
            batch = draw_batch(planes, weights, 3, 3, rng)
            vectors, spoken = draw_vectors(model, bank, batch.names, settings, rng)
            embedding = stack_views(batch.views)[0].to(model.device)[batch.of]
            seen = batch.see(model)
            decoded = model.decode(seen, vectors)
            shown = [
                batch.views[k].mask(planes.values[r].get(n, ()))
                for k, r, n in zip(batch.of, batch.rows, spoken, strict=True)
            ]
            truths.append(iou(decoded.logits, torch.from_numpy(np.stack(shown)).to(model.device)))
            model.judge_masks(vectors, embedding, decoded)
            if step % 3 == 2:  # a mask that clicks gave is judged too
                decoded = click_through(
                    model, seen, vectors, np.stack(shown), decoded.logits[:, None], 3, rng
                )
                truths.append(iou(decoded.logits, torch.from_numpy(np.stack(shown)).to(model.device)))
                model.judge_masks(vectors, embedding, decoded)
            if sum(map(len, truths)) >= settings.examples:
                return torch.cat(inputs), torch.cat(truths)
    finally:
        hook.remove()


def weights_in(planes: Planes, bank: dict[str, Tensor]) -> dict[str, float]:
    """Return how often to draw each structure that has a vector in the bank."""
    return {name: weight for name, weight in structure_weights(planes)[1].items() if name in bank}


def fit_judge(
    model: MediRound, inputs: Tensor, truths: Tensor, settings: JudgingSettings
) -> dict[str, float]:
    """Fit the judge's MLP by BCE against the true IoU; return its errors on one example in five."""
    generator = torch.Generator().manual_seed(settings.seed)
    order = torch.randperm(len(inputs), generator=generator)
    held, used = order[: len(order) // 5], order[len(order) // 5 :]
    mlp = model.judge.mlp.train()
    batches = -(-len(used) // BATCH)
    group = {"params": list(mlp.parameters()), "lr": settings.rate}
    descent = Descent([group], Schedule(settings.epochs * batches, 2 * batches, 0.05))
    best, best_state = float("inf"), None
    for _ in range(settings.epochs):
        for rows in used[torch.randperm(len(used), generator=generator)].split(BATCH):
            noise = torch.randn(inputs[rows].shape, generator=generator).to(inputs.device)
            noisy = inputs[rows] * (1 + 0.1 * noise)
            descent.learn(F.binary_cross_entropy_with_logits(mlp(noisy)[:, 0], truths[rows]))
        with torch.no_grad():
            error = F.binary_cross_entropy_with_logits(mlp(inputs[held])[:, 0], truths[held]).item()
        if error < best:
            best, best_state = error, {k: v.clone() for k, v in mlp.state_dict().items()}
    mlp.load_state_dict(best_state)
    mlp.eval()
    with torch.no_grad():
        judged = mlp(inputs[held])[:, 0].sigmoid()
    return {
        "judge_bce": round(best, 4),
        "judge_mae": round((judged - truths[held]).abs().mean().item(), 4),
        "judge_correlation": round(torch.corrcoef(torch.stack([judged, truths[held]]))[0, 1].item(), 4),
    }


def fit_corrector(
    model: MediRound, planes: Planes, bank: dict[str, Tensor], settings: JudgingSettings
) -> dict[str, float]:
    """Fit the corrector on disturbed vectors through the frozen decoder; return IoU before and after."""
    weights = weights_in(planes, bank)
    group = {"params": list(model.corrector.parameters()), "lr": settings.rate}
    descent = Descent([group], Schedule(settings.corrector_steps, 20, 0.01))
    model.mask_decoder.requires_grad_(False)
    tail = []
    for step in range(settings.corrector_steps):
        rng = np.random.default_rng([settings.seed, 5, step])
        batch = draw_batch(planes, weights, 4, 2, rng)
        names = batch.names
        target = F.avg_pool2d(torch.from_numpy(batch.masks).float()[:, None].to(model.device), 2)[:, 0]
        states = torch.stack([bank[n][rng.integers(len(bank[n]))] for n in names])
        generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
        strength = torch.tensor(rng.uniform(0, settings.disturbance, len(names))).float()
        with torch.no_grad():
            vectors = disturb(model.project_seg(states), strength, generator)
            seen = batch.see(model, coarse=True)
            before = iou(model.decode(seen, vectors).logits, target > 0.5).mean().item()
        logits = model.decode(seen, model.corrector(vectors)).logits
        descent.learn(mask_loss(logits, target).mean())
        tail.append((before, iou(logits.detach(), target > 0.5).mean().item()))
    model.mask_decoder.requires_grad_(True)
    before, after = np.mean(tail[-50:], 0)
    return {"corrector_iou_before": round(float(before), 4), "corrector_iou_after": round(float(after), 4)}


def train_judging(model: MediRound, folder: Path, out: Path, settings: JudgingSettings) -> dict[str, float]:
    """Train stage 2; return its metrics, which also go to ``out/judging.json``."""
    bank = torch.load(out / "bank.pt", map_location=model.device, weights_only=True)
    # The corrector may learn from the subjects of stage 1: what it undoes is the disturbance, not the image.
    report = fit_corrector(model, Planes(folder), bank, settings) if settings.corrector_steps else {}
    inputs, truths = collect_examples(model, Planes(folder, judging=True), bank, settings)
    report |= fit_judge(model, inputs, truths, settings)
    (out / "judging.json").write_text(json.dumps(report))
    return report
