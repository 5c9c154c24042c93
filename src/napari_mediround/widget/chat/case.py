"""What a dock keeps of one image: its grid, its session, its chat. Touches neither viewer nor view."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import cache

from napari.layers import Image, Labels
from numpy.typing import NDArray

from napari_mediround.domain.rounds import MENTIONED_SHARE, Conversation, Reference, Round
from napari_mediround.session import Session
from napari_mediround.widget.chat.view import Action, Chip, Entry, MaskLine, Question, Reply
from napari_mediround.widget.layers.layer_geometry import Grid, layer_grid, leading_shape
from napari_mediround.widget.layers.mask_layer import label_colour


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
    names : dict
        Of label values, as the Labels layer has them.
    """

    layer: weakref.ref[Image]
    grid: Grid
    session: Session | None = None
    data: object = None
    labels: Callable[[], Labels | None] = lambda: None
    current: int = 0
    asked: str = ""
    hidden: int = 0
    names: dict[int, str] = field(default_factory=dict)
    _remarks: dict[int, list[Entry]] = field(default_factory=dict)

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
        """Let the keys act on the next mask of this round, or the last, that waits for a verdict, or stay."""
        if self.current not in self.values or self.session.label(self.current).verdict:
            rounds = self.conversation.rounds
            this = [r for r in rounds if self.current in self.values_of(r)]
            near = [value for r in (*this, *rounds[-1:]) for value in self.values_of(r)]
            waiting = [value for value in near if not self.session.label(value).verdict]
            stay = [self.current] if self.current in self.values else list(self.values[-1:])
            self.current = (waiting or stay or [0])[0]

    def remark(self, entry: Entry) -> None:
        """Put what is no round into the chat, after the last round."""
        self._remarks.setdefault(self.session.head if self.session else 0, []).append(entry)

    @property
    def entries(self) -> list[Entry]:
        """The chat: rounds of this branch, and what was said between them."""
        entries = list(self._remarks.get(0, ()))
        shown = cache(lambda plane: self.session.labels(plane))
        for round_ in self.conversation.rounds:
            asked = [] if round_.carried else [Question(round_.text)]
            entries += [*asked, self._reply(round_, shown), *self._remarks.get(round_.id, ())]
        return entries + ([Question(self.asked)] if self.asked else [])

    def name_of(self, reference: Reference) -> str:
        """Return the label of a mask and how to refer to it: "2 spleen [1.2]"."""
        several = len(self.conversation.rounds[reference.round - 1].targets) > 1
        place = f"[{reference.round}.{reference.target}]" if several else f"[{reference.round}]"
        return f"{self.label_of(reference)} {place}"

    def label_of(self, reference: Reference) -> str:
        """Return the label of a mask: "2 spleen"."""
        return self.session.label(self.session.label_of(reference)).name

    def masks(self, before: int | None = None) -> list[Reference]:
        """Return the masks that a question can point at: not rejected, of rounds before `before`."""
        return [
            Reference(r.index, n)
            for r in self.conversation.rounds[: None if before is None else before - 1]
            for n, target in enumerate(r.targets, 1)
            if target.verdict != "rejected"
        ]

    def chip(self, reference: Reference) -> Chip:
        """Return what a reference of the question being typed points at, and what else it could."""
        choices = tuple(Action(self.name_of(mask), mask) for mask in self.masks())
        phrase = reference.phrase or str(reference)
        return Chip(phrase, self.name_of(reference), self.session.label_of(reference), choices)

    def _reply(self, round_: Round, shown: Callable[[int], NDArray]) -> Reply:
        session, lines = self.session, []
        for value, target in zip(self.values_of(round_), round_.targets, strict=True):
            drawn = session.label(value).drawn
            size, unit = session.area(target.mask)
            depth = (
                self.grid.geometry.spacing_mm[0] if unit == "mm²" and self.grid.geometry.shape[0] > 1 else 0
            )
            lines.append(
                MaskLine(
                    value,
                    label_colour(drawn),
                    target.structure,
                    target.quality,
                    f"{size:,.0f} {unit}",
                    f"{size * depth / 1000:,.1f} ml" if depth else "",
                    target.corrected,
                    target.verdict,
                    drawn,
                )
            )
        where = " ".join(word for word in (self.grid.geometry.plane_name, f"plane {round_.plane}") if word)
        notes = tuple(note for note in (round_.answer.note, *self._covered(round_, shown)) if note)
        chips = tuple(self._swap_chip(round_, reference) for reference in round_.references)
        return Reply(
            round_.index, round_.plane, where, round_.answer.text, chips, tuple(lines), notes,
            round_.seconds, self._more(round_),
        )  # fmt: skip

    def _covered(self, round_: Round, shown: Callable[[int], NDArray]) -> Iterator[str]:
        """Say how much of a round's proposals the layer does not show."""
        on_plane = sum(label.plane == round_.plane for label in self.session.state.shown)
        for value in self.values_of(round_) if on_plane > 1 else ():
            label = self.session.label(value)
            if label.verdict or not label.mask.area:
                continue
            share = 1 - (shown(round_.plane)[label.mask.to_array()] == label.drawn).mean()
            if share >= MENTIONED_SHARE:
                yield f"{share:.0%} of {label.name} lies under earlier labels, which stay."

    def _swap_chip(self, round_: Round, reference: Reference) -> Chip:
        """Return a chip of a reply: another mask asks the round again with it."""
        phrase = reference.phrase or str(reference)
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
        actions = [] if round_.carried else [Action("Ask again", Again(round_.index, None))]
        if self.grid.geometry.shape[0] > 1:
            for label in map(self.session.label, self.values_of(round_)):
                if label.verdict != "rejected" and label.mask.area:
                    actions.append(Action(f"Carry {label.name} through the stack", Carry(label.value)))
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
class Carry:
    """Carry a mask, by its label value, through the stack."""

    value: int


@dataclass(frozen=True)
class AcceptAll:
    """Accept masks, by their label values, in one step."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class GoTo:
    """Go on from a round, of whatever branch."""

    round_id: int
