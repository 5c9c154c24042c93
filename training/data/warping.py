"""Encoded planes bent, turned and scaled as they are drawn, labels alike. Knows no model.

A plane is encoded once and seen many times: without this, what trains on it learns the planes by heart
(trained planes were found at a Dice of 0.9, newly bent ones of the same images at half of that). An encoder
of windows and convolutions answers a slightly turned image with nearly its turned embedding; what "nearly"
leaves out is noise that does no harm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class View:
    """A plane as a training step sees it.

    Parameters
    ----------
    embedding : ndarray
        float32 (C, g, g).
    pixels : ndarray
        float32 (3, S, S), 0…1: what it was encoded from.
    labels : ndarray
        integer or bool (…, S, S).
    """

    embedding: NDArray[np.float32]
    pixels: NDArray[np.float32]
    labels: NDArray

    def mask(self, values: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the union of label values, bool (S, S)."""
        return np.isin(self.labels, values)


def stack_views(views: Sequence[View]) -> tuple[Tensor, Tensor]:
    """Return the views' embeddings (P, C, g, g) and pixels (P, 3, S, S)."""
    return tuple(torch.from_numpy(np.stack([getattr(v, n) for v in views])) for n in ("embedding", "pixels"))


def warp(view: View, rng: np.random.Generator, share: float = 0.7) -> View:
    """Return a view bent, turned, scaled, shifted and of another contrast, in `share` of the draws."""
    if rng.random() >= share:
        return view
    side, grid = view.labels.shape[-1], view.embedding.shape[-1]
    at = _draw_grid(side, rng)
    coarse = F.avg_pool2d(at.movedim(-1, 1), side // grid).movedim(1, -1)
    kept = rng.random(len(view.embedding)) >= 0.1 * rng.integers(2)
    embedding = torch.from_numpy(view.embedding * kept[:, None, None].astype(np.float32))
    pixels = torch.from_numpy(view.pixels) ** float(np.exp(rng.normal(0, 0.25)))
    labels = torch.from_numpy(view.labels.astype(np.float32)).reshape(-1, side, side)
    return View(
        _sample(embedding, coarse, "bilinear", "border").numpy(),
        (_sample(pixels, at, "bilinear", "zeros") * float(rng.uniform(0.8, 1.2))).clamp(0, 1).numpy(),
        _sample(labels, at, "nearest", "zeros").numpy().reshape(view.labels.shape).astype(view.labels.dtype),
    )


def _draw_grid(side: int, rng: np.random.Generator) -> Tensor:
    """Return where each pixel is taken from, (1, side, side, 2), x and y in -1…1."""
    angle, scale = np.deg2rad(rng.normal(0, 7)), np.exp(rng.normal(0, 0.12) + rng.normal(0, 0.05, 2))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(scale)
    affine = np.concatenate([turn, rng.normal(0, 0.08, (2, 1))], 1)
    at = F.affine_grid(torch.from_numpy(affine)[None].float(), [1, 1, side, side], align_corners=False)
    bent = torch.from_numpy(rng.normal(0, 0.03 * rng.random(), (1, 2, 5, 5))).float()
    return at + F.interpolate(bent, (side, side), mode="bicubic", align_corners=True).movedim(1, -1)


def _sample(image: Tensor, at: Tensor, mode: str, beyond: str) -> Tensor:
    return F.grid_sample(image[None], at, mode, beyond, align_corners=False)[0]
