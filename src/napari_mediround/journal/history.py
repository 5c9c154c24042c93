"""Replay of a case's entries into rounds, labels and undo steps. The same entries give the same state.

Knows no file, no study and no model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import FIRST_PLANE_LABEL, Conversation, Round
from napari_mediround.journal.edits import Applied, MaskEdited, MaskRenamed
from napari_mediround.journal.entries import (
    Branched,
    Entry,
    MasksImported,
    Redone,
    RoundAsked,
    StackBegun,
    StackEnded,
    Undone,
    VerdictGiven,
)
from napari_mediround.journal.events import Event, same_batch


@dataclass(frozen=True)
class Label:
    """One mask with its number in the Labels layer.

    Parameters
    ----------
    value : int
        Number in the Labels layer.
    round : int
        `id` of the round that made the mask.
    target : int
        1-based number in that round.
    structure : str
        Name of the structure.
    plane : int
        0-based, display order.
    mask : Mask
        The current mask.
    verdict : {"", "accepted", "corrected", "rejected"}
        "" while it is a proposal.
    edited : bool
        Whether a person changed it.
    drawn : int
        The number that label arrays show; that of the mask it was carried from, where it was carried.
    quality : float, optional
        What the model judges of the mask as it is now, 0…1; None where a person drew in it.
    found : bool
        Whether it ever showed anything; False for a structure that the answer did not find.
    recipes : tuple of Applied
        What was done to it in words, in order.
    """

    value: int
    round: int
    target: int
    structure: str
    plane: int
    mask: Mask
    verdict: str = ""
    edited: bool = False
    drawn: int = 0
    quality: float | None = None
    found: bool = True
    recipes: tuple[Applied, ...] = ()

    def __post_init__(self) -> None:
        if not self.drawn:
            object.__setattr__(self, "drawn", self.value)

    @property
    def locked(self) -> bool:
        """Whether later masks leave the pixels of this mask alone."""
        return self.verdict in ("accepted", "corrected")

    @property
    def name(self) -> str:
        """Return number and structure: "2 spleen"."""
        return f"{self.drawn} {self.structure}"


@dataclass(frozen=True)
class State:
    """All rounds and labels of a case at one moment.

    Parameters
    ----------
    rounds : mapping of int to Round
        Every round of every branch by its `id`, with current masks and verdicts.
    head : int
        `id` of the last round of the current branch; 0 at the start.
    labels : mapping of int to Label
        By value.
    locked : tuple of int
        Values of the locked labels, in the order in which they were locked.
    """

    rounds: Mapping[int, Round] = field(default_factory=dict)
    head: int = 0
    labels: Mapping[int, Label] = field(default_factory=dict)
    locked: tuple[int, ...] = ()

    @cached_property
    def conversation(self) -> Conversation:
        """The rounds of the current branch."""
        path, number = [], self.head
        while number:
            path.append(self.rounds[number])
            number = path[-1].parent
        return Conversation(tuple(reversed(path)))

    @property
    def next_label(self) -> int:
        """The value of the next mask."""
        return max((value for value in self.labels if value < FIRST_PLANE_LABEL), default=0) + 1

    @cached_property
    def shown(self) -> tuple[Label, ...]:
        """Labels in the order in which they get pixels: locked ones first, then proposals of this branch.

        Of several masks of one structure on one plane only the last counts; where that is rejected, the one
        that was locked last.
        """
        here = {round_.id for round_ in self.conversation.rounds}
        last: dict[tuple[int, int], Label] = {}
        for label in self.labels.values():
            place = label.drawn, label.plane
            if label.verdict == "rejected" and label.round in here:
                if place in last and not last[place].locked:
                    del last[place]
            elif label.locked or label.round in here:
                last[place] = label
        locked = {label.value: label for label in last.values() if label.locked}
        proposals = (label for label in last.values() if not label.locked)
        return (
            *(locked[value] for value in self.locked if value in locked),
            *sorted(proposals, key=lambda label: label.value),
        )

    def draw(self, plane: int, shape: tuple[int, int]) -> NDArray[np.uint16]:
        """Return label values of a plane, uint16 (row, column), 0 background; earlier labels keep pixels."""
        drawn = np.zeros(shape, np.uint16)
        for label in self.shown:
            if label.plane == plane:
                drawn[label.mask.to_array() & (drawn == 0)] = label.drawn
        return drawn

    def after(self, entry: Entry, number: int) -> State:
        """Return the state after an entry, the one of event `number`."""
        if isinstance(entry, RoundAsked):
            return self._after_round(entry, number)
        if isinstance(entry, MasksImported):
            return self._after_import(entry, number)
        if isinstance(entry, VerdictGiven):
            return self._after_verdict(entry)
        if isinstance(entry, MaskEdited):
            return self._after_edit(entry, number)
        if isinstance(entry, MaskRenamed):
            return self._after_names(dict.fromkeys(entry.labels, entry.name))
        if isinstance(entry, Branched):
            return replace(self, head=entry.round)
        return self

    def _after_round(self, entry: RoundAsked, number: int) -> State:
        round_ = replace(entry.round, id=number, first_number=entry.first_label)
        drawn = dict(enumerate(round_.joins, 1))
        if round_.carried:
            path = replace(self, head=round_.parent).conversation.rounds
            for k, reference in enumerate(round_.references, 1):
                source = path[reference.round - 1]
                drawn[k] = self.labels[source.first_number + reference.target - 1].drawn
        new = {
            value: Label(
                value,
                number,
                k,
                target.structure,
                round_.plane,
                target.mask,
                drawn=drawn.get(k, 0),
                quality=target.quality,
                found=bool(target.mask.area),
            )
            for k, (value, target) in enumerate(enumerate(round_.targets, entry.first_label), 1)
        }
        return State({**self.rounds, number: round_}, number, {**self.labels, **new}, self.locked)

    def _after_import(self, entry: MasksImported, number: int) -> State:
        """Return the state with all masks of an import; made at once, as there may be thousands.

        The last round has the number of the event, as any round has; those before it count down from 0.
        """
        rounds, labels = dict(self.rounds), dict(self.labels)
        value, plane_value = entry.first_label, max(FIRST_PLANE_LABEL, max(labels, default=0) + 1)
        parent, first, values = entry.rounds[0].parent or 0, entry.rounds[0].index, []
        for k, drafted in enumerate(entry.rounds, 1):
            own = number if k == len(entry.rounds) else -(number << 20) - k
            if drafted.carried:
                (reference,) = drafted.references
                drawn, here, plane_value = values[reference.round - first], plane_value, plane_value + 1
            else:
                drawn, here, value = value, value, value + 1
            values.append(here)
            rounds[own] = replace(drafted, id=own, parent=parent, first_number=here)
            (target,) = drafted.targets
            labels[here] = Label(
                here,
                own,
                1,
                target.structure,
                drafted.plane,
                target.mask,
                drawn=drawn,
                quality=target.quality,
            )
            parent = own
        return State(rounds, number, labels, self.locked)

    def _after_verdict(self, entry: VerdictGiven) -> State:
        labels = dict(self.labels)
        for value, mask in entry.writes:
            labels[value] = replace(labels[value], mask=mask)
        locked = list(self.locked)
        for mark in entry.marks:
            label = labels[mark.label]
            edited = label.edited or entry.verdict == "corrected"
            verdict = "corrected" if edited and entry.verdict == "accepted" else entry.verdict
            quality = mark.quality if entry.verdict == "corrected" else label.quality
            found = label.found or bool(mark.after.area)
            labels[mark.label] = replace(label, verdict=verdict, edited=edited, quality=quality, found=found)
            if verdict == "rejected" and mark.label in locked:
                locked.remove(mark.label)
            elif verdict != "rejected" and mark.label not in locked:
                locked.append(mark.label)
        touched = {mark.label for mark in entry.marks} | {value for value, _ in entry.writes}
        return replace(self, locked=tuple(locked))._with_labels({value: labels[value] for value in touched})

    def _after_edit(self, entry: MaskEdited, number: int) -> State:
        changed = {}
        for mark in entry.marks:
            label = self.labels[mark.label]
            again = entry.again and bool(label.recipes)
            before = label.recipes[-1].before if again else mark.before
            kept = label.recipes[:-1] if again else label.recipes
            applied = Applied(entry.recipe, before, mark.after, entry.inputs)
            changed[mark.label] = replace(
                label,
                mask=mark.after,
                edited=True,
                verdict="corrected" if label.locked else label.verdict,
                quality=None,
                found=label.found or bool(mark.after.area),
                recipes=(*kept, applied),
            )
        state = self._with_labels(changed)
        for k, round_ in enumerate(entry.rounds, 1):
            # As any round the last one has the number of the event; those before it count down from 0.
            own = number if k == len(entry.rounds) else -(number << 20) - k
            placed = replace(round_, parent=state.head)
            state = state._after_round(RoundAsked(placed, entry.first_label + k - 1), own)
            label = state.labels[entry.first_label + k - 1]
            empty = Mask.from_array(np.zeros(label.mask.shape, bool))
            applied = Applied(entry.recipe, empty, label.mask, entry.inputs)
            grown = replace(label, edited=True, quality=None, recipes=(applied,))
            state = replace(state, labels={**state.labels, label.value: grown})
        return state._after_names(dict(entry.names))

    def _after_names(self, names: Mapping[int, str]) -> State:
        renamed = {value: replace(self.labels[value], structure=name) for value, name in names.items()}
        return self._with_labels(renamed) if renamed else self

    def _with_labels(self, labels: Mapping[int, Label]) -> State:
        """Return the state with other labels in the place of those with their values."""
        rounds = dict(self.rounds)
        for label in labels.values():
            rounds[label.round] = _with_label(rounds[label.round], label)
        return replace(self, rounds=rounds, labels={**self.labels, **labels})

    def changed_since(self, label: Label) -> tuple[Label | None, ...]:
        """Return the masks that recipes of a mask were done with and that are others now; None is itself.

        A rejected mask counts as changed.
        """
        inputs = {value: mask for applied in label.recipes for value, mask in applied.inputs}
        others = (self.labels[value] for value in inputs)
        changed = [o for o in others if o.mask != inputs[o.value] or o.verdict == "rejected"]
        by_hand = label.recipes and label.recipes[-1].after != label.mask
        return (*changed, None) if by_hand else tuple(changed)


@dataclass
class History:
    """The steps of a case that hold, and the undone steps that can be redone.

    Parameters
    ----------
    events : iterable of Event
        Events of one case, in order.

    Attributes
    ----------
    last : int
        Number of the last event replayed.
    stack : Event or None
        The `StackBegun` that has not ended.
    """

    events: Iterable[Event] = ()
    last: int = field(default=0, init=False)
    stack: Event | None = field(default=None, init=False)
    _done: list[tuple[Event, State]] = field(default_factory=list, init=False)
    _undone: list[tuple[Event, State]] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        for event in self.events:
            self.take(event)
        self.events = ()

    @property
    def state(self) -> State:
        """The state now."""
        return self._done[-1][1] if self._done else State()

    @property
    def standing(self) -> tuple[Event, ...]:
        """The steps that were not undone; learning reads these."""
        return tuple(event for event, _ in self._done)

    @property
    def to_undo(self) -> Event | None:
        """The step that would be undone next; the last event of a batch."""
        return self._done[-1][0] if self._done else None

    @property
    def to_redo(self) -> Event | None:
        """The step that would be redone next; the first event of a batch."""
        return self._undone[-1][0] if self._undone else None

    @property
    def undone_next(self) -> tuple[Event, ...]:
        """The events that undo takes back together, the last first: one, or all of a batch."""
        return same_batch([event for event, _ in reversed(self._done)])

    @property
    def redone_next(self) -> tuple[Event, ...]:
        """The events that redo does again together, in their order."""
        return same_batch([event for event, _ in reversed(self._undone)])

    def take(self, event: Event) -> None:
        """Replay one more event."""
        self.last = event.seq
        if isinstance(event.entry, StackBegun):
            self.stack = event
        elif isinstance(event.entry, StackEnded):
            self.stack = None
        if isinstance(event.entry, Undone):
            self._undone.append(self._done.pop())
        elif isinstance(event.entry, Redone):
            self._done.append(self._undone.pop())
        elif isinstance(
            event.entry, RoundAsked | MasksImported | VerdictGiven | MaskEdited | MaskRenamed | Branched
        ):
            self._done.append((event, self.state.after(event.entry, event.seq)))
            self._undone.clear()


def _with_label(round_: Round, label: Label) -> Round:
    targets = list(round_.targets)
    there = targets[label.target - 1]
    targets[label.target - 1] = replace(
        there, structure=label.structure, mask=label.mask, verdict=label.verdict,
        corrected=there.corrected and not label.edited,
        quality=there.quality if label.quality is None else label.quality,
    )  # fmt: skip
    return replace(round_, answer=replace(round_.answer, targets=tuple(targets)))
