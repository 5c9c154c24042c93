"""Dialogues in several ways: what is asked, with which masks before it, how often the model runs."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.model.mediround import CorrectionSettings
from napari_mediround.training.dialogues.turns import Dialogue, Turn
from napari_mediround.training.evaluation.reference_errors import (
    Scenery,
    ask_in_ways,
    exchange,
    follow_dialogue,
    match_targets,
    misplace,
)

LABELS = np.repeat([[1, 0, 2]], 4, 0).repeat(4, 1)
SCENERY = Scenery("set/case/7", "set/s", "CT", 7, LABELS, {1: "right kidney", 2: "left kidney"})


def turn(question: str, value: int, references=(), kind: str = "name") -> Turn:
    """Return a turn that asks for one kidney."""
    name = SCENERY.names[value]
    return Turn(question, references, f"The {name} [SEG].", (value,), (name,), kind)


DIALOGUE = Dialogue((turn("Right kidney", 1), turn("Mirror of [1]", 2, ((1, 1),), "mirror")))


class Scripted:
    """A segmenter whose masks depend on the way of correction; it remembers everything it was asked."""

    def __init__(self, quality: float = 0.3) -> None:
        self.model = SimpleNamespace(correction=CorrectionSettings(threshold=0.5))
        self.quality, self.asked = quality, []

    def ask(self, text, conversation, references) -> Answer:
        """Answer right; with correction the judged quality tells so."""
        settings = self.model.correction
        self.asked.append((text, len(conversation), references, settings.enabled, settings.keep_better))
        value = 1 if "Right" in text else 2
        if not references and "Mirror" in text:
            return Answer("No.")
        corrected = settings.enabled and self.quality <= settings.threshold
        mask = Mask.from_array(value == LABELS)
        return Answer("", (Target(SCENERY.names[value], mask, self.quality + 0.1 * corrected, corrected),))


def test_each_way_is_asked_with_its_own_correction_and_the_settings_come_back() -> None:
    segmenter = Scripted()
    asked = {way: (Conversation(), ()) for way in ("on", "off", "replaced")}
    answers = ask_in_ways(segmenter, "Right kidney", asked)
    assert [row[3:] for row in segmenter.asked] == [(False, True), (True, True), (True, False)]
    assert [answers[way].targets[0].corrected for way in ("off", "on", "replaced")] == [False, True, True]
    assert segmenter.model.correction == CorrectionSettings(threshold=0.5)


def test_ways_that_cannot_differ_are_asked_once() -> None:
    segmenter = Scripted(quality=0.9)
    other = Conversation((Round(1, 0, "Hello", (), Answer("Hello.")),))
    asked = {"off": (Conversation(), ()), "on": (Conversation(), ()), "replaced": (other, ())}
    ask_in_ways(segmenter, "Right kidney", asked)
    assert [row[1] for row in segmenter.asked] == [0, 1]


def test_a_dialogue_is_led_in_every_way() -> None:
    segmenter = Scripted()
    outcomes = list(follow_dialogue(segmenter, DIALOGUE, SCENERY, [0]))
    ways = {o.way for o in outcomes if o.question.endswith("#2.1")}
    bad = {f"{harm}/{way}" for harm in ("corrupted", "misplaced") for way in ("off", "on")}
    assert ways == {"off", "on", "replaced", "no masks", "alone", "labels", "named"} | bad
    dices = {o.way: o.score.dice for o in outcomes if o.kind == "mirror"}
    assert (dices["on"], dices["no masks"], dices["alone"]) == (1, 0, 0)
    assert {(o.refers, o.needs) for o in outcomes if o.kind == "mirror"} == {(True, True)}
    assert (segmenter.asked[-1][0], segmenter.asked[-1][1]) == ("Segment the left kidney.", 0)
    assert {o.wrong_side for o in outcomes if o.way == "on"} == {False}
    lone = [row for row in segmenter.asked if row[0].startswith("Mirror") and not row[1]]
    assert [row[2] for row in lone] == [()]
    referring = [row for row in segmenter.asked if row[2]]
    assert {row[2] for row in referring} == {(Reference(1, 1),)}


def test_a_round_without_a_mask_is_referred_to_by_nobody() -> None:
    silent = Scripted()
    silent.ask = lambda text, conversation, references: silent.asked.append(references) or Answer("No.")
    outcomes = list(follow_dialogue(silent, DIALOGUE, SCENERY, [0]))
    assert set(silent.asked) == {()}
    assert not any("/" in o.way or o.score.answered for o in outcomes)


def test_a_later_round_is_asked_alone_too_and_with_the_labels_as_references() -> None:
    dialogue = Dialogue((*DIALOGUE.turns, turn("Right kidney once more", 1)))
    segmenter, seen = Scripted(), []
    ask = segmenter.ask

    def wrong(text, conversation, references) -> Answer:
        seen.append([conversation.target(r).mask.to_array() for r in references])
        answer = ask(text, conversation, references)
        moved = tuple(Target(t.structure, Mask.from_array(LABELS == 0), t.quality) for t in answer.targets)
        return Answer("", moved)

    segmenter.ask = wrong
    outcomes = list(follow_dialogue(segmenter, dialogue, SCENERY, [0]))
    alone = [o.question for o in outcomes if o.way == "alone"]
    assert alone == ["set/case/7#2.1", "set/case/7#3.1"]
    assert any(masks and np.array_equal(masks[0], LABELS == 1) for masks in seen)


def test_only_the_referenced_mask_is_exchanged() -> None:
    targets = tuple(Target(n, Mask.from_array(v == LABELS), 0.9) for v, n in SCENERY.names.items())
    before = Conversation((Round(1, 0, "Both kidneys", (), Answer("", targets)),))
    after = exchange(before, (Reference(1, 2),), [misplace(LABELS == 2)])
    assert after.target(Reference(1, 1)) == before.target(Reference(1, 1))
    moved = after.target(Reference(1, 2)).mask.to_array()
    assert moved.sum() == (LABELS == 2).sum()
    assert np.array_equal(moved, np.roll(LABELS == 2, (2, 6), (0, 1)))


@pytest.mark.parametrize(
    ("said", "wanted", "found"),
    [
        (("left kidney", "liver"), ("liver", "left kidney"), [1, 0]),
        (("kidney_left",), ("left kidney",), [0]),
        (("spleen", "liver"), ("liver", "aorta"), [1, 0]),
        (("liver",), ("liver", "liver"), [0, None]),
        ((), ("liver",), [None]),
    ],
)
def test_masks_are_matched_by_name_then_by_order(said, wanted, found) -> None:
    empty = Mask.from_array(np.zeros((2, 2)))
    assert match_targets(Answer("", tuple(Target(n, empty, 0.5) for n in said)), wanted) == found


def test_a_side_is_wrong_when_more_of_the_mask_lies_on_the_mirror() -> None:
    assert SCENERY.on_wrong_side("left kidney", LABELS == 1) is True
    assert SCENERY.on_wrong_side("left kidney", LABELS == 2) is False
    assert SCENERY.on_wrong_side("left kidney", np.zeros_like(LABELS, bool)) is False
    assert SCENERY.on_wrong_side("liver", LABELS == 1) is None
    one = Scenery("", "", "", 0, np.where(LABELS == 1, 1, 0), SCENERY.names)
    assert one.on_wrong_side("left kidney", LABELS == 1) is None
