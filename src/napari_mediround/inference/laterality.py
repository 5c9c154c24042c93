"""Left and right: the two sides of a structure get different names and different pixels.

Knows no model: a callable answers clicks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Target
from napari_mediround.inference.components import depth_inside
from napari_mediround.inference.question import Question

MOST_SHARED = 0.5
"""If two sides of a structure share at least this part of a mask, one of the masks must be wrong."""

_OTHER_SIDE = re.compile(
    r"\b(mirror\w*|(other|opposite) side|opposite|contralateral|counterpart|twin)\b", re.I
)
_SAME_AGAIN = re.compile(r"\b(again|not|redo|repeat|same side)\b|n['’]t\b", re.I)


def hold_to_side(
    names: Sequence[str], text: str, pointed_at: Sequence[str], anatomy: Anatomy
) -> Sequence[str]:
    """Return an answer's names, with the other side's name if the answer repeats a side by mistake.

    Parameters
    ----------
    names : sequence of str
        Names in the answer.
    text : str
        The question.
    pointed_at : sequence of str
        Structures of its references.
    anatomy : Anatomy
        Says which structures mirror each other.
    """
    if not _OTHER_SIDE.search(text) or _SAME_AGAIN.search(text):
        return names
    found = [anatomy.find(name) for name in names]
    taken = {*pointed_at, *(one.name for one in found if one)}
    return [
        one.mirror if one and one.mirror and one.name in pointed_at and one.mirror not in taken else name
        for one, name in zip(found, names, strict=True)
    ]


def keep_sides(
    targets: Sequence[Target],
    question: Question,
    anatomy: Anatomy,
    refine: Callable[..., tuple[Mask, float]],
) -> tuple[Target, ...]:
    """Return a question's targets so that none covers the latest mask of its other side on the plane."""
    kept = []
    for target in targets:
        structure = anatomy.find(target.structure)
        mirror = structure and structure.mirror
        other = mirror and question.conversation.latest(mirror, question.image)
        kept.append(leave_other_side(target, other, refine) if other else target)
    return tuple(kept)


def leave_other_side(target: Target, other: Target, refine: Callable[..., tuple[Mask, float]]) -> Target:
    """Return a target moved off the mask of its mirror structure, if that mask has the better quality.

    Parameters
    ----------
    target, other : Target
        The masks of the two sides, on one plane.
    refine : callable
        As `Predictor.refine`; called once, with a click outside in the middle of the overlap.
    """
    mask, taken = target.mask.to_array(), other.mask.to_array()
    shared = mask & taken
    surer = (
        other.verdict in ("accepted", "corrected") or other.quality is None or other.quality >= target.quality
    )
    if not surer or shared.sum() <= MOST_SHARED * mask.sum():
        return target
    depth = depth_inside(shared)
    row, column = np.unravel_index(depth.argmax(), depth.shape)
    moved, quality = refine(np.array([[column + 0.5, row + 0.5]]), np.array([False]), previous=target.mask)
    left = moved.to_array() & ~taken
    return replace(target, mask=Mask.from_array(left), quality=quality, corrected=True)
