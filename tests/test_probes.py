"""Single questions: the same structure in two wordings, what is absent, what needs no mask."""

from __future__ import annotations

import numpy as np

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Target
from napari_mediround.training.dialogues.writer import _phrasings
from napari_mediround.training.evaluation.probes import ask_absent, ask_chat, ask_reworded
from napari_mediround.training.evaluation.reference_errors import Scenery

LABELS = np.repeat([[1, 0, 2]], 8, 0).repeat(8, 1)
SCENERY = Scenery("set/case/0", "set/s", "CT", 0, LABELS, {1: "liver", 2: "spleen", 3: "left kidney"})


class Echo:
    """A segmenter that answers everything with one mask, or nothing, and remembers the questions."""

    def __init__(self, *targets: Target, absent: tuple[str, ...] = ()) -> None:
        self.answer, self.asked = Answer("Well.", targets, absent), []

    def ask(self, text, conversation, references) -> Answer:
        """Answer as always."""
        assert not len(conversation)
        self.asked.append(text)
        return self.answer


LIVER = Target("liver", Mask.from_array(LABELS == 1), 0.8)


def test_two_wordings_ask_for_the_same_structure_in_the_same_kind() -> None:
    for seed in range(8):
        echo = Echo(LIVER)
        trained, held_out = ask_reworded(echo, SCENERY, 1, [seed])
        assert (trained.way, held_out.way) == ("trained", "held out")
        assert trained.kind == held_out.kind
        assert trained.question == held_out.question
        assert trained.score.structure == held_out.score.structure == "liver"
        assert trained.score.dice == held_out.score.dice == 1
        assert echo.asked[0] != echo.asked[1]


def test_what_is_asked_for_as_absent_is_not_there() -> None:
    for seed in range(8):
        echo = Echo(LIVER)
        outcomes = list(ask_absent(echo, SCENERY, [seed]))
        assert [o.way for o in outcomes] == ["same set", "other region"]
        assert outcomes[0].score.structure == "left kidney"
        assert load_anatomy()[outcomes[1].score.structure].region != "abdomen"
        assert all(o.score.answered and o.kind == "mask" for o in outcomes)


def test_no_mask_and_an_empty_mask_show_nothing() -> None:
    empty = Target("liver", Mask.from_array(np.zeros_like(LABELS)), 0.1)
    for echo, said in ((Echo(absent=("x",)), "absent"), (Echo(), "chat"), (Echo(empty), "empty")):
        outcomes = list(ask_absent(echo, SCENERY, [0]))
        assert {(o.kind, o.score.answered) for o in outcomes} == {(said, False)}


def test_a_chat_question_is_one_of_chat() -> None:
    question, answer, outcome = ask_chat(Echo(), SCENERY, [0])
    wordings = [w.split("{")[0].lower() for w in _phrasings()["chat"]["train"]]
    assert any(question.lower().startswith(w[:8]) for w in wordings)
    assert (answer.text, outcome.kind, outcome.score.answered) == ("Well.", "chat", False)
