"""Simulated clicks: where a reader would click next, and what each click brings. Knows no words.

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


def place_click(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, bool] | None:
    """Return (x, y, inside) of the next click, or None when the masks are equal.

    `inside` is true where the mask lacks something. The border of the image counts as one of the error.

    Parameters
    ----------
    mask, truth : ndarray
        bool (H, W).
    """
    missing, surplus = (depth_inside(error) for error in (truth & ~mask, mask & ~truth))
    inside = bool(missing.max() >= surplus.max())
    depth = missing if inside else surplus
    if not depth.any():
        return None
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    return int(column), int(row), inside


def click_through(
    segmenter: Predictor, mask: Mask | None, truth: NDArray[np.bool_], clicks: int = CLICKS
) -> tuple[float, ...]:
    """Return Dice after 0, 1, …, `clicks` clicks on the plane last set.

    Parameters
    ----------
    segmenter : Predictor
        Or anything else with its `refine`.
    mask : Mask or None
        What the words gave; None without words, and Dice 0 before the first click.
    truth : ndarray
        bool (H, W).
    clicks : int
    """
    now = np.zeros_like(truth) if mask is None else mask.to_array()
    reached, points, inside = [dice(now, truth)], [], []
    for _ in range(clicks):
        click = place_click(now, truth)
        if click is not None:
            points.append(click[:2])
            inside.append(click[2])
            mask, _ = segmenter.refine(np.array(points, float), np.array(inside), previous=mask)
            now = mask.to_array()
        reached.append(dice(now, truth))
    return tuple(reached)


def count_clicks(dices: tuple[float, ...], goal: float = GOAL) -> int:
    """Return after how many clicks Dice first reaches `goal`; all of them where it never does (NoC)."""
    return next((k for k, value in enumerate(dices) if value >= goal), len(dices) - 1)
