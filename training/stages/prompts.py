"""The prompts that a training step gives to the mask decoder: words, clicks, a box, or a mask with clicks.

Every mask of a step gets the same kind of prompt, so that the decoder sees exactly the tokens that it sees in
use. Knows no plane and no text.

References
----------
Kirillov et al., Segment Anything, 2023, appendix A: clicks in the error of the mask before, which is a
prompt itself. Sofiiuk et al., RITM, 2021.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from napari_mediround.model.context import resize
from napari_mediround.model.features import Decoded, DecoderFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.sam import mask_to_logits
from napari_mediround.training.annotator import inner_point, place_click
from napari_mediround.training.stages.text import corrupt_mask


@dataclass(frozen=True)
class PromptSettings:
    """How often a step has which kind of prompt; all other steps have words alone.

    Parameters
    ----------
    click_share, box_share, correction_share : float
        Shares of the steps with first clicks, with a box, and with a mask that clicks correct.
    worded_share : float
        Share of the steps with clicks or a box that keep the SEG vectors.
    most_clicks : int
        Largest number of clicks for a mask.
    """

    click_share: float = 0.15
    box_share: float = 0.1
    correction_share: float = 0.4
    worded_share: float = 0.4
    most_clicks: int = 5


def disturb(vectors: Tensor, strength: Tensor, generator: torch.Generator) -> Tensor:
    """Return vectors (N, C) with noise of relative size `strength` (N,)."""
    noise = torch.randn(vectors.shape, generator=generator).to(vectors.device)
    strength = strength.to(vectors.device)
    return vectors + noise * (strength * vectors.norm(dim=1) / vectors.shape[1] ** 0.5)[:, None]


def click_error(mask: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator | None = None):
    """Return a click ((x, y), inside) into an error of a mask, or into the mask if there is no error.

    Parameters
    ----------
    mask, truth : ndarray
        bool (H, W).
    rng : Generator, optional
        As in `place_click`.
    """
    if click := place_click(mask, truth, rng):
        return click
    inside = bool(truth.any())
    return inner_point(ndimage.distance_transform_edt(truth if inside else ~truth), rng), inside


def click_errors(
    masks: NDArray[np.bool_], truths: NDArray[np.bool_], size: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return one click a mask: (N, 1, 2) x, y in pixels of the model square, and labels (N, 1)."""
    pairs = [click_error(mask, truth, rng) for mask, truth in zip(masks, truths, strict=True)]
    xy = torch.tensor([xy for xy, _ in pairs], dtype=torch.float32) * (size / masks.shape[-1])
    return xy[:, None], torch.tensor([[int(positive)] for _, positive in pairs])


def jitter_boxes(masks: NDArray[np.bool_], size: int, rng: np.random.Generator) -> Tensor:
    """Return boxes of masks (N, 4), x0, y0, x1, y1 in pixels of the model square, inexact as by hand."""
    boxes = []
    for mask in masks:
        inside = np.argwhere(mask)
        low, high = inside.min(0), inside.max(0) + 1
        jitter = rng.normal(0, 0.05, (2, 2)) * (high - low)
        boxes.append([*(low + jitter[0])[::-1], *(high + jitter[1])[::-1]])
    return torch.tensor(np.array(boxes), dtype=torch.float32) * (size / masks.shape[-1])


def decode_prompted(
    model: MediRound,
    seen: DecoderFeatures,
    vectors: Tensor,
    masks: NDArray[np.bool_],
    settings: PromptSettings,
    rng: np.random.Generator,
) -> Decoded:
    """Draw a kind of prompt and decode the masks of a step with it.

    Parameters
    ----------
    model : MediRound
    seen : DecoderFeatures
        Decoder features of the plane of each mask; the embedding is (N, C, g, g) on any grid.
    vectors : Tensor
        (N, C): SEG vectors.
    masks : ndarray
        bool (N, S, S), the true masks, on any grid; that of the pixels shows structures thinner than a cell.
    settings : PromptSettings
    rng : Generator
        The only source of chance.

    Returns
    -------
    Decoded
        Its logits (N, S, S) on the truth's grid.
    """
    kinds = ("clicks", "box", "correction", "words")
    shares = (settings.click_share, settings.box_share, settings.correction_share)
    kind = rng.choice(kinds, p=[*shares, 1 - sum(shares)])
    by_words = kind == "words" or not masks.any((1, 2)).all()  # nobody clicks at what is not there
    kept = vectors if by_words or rng.random() < settings.worded_share else None
    if by_words:
        decoded = model.decode(seen, kept)
    elif kind == "box":
        decoded = model.decode(seen, kept, boxes=jitter_boxes(masks, model.size, rng).to(model.device))
    else:
        previous = None
        if kind == "correction":
            kept = vectors if rng.random() < 0.75 else None
            previous = first_masks(model, seen, kept, masks, rng)
        decoded = click_through(model, seen, kept, masks, previous, settings.most_clicks, rng)
    return replace(decoded, logits=resize(decoded.logits[:, None], masks.shape[-2:])[:, 0])


@torch.no_grad()
def first_masks(
    model: MediRound, seen: DecoderFeatures, vectors: Tensor | None, masks: NDArray, rng: np.random.Generator
) -> Tensor:
    """Return logits (N, 1, 4g, 4g) to correct: a damaged true mask, or the mask of disturbed vectors.

    Or the mask of another structure, as after a misunderstood question that only clicks can repair.
    """
    if vectors is None or rng.random() < 0.4:
        damaged = np.stack([corrupt_mask(mask, rng) for mask in masks])
        logits = mask_to_logits(torch.from_numpy(damaged).to(model.device))
        return resize(logits, tuple(4 * side for side in seen.embedding.shape[-2:]))
    if rng.random() < 0.25:
        return model.decode(seen, vectors.roll(1, 0)).logits[:, None]
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    strength = torch.tensor(rng.uniform(0, 1.2, len(vectors))).float()
    return model.decode(seen, disturb(vectors, strength, generator)).logits[:, None]


def click_through(
    model: MediRound,
    seen: DecoderFeatures,
    vectors: Tensor | None,
    masks: NDArray[np.bool_],
    previous: Tensor | None,
    most: int,
    rng: np.random.Generator,
) -> Decoded:
    """Click up to `most` times into errors; only the last decoding carries a gradient."""
    clicks = None
    for left in reversed(range(rng.integers(1, most + 1))):
        now = np.zeros_like(masks)
        if previous is not None:
            now = (resize(previous, masks.shape[-2:])[:, 0] > 0).cpu().numpy()
        xy, labels = (t.to(model.device) for t in click_errors(now, masks, model.size, rng))
        clicks = (
            (xy, labels)
            if clicks is None
            else (torch.cat([clicks[0], xy], 1), torch.cat([clicks[1], labels], 1))
        )
        with torch.set_grad_enabled(left == 0):
            decoded = model.decode(seen, vectors, clicks, previous=previous)
        previous = decoded.logits.detach()[:, None]
    return decoded
