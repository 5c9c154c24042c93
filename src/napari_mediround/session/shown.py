"""What label arrays show: where it changed, how each mask came to be, and what a person thinks of it."""

from __future__ import annotations

from collections.abc import Iterable

from napari_mediround.domain.judged import PROPOSAL, JudgedMask, first_origin, origin_after_fix
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.segments import MANUAL, SEMIAUTOMATIC
from napari_mediround.journal import Event, State
from napari_mediround.journal.edits import MaskEdited, MaskRenamed
from napari_mediround.journal.entries import MasksImported, RoundAsked, VerdictGiven


def judge_masks(state: State, standing: Iterable[Event]) -> tuple[JudgedMask, ...]:
    """Return the masks that label arrays show, in the order in which they take their pixels.

    Parameters
    ----------
    state : State
        Of a case.
    standing : iterable of Event
        The steps that led there, without those that were undone.
    """
    origins = _origins(state, standing)
    found = []
    for label in state.shown:
        source = state.labels.get(label.drawn, label)
        origin = origins[label.value]
        verdict = label.verdict or PROPOSAL
        facts = (source.structure, label.plane, label.mask, origin, verdict, label.quality)
        found.append(JudgedMask(label.drawn, *facts, state.rounds[label.round].imported))
    return tuple(found)


def _origins(state: State, standing: Iterable[Event]) -> dict[int, str]:
    """Return the origin of each mask by its label value; of imported ones what their file said at first."""
    imported = {label.value: state.rounds[label.round].imported for label in state.labels.values()}
    origins = {value: one.origin for value, one in imported.items() if one is not None}
    for event in standing:
        entry = event.entry
        if isinstance(entry, RoundAsked):
            values = range(entry.first_label, entry.first_label + len(entry.round.targets))
            origins |= dict.fromkeys(values, first_origin(entry.model))
        elif isinstance(entry, VerdictGiven) and entry.verdict == "corrected":
            prompted = bool(entry.prompts.points_xy) or entry.prompts.box_xyxy is not None
            for mark in entry.marks:
                before = origins[mark.label]
                origins[mark.label] = origin_after_fix(before, mark.before, mark.after, prompted)
        elif isinstance(entry, MaskEdited):
            for mark in entry.marks:
                origins[mark.label] = MANUAL if origins[mark.label] == MANUAL else SEMIAUTOMATIC
            added = range(entry.first_label, entry.first_label + len(entry.rounds))
            origins |= dict.fromkeys(added, SEMIAUTOMATIC)
    return origins


def changed_planes(before: State, after: State) -> frozenset[int]:
    """Return the planes on which two states may draw different labels."""
    old, new = (_drawn(before), _drawn(after))
    return frozenset(plane for plane in old.keys() | new.keys() if old.get(plane) != new.get(plane))


def _drawn(state: State) -> dict[int, list[tuple[int, Mask]]]:
    """Return what is drawn on each plane, in order."""
    planes: dict[int, list[tuple[int, Mask]]] = {}
    for label in state.shown:
        planes.setdefault(label.plane, []).append((label.value, label.mask))
    return planes


def describe_step(event: Event | None, state: State) -> str:
    """Return a step in words: "accept 2 liver"."""
    if event is None:
        return ""
    entry = event.entry
    if isinstance(entry, RoundAsked) and entry.round.batch:
        return f"{', '.join(t.structure for t in entry.round.targets)} through the stack"
    if isinstance(entry, RoundAsked):
        return f"round {entry.round.index}"
    if isinstance(entry, MasksImported):
        names = [round_.targets[0].structure for round_ in entry.rounds if not round_.carried]
        return f"import {names[0] if len(names) == 1 else f'{len(names)} masks'}"
    if isinstance(entry, VerdictGiven):
        verb = {"accepted": "accept", "corrected": "fix", "rejected": "reject"}[entry.verdict]
        return f"{verb} {', '.join(state.labels[mark.label].name for mark in entry.marks)}"
    if isinstance(entry, MaskRenamed):
        return f"rename {state.labels[entry.labels[0]].name}"
    if isinstance(entry, MaskEdited):
        touched = [*(mark.label for mark in entry.marks), *(value for value, _ in entry.names)]
        names = dict.fromkeys(state.labels[value].name for value in touched)
        return f"{entry.recipe.operation} {', '.join(names)}"
    return f"branch from round {state.rounds[entry.round].index}" if entry.round else "branch from the start"
