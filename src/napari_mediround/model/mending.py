"""A mask from clicks, a box or an earlier mask, in pixels of the plane. Knows no cache and no device."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.model.mediround import Decoded, ImageFeatures, MediRound
from napari_mediround.model.sam import fit_to_square, mask_to_logits
from napari_mediround.model.store import Origin

CARRY_GROWTH = 0.1
"""How far a structure may reach beyond its box on the plane before, of the box's sides."""


def mend(
    model: MediRound,
    features: ImageFeatures,
    points_xy: NDArray | None,
    positive: NDArray | None,
    box_xyxy: NDArray | None,
    origin: Origin | None,
) -> Decoded:
    """Decode one mask and judge it.

    Parameters
    ----------
    model : MediRound
    features : ImageFeatures
        Of the plane, where the model is.
    points_xy, positive, box_xyxy
        As in `Predictor.refine`.
    origin : Origin, optional
        Of the mask to be made better: its SEG vector, and its logits where there are clicks to change it.
    """
    points = boxes = None
    if points_xy is not None and len(points_xy):
        labels = torch.tensor(np.asarray(positive, np.int64), device=model.device)[None]
        points = model.plane_to_square(np.asarray(points_xy, float), features.frame)[None], labels
    if box_xyxy is not None:
        corners = np.asarray(box_xyxy, float).reshape(2, 2)
        boxes = model.plane_to_square(corners, features.frame).reshape(1, 4)
    vector, logits = (None, None) if origin is None else (origin.vector, origin.logits)
    if points is None or boxes is not None:  # as trained: only clicks change an earlier mask
        logits = None
    vector, logits = (x if x is None else x.to(model.device) for x in (vector, logits))
    decoded = model.decode(model.see(features), vector, points, boxes, logits)
    judged = torch.zeros(1, model.channels, device=model.device) if vector is None else vector
    return replace(decoded, quality=model.judge_masks(judged, features.embedding, decoded))


def origin_of_drawn(model: MediRound, features: ImageFeatures, mask: Mask) -> Origin:
    """Return the origin of a mask that nobody decoded: it is its own prompt."""
    array = torch.tensor(features.frame.cut(mask.to_array()), device=model.device)[None, None].float()
    return Origin(None, mask_to_logits(fit_to_square(array, model.size)[:, 0]), features.frame)


def box_to_carry(mask: Mask) -> NDArray[np.float64]:
    """Return where to look on the next plane, (4,) x0, y0, x1, y1: the mask's box, grown."""
    box = np.array(mask.box_xyxy, float)
    grown = box + CARRY_GROWTH * np.array([-1, -1, 1, 1]) * np.tile(box[2:] - box[:2], 2)
    return np.clip(grown, 0, np.tile(mask.shape[::-1], 2))
