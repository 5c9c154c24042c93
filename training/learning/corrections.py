"""Rounds with verdicts from the journal: question, answer, and the masks that a person left.

Knows no model: images come from whoever finds them, and are those that the model saw, or are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Round
from napari_mediround.domain.study import Study
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.domain.windows import choose_window, hash_image, render_plane
from napari_mediround.journal import Event, History, Journal, State
from napari_mediround.journal.entries import MasksImported, RoundAsked, VerdictGiven
from napari_mediround.training.learning.samples import JudgedMask, JudgedRound

FindStudy = Callable[[str], Study | None]
"""Takes the id of a case and returns its study; None if the image cannot be found."""


def read_rounds(
    journal: Journal, find: FindStudy, subjects: Callable[[str], str] | None = None
) -> tuple[list[JudgedRound], list[str]]:
    """Return every round with a verdict that was not undone, in the order of asking.

    Parameters
    ----------
    journal : Journal
        Open for reading at least.
    find : callable
        Finds a case's image.
    subjects : callable, optional
        Takes the id of a case and returns the id of its patient; by default each case is a patient.

    Returns
    -------
    rounds : list of JudgedRound
    notes : list of str
        What was left out, and why.

    Raises
    ------
    JournalError
        When the journal is damaged.
    """
    rounds, notes = [], []
    for case in sorted({info.case for info in journal.cases()}):
        history = History(journal.events(case))
        judged = list(judged_rounds(history))
        if not judged:
            continue
        study = find(case)
        if study is None:
            notes.append(f"Case {case[:8]}: its image was not found, {len(judged)} rounds are left out.")
            continue
        subject = subjects(case) if subjects else case
        made = [_make_round(event, before, masks, study, subject) for event, before, masks in judged]
        rounds += [round_ for round_ in made if round_ is not None]
        if lost := sum(round_ is None for round_ in made):
            notes.append(f"Case {case[:8]}: {lost} rounds look otherwise now and are left out.")
    return sorted(rounds, key=lambda round_: round_.number), notes


def judged_rounds(history: History) -> Iterator[tuple[Event, Conversation, tuple[JudgedMask, ...]]]:
    """Yield each round with a verdict, the conversation before the round at that time, and its masks now."""
    given: dict[int, list[VerdictGiven]] = {}
    for event in history.standing:
        for mark in event.entry.marks if isinstance(event.entry, VerdictGiven) else ():
            given.setdefault(mark.label, []).append(event.entry)
    labels, state = history.state.labels, State()
    for event in history.standing:
        after = state.after(event.entry, event.seq)
        for asked, before in _asked(event, state, after):
            first, targets = asked.entry.first_label, asked.entry.round.targets
            values = range(first, first + len(targets))
            if any(value in given for value in values):
                pairs = zip(values, targets, strict=True)
                masks = [
                    _make_mask(t.structure, t.mask, labels[v], given.get(v, []))
                    for v, t in pairs
                    # A margin in words, or another name, says nothing of where what was asked for ends.
                    if not labels[v].recipes and labels[v].structure == t.structure
                ]
                absent = asked.entry.round.answer.absent
                if found := tuple(mask for mask in masks if not _is_absent(mask, absent)):
                    yield asked, before(), found
        state = after


def _asked(event: Event, state: State, after: State) -> Iterator[tuple[Event, Callable[[], Conversation]]]:
    """Yield each round of an event as if it was asked for alone, and what returns the conversation before.

    Those of an import follow each other: a mask on a further plane points at the one that it goes on from.
    """
    entry = event.entry
    if isinstance(entry, RoundAsked):
        yield event, lambda: replace(state, head=entry.round.parent or 0).conversation
    elif isinstance(entry, MasksImported):
        rounds = after.conversation.rounds
        for drafted in entry.rounds:
            first = rounds[drafted.index - 1].first_number
            before = partial(Conversation, rounds[: drafted.index - 1])
            yield replace(event, entry=RoundAsked(drafted, first, entry.model)), before


def _is_absent(mask: JudgedMask, absent: tuple[str, ...]) -> bool:
    """Whether an empty mask means that its structure is not on the plane: nothing to learn."""
    said = mask.verdict == "accepted" or (not mask.verdict and mask.structure in absent)
    return said and not mask.after.area


def _make_mask(structure: str, before: Mask, label, verdicts: list[VerdictGiven]) -> JudgedMask:
    """Return a mask with all that was done to it; several fixes of one mask add up.

    It is as the person last drew it, else as it came. The label may be less: of masks that overlap one is
    cut, a tumour in an accepted liver to nothing, and nobody found wrong what was cut.
    """
    marks = [mark for v in reversed(verdicts) for mark in v.marks if mark.label == label.value]
    after = next((mark.after for mark in marks if mark.changed), before)
    points = tuple(xy for v in verdicts for xy in v.prompts.points_xy)
    positive = tuple(sign for v in verdicts for sign in v.prompts.positive)
    box = next((v.prompts.box_xyxy for v in verdicts if v.prompts.box_xyxy), None)
    prompts = Prompts(points, positive, box, sum(v.prompts.painted for v in verdicts))
    reason = next((v.reason for v in reversed(verdicts) if v.reason), "")
    seconds = sum(v.seconds for v in verdicts)
    return JudgedMask(structure, before, after, label.verdict, reason, prompts, seconds)


def _make_round(
    event: Event, before: Conversation, masks: tuple[JudgedMask, ...], study: Study, subject: str
) -> JudgedRound | None:
    """Return the round with its planes; None if a plane differs from the one that the model saw."""
    asked: Round = event.entry.round
    sources = [asked, *(before.rounds[reference.round - 1] for reference in asked.references)]
    images: dict[str, NDArray[np.uint8]] = {}
    for source in sources:
        window = choose_window(study, source.text, source.window)
        image = render_plane(study, source.plane, window)
        if hash_image(image) != source.answer.image:
            return None
        images[source.answer.image] = image
    empty = (target.structure for target in asked.targets if not target.mask.area)
    absent = dict.fromkeys([*asked.answer.absent, *empty])
    return JudgedRound(
        event.seq,
        event.case,
        subject,
        asked.answer.image,
        images,
        before,
        asked.text,
        asked.references,
        masks,
        tuple(name for name in absent if name not in {mask.structure for mask in masks}),
        dict(event.entry.model).get("adapter", ""),
        event.utc,
        asked.carried,
    )
