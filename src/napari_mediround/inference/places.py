"""Which structure lies at the place a question asks for: read off the coarse masks of all known structures.

A small language model does not see what lies behind a mask. The coarse masks show every known structure of
the plane at once, and the anatomy says which neighbours are likely.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy, Structure, load_anatomy
from napari_mediround.domain.relations import DIRECTIONS, find_between, find_neighbour
from napari_mediround.domain.rounds import Target
from napari_mediround.inference.question import Question
from napari_mediround.model.sam import fit_to_square
from napari_mediround.questions.spatial import BETWEEN, LARGER, SMALLER, asked_kind, asked_place

if TYPE_CHECKING:
    from napari_mediround.model.features import DecoderFeatures, ImageFeatures
    from napari_mediround.model.mediround import MediRound

NEAR, ALIKE, OTHER = 5.0, 2.0, -2.0
"""Logits added to the coarse mask of an anatomical neighbour, of a structure of its region, of any other."""
REACH, LEAST, CLEAR = 0.1, 0.1, 0.3
"""As in `domain.relations`, but wider than in the dialogues of training: a question needs an answer."""
SHARE = 0.3
"""A grid cell belongs to an earlier mask if the mask covers at least this share of the cell."""


@dataclass(frozen=True)
class Place:
    """A place that a question asks for.

    Parameters
    ----------
    name : str
        From `questions.spatial.asked_place`.
    view : str
        View of the plane, a key of `domain.relations.DIRECTIONS`.
    asked : tuple of (str, ndarray)
        Structure and mask, bool (h, w) on the crop, of each mask that the question points at.
    others : tuple of (str, ndarray)
        The same of the other masks on the plane.
    kind : container of str
        Structures that the question may mean; empty for all.
    """

    name: str
    view: str
    asked: tuple[tuple[str, NDArray[np.bool_]], ...]
    others: tuple[tuple[str, NDArray[np.bool_]], ...] = ()
    kind: Container[str] = ()


def find_at_place(model: MediRound, seen: DecoderFeatures, place: Place) -> str:
    """Return the structure at a place, "" if none is clear.

    Parameters
    ----------
    model : MediRound
        With prototypes.
    seen : DecoderFeatures
        Decoder features of the plane.
    place : Place
    """
    prototypes, anatomy, asked, kind = model.landmarks, load_anatomy(), place.asked, place.kind
    masks = [*asked, *(m for m in place.others if not kind or m[0] in kind)]
    if place.name in (LARGER, SMALLER):
        return sorted(asked, key=lambda mask: mask[1].sum())[-1 if place.name == LARGER else 0][0]
    bases = [anatomy.find(name) for name, _ in asked]
    likely = _likely(prototypes.names, bases, anatomy, kind) if all(bases) else {}
    rows = [row for row, name in enumerate(prototypes.names) if name in likely]
    if not rows:
        return ""
    looks = model.glance(seen, prototypes.vectors[rows].to(seen.embedding))[:, 0].cpu()
    looks += torch.tensor([likely[prototypes.names[row]] for row in rows])[:, None, None]
    label_map = _draw_labels(looks, masks)
    if place.name == BETWEEN:
        found = find_between(label_map, 1, 2, 0.0, CLEAR)
    else:
        step = next(step for step, name in DIRECTIONS[place.view].items() if name == place.name)
        wide = (1.0, 0.0, 0.0) if kind else (REACH, LEAST, CLEAR)  # what else lies there does not count
        found = find_neighbour(label_map, 1, step, *wide, further=False)
    names = ["", *(name for name, _ in masks), *(prototypes.names[row] for row in rows)]
    return names[found or 0]


def _draw_labels(looks: torch.Tensor, masks: Sequence[tuple[str, NDArray[np.bool_]]]) -> NDArray[np.int_]:
    """Return a map of the masks, numbered from 1, over the surest of the coarse masks, numbered after them.

    `looks` (N, h, w) are the logits of the coarse masks.
    """
    best = looks.max(0)
    label_map = torch.where(best.values > 0, best.indices + len(masks) + 1, 0).numpy()
    for value, (_, mask) in reversed([*enumerate(masks, 1)]):  # what is asked about last, over the others
        square = fit_to_square(torch.from_numpy(mask)[None, None].float(), label_map.shape[-1])
        label_map[square[0, 0].numpy() > SHARE] = value
    return label_map


def see_structures(
    model: MediRound, look: Callable[[], ImageFeatures], modality: str = ""
) -> dict[str, float]:
    """Return how clearly each structure appears: the highest logit of its coarse mask, -8 to 8.

    A structure that images of the modality (DICOM's code, "" if unknown) cannot show gets -8. The result is
    empty for a model without prototypes. `look` returns the plane with its decoder features.
    """
    landmarks = model.landmarks
    if landmarks is None:
        return {}
    seen, anatomy = look().seen, load_anatomy()
    highest = model.glance(seen, landmarks.vectors.to(seen.embedding)).flatten(1).amax(1).clamp(-8, 8)
    found = dict(zip(landmarks.names, highest.tolist(), strict=True))
    shown = {name for name in found if (s := anatomy.find(name)) is None or s.shows_in(modality)}
    return {name: logit if name in shown or not shown else -8.0 for name, logit in found.items()}


def find_asked(model: MediRound, look: Callable[[], ImageFeatures], question: Question) -> str:
    """Return the structure at the place a question asks for, "" if the language model has to answer.

    Parameters
    ----------
    model : MediRound
    look : callable
        Returns the plane with its decoder features.
    question : Question
    """
    anatomy, text, view, asked = load_anatomy(), question.text, question.view, question.targets
    name = asked_place(text, len(asked), anatomy, {*DIRECTIONS[view].values()})
    rounds = (r for r in question.conversation.rounds if r.answer.image == question.image)
    here = [target for round_ in rounds for target in round_.targets if target.mask.area]
    if not name or model.landmarks is None or not all(any(t is other for other in here) for t in asked):
        return ""
    beside = [t for t in here if not any(_is_within(t, other, anatomy) for other in asked)]
    features = look()
    masks, others = (
        tuple((t.structure, features.frame.cut(t.mask.to_array())) for t in targets)
        for targets in (asked, [t for t in beside if t.verdict != "rejected"])
    )
    return find_at_place(model, features.seen, Place(name, view, masks, others, asked_kind(text, anatomy)))


def _is_within(target: Target, asked: Target, anatomy: Anatomy) -> bool:
    """Return whether a mask shows the structure asked about, a part of it, or a structure containing it."""
    if target.structure != asked.structure:
        return anatomy.share(target.structure, asked.structure)
    structure = anatomy.find(target.structure)
    return target is asked or bool(structure and structure.is_one)  # there may be two lesions


def _likely(
    names: Sequence[str], bases: Sequence[Structure], anatomy: Anatomy, kind: Container[str] = ()
) -> dict[str, float]:
    """Return the structures that may lie beside or between the given ones, with the logits added to each.

    Findings, and vessels within an organ, are left out unless the question asks for their kind.
    """
    found = {}
    for structure in filter(None, map(anatomy.find, names)):
        general = {base.region == "general" for base in bases} | {structure.region == "general"}
        foreign = any(anatomy.apart(base.region, structure.region) for base in bases)
        if (
            not (structure.name in kind if kind else structure.is_one)
            or len(general) == 2
            or foreign
            or any(anatomy.share(structure.name, base.name) for base in bases)
        ):
            continue
        near = any(structure.name in base.neighbours for base in bases)
        alike = any(structure.region == base.region for base in bases)
        found[structure.name] = NEAR if near else ALIKE if alike else OTHER
    wholes = {whole for name in found for whole in anatomy.ancestors(name)}
    return {name: logit for name, logit in found.items() if name not in wholes and not anatomy[name].is_group}
