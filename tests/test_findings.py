"""Findings: each number against one worked out by hand."""

from __future__ import annotations

import pytest

from napari_mediround.training.evaluation import findings
from napari_mediround.training.evaluation.aims import AIMS, judge_aims
from napari_mediround.training.evaluation.metrics import Score
from napari_mediround.training.evaluation.outcomes import Outcome


def outcome(dice: float, way: str = "name", question: str = "set/c/0.liver", **more) -> Outcome:
    """Return an outcome of 100 px against 100 px (or `true`) whose Dice is as given."""
    part, subject, round_ = more.pop("part", "name"), more.pop("subject", "set/a"), more.pop("round", 1)
    size, structure = more.pop("true", 100), more.pop("structure", "liver")
    score = Score(
        structure,
        subject,
        round_,
        round(dice * size),
        size,
        size,
        answered=more.pop("answered", True),
        quality=more.pop("quality", 0.5),
    )
    return Outcome(part, way, question, score, **more)


def talk(*rows: tuple[str, str, float], **more) -> list[Outcome]:
    """Return outcomes of dialogues: (way, question, Dice); each question is another subject's."""
    return [
        outcome(d, way, q, part="dialogue", refers=True, needs=True, kind="mirror", subject=q, **more)
        for way, q, d in rows
    ]


def test_small_and_large_structures_and_sets_are_told_apart() -> None:
    named = [outcome(0.4, true=100), outcome(0.8, true=200, question="two/c/0.x", boxed_dice=0.9)]
    text = findings.find_text(named, 0)
    many = [*named, outcome(0.5, true=200), outcome(0.6, true=200, question="two/c/1.x")]
    assert findings.find_text(many, 0)["balanced"] == 0.6
    assert {k: (v["n"], v["mean"]) for k, v in text["groups"].items()} == {
        "all": (2, 0.6),
        "from 200 px": (1, 0.8),
        "below 200 px": (1, 0.4),
    }
    assert (text["sets"]["two"]["boxed_dice"], text["sets"]["set"]["boxed_dice"]) == (0.9, None)
    assert list(text["modalities"]) == ["picture"]
    assert list(findings.find_structures(named, 0)) == ["set/liver", "two/liver"]


def test_the_worst_and_the_best_twentieth() -> None:
    named = [outcome(k / 100, question=f"q{k}") for k in range(40)]
    extremes = findings.find_extremes(named)
    assert (extremes["worst"]["n"], extremes["worst"]["mean"]) == (2, 0.005)
    assert [m["question"] for m in extremes["best"]["masks"]] == ["q39", "q38"]


def test_round_six_is_held_against_round_one() -> None:
    rows = [outcome(d, round=k, part="dialogue") for k, d in ((1, 0.8), (1, 0.6), (3, 0.1), (6, 0.35))]
    rounds = findings.find_rounds(rows, "name", 0)
    assert rounds["3"]["mean"] == 0.1
    assert rounds["last to first"]["value"] == pytest.approx(0.5)
    assert findings.find_rounds(rows, "off", 0) == {}


def test_ways_are_compared_question_by_question() -> None:
    talked = talk(("off", "a", 0.4), ("on", "a", 0.6), ("off", "b", 0.5), ("on", "b", 0.5), ("on", "c", 1))
    told = findings.find_correction(talked, 0)
    assert (told["on"]["n"], told["on"]["value"], told["replaced"]["n"]) == (2, 0.1, 0)
    assert told["on"]["low"] <= 0.1 <= told["on"]["high"]


def test_the_gain_of_references_is_a_ratio_of_means() -> None:
    talked = talk(("on", "a", 0.8), ("no masks", "a", 0.2), ("on", "b", 0.8), ("no masks", "b", 0.6))
    talked += [outcome(1, "on", "z", part="dialogue", refers=True, kind="again")]
    talked += talk(("named", "a", 0.7), ("named", "b", 0.9))
    for way, dice in (("on", 0.4), ("no masks", 1)):
        talked.append(outcome(dice, way, "named", part="dialogue", refers=True, kind="function"))
    found = findings.find_references(talked, 0)
    assert found["no masks"]["value"] == pytest.approx(1.6 / 0.8)
    assert found["no masks"]["kinds"]["mirror"]["n"] == 2
    assert found["no masks"]["pointing"]["value"] == pytest.approx(2 / 1.8, abs=1e-4)
    assert list(found["no masks"]["kinds"]) == ["function", "mirror"]
    assert found["alone"]["value"] is None
    assert found["named"]["pointing"]["n"] == 2
    assert (found["named"]["n"], found["named"]["value"]) == (2, pytest.approx(1.6 / 0.8))


def test_what_rounds_cost_is_told_of_one_and_the_same_question() -> None:
    talked = [
        outcome(d, way, q, part="dialogue", refers=refers, kind=kind, round=round_, subject=q)
        for d, way, q, refers, kind, round_ in (
            (0.9, "on", "a", False, "name", 1),
            (0.1, "alone", "a", False, "name", 1),
            (0.6, "on", "b", False, "name", 2),
            (0.8, "alone", "b", False, "name", 2),
            (0.5, "on", "c", True, "mirror", 3),
            (0.2, "alone", "c", True, "mirror", 3),
            (1.0, "labels", "c", True, "mirror", 3),
        )
    ]
    found = findings.find_conversation(talked, 0)
    assert {k: (v["n"], v["value"]) for k, v in found.items()} == {
        "length": (1, 0.75),
        "propagation": (1, 0.5),
    }


def test_correction_saves_a_share_of_the_drop() -> None:
    rows = [("off", "a", 0.9), ("corrupted/off", "a", 0.5), ("on", "a", 0.9), ("corrupted/on", "a", 0.8)]
    harm = findings.find_harm(talk(*rows), ("corrupted",), 0)
    assert (harm["off"]["value"], harm["on"]["value"], harm["saved"]) == (0.4, 0.1, 0.75)
    assert findings.find_harm(talk(*rows[:1]), ("corrupted",), 0)["saved"] is None
    rows += [("misplaced/off", "a", 0.7), ("misplaced/on", "a", 0.9)]
    both = findings.find_harm(talk(*rows), ("corrupted", "misplaced"), 0)
    assert (both["off"]["n"], both["off"]["value"], both["saved"]) == (2, 0.3, pytest.approx(0.8333))


def test_the_judge_is_ranked_and_calibrated() -> None:
    group = [outcome(0.9, quality=0.9), outcome(0.3, quality=0.2), outcome(0.1, quality=None)]
    judge = findings.find_judge(group, 0)
    assert (judge["n"], judge["auroc"]["value"]) == (2, 1.0)
    # IoU of Dice 0.9 is 0.818, of 0.3 is 0.176.
    assert judge["ece"]["value"] == pytest.approx((0.9 - 0.9 / 1.1 + 0.2 - 0.3 / 1.7) / 2, abs=1e-4)


def test_clicks_are_averaged_one_by_one() -> None:
    rows = [
        outcome(0, "words", true=300, dices=(0.5, 0.9, 0.9, 0.9, 0.9, 0.9)),
        outcome(0, "words", dices=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        outcome(0, "alone", dices=(0.0, 0.7)),
    ]
    told = findings.find_clicks(rows, 0)
    assert [told["dice"][k]["mean"] for k in "015"] == [0.3, 0.55, 0.75]
    assert (told["large"]["3"]["mean"], told["alone"]["mean"]) == (0.9, 0.7)
    assert (told["noc"]["mean"], told["reached"]["mean"]) == (3.0, 0.5)


def test_rates_of_absence_sides_and_answers() -> None:
    asked = [outcome(0, way, part="absent", answered=k > 0) for k, way in enumerate(["same set"] * 4)]
    absence = findings.find_absence(asked, 0)
    assert (absence["all"]["mean"], absence["same set"]["count"], absence["other region"]["n"]) == (
        0.75,
        3,
        0,
    )
    sided = [outcome(0, wrong_side=w) for w in (True, False, False, None)]
    found = findings.find_all(sided)
    assert (found["sides"]["n"], found["sides"]["mean"]) == (3, pytest.approx(1 / 3, abs=1e-4))
    assert found["answered"]["mean"] == 1


def test_a_wording_loses_what_the_trained_one_has_more() -> None:
    rows = [outcome(d, way, "q", kind="name") for way, d in (("trained", 0.8), ("held out", 0.7))]
    assert findings.find_wording(rows, 0)["all"]["value"] == pytest.approx(0.1)


def test_chat_is_counted_against_the_base_model() -> None:
    frozen = [outcome(0, way, answered=a) for way, a in (("text", True), ("bits", True), ("text", False))]
    chat = findings.find_chat([outcome(0, kind="chat"), outcome(0, kind="mask")], frozen, 0)
    assert (chat["same_text"], chat["same_bits"], chat["compared"]) == (1, 1, 2)
    assert chat["not_chat"]["mean"] == 0.5


def test_an_aim_is_reached_held_not_held_or_not_measured() -> None:
    aims = {row["name"]: row for row in judge_aims(findings.find_all([outcome(0.75, true=300)]))}
    assert len(aims) == len(AIMS)
    assert aims["by words alone, structures ≥ 200 px: mean Dice"]["word"] == "held"
    assert aims["a mask when one is asked for"]["word"] == "held"
    assert aims["a mask on the wrong side"]["word"] == "not measured"
    ece = {"judge": {"ece": {"value": 0.2}, "auroc": {"value": 0.95}}}
    aims = {row["name"]: row["word"] for row in judge_aims(ece)}
    assert (aims["judge: calibration error"], aims["judge: AUROC for Dice < 0.7"]) == ("not held", "reached")


def test_nothing_asked_finds_nothing() -> None:
    assert {row["word"] for row in judge_aims(findings.find_all([]))} == {"not measured"}
