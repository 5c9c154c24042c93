"""Learning from corrections, end to end on the random model: outcome, cancel, gate, and what is kept."""

from __future__ import annotations

import dataclasses

import pytest
from filelock import FileLock
from lessons import carry, make_rounds

from napari_mediround.errors import CancelledError, MediRoundError, SettingsError, TooFewCorrectionsError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.journal import Journal
from napari_mediround.model.build import build_mediround
from napari_mediround.training.learning import learn
from napari_mediround.training.learning.adapter_store import AdapterStore
from napari_mediround.training.learning.learn import Corrections, learn_from_corrections, read_corrections
from napari_mediround.training.learning.recipe import LearningSettings

QUICK = LearningSettings(words_steps=1, steps=4, coarse=4, masks=2, rehearsed=1, check_every=2)


@pytest.fixture(autouse=True)
def few_bundled(monkeypatch):
    """Rehearse one plane and check one, so that a test takes seconds."""
    bundled = make_rounds(2, "spleen", "accepted")
    monkeypatch.setattr(learn, "load_rehearsal", lambda: (bundled[:1], bundled[1:]))


@pytest.fixture
def run(tmp_path):
    """Return a call that learns from four rounds and tests on one."""
    predictor = Predictor(build_mediround("tiny"), "cpu", preset="tiny")
    rounds = make_rounds(5)

    def call(**options):
        corrections = Corrections(rounds[:4], rounds[4:], ["Case 1 is left out."])
        return learn_from_corrections(
            tmp_path, Journal.in_memory(), predictor, QUICK, corrections=corrections, **options
        )

    return call


def force(monkeypatch, *wins: bool, better: bool = False) -> None:
    """Let the first adapter measured win or not, then the next; the last answer stays."""
    left = list(wins)

    def decide(old, new, seconds) -> dict:
        won = left.pop(0) if len(left) > 1 else left[0]
        return {"wins": won, "better": better or won, "words": "…", "seconds": seconds, "old": old}

    monkeypatch.setattr(learn, "decide", decide)


def test_an_adapter_that_wins_goes_live_with_a_card_that_explains_it(run, tmp_path, monkeypatch):
    force(monkeypatch, True)
    outcome, store = run(), AdapterStore(tmp_path)
    assert (outcome.adapter, outcome.live, outcome.finished) == ("a001", True, True)
    assert (store.live, store.history()[-1].why) == ("a001", "won")
    assert outcome.notes == ("Case 1 is left out.",)
    card = store.card("a001")
    assert card["learned_from"] == {"corrected": 4}
    assert card["journal"]["last"] == 31
    assert card["recipe"]["steps"] == 4
    assert card["structures"] == ["liver"]
    assert card["gate"]["seconds"] == 12.0
    assert (store.path("a001") / "learning.png").exists()


def test_one_that_does_not_win_is_kept_and_not_live(run, tmp_path, monkeypatch):
    force(monkeypatch, False)
    assert not run().live
    assert AdapterStore(tmp_path).live == ""
    assert AdapterStore(tmp_path).names() == ["a001"]


def test_where_it_is_better_but_forgot_half_of_it_may_go_live(run, tmp_path, monkeypatch):
    force(monkeypatch, False, True, better=True)
    seen = []
    outcome, store = run(report=seen.append), AdapterStore(tmp_path)
    assert (outcome.adapter, outcome.live, store.live) == ("a002", True, "a002")
    assert outcome.card["share"] == {"a001": 0.5}
    assert outcome.words == "a001: … a002: …"
    assert [p.phase for p in seen if p.step == 0].count("measuring before") == 1


def test_half_of_it_that_forgot_as_well_is_kept_and_not_live(run, tmp_path, monkeypatch):
    force(monkeypatch, False, better=True)
    outcome = run()
    assert (outcome.adapter, outcome.live) == ("a001", False)
    assert (AdapterStore(tmp_path).live, AdapterStore(tmp_path).names()) == ("", ["a001", "a002"])


def test_the_second_is_measured_against_the_live_one(run, tmp_path, monkeypatch):
    force(monkeypatch, True)
    run()
    assert run().card["gate"]["against"] == "a001"
    assert AdapterStore(tmp_path).live == "a002"


def test_where_the_live_one_is_of_other_weights_the_second_is_measured_against_none(
    run, tmp_path, monkeypatch
):
    force(monkeypatch, True)
    run()
    AdapterStore(tmp_path).note("a001", base="that of the weights before an update")
    outcome, store = run(), AdapterStore(tmp_path)
    assert (outcome.adapter, outcome.live, store.live) == ("a002", True, "a002")
    assert outcome.card["gate"]["against"] == ""
    assert outcome.card["gate"]["old"] == store.card("a001")["gate"]["old"]


def test_what_cannot_be_measured_is_kept_and_not_live(run, tmp_path, monkeypatch):
    def fail(*_):
        raise MediRoundError("That image is no longer in memory.")

    monkeypatch.setattr(learn, "measure", fail)
    outcome, store = run(), AdapterStore(tmp_path)
    assert (outcome.adapter, outcome.live, outcome.finished) == ("a001", False, True)
    assert "That image is no longer in memory." in outcome.words
    assert "gate" not in store.card("a001")
    assert store.live == ""


def test_carried_masks_are_learned_beside_what_was_asked(tmp_path):
    predictor, rounds = Predictor(build_mediround("tiny"), "cpu", preset="tiny"), make_rounds(3)
    found = Corrections([rounds[0], *map(carry, rounds[:2])], rounds[2:], [])
    outcome = learn_from_corrections(tmp_path, Journal.in_memory(), predictor, QUICK, corrections=found)
    assert outcome.finished
    assert outcome.card["learned_from"] == {"corrected": 3}


def test_progress_tells_phases_steps_and_losses(run):
    seen = []
    run(report=seen.append)
    assert list(dict.fromkeys(p.phase for p in seen)) == [
        "reading", "words", "masks", "measuring before", "measuring after"
    ]  # fmt: skip
    masks = [p for p in seen if p.phase == "masks"]
    assert [p.step for p in masks] == [1, 2, 3, 4]
    assert all(p.loss > 0 and p.dice is not None and 0 <= p.checked_dice <= 1 for p in masks)
    assert masks[0].left > masks[-1].left == 0


def test_cancelled_it_keeps_the_last_good_step_and_the_next_call_goes_on(run, tmp_path):
    seen = []

    def stop() -> bool:
        return bool(seen) and (seen[-1].phase, seen[-1].step) == ("masks", 3)

    outcome = run(report=seen.append, cancelled=stop)
    assert (outcome.adapter, outcome.live, outcome.finished) == ("a001", False, False)
    assert AdapterStore(tmp_path).card("a001")["good_step"] == 2
    seen.clear()
    assert run(report=seen.append).finished
    assert [p.step for p in seen if p.phase == "masks"] == [4]


def test_cancelled_while_reading_or_measuring_nothing_goes_live(run, tmp_path):
    with pytest.raises(CancelledError):
        run(cancelled=lambda: True)
    seen = []
    outcome = run(report=seen.append, cancelled=lambda: bool(seen) and seen[-1].phase.startswith("measuring"))
    assert not outcome.live
    assert "cancelled" in outcome.words


def test_a_project_learns_once_at_a_time(run, tmp_path):
    (tmp_path / "learning").mkdir()
    with FileLock(tmp_path / "learning/lock"), pytest.raises(SettingsError, match="already learning"):
        run()


def test_an_empty_project_is_refused_with_what_is_missing(tmp_path):
    with pytest.raises(TooFewCorrectionsError, match="at least 8 masks"):
        read_corrections(tmp_path, Journal.in_memory())


def test_what_was_touched_goes_by_its_right_name():
    rounds = make_rounds(2, "left kidney")
    wrong = dataclasses.replace(rounds[0].masks[0], reason="wrong side")
    rounds[0] = dataclasses.replace(rounds[0], masks=(wrong,))
    assert Corrections(rounds, [], []).touched == {"left kidney", "right kidney"}
