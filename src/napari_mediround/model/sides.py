"""A left and a right structure do not share pixels. Knows no model: it asks whoever answers clicks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Target
from napari_mediround.model.depth import depth_inside

MOST_SHARED = 0.5
"""Share of a mask on the mask of its other side from which on one of them must be wrong."""


def leave_other_side(target: Target, other: Target, refine: Callable[..., tuple[Mask, float]]) -> Target:
    """Return a target that does not lie on the mask of its mirror structure, where that one is surer.

    Parameters
    ----------
    target, other : Target
        Of the two sides, on one plane.
    refine : callable
        As `Predictor.refine`; asked once, with a click outside where the two meet.
    """
    mask, taken = target.mask.to_array(), other.mask.to_array()
    shared = mask & taken
    surer = other.verdict in ("accepted", "corrected") or other.quality >= target.quality
    if not surer or shared.sum() <= MOST_SHARED * mask.sum():
        return target
    depth = depth_inside(shared)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    moved, quality = refine(np.array([[column + 0.5, row + 0.5]]), np.array([False]), previous=target.mask)
    left = moved.to_array() & ~taken
    return replace(target, mask=Mask.from_array(left), quality=quality, corrected=True)
