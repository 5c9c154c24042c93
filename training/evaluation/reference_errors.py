"""One dialogue in several ways: with and without correction, with bad references, without references.

The text runs free, and references are the model's own masks of the same way. Where two ways cannot differ,
the model is asked once. Knows no wording and no file.

References
----------
MediRound, arXiv 2511.12110: judgment & correction is there to stop an early error from spreading.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.training.dialogues.turns import Dialogue, Turn
from napari_mediround.training.evaluation.outcomes import Outcome
from napari_mediround.training.evaluation.questioning import ask_by_name, score_target
from napari_mediround.training.stages.text import corrupt_mask

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor

OFF, ON, REPLACED = "off", "on", "replaced"
"""Without correction; as configured, the better mask kept; replaced blindly, as published."""

CORRECTIONS = {
    OFF: {"enabled": False},
    ON: {"enabled": True, "keep_better": True},
    REPLACED: {"enabled": True, "keep_better": False},
}

UNSHOWN, ALONE, LABELLED, NAMED = "no masks", "alone", "labels", "named"
"""The same question without the referenced masks; without these and without the rounds before it; with the
labels in their place; and what it is to find, asked for by name as the first question."""


@dataclass(frozen=True)
class Scenery:
    """The plane that a dialogue is about, as its outcomes name it.

    Parameters
    ----------
    name : str
        "set/case/plane".
    subject, modality : str
    plane : int
        0-based.
    labels : ndarray
        int (H, W).
    names : dict of int to str
        Preferred names of the labels.
    """

    name: str
    subject: str
    modality: str
    plane: int
    labels: NDArray
    names: dict[int, str]

    def truth(self, value: int) -> NDArray[np.bool_]:
        """Return a label's mask, bool (H, W)."""
        return self.labels == value

    def on_wrong_side(self, name: str, mask: NDArray[np.bool_]) -> bool | None:
        """Whether a mask covers more of a structure's mirror than of it; None where not both show."""
        structure = load_anatomy().find(name)
        values = {n: v for v, n in self.names.items()}
        if structure is None or not {structure.name, structure.mirror} <= set(values):
            return None
        own, other = (self.truth(values[n]) for n in (structure.name, structure.mirror))
        if not own.any() or not other.any():
            return None
        return bool((mask & other).sum() > (mask & own).sum())


@dataclass
class Talk:
    """A dialogue as the model led it.

    Parameters
    ----------
    conversation : Conversation
    own : dict
        (round, target) of the written dialogue to the number of the model's mask that stands for it.
    """

    conversation: Conversation = field(default_factory=Conversation)
    own: dict[tuple[int, int], int] = field(default_factory=dict)

    def references(self, turn: Turn) -> tuple[Reference, ...]:
        """Return a turn's references to the model's own masks; those that it never gave are left out."""
        return tuple(Reference(r, self.own[r, t]) for r, t in turn.references if (r, t) in self.own)

    def label_references(self, turn: Turn, dialogue: Dialogue, scenery: Scenery) -> Conversation:
        """Return the conversation with the labels in the place of the masks that a turn points at."""
        known = [(r, t) for r, t in turn.references if (r, t) in self.own]
        labels = (scenery.truth(dialogue.turns[r - 1].targets[t - 1]) for r, t in known)
        return exchange(self.conversation, self.references(turn), labels)

    def add(self, turn: Turn, plane: int, answer: Answer) -> None:
        """Take in an answer."""
        number = len(self.conversation) + 1
        done = Round(number, plane, turn.question, self.references(turn), answer)
        self.conversation = self.conversation.add(done)
        for place, index in enumerate(match_targets(answer, turn.target_names), 1):
            if index is not None:
                self.own[number, place] = index + 1


def match_targets(answer: Answer, names: tuple[str, ...]) -> list[int | None]:
    """Return the index of the mask for each name asked for: of that name, else the next one left."""
    normalise = load_anatomy().normalise
    left = dict(enumerate(normalise(t.structure) for t in answer.targets))
    found: list[int | None] = []
    for name in names:
        index = next((i for i, said in left.items() if said == normalise(name)), None)
        left.pop(index, None)
        found.append(index)
    rest = iter(left)
    return [next(rest, None) if index is None else index for index in found]


@contextmanager
def correcting(segmenter: Predictor, way: str) -> Iterator[None]:
    """Let the model correct in one of the ways of `CORRECTIONS`, with its own threshold."""
    model = segmenter.model
    before = model.correction
    model.correction = replace(before, **CORRECTIONS[way])
    try:
        yield
    finally:
        model.correction = before


def ask_in_ways(
    segmenter: Predictor, text: str, asked: dict[str, tuple[Conversation, tuple[Reference, ...]]]
) -> dict[str, Answer]:
    """Ask one question in the given ways of correction, "off" first.

    A way whose conversation is that of "off" is not asked anew where there is nothing to correct: no doubtful
    mask in the answer and no mask pointed at.
    """
    answers: dict[str, Answer] = {}
    for way in [OFF, *(w for w in asked if w != OFF)]:
        threshold = segmenter.model.correction.threshold
        settled = OFF in answers and all(t.quality > threshold for t in answers[OFF].targets)
        if settled and asked[way] == asked[OFF] and not asked[way][1]:
            answers[way] = answers[OFF]
            continue
        with correcting(segmenter, way):
            answers[way] = segmenter.ask(text, *asked[way])
    return answers


def exchange(
    conversation: Conversation, references: tuple[Reference, ...], masks: Iterable[NDArray[np.bool_]]
) -> Conversation:
    """Return the conversation with other masks, bool (H, W), in the place of the referenced ones."""
    rounds = list(conversation.rounds)
    for reference, mask in zip(references, masks, strict=True):
        changed = rounds[reference.round - 1]
        targets = list(changed.targets)
        target = targets[reference.target - 1]
        targets[reference.target - 1] = replace(target, mask=Mask.from_array(mask))
        answer = replace(changed.answer, targets=tuple(targets))
        rounds[reference.round - 1] = replace(changed, answer=answer)
    return replace(conversation, rounds=tuple(rounds))


def misplace(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask moved by half the image: somewhere else altogether."""
    return np.roll(mask, (mask.shape[0] // 2, mask.shape[1] // 2), (0, 1))


def follow_dialogue(
    segmenter: Predictor, dialogue: Dialogue, scenery: Scenery, seed: list[int]
) -> Iterator[Outcome]:
    """Lead a dialogue about the plane last set in all ways.

    Parameters
    ----------
    segmenter : Predictor
        Or anything else with its `ask` and a `model.correction`.
    dialogue : Dialogue
    scenery : Scenery
    seed : list of int
        Of the corruption of references.

    Yields
    ------
    Outcome
        Of every target, in the ways of `CORRECTIONS`; of a later round also "alone"; of a question with
        references also "no masks", "labels", and "corrupted/…" and "misplaced/…" with and without correction;
        of one that does not ask for a mask again also "named".
    """
    talks = {way: Talk() for way in CORRECTIONS}
    for number, turn in enumerate(dialogue.turns, 1):
        asked = {way: (talk.conversation, talk.references(turn)) for way, talk in talks.items()}
        answers = ask_in_ways(segmenter, turn.question, asked)
        if turn.references:
            answers |= _ask_with_bad_references(
                segmenter, turn, asked, np.random.SeedSequence([*seed, number])
            )
            answers[UNSHOWN] = segmenter.ask(turn.question, talks[ON].conversation, ())
            labels = talks[ON].label_references(turn, dialogue, scenery)
            answers[LABELLED] = segmenter.ask(turn.question, labels, asked[ON][1])
        for way, answer in answers.items():
            yield from _score_turn(way, dialogue, number, answer, scenery)
        for way, talk in talks.items():
            talk.add(turn, scenery.plane, answers[way])
    for number, turn in enumerate(dialogue.turns, 1):
        if number > 1:  # in the end, so that the rounds before stay in the model's memory till then
            answer = segmenter.ask(turn.question, Conversation(), ())
            yield from _score_turn(ALONE, dialogue, number, answer, scenery)
        if turn.points:
            answer = segmenter.ask(ask_by_name(turn.target_names), Conversation(), ())
            yield from _score_turn(NAMED, dialogue, number, answer, scenery)


def _ask_with_bad_references(
    segmenter: Predictor, turn: Turn, asked: dict, seed: np.random.SeedSequence
) -> dict[str, Answer]:
    answers = {}
    for harm in ("corrupted", "misplaced"):
        spoiled = {}
        for way in (OFF, ON):
            conversation, references = asked[way]
            masks = [conversation.target(r).mask for r in references]
            if not masks or not all(mask.area for mask in masks):
                return {}
            rng = np.random.default_rng(seed)
            change = misplace if harm == "misplaced" else lambda mask, rng=rng: corrupt_mask(mask, rng)
            bad = [change(mask.to_array()) for mask in masks]
            spoiled[way] = exchange(conversation, references, bad), references
        for way, answer in ask_in_ways(segmenter, turn.question, spoiled).items():
            answers[f"{harm}/{way}"] = answer
    return answers


def _score_turn(
    way: str, dialogue: Dialogue, number: int, answer: Answer, scenery: Scenery
) -> Iterator[Outcome]:
    turn = dialogue.turns[number - 1]
    for place, index in enumerate(match_targets(answer, turn.target_names)):
        target = None if index is None else answer.targets[index]
        outcome = score_outcome("dialogue", way, scenery, turn, place, target, number)
        question, needs = f"{scenery.name}#{number}.{place + 1}", dialogue.needs_mask(turn)
        yield replace(outcome, question=question, needs=needs)


def score_outcome(
    part: str, way: str, scenery: Scenery, turn: Turn, place: int, target: Target | None, round_: int = 1
) -> Outcome:
    """Compare a mask, or none, with the target number `place`, from 0, of a turn."""
    name, truth = turn.target_names[place], scenery.truth(turn.targets[place])
    return Outcome(
        part,
        way,
        scenery.name,
        score_target(name, scenery.subject, round_, target, truth),
        scenery.modality,
        turn.kind,
        bool(turn.references),
        scenery.on_wrong_side(name, target.mask.to_array()) if target else None,
        corrected=bool(target and target.corrected),
    )
