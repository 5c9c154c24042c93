"""A mask from clicks, a box or an earlier mask, in pixels of the plane. Knows no cache and no device.

References
----------
Chen et al., FocalClick, CVPR 2022: of a mask that is corrected only the changed region with the click is
taken over ("progressive merge"). Here the judge says whether that, or the whole new mask, is better.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_mediround.domain.anatomy import Structure
from napari_mediround.domain.mask import Mask
from napari_mediround.inference.cache import Origin
from napari_mediround.model.click_maps import pixel_centres
from napari_mediround.model.features import Decoded, ImageFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.sam import fit_to_square, mask_to_logits

BOX_GROWTH = 0.1
"""Margin around the box of the previous plane's mask, as a share of the sides of the box."""

SPECK = 0.1
"""A part smaller than this share of the largest part of a mask is a speck."""

REACH = 2
"""A changed region within this many grid cells of a click belongs to the click."""

SPOT, MARGIN = 0.03, 1.0
"""The spot for a click that was not followed: its standard deviation (share of the side), its least logit."""


def refine_mask(
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
        Features of the plane, on the device of the model.
    points_xy, positive, box_xyxy
        As in `Predictor.refine`.
    origin : Origin, optional
        Origin of the mask to refine: its SEG vector, and its logits, which clicks change. A vector is needed
        if there is neither a click nor a box.
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
    if points is None and boxes is None:
        return model.segment(features, vector, origin.names)  # as words were answered first
    decoded = model.decode(model.see(features), vector, points, boxes, logits)
    at, inside = (None, None) if points is None else (points[0][0] / model.size, points[1][0] == 1)
    spoken = torch.zeros(1, model.channels, device=model.device) if vector is None else vector
    candidates = [decoded]
    if logits is not None:
        candidates.append(replace(decoded, logits=change_near(logits[:, 0], decoded.logits, at, inside)))
    if points is not None:
        candidates = [replace(c, logits=follow_clicks(c.logits, at, inside)) for c in candidates]
    judged = [replace(c, quality=model.judge_masks(spoken, features.embedding, c)) for c in candidates]
    return max(judged, key=lambda one: float(one.quality))


def propagate_mask(model: MediRound, features: ImageFeatures, mask: Mask, origin: Origin | None) -> Decoded:
    """Propagate the mask of a neighbouring plane to this plane, and judge the result.

    Two masks are made: from the box of the previous mask with the words, and from the words alone, as on any
    plane. That of the better quality times agreement (Dice) with the previous mask is kept. Inside the box
    the decoder always finds something, and the judge scores it too high past the end of the structure: its
    quality is the mean with that of the words alone.
    """
    decoded = refine_mask(model, features, None, None, box_to_propagate(mask), origin)
    if origin is None or (origin.vector is None and not origin.names):
        return decoded
    vector = torch.zeros(1, model.channels) if origin.vector is None else origin.vector
    by_words = model.segment(features, vector.to(model.device), origin.names)
    in_box = replace(decoded, quality=(decoded.quality + by_words.quality) / 2)
    before = origin_of_drawn(model, features, mask).logits[0] > 0
    return max((in_box, by_words), key=lambda one: float(one.quality) * _dice(before, one.logits > 0))


def _dice(one: Tensor, other: Tensor) -> float:
    return 2 * float((one & other).sum()) / max(1.0, float(one.sum() + other.sum()))


def change_near(before: Tensor, after: Tensor, at: Tensor, positive: Tensor) -> Tensor:
    """Return `before`, changed only in the regions that belong to clicks; `after` if there is no such region.

    Parameters
    ----------
    before, after : Tensor
        (1, h, w) logits.
    at : Tensor
        (P, 2) x, y of the clicks, 0…1 of the grid.
    positive : Tensor
        bool (P,): inside or outside. The last click counts, and every click that `before` does not follow.
    """
    height, width = before.shape[-2:]
    x, y = _cells_at(at, before)
    asking = (before[0, y, x] > 0) != positive
    asking[-1] = True
    clicked = np.zeros((height, width), bool)
    clicked[y[asking].cpu(), x[asking].cpu()] = True
    regions, _ = ndimage.label(((before > 0) != (after > 0))[0].cpu().numpy(), np.ones((3, 3)))
    asked = np.unique(regions[ndimage.binary_dilation(clicked, iterations=REACH)])
    inside = torch.from_numpy(np.isin(regions, asked[asked > 0])).to(before.device)
    return torch.where(inside, after, before) if inside.any() else after


def follow_clicks(logits: Tensor, at: Tensor, positive: Tensor) -> Tensor:
    """Return logits (1, h, w) that are positive at clicks inside and negative at clicks outside.

    At a click that was not followed, a Gaussian spot is added that is just high enough, so that pixels of
    nearly the right value follow too. Parameters are those of `change_near`.
    """
    x, y = pixel_centres(logits)
    for (click_x, click_y), inside, column, row in zip(at, positive, *_cells_at(at, logits), strict=True):
        sign = 1.0 if inside else -1.0
        missing = MARGIN - sign * float(logits[0, row, column])
        if missing > 0:
            far = ((x - click_x) ** 2)[None] + ((y - click_y) ** 2)[:, None]
            logits = logits + sign * missing * torch.exp(-far / (2 * SPOT**2))
    return logits


def _cells_at(at: Tensor, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return column and row (P,) on the grid of logits for points (P, 2), x and y in 0…1."""
    height, width = logits.shape[-2:]
    return (at[:, 0] * width).long().clamp(0, width - 1), (at[:, 1] * height).long().clamp(0, height - 1)


def origin_of_drawn(
    model: MediRound, features: ImageFeatures, mask: Mask, known: Origin | None = None
) -> Origin:
    """Return the origin of a mask that was not decoded on these features: the mask itself is the prompt.

    The SEG vector of the previous origin stays.
    """
    array = torch.tensor(features.frame.cut(mask.to_array()), device=model.device)[None, None].float()
    logits = mask_to_logits(fit_to_square(array, model.size)[:, 0])
    return replace(known or Origin(None, logits, features.frame), logits=logits, frame=features.frame)


def origin_of_name(model: MediRound, features: ImageFeatures, name: str) -> Origin | None:
    """Return the origin of a mask of which only its structure is known; None for a name never learned."""
    landmarks = model.landmarks
    vector = landmarks.vector(name) if landmarks is not None and not model.is_new(name) else None
    if vector is None and not model.is_new(name):
        return None
    nothing = torch.zeros(1, 1, 1, 1)  # a box needs no earlier logits
    return Origin(None if vector is None else vector[None], nothing, features.frame, name)


def main_parts(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask (H, W), not empty, without specks: parts much smaller than the largest one."""
    parts, _ = ndimage.label(mask)
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    return (sizes >= SPECK * sizes.max())[parts] & mask


def remove_specks(mask: NDArray[np.bool_], structure: Structure | None) -> NDArray[np.bool_]:
    """Return a mask (H, W) without specks, unless the structure may occur several times (lesions)."""
    return main_parts(mask) if structure is not None and structure.is_one and mask.any() else mask


def parts_propagated(mask: NDArray[np.bool_], before: Mask) -> NDArray[np.bool_]:
    """Return the parts of a mask (H, W) that overlap the previous plane's mask, specks not counted."""
    parts, count = ndimage.label(mask)
    met = np.bincount(parts[main_parts(before.to_array())], minlength=count + 1) > 0
    return met[parts] & mask


def box_to_propagate(mask: Mask) -> NDArray[np.float64]:
    """Return the box to search on the next plane, (4,) x0, y0, x1, y1: that of the mask's main parts, grown.

    A speck would widen the box: one pixel in the spleen once added the whole spleen to the liver.
    """
    box = np.array(Mask.from_array(main_parts(mask.to_array())).box_xyxy, float)
    grown = box + BOX_GROWTH * np.array([-1, -1, 1, 1]) * np.tile(box[2:] - box[:2], 2)
    return np.clip(grown, 0, np.tile(mask.shape[::-1], 2))
