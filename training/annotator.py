"""The simulated annotator: where a person would click next. Knows no words.

References
----------
Sofiiuk et al., RITM, 2021, and Kirillov et al., Segment Anything, 2023: each click goes into the middle of
the largest error, the point farthest from the error's border.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mediround.inference.components import depth_inside
from napari_mediround.training.evaluation.metrics import dice

if TYPE_CHECKING:
    from napari_mediround.domain.mask import Mask
    from napari_mediround.inference.predictor import Predictor

CLICKS = 5
"""Most clicks."""

GOAL = 0.85
"""Dice that ends the counting of clicks."""


def place_click(
    mask: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator | None = None
) -> tuple[tuple[float, float], bool] | None:
    """Return the next click: ((x, y), inside), or None when the masks are equal.

    x and y are pixels; the centre of the first pixel is (0.5, 0.5), as in the dock. `inside` is true where
    the mask lacks something. The border of the image counts as a border of the error.

    Parameters
    ----------
    mask, truth : ndarray
        bool (H, W).
    rng : Generator, optional
        Draws among the inner pixels of the widest error; None takes the innermost one.
    """
    missing, surplus = (depth_inside(error) for error in (truth & ~mask, mask & ~truth))
    inside = bool(missing.max() >= surplus.max())
    depth = missing if inside else surplus
    return (inner_point(depth, rng), inside) if depth.any() else None


def inner_point(depth: NDArray[np.floating], rng: np.random.Generator | None = None) -> tuple[float, float]:
    """Return the centre (x, y) of the deepest pixel of a depth map (H, W); `rng` draws one half as deep."""
    inner = np.argwhere(depth >= (depth.max() if rng is None else max(0.5 * depth.max(), 1e-6)))
    row, column = inner[0 if rng is None else rng.integers(len(inner))]
    return float(column) + 0.5, float(row) + 0.5


def dices_by_clicks(
    segmenter: Predictor,
    mask: Mask | None,
    truth: NDArray[np.bool_],
    clicks: int = CLICKS,
    goal: float = np.inf,
) -> tuple[float, ...]:
    """Return Dice after 0, 1, …, `clicks` clicks on the plane last set, up to the first that reaches `goal`.

    Parameters
    ----------
    segmenter : Predictor
        Or anything else with its `refine`.
    mask : Mask or None
        What the words gave; None without words, and Dice 0 before the first click.
    truth : ndarray
        bool (H, W).
    clicks : int
        Most clicks.
    goal : float
        Dice that is good enough.
    """
    now = np.zeros_like(truth) if mask is None else mask.to_array()
    reached, points, inside = [dice(now, truth)], [], []
    while len(reached) <= clicks and reached[-1] < goal:
        click = place_click(now, truth)
        if click is not None:
            points.append(click[0])
            inside.append(click[1])
            mask, _ = segmenter.refine(np.array(points, float), np.array(inside), previous=mask)
            now = mask.to_array()
        reached.append(dice(now, truth))
    return tuple(reached)


def count_clicks(dices: tuple[float, ...], goal: float = GOAL) -> int:
    """Return the number of clicks until Dice first reaches `goal` (NoC); all clicks if it never does."""
    return next((k for k, value in enumerate(dices) if value >= goal), len(dices) - 1)
