"""Check that a referenced mask lies where its structure appears on the plane. Knows no words.

The paper has no such step: its judge scores the new mask, not the masks that a question points at.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Reference, Target
from napari_mediround.inference.question import Question
from napari_mediround.model.features import ImageFeatures
from napari_mediround.model.mediround import MediRound

ELSEWHERE = (
    "{} does not match where the {} appears on this plane, so the question was answered from its current "
    "outline."
)


def recheck_references(
    model: MediRound, look: Callable[[], ImageFeatures], question: Question
) -> tuple[Conversation, tuple[str, ...]]:
    """Return the conversation with rechecked masks, and a note for each reference whose mask was replaced.

    Replaces an unreviewed mask by the current segmentation of its structure if their IoU is lower than the
    judged IoU of the new one. Masks that a person accepted or drew stay, and so do masks of structures that
    may occur several times (lesions).

    Parameters
    ----------
    model : MediRound
    look : callable
        Returns the plane with its decoder features.
    question : Question
        Masks on other planes than its own stay.
    """
    anatomy, landmarks, notes = load_anatomy(), model.landmarks, []
    conversation = question.conversation
    if landmarks is None or not model.correction.enabled:
        return conversation, ()
    for reference in question.references:
        round_, target = conversation.rounds[reference.round - 1], conversation.target(reference)
        structure = anatomy.find(target.structure)
        if (
            target.verdict
            or round_.answer.image != question.image
            or structure is None
            or not structure.is_one
        ):
            continue
        vector = landmarks.vector(target.structure)
        if vector is None:
            continue
        seen, quality = _see(model, look(), vector[None])
        if seen.area and _iou(target.mask, seen) < quality:
            conversation = _put(conversation, reference, replace(target, mask=seen))
            notes.append(ELSEWHERE.format(reference, target.structure))
    return conversation, tuple(notes)


def _see(model: MediRound, features: ImageFeatures, vector: torch.Tensor) -> tuple[Mask, float]:
    """Return the segmentation of a structure from its prototype (1, C), and its judged IoU."""
    found = model.segment(features, vector.to(features.embedding))
    return Mask.from_array(model.masks_on_plane(found.logits, features.frame)[0]), float(found.quality[0])


def _iou(one: Mask, other: Mask) -> float:
    first, second = one.to_array(), other.to_array()
    return float((first & second).sum() / max(1, (first | second).sum()))


def _put(conversation: Conversation, reference: Reference, target: Target) -> Conversation:
    round_ = conversation.rounds[reference.round - 1]
    targets = [target if k == reference.target else t for k, t in enumerate(round_.targets, 1)]
    answer = replace(round_.answer, targets=tuple(targets))
    rounds = [replace(r, answer=answer) if r is round_ else r for r in conversation.rounds]
    return replace(conversation, rounds=tuple(rounds))
