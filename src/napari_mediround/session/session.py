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
from napari_mediround.journal.entries import StackBegun
from napari_mediround.questions.request import Request
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.understanding import understand_in
from napari_mediround.session import replies
from napari_mediround.session.answering import Answering, references_of
from napari_mediround.session.editing import Editing
from napari_mediround.session.record import Step
from napari_mediround.session.segmenter import Segmenter
from napari_mediround.session.stack.joining import Manner, join_numbers, leave_out_known
from napari_mediround.session.stack.one_step import carry_once

LONGEST = 2000
"""Characters of a question: more would keep a small model busy for minutes and tell it nothing."""


PLAIN = Manner()


class Session(Answering, Editing):
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

    def resolve(
        self,
        text: str,
        plane: int | None = None,
        after: int | None = None,
        request: Request | None = None,
    ) -> tuple[Reference, ...]:
        """Return what the words of a question about a plane point at, in the order of the text.

        Among masks of one name those on the plane are meant. With `after`, only that many rounds count.
        With `request` the words were understood already.

        Raises
        ------
        DanglingReferenceError
            When they point at nothing, or at several masks; its `choices` name what there is.
        """
        request = request or self.understand(text, plane or 0, after)
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
        request: Request | None = None,
        manner: Manner = PLAIN,
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
        request : Request, optional
            What the text was understood to ask for, perhaps changed by a person, or one step of it.
        manner : Manner
            What is to be done with masks that are there already, and whether the stack is meant.

        Returns
        -------
        Round
            With `through` where its structures are to be followed: see `plan_stack`.

        Raises
        ------
        DanglingReferenceError
            When a reference points at nothing or at several masks; the model did not run.
        AlreadyThereError
            When the plane has masks of all that is asked for, and `manner` says to ask; nor did it.
        CancelledError
            When `cancelled` said so.
        MediRoundError
            When the text is empty or far too long, or the plane is not in the study.
        """
        began = perf_counter()
        conversation, text = self._first(after), _sensible(text)
        self._check_plane(plane)
        given = _checked(references or (), conversation)
        request = request or self.understand(text, plane, after, given)
        if references is None:
            references = self._pointed(request, text, plane, after)
        elif not references:
            references = references_of(request)
        references = _checked(references, conversation)
        stop_if(cancelled)
        plane, through, reply = self._other_plane(request, plane, manner.stack)
        if window is None and choose_window(self.study, text) is None:  # "die Lunge"
            window = choose_window(self.study, " ".join(map(str, request.targets)))
        left, follows = self._left_to_draw(request, conversation, references, plane, through, manner)
        asked = text, conversation, references
        if reply or left is None:
            names = replies.join(self.label(self.label_of(r)).name for r in follows)
            answer = Answer(reply or replies.FOLLOWED.format(names))
        else:
            answer = self._answered(left, *asked, plane, window, cancelled)
        stop_if(cancelled)
        for target in answer.targets:
            if target.mask.shape != self.study.geometry.shape[1:]:
                raise ValueError(f"a mask of {target.mask.shape} on planes of {self.study.geometry.shape}")
        parent = conversation.rounds[-1].id if conversation.rounds else 0
        joins = join_numbers(answer.targets, conversation, plane, manner.again == "replace")
        return Round(
            len(conversation) + 1, plane, text, references, answer, perf_counter() - began, window, parent,
            joins=joins, through=through, follows=follows,
        )  # fmt: skip

    def _left_to_draw(
        self, request, conversation, references, plane, through, manner
    ) -> tuple[Request | None, tuple[Reference, ...]]:
        """Return what of a request is not there yet, None for nothing, and what there is to be followed."""
        if request.action != "segment" or not (through or manner.again == "ask"):
            return request, ()
        if through and not request.targets:
            return None, references
        left, there = leave_out_known(request, conversation, plane, bool(through))
        return left, tuple(mask.reference for mask in there)

    def plan_stack(self, round_: Round) -> StackBegun | None:
        """Return what a round, as `answer` returned it and added since, asks to be followed, if anything."""
        if round_.through is None:
            return None
        numbers = self.conversation.numbers
        own = [(round_.index, place) for place in range(1, len(round_.targets) + 1)]
        masks = [*own, *((r.round, r.target) for r in round_.follows)]
        wanted = tuple(dict.fromkeys(numbers[mask] for mask in masks))
        return StackBegun(wanted, round_.plane, *round_.through) if wanted else None

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
        request: Request | None = None,
    ) -> Round:
        """Ask, add the round to the conversation and return it; parameters and errors as in `answer`.

        A question that fails or is cancelled leaves the conversation as it was. What is to be done
        rather than answered (an edit, a verdict) is not done: see `commands.follow`.
        """
        self.add(self.answer(text, plane, references, window, cancelled, request=request))
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
        (reference,) = _checked((reference,), self.conversation)
        return carry_once(self, reference, step, cancelled)

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


def _sensible(text: str) -> str:
    """Return a question without blanks around it; `MediRoundError` where it is empty or far too long."""
    text = text.strip()
    if not text:
        raise MediRoundError('The question is empty. Type what you want to see, for example "the liver".')
    if len(text) > LONGEST:
        raise MediRoundError(f"The question has {len(text):,} characters, at most {LONGEST:,} are read.")
    return text


def _checked(references: tuple[Reference, ...], conversation: Conversation) -> tuple[Reference, ...]:
    """Return references to masks that are there; raises `DanglingReferenceError` for others."""
    for reference in references:
        try:
            conversation.target(reference)
        except LookupError as error:
            raise DanglingReferenceError(
                f"{reference} points at nothing: {error}. Choose one of the masks so far.",
                tuple(mask.reference for mask in conversation.masks()),
            ) from error
    return tuple(references)
