"""Judgment & correction: a doubtful mask gives way to another that is judged better.

References
----------
MediRound, arXiv 2511.12110: a judge, and a corrector that mends the SEG vector and whose mask stays.
Ours: that mask is judged too, and so are the first look and what the same words find in the mirror image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.model.context import resize
from napari_mediround.model.sam import fitted_shape

if TYPE_CHECKING:
    from napari_mediround.model.mediround import Decoded, ImageFeatures, MediRound

_SIDED = re.compile(r"\b(left|right)\b", re.I)


@dataclass(frozen=True)
class CorrectionSettings:
    """When a mask is corrected and which one stays.

    Parameters
    ----------
    threshold : float
        Judged IoU at or below which another mask is looked for (0.6 as published).
    keep_better : bool
        Judge the others too and keep the best; false is the published way: the corrector's, unseen.
    margin : float
        By how much a mask must be judged better to be kept in another's place.
    enabled : bool
        False switches judgment-driven correction off; masks are judged all the same.
    """

    threshold: float = 0.6
    keep_better: bool = True
    margin: float = 0.06
    enabled: bool = True


def correct(
    model: MediRound, features: ImageFeatures, vectors: Tensor, names: Sequence[str], first: Decoded
) -> Decoded:
    """Return masks of which the doubtful ones are exchanged where another is judged better.

    Parameters
    ----------
    model : MediRound
        Whose `correction` says how.
    features, vectors, names
        As in `MediRound.segment`.
    first : Decoded
        The masks that the vectors give, judged.
    """
    settings = model.correction
    rows = (first.quality <= settings.threshold).nonzero()[:, 0]
    if not settings.enabled or not len(rows):
        return first
    seen, spoken, mended = model.see(features), vectors[rows], model.corrector(vectors[rows])
    others = [(rows, model.judged(mended, features, model.decode(seen, mended)))]
    if settings.keep_better and model.glance is not None:
        look = resize(model.glance(seen, spoken), first.logits.shape[-2:])[:, 0]
        looked = replace(first, logits=look, iou=first.iou[rows], token=first.token[rows])
        others.append((rows, model.judged(spoken, features, looked)))
    if settings.keep_better and features.mirrored is not None and names:
        others += find_in_mirror(model, features, vectors, names, rows)
    logits, quality, corrected = first.logits.clone(), first.quality.clone(), first.corrected.clone()
    for where, other in others:
        least = quality[where].maximum(first.quality[where] + settings.margin)
        better = other.quality > least if settings.keep_better else other.quality >= 0
        chosen = where[better]
        logits[chosen], quality[chosen], corrected[chosen] = other.logits[better], other.quality[better], True
    return replace(first, logits=logits, quality=quality, corrected=corrected)


def find_in_mirror(
    model: MediRound, features: ImageFeatures, vectors: Tensor, names: Sequence[str], rows: Tensor
) -> list[tuple[Tensor, Decoded]]:
    """Return which rows can be looked for in the mirror image, and their masks, turned back and judged there.

    There a structure with a side is its counterpart, and is asked for as that: by its landmark.

    Parameters
    ----------
    model, features, vectors, names
        As in `correct`.
    rows : Tensor
        (R,), of the vectors.
    """
    asked = {row: _vector_in_mirror(model, names[row], vectors[row]) for row in rows.tolist()}
    asked = {row: vector for row, vector in asked.items() if vector is not None}
    if not asked:
        return []
    told, mirrored = torch.stack([*asked.values()]), features.mirrored()
    found = model.judged(told, mirrored, model.decode(model.see(mirrored), told))
    width = round(fitted_shape(features.frame.inner, model.size)[1] * found.logits.shape[-1] / model.size)
    turned = torch.cat([found.logits[..., :width].flip(-1), found.logits[..., width:]], -1)
    return [(torch.tensor([*asked], device=rows.device), replace(found, logits=turned))]


def _vector_in_mirror(model: MediRound, name: str, vector: Tensor) -> Tensor | None:
    """Return the SEG vector of a structure in the mirror image; None where that is not known."""
    structure, landmarks = load_anatomy().find(name), model.landmarks
    if not (structure.mirror if structure else _SIDED.search(name)):
        return vector
    found = landmarks.vector(structure.mirror) if structure and landmarks else None
    return None if found is None else found.to(vector)
