"""One conversation about one study. Talks to any `Segmenter`, so it needs neither torch nor Qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from time import perf_counter

import numpy as np

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import choose_window, render_plane
from napari_mediround.errors import DanglingReferenceError, MediRoundError, stop_if
from napari_mediround.journal import Journal
from napari_mediround.questions.request import Request
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.understanding import understand_in
from napari_mediround.session.answering import Answering, references_of
from napari_mediround.session.record import Record, Step
from napari_mediround.session.segmenter import Segmenter

LONGEST = 2000
"""Characters of a question: more would keep a small model busy for minutes and tell it nothing."""
CARRY_QUALITY = 0.4
"""A carried mask that is judged lower is not taken."""
CARRY_OVERLAP = 0.4
"""Least Dice of a carried mask with the one a plane before."""


class Session(Answering, Record):
    """One conversation about one study: its `Record`, and a model to ask.

    `answer` computes a round and changes nothing, so that it may run on another thread and be thrown
    away; `add` takes a round into the conversation; `ask` does both.

    Parameters
    ----------
    segmenter : Segmenter
        The model. Several sessions may share one; only one of them asks at a time.
    study : Study
        The image, in display order.
    anatomy : Anatomy, optional
        Synonyms for references ("the hepatic organ" for "the liver").
    free_text : bool
        Whether the language model may answer what asks for nothing that can be done; each such reply is
        marked as unverified.
    journal, case
        As in `Record`; where the journal knows the image, the session goes on where it stopped.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        study: Study,
        anatomy: Anatomy | None = None,
        journal: Journal | None = None,
        case: str = "",
        free_text: bool = False,
    ) -> None:
        super().__init__(study, journal, case)
        self.segmenter, self.anatomy, self.free_text = segmenter, anatomy, free_text
        self._images: set[str] = set()

    def move_to(self, study: Study) -> Session:
        """Return the session on other pixels of the same grid; conversation and journal stay."""
        moved = Session(self.segmenter, study, self.anatomy, self.journal, self.case, self.free_text)
        moved._images = set(self._images)
        return moved

    def resolve(self, text: str, plane: int | None = None, after: int | None = None) -> tuple[Reference, ...]:
        """Return what the words of a question about a plane point at, in the order of the text.

        Among masks of one name those on the plane are meant. With `after`, only that many rounds count.

        Raises
        ------
        DanglingReferenceError
            When they point at nothing, or at several masks; its `choices` name what there is.
        """
        request = self.understand(text, plane or 0, after)
        return self._pointed(request, text, plane or 0, after)

    def prepare(self, plane: int, window: str | tuple[float, float] | None = None) -> str:
        """Give the segmenter one plane, so that the next question about it is quicker; return its key.

        Raises
        ------
        MediRoundError
            When the study has no such plane or there is no such window.
        """
        self._check_plane(plane)
        view = self.study.geometry.plane_name.removeprefix("oblique ")
        rendered = render_plane(self.study, plane, window)
        spacing = self.study.geometry.spacing_mm[1:]
        key = self.segmenter.set_image(rendered, view, self.study.modality, spacing)
        self._images.add(key)
        return key

    def answer(
        self,
        text: str,
        plane: int,
        references: tuple[Reference, ...] | None = None,
        window: str | tuple[float, float] | None = None,
        cancelled: Callable[[], bool] | None = None,
        after: int | None = None,
    ) -> Round:
        """Return the next round without adding it.

        Parameters
        ----------
        text : str
            The question.
        plane : int
            0-based plane in display order.
        references : tuple of Reference, optional
            What the question points at; None resolves it from the words.
        window : str or (level, width), optional
            CT window; None takes the one the question speaks of ("lung"), else soft tissue.
        cancelled : callable, optional
            Asked between steps; True stops the work.
        after : int, optional
            Ask as if only so many rounds had been; None asks after the last.

        Raises
        ------
        DanglingReferenceError
            When a reference points at nothing or at several masks; the model did not run.
        CancelledError
            When `cancelled` said so.
        MediRoundError
            When the text is empty or far too long, or the plane is not in the study.
        """
        began = perf_counter()
        conversation, text = self._first(after), text.strip()
        if not text:
            raise MediRoundError('The question is empty. Type what you want to see, for example "the liver".')
        if len(text) > LONGEST:
            raise MediRoundError(f"The question has {len(text):,} characters, at most {LONGEST:,} are read.")
        self._check_plane(plane)
        given = _checked(references or (), conversation)
        request = self.understand(text, plane, after, given)
        if references is None:
            references = self._pointed(request, text, plane, after)
        elif not references:
            references = references_of(request)
        references = _checked(references, conversation)
        stop_if(cancelled)
        plane, reply = self._other_plane(request, plane)
        if window is None and choose_window(self.study, text) is None:  # "die Lunge"
            window = choose_window(self.study, " ".join(map(str, request.targets)))
        asked = text, conversation, references
        answer = Answer(reply) if reply else self._answered(request, *asked, plane, window, cancelled)
        stop_if(cancelled)
        for target in answer.targets:
            if target.mask.shape != self.study.geometry.shape[1:]:
                raise ValueError(f"a mask of {target.mask.shape} on planes of {self.study.geometry.shape}")
        parent = conversation.rounds[-1].id if conversation.rounds else 0
        seconds = perf_counter() - began
        return Round(len(conversation) + 1, plane, text, references, answer, seconds, window, parent)

    def understand(
        self, text: str, plane: int, after: int | None = None, pointed: tuple[Reference, ...] = ()
    ) -> Request:
        """Return what a question about a plane asks for.

        Parameters
        ----------
        text : str
            The question.
        plane : int
            0-based plane.
        after : int, optional
            As in `answer`.
        pointed : tuple of Reference
            Masks that a person chose for words which may mean several.
        """
        situation = Situation.of(self._first(after), self.study, plane)
        refs = tuple((r.round, r.target) for r in pointed)
        return understand_in(text, replace(situation, pointed=refs))

    def _with_absent(self, answer: Answer) -> Answer:
        """Return an answer with an empty mask of each structure that was not found.

        Such a mask has a number, so that a person can say that it is right, or draw what was missed.
        """
        nothing = Mask.from_array(np.zeros(self.study.geometry.shape[1:], bool))
        absent = tuple(Target(name, nothing, 0.0) for name in answer.absent)
        return replace(answer, targets=(*answer.targets, *absent))

    def add(self, round_: Round, branch: bool = False, model: Mapping[str, str] | None = None) -> Step:
        """Take a round, as `answer` returned it, into the conversation.

        With `branch` it may be one that was answered with `after`. `model` is what answered, as it described
        itself then; None asks it now.

        Raises
        ------
        ValueError
            When the conversation is another one since it was asked.
        JournalError
            When it could not be saved.
        """
        return self.take_round(round_, branch, model or self.segmenter.describe())

    def ask(
        self,
        text: str,
        plane: int,
        references: tuple[Reference, ...] | None = None,
        window: str | tuple[float, float] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> Round:
        """Ask, add the round to the conversation and return it; parameters and errors as in `answer`.

        A question that fails or is cancelled leaves the conversation as it was.
        """
        self.add(self.answer(text, plane, references, window, cancelled))
        return self.conversation.rounds[-1]

    def carry(
        self, reference: Reference, step: int, cancelled: Callable[[], bool] | None = None
    ) -> Round | str:
        """Return the round that carries a mask to the next plane, without adding it, or why it stops there.

        Parameters
        ----------
        reference : Reference
            The mask.
        step : {1, -1}
            Up or down the stack.
        cancelled : callable, optional
            As in `answer`.

        Returns
        -------
        Round or str
            In words why not: the stack or the structure ends, the judge doubts the mask, it is another shape
            or place than a plane before, or it lies on a mask of this structure that is there already.

        Raises
        ------
        DanglingReferenceError
            When there is no such mask.
        CancelledError
            When `cancelled` said so.
        """
        began, conversation = perf_counter(), self.conversation
        (reference,) = _checked((reference,), conversation)
        source, target = conversation.rounds[reference.round - 1], conversation.target(reference)
        plane = source.plane + step
        if not 0 <= plane < self.study.planes:
            return "the stack ends"
        there = [o for o in self.state.shown if (o.structure, o.plane) == (target.structure, plane)]
        already = f"plane {plane} has a {target.structure} already"
        drawn = self.label(self.label_of(reference)).drawn
        if any(other.drawn == drawn and other.mask.area for other in there):
            return already
        window = choose_window(self.study, source.text, source.window)
        before = self.prepare(source.plane, window)
        image = self.prepare(plane, window)
        stop_if(cancelled)
        mask, quality = self.segmenter.propagate(target.mask, before)
        stop_if(cancelled)
        if stop := _why_stop(target.mask, mask, quality):
            return f"{stop} on plane {plane}"
        if any((other.mask.to_array() & mask.to_array()).any() for other in there):
            return already
        found = Target(target.structure, mask, quality)
        answer = Answer("Carried from the plane beside it.", (found,), image=image)
        text = f"Carry [{conversation.number_of(reference)}] to plane {plane}."
        seconds = perf_counter() - began
        number, parent = len(conversation) + 1, conversation.rounds[-1].id
        return Round(number, plane, text, (reference,), answer, seconds, window, parent, carried=True)

    def reference_to(self, value: int) -> Reference:
        """Return the reference to a mask of the conversation; `MediRoundError` where it is not there."""
        label = self.label(value)
        index = next((r.index for r in self.conversation.rounds if r.id == label.round), 0)
        if not index:
            raise MediRoundError(f"{label.name} is on another branch of the conversation. Go there first.")
        return Reference(index, label.target)

    def _first(self, rounds: int | None) -> Conversation:
        """Return so many rounds of the conversation, all for None."""
        return self.conversation if rounds is None else Conversation(self.conversation.rounds[:rounds])

    def _recall_images(self, conversation: Conversation, references: tuple[Reference, ...]) -> None:
        """Show the segmenter the planes of referenced masks that it saw before a restart, if ever."""
        pointed = [*references, *(r for round_ in conversation.rounds for r in round_.references)]
        for round_ in {r.round: conversation.rounds[r.round - 1] for r in pointed}.values():
            if round_.answer.image and round_.answer.image not in self._images:
                self.prepare(round_.plane, choose_window(self.study, round_.text, round_.window))
                self._images.add(round_.answer.image)


def _why_stop(before: Mask, after: Mask, quality: float) -> str:
    """Return why a carried mask is not to be trusted, "" where it is."""
    if not after.area:
        return "nothing of it is found"
    if quality < CARRY_QUALITY:
        return f"the judge doubts it ({quality:.2f})"
    overlap = 2 * int((before.to_array() & after.to_array()).sum()) / (before.area + after.area)
    return "" if overlap >= CARRY_OVERLAP else f"it is elsewhere (overlap {overlap:.2f})"


def _checked(references: tuple[Reference, ...], conversation: Conversation) -> tuple[Reference, ...]:
    """Return references to masks that are there; raises `DanglingReferenceError` for others."""
    for reference in references:
        try:
            conversation.target(reference)
        except LookupError as error:
            masks = ((r.index, n) for r in conversation.rounds for n, _ in enumerate(r.targets, 1))
            raise DanglingReferenceError(
                f"{reference} points at nothing: {error}. Choose one of the masks so far.",
                tuple(Reference(*mask) for mask in masks),
            ) from error
    return tuple(references)
