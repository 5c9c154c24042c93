"""What a dock keeps of one image: its grid, its session, its chat. Touches neither viewer nor view."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_mediround.domain.hounsfield import GUESSES
from napari_mediround.domain.rounds import MENTIONED_SHARE, Conversation, Reference, Round, Target
from napari_mediround.domain.units import area_in_words, volume_in_words
from napari_mediround.journal import Label, State
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session import Session, Step
from napari_mediround.session.editing import recipe_lines
from napari_mediround.session.stack.standing import doubtful_planes
from napari_mediround.widget.chat.view import (
    AbsentLine,
    Action,
    Chip,
    Entry,
    MaskLine,
    Message,
    Question,
    Reply,
)
from napari_mediround.widget.layers.layer_geometry import STUDY_KEY, Grid, layer_grid, leading_shape
from napari_mediround.widget.layers.mask_layer import label_colour
from napari_mediround.widget.stack.stack_lines import (
    AcceptAll,
    Follow,
    GoOn,
    NextDoubtful,
    RejectAll,
    add_planes,
)

NOT_FOUND = "No {} on this plane."
MOVED = "The card of {} is further down, where it was asked for last."


@dataclass(eq=False, repr=False)
class Case:
    """One image, or one volume of it, and what was said about it.

    Parameters
    ----------
    layer : weak reference
        To the image; dead when the viewer has closed it.
    grid : Grid
        Of the layer.
    session : Session or None
        Made on the worker, by the first turn or because the project knows the image.
    data : object
        What `layer.data` was when the session was made.
    labels : callable
        Returns the Labels layer, or None.
    current : int
        Label value of the mask that the keys act on, 0 for none.
    asked : str
        The question that is being answered, "" for none.
    hidden : int
        Label value that the Labels layer does not show, because it is being fixed; 0 for none.
    concealed : frozenset of int
        Numbers of the masks that a person has hidden; the layer holds them, and does not colour them.
    names : dict
        Of label values, as the Labels layer has them.
    doubts : dict
        What the checks say of structures, by their numbers.
    checked : State or None
        Of the session, when it was checked last.
    ignored : set of (str, tuple of int)
        Checks and numbers of structures that a person wants to hear no more of.
    """

    layer: weakref.ref[Image]
    grid: Grid
    session: Session | None = None
    data: object = None
    labels: Callable[[], Labels | None] = lambda: None
    current: int = 0
    asked: str = ""
    hidden: int = 0
    concealed: frozenset[int] = frozenset()
    names: dict[int, str] = field(default_factory=dict)
    doubts: dict[int, tuple[Message, ...]] = field(default_factory=dict)
    checked: State | None = None
    ignored: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    _remarks: dict[int, list[Entry]] = field(default_factory=dict)
    _told: tuple[str, ...] = ()

    def fits(self, layer: Image) -> bool:
        """Return whether a layer still has the case's grid: its pixels may have been replaced."""
        if len(leading_shape(layer)) != len(self.grid.volume):
            return False
        return layer_grid(layer, self.grid.volume) == self.grid

    @property
    def conversation(self) -> Conversation:
        """The rounds so far."""
        return self.session.conversation if self.session else Conversation()

    @property
    def values(self) -> tuple[int, ...]:
        """Label values of the conversation's masks, in its order."""
        rounds = self.conversation.rounds
        return tuple(v for r in rounds for v in self.values_of(r))

    def values_of(self, round_: Round) -> tuple[int, ...]:
        """Return the label values of a round's masks."""
        return tuple(
            self.session.label_of(Reference(round_.index, n)) for n in range(1, len(round_.targets) + 1)
        )

    def choose_current(self) -> None:
        """Let the keys act on the next mask of this round, or the last, that waits for a verdict, or stay.

        They never act on what was not found: its line says what can be done.
        """
        shown = {label.value for label in self.session.state.shown}
        labels = map(self.session.label, self.values)
        found = [x.value for x in labels if x.found and (x.value in shown or x.verdict == "rejected")]
        if self.current not in found or self.session.label(self.current).verdict:
            rounds = self.conversation.rounds
            this = [r for r in rounds if self.current in self.values_of(r)]
            near = [v for r in (*this, *rounds[-1:]) for v in self.values_of(r) if v in found]
            waiting = [value for value in near if not self.session.label(value).verdict]
            if self.current in found:
                number = self.session.label(self.current).drawn
                worst = [mask.value for mask in doubtful_planes(self.session.state, number)]
                waiting = [value for value in worst if value in found] or waiting
            stay = [self.current] if self.current in found else near[-1:]
            self.current = (waiting or stay or [0])[0]

    def untold(self) -> tuple[str, ...]:
        """Return the notes, not returned before, of a layer of another reader; `Reading` tells the others."""
        layer = self.layer()
        own = layer is None or STUDY_KEY in layer.metadata
        notes = () if own or self.session is None else self.session.study.notes
        told, self._told = self._told, notes
        return tuple(note for note in notes if note not in (*told, *GUESSES))

    def remark(self, entry: Entry) -> None:
        """Put what is no round into the chat, after the last round."""
        self._remarks.setdefault(self.session.head if self.session else 0, []).append(entry)

    @property
    def entries(self) -> list[Entry]:
        """The chat: rounds of this branch, and what was said between them."""
        entries = [self._without_spent(entry) for entry in self._remarks.get(0, ())]
        shown = cache(lambda plane: self.session.labels(plane))
        for round_ in self.conversation.rounds:
            asked = [] if round_.carried or round_.imported else [Question(round_.text)]
            said = (self._without_spent(entry) for entry in self._remarks.get(round_.id, ()))
            entries += [*asked, *([] if round_.carried else [self._reply(round_, shown)]), *said]
            if not round_.carried:
                numbers = dict.fromkeys(self.session.label(value).drawn for value in self.values_of(round_))
                entries += [doubt for number in numbers for doubt in self.doubts.get(number, ())]
        return entries + ([Question(self.asked)] if self.asked else [])

    def _without_spent(self, entry: Entry) -> Entry:
        """Return an entry without the actions that would do nothing any more."""
        if not isinstance(entry, Message):
            return entry
        return replace(entry, actions=tuple(a for a in entry.actions if self._has_use(a.key)))

    def _has_use(self, key: object) -> bool:
        if isinstance(key, AcceptAll | RejectAll):
            return bool(self.waiting(key.values))
        if isinstance(key, NextDoubtful):
            return bool(doubtful_planes(self.session.state, key.number))
        if isinstance(key, GoOn):
            return self.session.stack is not None
        return not isinstance(key, Overlap) or self.session.state == key.state

    def waiting(self, values: tuple[int, ...]) -> list[int]:
        """Return which of some label values show a mask that waits for a verdict."""
        labels = [self.session.label(value) for value in values if value in self.values]
        return [label.value for label in labels if label.mask.area and not label.verdict]

    def name_of(self, reference: Reference) -> str:
        """Return the label of a mask and where it lies: "2 spleen, plane 46"."""
        plane = self.conversation.rounds[reference.round - 1].plane
        return f"{self.label_of(reference)}, plane {plane}"

    def label_of(self, reference: Reference) -> str:
        """Return the label of a mask: "2 spleen"."""
        return self.session.label(self.session.label_of(reference)).name

    def masks(self, before: int | None = None) -> list[Reference]:
        """Return the masks that a question can point at: not rejected, of rounds before `before`."""
        return [
            m.reference
            for m in self.conversation.masks()
            if m.target.verdict != "rejected"
            and m.target.mask.area
            and (before is None or m.round.index < before)
            and not m.round.carried
        ]

    def chip(self, reference: Reference) -> Chip:
        """Return what a reference of the question being typed points at, and what else it could."""
        choices = tuple(Action(self.name_of(mask), mask) for mask in self.masks())
        phrase = reference.phrase or f"[{self.conversation.number_of(reference)}]"
        return Chip(phrase, self.label_of(reference), self.session.label_of(reference), choices)

    def _reply(self, round_: Round, shown: Callable[[int], NDArray]) -> Reply:
        labels = [self.session.label(value) for value in self.values_of(round_)]
        pairs = list(zip(labels, round_.targets, strict=True))
        homes = self._homes
        lines = tuple(self._line(*p) for p in pairs if p[0].found and homes[p[0].drawn] == round_.index)
        moved = [
            x for x, _ in pairs if x.found and homes[x.drawn] != round_.index and x.verdict != "rejected"
        ]
        absent = [self._absent(label) for label in labels if not label.found]
        known = {label.structure for label in labels}  # journals of 0.1 have no mask of what was not found
        absent += [AbsentLine(NOT_FOUND.format(name)) for name in round_.answer.absent if name not in known]
        where = " ".join(word for word in (self.grid.geometry.plane_name, f"plane {round_.plane}") if word)
        notes = (round_.answer.note, *self._covered(round_, shown), *(MOVED.format(x.name) for x in moved))
        notes = tuple(note for note in notes if note)
        chips = tuple(self._swap_chip(round_, reference) for reference in round_.references)
        text = "" if absent and not lines else round_.answer.text
        return Reply(
            round_.index, round_.plane, where, text, chips, lines, notes, round_.seconds, self._more(round_),
            tuple(absent),
        )  # fmt: skip

    @property
    def _homes(self) -> dict[int, int]:
        """The round whose card has the planes of each structure, by number: where it was asked for last."""
        masks = (mask for mask in self.conversation.masks() if not mask.round.carried)
        found = ((m, self.session.label(self.session.label_of(m.reference))) for m in masks)
        return {mask.number: mask.round.index for mask, label in found if label.found}

    def _line(self, label: Label, target: Target) -> MaskLine:
        """Return what a card says of a mask, and of the other planes of its structure."""
        geometry, (size, unit) = self.grid.geometry, self.session.area(target.mask)
        depth = geometry.spacing_mm[0] if unit == "mm²" and geometry.shape[0] > 1 else 0
        area, volume = area_in_words(size, unit), volume_in_words(size * depth / 1000) if depth else ""
        line = MaskLine(
            label.value, label_colour(label.drawn), target.structure, label.quality, area, volume,
            target.corrected, target.verdict, label.drawn, *self._recipe(label),
            imported=self.session.rounds[label.round].imported is not None,
        )  # fmt: skip
        return add_planes(line, self.session.state, geometry)

    def _recipe(self, label: Label) -> tuple[str, str, Action | None]:
        """Return what a card says of a mask that was changed in words."""
        changed = self.session.state.changed_since(label)
        hint = "Do the last step of the recipe again, with the other masks as they are now"
        again = Action("Apply again", Reapply(label.value), hint) if changed and None not in changed else None
        return (*recipe_lines(label, changed), again)

    def _absent(self, label: Label) -> AbsentLine:
        """Return what a card says of a structure that was not found."""
        confirmed = label.verdict == "accepted"
        draw = Action(
            "It is there: click it", Draw(label.value), "Go to the plane and click inside the structure"
        )
        agree = Action(
            "It is absent", Confirm(label.value), "Keep in the project that it is not on this plane"
        )
        return AbsentLine(
            NOT_FOUND.format(label.structure), confirmed, (draw,) if confirmed else (draw, agree)
        )

    def _covered(self, round_: Round, shown: Callable[[int], NDArray]) -> Iterator[str]:
        """Say how much of a round's proposals the layer does not show."""
        on_plane = sum(label.plane == round_.plane for label in self.session.state.shown)
        for value in self.values_of(round_) if on_plane > 1 else ():
            label = self.session.label(value)
            if label.verdict or not label.mask.area:
                continue
            share = 1 - (shown(round_.plane)[label.mask.to_array()] == label.drawn).mean()
            if share >= MENTIONED_SHARE:
                yield f"{share:.0%} of {label.name} is hidden under earlier masks, which keep their pixels."

    def _swap_chip(self, round_: Round, reference: Reference) -> Chip:
        """Return a chip of a reply: another mask asks the round again with it."""
        phrase = reference.phrase or f"[{self.conversation.number_of(reference)}]"
        choices = []
        for mask in self.masks(before=round_.index):
            swapped = tuple(
                replace(mask, phrase=r.phrase) if r == reference else r for r in round_.references
            )
            choices.append(Action(self.name_of(mask), Again(round_.index, swapped)))
        value = self.session.label_of(reference)
        return Chip(phrase, self.label_of(reference), value, tuple(choices))

    def _more(self, round_: Round) -> tuple[Action, ...]:
        """Return what can be done with a round beside its verdicts, the other branches included."""
        actions = [] if round_.imported else [Action("Ask again", Again(round_.index, None))]
        if self.grid.geometry.shape[0] > 1:
            for label in map(self.session.label, self.values_of(round_)):
                if label.verdict != "rejected" and label.mask.area:
                    words = f"Propagate {label.name} through the stack"
                    plan = StackBegun((label.drawn,), label.plane, 0, self.grid.geometry.shape[0] - 1)
                    actions.append(Action(words, Follow(plan)))
        if round_.index < len(self.conversation):
            actions.append(Action("Go on from here", GoTo(round_.id)))
        shown = {r.id for r in self.conversation.rounds}
        for other in self.session.rounds.values():
            if other.parent == round_.parent and other.id not in shown:
                end = self._last_of(other)
                actions.append(Action(f"Other branch: {other.text} ({end.index} rounds)", GoTo(end.id)))
        return tuple(actions)

    def _last_of(self, round_: Round) -> Round:
        """Return the newest round that follows from one."""
        follows = [r for r in self.session.rounds.values() if r.parent == round_.id]
        return self._last_of(max(follows, key=lambda r: r.id)) if follows else round_


@dataclass(frozen=True)
class Again:
    """Ask a round again; `references` None are those it had."""

    index: int
    references: tuple[Reference, ...] | None


@dataclass(frozen=True)
class Reapply:
    """Do the last recipe of a mask, by its label value, again."""

    value: int


@dataclass(frozen=True)
class Draw:
    """Draw a structure that was not found, by its label value."""

    value: int


@dataclass(frozen=True)
class Confirm:
    """Say that a structure, by its label value, is rightly not found."""

    value: int


@dataclass(frozen=True)
class Overlap:
    """Take a verdict again, with another choice for the pixels that a locked mask has.

    Parameters
    ----------
    verdict : callable
        Returns the step.
    state : State
        After the step that it replaces; where it is another now, it is too late.
    """

    verdict: Callable[[], Step]
    state: State


@dataclass(frozen=True)
class GoTo:
    """Go on from a round, of whatever branch."""

    round_id: int
