"""Single questions put to the model for one purpose each: other wordings, absent structures, plain chat.

Knows no file and no score of several answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Answer, Conversation
from napari_mediround.training.dialogues.draw import DialogueSettings, make_dialogue
from napari_mediround.training.dialogues.turns import Turn
from napari_mediround.training.evaluation.metrics import Score
from napari_mediround.training.evaluation.outcomes import Outcome
from napari_mediround.training.evaluation.reference_errors import Scenery, match_targets, score_outcome

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor

TRAINED, HELD_OUT = "trained", "held out"
SAME_SET, ELSEWHERE = "same set", "other region"
"""An absent structure that the set labels where it shows; one of a region that cannot lie in this image."""

_TRIES = 30


def draw_turn(
    scenery: Scenery, rng: np.random.Generator, wanted: Callable[[Turn], bool], **options
) -> Turn | None:
    """Draw first questions about a plane until one is wanted; None when none of 30 is.

    `options` are those of `DialogueSettings`; sides are not spoken of beyond the names.
    """
    for _ in range(_TRIES):
        dialogue = make_dialogue(
            scenery.labels,
            scenery.names,
            False,
            rng,
            load_anatomy(),
            DialogueSettings(rounds=(1, 1), **options),
        )
        if wanted(dialogue.turns[0]):
            return dialogue.turns[0]
    return None


def ask_reworded(segmenter: Predictor, scenery: Scenery, value: int, seed: list[int]) -> Iterator[Outcome]:
    """Ask for one structure in a trained and in a held-out wording of the same kind; nothing if none fits."""
    alone = replace(
        scenery,
        labels=np.where(scenery.labels == value, value, 0),
        names={value: scenery.names[value]},
    )
    turns: dict[str, Turn] = {}
    for way in (TRAINED, HELD_OUT):
        kind = turns[TRAINED].kind if turns else None
        turn = draw_turn(
            alone,
            np.random.default_rng([*seed, value]),
            lambda turn, kind=kind: turn.targets == (value,) and kind in (None, turn.kind),
            absent_rate=0.0,
            chat_rate=0.0,
            held_out=way == HELD_OUT,
        )
        if turn is None:
            return
        turns[way] = turn
    for way, turn in turns.items():
        answer = segmenter.ask(turn.question, Conversation(), ())
        index = match_targets(answer, turn.target_names)[0]
        target = None if index is None else answer.targets[index]
        outcome = score_outcome("wording", way, scenery, turn, 0, target)
        yield replace(outcome, question=f"{scenery.name}.{value}")


def ask_absent(segmenter: Predictor, scenery: Scenery, seed: list[int]) -> Iterator[Outcome]:
    """Ask for one structure that the set labels and this plane lacks, and for one of another region."""
    known = frozenset(scenery.names.values())
    rng = np.random.default_rng(seed)
    for way, names in ((SAME_SET, known), (ELSEWHERE, frozenset())):
        turn = draw_turn(
            scenery,
            rng,
            lambda turn, way=way: turn.kind == "absent" and (turn.absent[0] in known) == (way == SAME_SET),
            absent_rate=1.0,
            chat_rate=0.0,
            known=names,
        )
        if turn is not None:
            answer = segmenter.ask(turn.question, Conversation(), ())
            yield _count_masks("absent", way, scenery, turn, turn.absent[0], answer)


def ask_chat(segmenter: Predictor, scenery: Scenery, seed: list[int]) -> tuple[str, Answer, Outcome]:
    """Ask something that needs no mask; return the question, the answer and whether a mask came."""
    rng = np.random.default_rng(seed)
    turn = draw_turn(scenery, rng, lambda turn: turn.kind == "chat", absent_rate=0.0, chat_rate=1.0)
    answer = segmenter.ask(turn.question, Conversation(), ())
    return turn.question, answer, _count_masks("chat", "chat", scenery, turn, "", answer)


def _count_masks(
    part: str, way: str, scenery: Scenery, turn: Turn, structure: str, answer: Answer
) -> Outcome:
    """Score an answer that should contain no mask; `kind` says which kind of answer came."""
    shown = [target.mask.area for target in answer.targets if target.mask.area]
    said = "mask" if shown else "absent" if answer.absent else "empty" if answer.targets else "chat"
    score = Score(structure, scenery.subject, 1, 0, sum(shown), 0, answered=bool(shown))
    return Outcome(part, way, f"{scenery.name}.{structure}", score, scenery.modality, said)
