"""One turn of a conversation about a layer: what it needs, how it runs on the worker, how it can fail.

Touches neither viewer nor view.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from napari.layers import Image, Labels

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Conversation, Reference, Round
from napari_mediround.errors import DanglingReferenceError, MediRoundError, MissingWeightsError
from napari_mediround.session import Session
from napari_mediround.widget.layers import Grid, label_colour, study_from_layer
from napari_mediround.widget.segmenter import LazySegmenter, missing_weights
from napari_mediround.widget.view import Action, Chip, Entry, MaskLine, Message, Reply
from napari_mediround.widget.worker import Job


@dataclass(eq=False, repr=False)
class Case:
    """What a dock keeps of one image layer: its grid, its conversation, its chat, its Labels layer.

    Parameters
    ----------
    layer : weak reference
        To the image; dead when the viewer has closed it.
    grid : Grid
        Of the layer.
    session : Session or None
        Made by the first turn, on the worker.
    data : object
        What `layer.data` was when the session was made.
    entries : list
        The chat.
    labels : callable
        Returns the Labels layer, or None.
    """

    layer: weakref.ref[Image]
    grid: Grid
    session: Session | None = None
    data: object = None
    entries: list[Entry] = field(default_factory=list)
    labels: Callable[[], Labels | None] = lambda: None

    @property
    def conversation(self) -> Conversation:
        """The rounds so far."""
        return self.session.conversation if self.session else Conversation()

    def label_of(self, reference: Reference) -> str:
        """Return the label of a mask: "2 spleen"."""
        value = self.session.first_label(reference.round) + reference.target - 1
        return self.session.label_names()[value]

    def name_of(self, reference: Reference) -> str:
        """Return the label of a mask and how to refer to it: "2 spleen [1.2]"."""
        several = len(self.conversation.rounds[reference.round - 1].targets) > 1
        place = f"[{reference.round}.{reference.target}]" if several else f"[{reference.round}]"
        return f"{self.label_of(reference)} {place}"

    def chip(self, reference: Reference) -> Chip:
        """Return what a reference points at and everything it could point at."""
        masks = [Reference(r.index, n) for r in self.conversation.rounds for n, _ in enumerate(r.targets, 1)]
        choices = tuple((self.name_of(mask), mask) for mask in masks)
        return Chip(reference.phrase or str(reference), self.name_of(reference), choices)

    def reply(self, round_: Round, notes: tuple[str, ...]) -> Reply:
        """Return a round of the conversation as the chat shows it."""
        lines = []
        for value, t in enumerate(round_.targets, self.session.first_label(round_.index)):
            size, unit = self.session.area(t.mask)
            area = f"{size:,.0f} {unit}"
            lines.append(MaskLine(value, label_colour(value), t.structure, t.quality, area, t.corrected))
        where = " ".join(word for word in (self.grid.geometry.plane_name, f"plane {round_.plane}") if word)
        pointed = tuple(f"“{r.phrase or r}” → {self.label_of(r)}" for r in round_.references)
        text = round_.answer.text
        return Reply(round_.index, round_.plane, where, text, pointed, tuple(lines), notes, round_.seconds)


@dataclass(frozen=True)
class Ask:
    """A question with all that it depends on, so that it can be asked again.

    Parameters
    ----------
    case : Case
        Which image and conversation.
    text : str
        The question.
    plane : int
        0-based, display order.
    window : str, (level, width) or None
        As in `Session.answer`.
    references : tuple of Reference, optional
        What it points at; None resolves the words.
    swaps : tuple of (str, Reference)
        Phrases that the user pointed at another mask than the words mean.
    """

    case: Case
    text: str
    plane: int
    window: str | tuple[float, float] | None
    references: tuple[Reference, ...] | None = None
    swaps: tuple[tuple[str, Reference], ...] = ()


@dataclass(frozen=True)
class Fetch:
    """The offer to fetch the weights and then to ask again."""

    ask: Ask


def take_turn(segmenter: LazySegmenter, layer: Image, ask: Ask, job: Job) -> Round:
    """Answer a question, on the worker. References are resolved before anything slow.

    Raises
    ------
    MediRoundError
        As `Session.answer`, `study_from_layer` and the loading of the model.
    """
    case = ask.case
    if case.session is None or case.data is not layer.data:
        session = Session(segmenter, study_from_layer(layer), load_anatomy())
        session.conversation = case.conversation
        case.session, case.data = session, layer.data
    references = ask.references
    if references is None:
        swaps = dict(ask.swaps)
        references = tuple(swaps.get(r.phrase, r) for r in case.session.resolve(ask.text))
    if not segmenter.loaded:
        job.report("loading the model …")
        segmenter.load()
    job.report(f"looking at plane {ask.plane} …")
    return case.session.answer(ask.text, ask.plane, references, ask.window, job.cancelled)


def explain(error: Exception, ask: Ask) -> Message:
    """Return a failure in words, with what can be done about it as buttons."""
    if isinstance(error, MissingWeightsError):
        missing = missing_weights()
        size = sum(weight.download for weight in missing) / 1e6
        offer = (Action(f"Fetch weights ({size:.0f} MB download)", Fetch(ask)),) if missing else ()
        names = ", ".join(f"{weight.name} ({weight.purpose})" for weight in missing)
        text = f"The model's weights are not on this machine yet: {names}." if missing else str(error)
        return Message(text, True, offer)
    if isinstance(error, DanglingReferenceError):
        choices = (Action(ask.case.name_of(r), replace(ask, references=(r,))) for r in error.choices)
        return Message(str(error), True, tuple(choices))
    if isinstance(error, MediRoundError):
        return Message(str(error), True)
    what = f"Something failed inside MediRound ({type(error).__name__}: {error})."
    return Message(f"{what} The conversation is as it was. The log says where; please report it.", True)
