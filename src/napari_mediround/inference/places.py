"""Which structure lies at the place a question asks for: read off the coarse masks of all known structures.

A small language model does not see what lies behind a mask. The coarse masks show every known structure of
the plane at once, and the anatomy says which neighbours are likely.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy, Structure, load_anatomy
from napari_mediround.domain.relations import DIRECTIONS, find_between, find_neighbour
from napari_mediround.domain.rounds import Conversation, Reference, Target
from napari_mediround.model.prototypes import Landmarks
from napari_mediround.model.sam import fit_to_square
from napari_mediround.questions.spatial import BETWEEN, LARGER, SMALLER, asked_kind, asked_place

if TYPE_CHECKING:
    from napari_mediround.model.features import ImageFeatures, Seen
    from napari_mediround.model.mediround import MediRound

NEAR, ALIKE, OTHER = 5.0, 2.0, -2.0
"""Logits added to the coarse mask of an anatomical neighbour, of a structure of its region, of any other."""
REACH, LEAST, CLEAR = 0.1, 0.1, 0.3
"""As in `domain.relations`, but wider than in the dialogues of training: a question needs an answer."""
SHARE = 0.3
"""A grid cell belongs to an earlier mask if the mask covers at least this share of the cell."""


def find_at_place(
    model: MediRound,
    prototypes: Landmarks,
    seen: Seen,
    place: str,
    view: str,
    masks: Sequence[tuple[str, NDArray[np.bool_]]],
    count: int,
    anatomy: Anatomy,
    kind: Container[str] = (),
) -> str:
    """Return the structure at a place, "" if none is clear.

    Parameters
    ----------
    model : MediRound
    prototypes : Landmarks
        SEG vectors of the known structures.
    seen : Seen
        Decoder features of the plane.
    place : str
        From `questions.spatial.asked_place`.
    view : str
        View of the plane, a key of `domain.relations.DIRECTIONS`.
    masks : sequence of (str, ndarray)
        Structure and mask, bool (h, w) on the crop, of each earlier mask on the plane.
    count : int
        The question points at the first `count` of these masks.
    anatomy : Anatomy
    kind : container of str, optional
        Structures that the question may mean; empty for all.
    """
    masks = [*masks[:count], *(m for m in masks[count:] if not kind or m[0] in kind)]
    asked, first = masks[:count], len(masks) + 1
    if place in (LARGER, SMALLER):
        return sorted(asked, key=lambda mask: mask[1].sum())[-1 if place == LARGER else 0][0]
    bases = [anatomy.find(name) for name, _ in asked]
    likely = _likely(prototypes.names, bases, anatomy, kind) if all(bases) else {}
    rows = [row for row, name in enumerate(prototypes.names) if name in likely]
    if not rows:
        return ""
    looks = model.glance(seen, prototypes.vectors[rows].to(seen.embedding))[:, 0].cpu()
    looks += torch.tensor([likely[prototypes.names[row]] for row in rows])[:, None, None]
    best = looks.max(0)
    label_map = torch.where(best.values > 0, best.indices + first, 0).numpy()
    for value, (_, mask) in reversed([*enumerate(masks, 1)]):  # what is asked about last, over the others
        square = fit_to_square(torch.from_numpy(mask)[None, None].float(), label_map.shape[-1])
        label_map[square[0, 0].numpy() > SHARE] = value
    if place == BETWEEN:
        found = find_between(label_map, 1, 2, 0.0, CLEAR)
    else:
        step = next(step for step, name in DIRECTIONS[view].items() if name == place)
        wide = (1.0, 0.0, 0.0) if kind else (REACH, LEAST, CLEAR)  # what else lies there does not count
        found = find_neighbour(label_map, 1, step, *wide, further=False)
    if not found:
        return ""
    return masks[found - 1][0] if found < first else prototypes.names[rows[found - first]]


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


def find_asked(
    model: MediRound,
    look: Callable[[], ImageFeatures],
    view: str,
    text: str,
    conversation: Conversation,
    references: Sequence[Reference],
    image: str,
) -> str:
    """Return the structure at the place a question asks for, "" if the language model has to answer.

    Parameters
    ----------
    model : MediRound
    look : callable
        Returns the plane with its decoder features.
    view : str
        As in `find_at_place`.
    text, conversation, references
        The question, the earlier rounds, the masks that the question points at.
    image : str
        Key of the plane.
    """
    anatomy, landmarks = load_anatomy(), model.landmarks
    place = asked_place(text, len(references), anatomy, {*DIRECTIONS[view].values()})
    asked = [conversation.target(reference) for reference in references]
    here = [t for r in conversation.rounds for t in r.targets if r.answer.image == image and t.mask.area]
    if not place or landmarks is None or not all(any(t is other for other in here) for t in asked):
        return ""
    beside = [t for t in here if not any(_is_within(t, other, anatomy) for other in asked)]
    others = [t for t in beside if t.verdict != "rejected"]
    features = look()
    masks = [(t.structure, features.frame.cut(t.mask.to_array())) for t in (*asked, *others)]
    kind = asked_kind(text, anatomy)
    return find_at_place(model, landmarks, features.seen, place, view, masks, len(asked), anatomy, kind)


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
