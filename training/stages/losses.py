"""Losses of stages 1 and 2. Knows no model.

References
----------
MediRound, arXiv 2511.12110: mask loss BCE × 2 + Dice × 0.5; judge BCE against the true IoU.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dice_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Return 1 − soft Dice, (N,), of logits and targets (N, h, w)."""
    probability, target = logits.float().sigmoid().flatten(1), target.float().flatten(1)
    overlap = 2 * (probability * target).sum(1)
    return 1 - (overlap + 1) / (probability.sum(1) + target.sum(1) + 1)


def mask_loss(logits: Tensor, target: Tensor, bce: float = 2.0, dice: float = 0.5) -> Tensor:
    """Return the paper's mask loss, (N,): pixel-mean BCE × 2 + Dice × 0.5."""
    pixel = F.binary_cross_entropy_with_logits(logits.float(), target.float(), reduction="none")
    return bce * pixel.flatten(1).mean(1) + dice * dice_loss(logits, target)


def iou(logits: Tensor, target: Tensor) -> Tensor:
    """Return the IoU, (N,), of thresholded logits with boolean targets (N, h, w)."""
    mask, target = logits > 0, target > 0
    union = (mask | target).flatten(1).sum(1)
    return (mask & target).flatten(1).sum(1) / union.clamp_min(1)


def vector_loss(vectors: Tensor, table: Tensor, targets: Tensor, temperature: float = 0.07) -> Tensor:
    """Return the distance of SEG vectors from the vectors of their structures, (N,).

    Parameters
    ----------
    vectors : Tensor
        (N, C) SEG vectors from the language model.
    table : Tensor
        (S, C) vectors, one for each structure.
    targets : Tensor
        (N,), rows of `table`.

    Notes
    -----
    Squared distance, relative to the spread of the table, plus cross entropy over cosine similarities. The
    distance gives the direction; the entropy says which confusions matter.
    """
    distance = (vectors - table[targets]).pow(2).mean(1) / table.var().clamp_min(1e-6)
    similarity = F.normalize(vectors, dim=1) @ F.normalize(table, dim=1).T
    return distance + 0.2 * F.cross_entropy(similarity / temperature, targets, reduction="none")


def cosine_schedule(step: int, steps: int, warmup: int) -> float:
    """Return the factor of the learning rate at `step`: linear warm-up, then half a cosine to 0."""
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(1, steps - warmup)
    return 0.5 * (1 + float(torch.cos(torch.tensor(min(done, 1.0) * torch.pi))))
