"""One conversation about one study. Talks to any `Segmenter`, so it needs neither torch nor Qt."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.references import resolve_references
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round
from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import render_plane, window_for_question
from napari_mediround.errors import CancelledError, DanglingReferenceError, MediRoundError


class Segmenter(Protocol):
    """What a session needs of a model: `set_image` once, `ask` often."""

    def set_image(self, image: NDArray[np.uint8]) -> str:
        """Take a rendered plane, uint8 (H, W, 3) in display order; return its key."""

    def ask(
        self,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...],
        cancelled: Callable[[], bool] | None = None,
    ) -> Answer:
        """Answer one question about the image last set."""

    def refine(
        self,
        points_xy: NDArray | None = None,
        positive: NDArray | None = None,
        box_xyxy: NDArray | None = None,
        previous: Mask | None = None,
    ) -> tuple[Mask, float]:
        """Answer clicks, a box or an earlier mask with a mask and its judged quality."""

    def change_device(self, device: str) -> None:
        """Move to "auto", "cuda", "mps" or "cpu"; SettingsError where there is no such device."""

    def describe(self) -> dict[str, str]:
        """Return preset, device, precision and adapter in words."""


class Session:
    """One conversation about one study.

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

    Attributes
    ----------
    conversation : Conversation
        The rounds so far; a new value after each `add`.

    Notes
    -----
    Masks are numbered over the whole conversation, 1 for the first mask of the first round; an empty mask
    keeps its number. Label arrays hold one value a pixel: where masks overlap the earlier one stays, and
    the later one is whole in the conversation only.
    """

    def __init__(self, segmenter: Segmenter, study: Study, anatomy: Anatomy | None = None) -> None:
        self._segmenter = segmenter
        self.study = study
        self.anatomy = anatomy
        self.conversation = Conversation()

    def resolve(self, text: str) -> tuple[Reference, ...]:
        """Return what the words of a question point at, in the order of the text.

        Raises
        ------
        DanglingReferenceError
            When they point at nothing, or at several masks; its `choices` name what there is.
        """
        return resolve_references(text, self.conversation, self.anatomy)

    def prepare(self, plane: int, window: str | tuple[float, float] | None = None) -> str:
        """Give the segmenter one plane, so that the next question about it is quicker; return its key.

        Raises
        ------
        MediRoundError
            When the study has no such plane or there is no such window.
        """
        self._check_plane(plane)
        return self._segmenter.set_image(render_plane(self.study, plane, window))

    def answer(
        self,
        text: str,
        plane: int,
        references: tuple[Reference, ...] | None = None,
        window: str | tuple[float, float] | None = None,
        cancelled: Callable[[], bool] | None = None,
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

        Raises
        ------
        DanglingReferenceError
            When a reference points at nothing or at several masks; the model did not run.
        CancelledError
            When `cancelled` said so.
        MediRoundError
            When the text is empty or the plane is not in the study.
        """
        began = perf_counter()
        conversation, text = self.conversation, text.strip()
        if not text:
            raise MediRoundError('The question is empty. Type what you want to see, for example "the liver".')
        self._check_plane(plane)
        references = self.resolve(text) if references is None else self._checked(references)
        _stop_if(cancelled)
        self.prepare(plane, window or window_for_question(text))
        _stop_if(cancelled)
        answer = self._segmenter.ask(text, conversation, references, cancelled)
        _stop_if(cancelled)
        for target in answer.targets:
            if target.mask.shape != self.study.geometry.shape[1:]:
                raise ValueError(f"a mask of {target.mask.shape} on planes of {self.study.geometry.shape}")
        return Round(len(conversation) + 1, plane, text, references, answer, perf_counter() - began)

    def add(self, round_: Round) -> None:
        """Take a round, as `answer` returned it, into the conversation.

        Raises
        ------
        ValueError
            When other rounds were added since it was asked.
        """
        self.conversation = self.conversation.add(round_)

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
        round_ = self.answer(text, plane, references, window, cancelled)
        self.add(round_)
        return round_

    def first_label(self, round_index: int) -> int:
        """Return the label value of the first mask of a round (1-based)."""
        return 1 + sum(len(r.targets) for r in self.conversation.rounds[: round_index - 1])

    def labels(self, plane: int) -> NDArray[np.uint16]:
        """Return the label values of one plane, uint16 (row, column), 0 background, display order.

        Raises
        ------
        MediRoundError
            When the study has no such plane.
        """
        self._check_plane(plane)
        labels = np.zeros(self.study.geometry.shape[1:], np.uint16)
        for round_ in self.conversation.rounds:
            if round_.plane == plane:
                for value, target in enumerate(round_.targets, self.first_label(round_.index)):
                    labels[target.mask.to_array() & (labels == 0)] = value
        return labels

    def label_volume(self) -> NDArray[np.uint16]:
        """Return all masks as uint16 (plane, row, column), 0 background, display order."""
        volume = np.zeros(self.study.geometry.shape, np.uint16)
        for plane in {r.plane for r in self.conversation.rounds}:
            volume[plane] = self.labels(plane)
        return volume

    def label_names(self) -> dict[int, str]:
        """Return what each label value is: {1: "1 liver", 2: "2 spleen"}."""
        targets = [t for r in self.conversation.rounds for t in r.targets]
        return {value: f"{value} {target.structure}" for value, target in enumerate(targets, 1)}

    def area(self, mask: Mask) -> tuple[float, str]:
        """Return a mask's area and its unit: mm², or px where the image states no spacing."""
        if not self.study.geometry.calibrated:
            return float(mask.area), "px"
        return mask.area * self.study.geometry.pixel_area_mm2, "mm²"

    def _check_plane(self, plane: int) -> None:
        if not 0 <= plane < self.study.planes:
            last = self.study.planes - 1
            raise MediRoundError(f"There is no plane {plane}. The study has planes 0 to {last}.")

    def _checked(self, references: tuple[Reference, ...]) -> tuple[Reference, ...]:
        for reference in references:
            try:
                self.conversation.target(reference)
            except LookupError as error:
                raise DanglingReferenceError(
                    f"{reference} points at nothing: {error}. Choose one of the masks so far.",
                    tuple(
                        Reference(r.index, number)
                        for r in self.conversation.rounds
                        for number, _ in enumerate(r.targets, 1)
                    ),
                ) from error
        return tuple(references)


def _stop_if(cancelled: Callable[[], bool] | None) -> None:
    if cancelled is not None and cancelled():
        raise CancelledError("The question was cancelled; nothing has changed.")
