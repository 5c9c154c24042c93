"""The rounds and labels of one image, and every way to change them. Needs no model.

All that a record knows is the replay of its journal's events: what is not written there has not happened.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.judged import JudgedMask
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Reference, Round
from napari_mediround.domain.study import Study
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.errors import MediRoundError
from napari_mediround.journal import Journal, Label, State
from napari_mediround.journal.entries import (
    Branched,
    Entry,
    ImageOpened,
    Mark,
    MasksImported,
    Redone,
    RoundAsked,
    Undone,
    VerdictGiven,
    kind_of,
)
from napari_mediround.session.overlap import settle_overlaps
from napari_mediround.session.shown import changed_planes, describe_step, judge_masks
from napari_mediround.session.stack.stack_record import StackRecord


@dataclass(frozen=True)
class Step:
    """What one change did.

    Parameters
    ----------
    kind : {"round", "import", "verdict", "edit", "name", "branch", "undo", "redo"}
        What it was.
    words : str
        The same for a person: "accept 2 liver".
    planes : frozenset of int
        Planes whose label values may be others now.
    """

    kind: str
    words: str
    planes: frozenset[int]


class Record(StackRecord):
    """What is known of one image.

    Whatever changes something writes one event to the journal first; when that fails (`JournalError`)
    nothing has changed. Any thread may do it; it takes as long as the disk needs.

    Parameters
    ----------
    study : Study
        The image, in display order.
    journal : Journal, optional
        Where rounds and verdicts are kept; if it knows the image, the record goes on where it stopped.
        None keeps them in memory.
    case : str
        What the journal calls the image; "" computes it, looking at every pixel.

    Raises
    ------
    MediRoundError
        When the journal has masks of another size for this case.
    JournalError
        When the journal cannot be read.

    Notes
    -----
    Masks are numbered over all rounds, 1 for the first mask of the first round; an empty mask keeps its
    number. Label arrays show what was carried through the stack under the number it was carried from. They
    hold one value a pixel: accepted and corrected masks, in the order in which they were locked, then the
    proposals of this branch, the earlier first; a mask that lies under another is whole in the conversation
    only.
    """

    def __init__(self, study: Study, journal: Journal | None = None, case: str = "") -> None:
        self.study = study
        self.journal = journal or Journal.in_memory()
        self.case = case or (journal.case_id(study) if journal else "memory")
        self._history = self.journal.history(self.case)
        self._guard = threading.RLock()
        shapes = {label.mask.shape for label in self.state.labels.values()}
        if shapes - {study.geometry.shape[1:]}:
            raise MediRoundError("The masks of this case lie on an image of another size. Open that one.")

    # What there is.

    @property
    def state(self) -> State:
        """All rounds and labels."""
        return self._history.state

    @property
    def conversation(self) -> Conversation:
        """The rounds of this branch so far, with masks and verdicts as they are now."""
        return self.state.conversation

    @property
    def rounds(self) -> Mapping[int, Round]:
        """The rounds of all branches by `id`; `Round.parent` makes a tree of them."""
        return self.state.rounds

    @property
    def head(self) -> int:
        """`id` of the last round of this branch, 0 at the start."""
        return self.state.head

    @property
    def undoable(self) -> str:
        """What `undo` would take back, in words; "" when there is nothing."""
        return describe_step(self._history.to_undo, self.state)

    @property
    def redoable(self) -> str:
        """What `redo` would do again, in words; "" when there is nothing."""
        return describe_step(self._history.to_redo, self.state)

    # Rounds and verdicts.

    def take_round(self, round_: Round, branch: bool = False, model: Mapping[str, str] | None = None) -> Step:
        """Take a round into the conversation.

        Parameters
        ----------
        round_ : Round
            The next one; `parent` says after which, None after the last.
        branch : bool
            It may follow an earlier round of the conversation; those after that stay on the old branch.
        model : mapping of str to str, optional
            What answered, as it describes itself; nothing for a mask that came from elsewhere.

        Raises
        ------
        ValueError
            When the conversation is another one since it was asked.
        JournalError
            When it could not be saved.
        """
        with self._guard:
            rounds = self.conversation.rounds
            parent = self.head if round_.parent is None else round_.parent
            places = [0, *(r.id for r in rounds)]
            if parent not in places or round_.index != places.index(parent) + 1:
                raise ValueError(f"round {round_.index} no longer fits: rounds are numbered without gaps")
            if parent != self.head and not branch:
                raise ValueError(f"round {round_.index} is there already: rounds are numbered without gaps")
            new = replace(round_, parent=parent)
            described = tuple((key, _last_part(value)) for key, value in (model or {}).items())
            return self._write(RoundAsked(new, self.state.next_label, described))

    def take_import(self, rounds: tuple[Round, ...], model: Mapping[str, str] | None = None) -> Step:
        """Take masks from elsewhere, as `session.importing` makes them, in one step; raises as `take_round`.

        `model` is what judged them, as it describes itself.
        """
        with self._guard:
            if not rounds or rounds[0].index != len(self.conversation) + 1:
                raise ValueError("the masks no longer fit: rounds are numbered without gaps")
            first = replace(rounds[0], parent=self.head)
            described = tuple((key, _last_part(value)) for key, value in (model or {}).items())
            return self._write(MasksImported((first, *rounds[1:]), self.state.next_label, described))

    def accept(self, *values: int, overlap: str = "keep", seconds: float = 0.0) -> Step:
        """Accept masks by their label values; from now on later ones keep off their pixels.

        Parameters
        ----------
        *values : int
            Label values.
        overlap : {"keep", "replace", "both"}
            Who gets the pixels that other locked masks have: those, these, or both.
        seconds : float
            The person's time.

        Raises
        ------
        MediRoundError
            When there is no such mask.
        JournalError
            When it could not be saved.
        """
        with self._guard:
            labels = [self.label(value) for value in values]
            marks = tuple(Mark(label.value, label.mask, label.mask, 0) for label in labels)
            return self._judge("accepted", marks, overlap, seconds)

    def fix(
        self,
        value: int,
        mask: Mask,
        overlap: str = "keep",
        seconds: float = 0.0,
        prompts: Prompts | None = None,
        reason: str = "",
        quality: float | None = None,
    ) -> Step:
        """Put a mended mask in the place of one; a proposal that was not changed counts as accepted.

        Parameters
        ----------
        value : int
            Label value.
        mask : Mask
            As the person wants it.
        overlap, seconds
            As in `accept`.
        prompts : Prompts, optional
            How it was mended.
        reason, quality
            What was wrong: one of `REASONS`, or ""; what the model judges, as in `Mark`.

        Raises
        ------
        MediRoundError
            When there is no such mask.
        JournalError
            When it could not be saved.
        """
        if mask.shape != self.study.geometry.shape[1:]:
            raise ValueError(f"a mask of {mask.shape} does not fit planes of {self.study.geometry.shape}")
        with self._guard:
            before = self.label(value).mask
            changed = int((before.to_array() != mask.to_array()).sum())
            mark = Mark(value, before, mask, changed, quality if changed else None)
            verdict = "corrected" if changed else "accepted"
            return self._judge(verdict, (mark,), overlap, seconds, prompts, reason)

    def reject(self, *values: int, reason: str = "", seconds: float = 0.0) -> Step:
        """Reject masks; they leave the labels, and words mean them no more. Raises as `accept`."""
        with self._guard:
            labels = [self.label(value) for value in values]
            marks = tuple(Mark(label.value, label.mask, label.mask, 0) for label in labels)
            return self._judge("rejected", marks, "keep", seconds, reason=reason)

    def branch(self, round_id: int) -> Step:
        """Go on from another round by its `id`, of any branch; 0 is the start.

        Locked masks of the branch that is left stay in the labels, its proposals do not.

        Raises
        ------
        MediRoundError
            When there is no such round.
        """
        with self._guard:
            if round_id and round_id not in self.rounds:
                raise MediRoundError("There is no such round any more. Choose one of those that are shown.")
            return self._write(Branched(round_id))

    def undo(self) -> Step:
        """Take back the last step, whatever it touched, also one from before a restart.

        Raises
        ------
        MediRoundError
            When there is none.
        """
        with self._guard:
            steps = self._history.undone_next
            if not steps:
                raise MediRoundError("There is nothing to undo.")
            return self._write(*(Undone(step.seq) for step in steps))

    def redo(self) -> Step:
        """Do again what was undone last.

        Raises
        ------
        MediRoundError
            When there is nothing, or a new step came in between.
        """
        with self._guard:
            steps = self._history.redone_next
            if not steps:
                raise MediRoundError("There is nothing to redo.")
            return self._write(*(Redone(step.seq) for step in steps))

    # Labels.

    def label(self, value: int) -> Label:
        """Return the mask with a label value.

        Raises
        ------
        MediRoundError
            When there is none.
        """
        if value not in self.state.labels:
            raise MediRoundError(f"There is no mask {value} any more. Choose one of those that are shown.")
        return self.state.labels[value]

    def label_of(self, reference: Reference) -> int:
        """Return the label value of a mask of the conversation."""
        return self.first_label(reference.round) + reference.target - 1

    def overlaps(self, value: int, mask: Mask | None = None) -> dict[int, int]:
        """Return how many pixels of each other locked mask lie under a mask (its own, or one to be).

        Only those with any, by label value.
        """
        label = self.label(value)
        wanted = (mask or label.mask).to_array()
        locked = (other for other in self.state.shown if other.locked and other.value != value)
        counts = {o.value: int((o.mask.to_array() & wanted).sum()) for o in locked if o.plane == label.plane}
        return {other: count for other, count in counts.items() if count}

    def first_label(self, round_index: int) -> int:
        """Return the label value of the first mask of a round (1-based)."""
        return self.conversation.rounds[round_index - 1].first_number

    def labels(self, plane: int) -> NDArray[np.uint16]:
        """Return the label values of one plane, uint16 (row, column), 0 background, display order.

        Raises
        ------
        MediRoundError
            When the study has no such plane.
        """
        self._check_plane(plane)
        return self.state.draw(plane, self.study.geometry.shape[1:])

    def label_volume(self) -> NDArray[np.uint16]:
        """Return all masks as uint16 (plane, row, column), 0 background, display order."""
        volume = np.zeros(self.study.geometry.shape, np.uint16)
        for plane in {label.plane for label in self.state.shown}:
            volume[plane] = self.labels(plane)
        return volume

    def label_names(self) -> dict[int, str]:
        """Return what each label value of `label_volume` is: {1: "1 liver", 2: "2 spleen"}."""
        shown = (label for label in self.state.shown if label.mask.area)
        return {label.drawn: label.name for label in sorted(shown, key=lambda label: label.value)}

    def judged_masks(self) -> tuple[JudgedMask, ...]:
        """Return what `label_volume` shows, mask by mask, in the order in which they take their pixels."""
        return judge_masks(self.state, self._history.standing)

    def area(self, mask: Mask) -> tuple[float, str]:
        """Return a mask's area and its unit: mm², or px where the image states no spacing."""
        if not self.study.geometry.calibrated:
            return float(mask.area), "px"
        return mask.area * self.study.geometry.pixel_area_mm2, "mm²"

    def _check_plane(self, plane: int) -> None:
        if not 0 <= plane < self.study.planes:
            last = self.study.planes - 1
            raise MediRoundError(f"There is no plane {plane}. The study has planes 0 to {last}.")

    def _judge(
        self,
        verdict: str,
        marks: tuple[Mark, ...],
        overlap: str,
        seconds: float,
        prompts: Prompts | None = None,
        reason: str = "",
    ) -> Step:
        wanted = {mark.label: mark.after for mark in marks}
        writes = {} if verdict == "rejected" else settle_overlaps(self.state, wanted, overlap)
        entry = VerdictGiven(
            verdict, marks, tuple(writes.items()), overlap, seconds, prompts or Prompts(), reason
        )
        return self._write(entry)

    def _write(self, *entries: Entry) -> Step:
        """Make entries durable, all or none, then take them; the only place where anything changes."""
        before, history, entry = self.state, self._history, entries[-1]
        words = self.undoable if isinstance(entry, Undone) else self.redoable
        opening = (ImageOpened(self.study.modality, self.study.geometry.shape),) if not history.last else ()
        for event in self.journal.append(self.case, *opening, *entries, known=history.last):
            history.take(event)
        if not isinstance(entry, Undone | Redone):
            words = self.undoable
        return Step(kind_of(entry), words, changed_planes(before, self.state))


def _last_part(text: str) -> str:
    """Return a name without the folders before it: a preset may be a file of the user's."""
    return text.replace("\\", "/").rsplit("/", 1)[-1]
