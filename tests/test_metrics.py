"""Scores: conventions of the paper, the rank-based AUROC, the interval over subjects, the baselines."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_mediround.training.evaluation.baselines import fill_box, threshold_in_box
from napari_mediround.training.evaluation.metrics import (
    SUMMARY,
    Score,
    auroc,
    bootstrap_interval,
    bootstrap_statistic,
    calibrate,
    dice,
    summarise,
)

MASKS = arrays(bool, (5, 6))


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=30))
def test_auroc_is_the_share_of_pairs_in_the_right_order(pairs) -> None:
    ups = [v for v, good in pairs if good]
    downs = [v for v, good in pairs if not good]
    wins = [(u > d) + 0.5 * (u == d) for u in ups for d in downs]
    expected = pytest.approx(sum(wins) / len(wins)) if wins else None
    assert auroc([v for v, _ in pairs], [good for _, good in pairs]) == expected


@given(MASKS, MASKS)
def test_a_score_agrees_with_its_masks(one, other) -> None:
    score = Score("", "", 1, int((one & other).sum()), int(one.sum()), int(other.sum()))
    union = (one | other).sum()
    assert score.iou == pytest.approx((one & other).sum() / union if union else 1)
    assert score.dice == pytest.approx(dice(one, other))
    assert score.dice == pytest.approx(2 * score.iou / (1 + score.iou))


def test_dice_refuses_masks_of_two_grids() -> None:
    with pytest.raises(ValueError, match="different grids"):
        dice(np.ones((1, 4), bool), np.ones((4, 4), bool))


def test_counts_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot overlap"):
        Score("liver", "a", 1, intersection=5, predicted=4, true=9)


def test_giou_counts_masks_and_ciou_counts_pixels() -> None:
    small, large = Score("", "a", 1, 10, 10, 10), Score("", "b", 1, 0, 45, 45)
    told = summarise([small, large])
    assert tuple(told) == SUMMARY
    assert told["giou"] == told["dice"] == 0.5
    assert told["ciou"] == 0.1


def test_a_question_without_a_mask_scores_zero_and_is_not_judged() -> None:
    seen = Score("", "a", 1, 8, 8, 8, quality=0.9)
    poor = Score("", "a", 2, 1, 8, 8, quality=0.2)
    silent = Score("", "a", 3, 0, 0, 8, answered=False)
    told = summarise([seen, poor, silent])
    assert told["seg_rate"] == pytest.approx(2 / 3, abs=1e-6)
    assert told["judge_auroc"] == 1
    assert told["dice"] == pytest.approx((1 + 1 / 8) / 3, abs=1e-6)
    assert summarise([seen])["judge_auroc"] is None
    assert Score("", "a", 1, 0, 0, 0, answered=False).dice == 0


def test_nothing_scored_tells_nothing() -> None:
    assert summarise([]) == {field: 0 if field == "n" else None for field in SUMMARY}


def test_the_interval_draws_subjects_not_masks() -> None:
    values, subjects = [0.2, 0.8, 0.5, 0.9], ["a", "b", "c", "d"]
    interval = bootstrap_interval(values, subjects, seed=3)
    assert interval[0] < np.mean(values) < interval[1]
    assert interval == bootstrap_interval(values, subjects, seed=3)
    # Ten copies of each mask say nothing more about other subjects.
    assert bootstrap_interval(values * 10, subjects * 10, seed=3) == pytest.approx(interval)
    assert bootstrap_interval(values, ["a"] * 4) is None
    assert bootstrap_interval([], []) is None


@given(MASKS)
def test_the_box_holds_the_truth_and_nothing_beyond_it(truth) -> None:
    box = fill_box(truth)
    assert (box & truth == truth).all()
    sides = np.ptp(np.argwhere(truth), 0) + 1 if truth.any() else np.zeros(2)
    assert box.sum() == sides.prod()


@pytest.mark.parametrize("inside", [20, 220])
def test_thresholding_finds_a_bright_and_a_dark_disc(inside: int) -> None:
    y, x = np.ogrid[:20, :20]
    truth = (y - 9) ** 2 + (x - 9) ** 2 <= 30
    image = np.repeat(np.where(truth, inside, 120).astype(np.uint8)[..., None], 3, 2)
    assert (threshold_in_box(image, truth) == truth).all()
    assert dice(fill_box(truth), truth) < 0.95
    assert not threshold_in_box(image, np.zeros_like(truth)).any()


def test_calibration_weighs_each_bin_by_its_answers() -> None:
    stated, true = [0.05, 0.95, 1.0, 0.9], [0.25, 0.95, 0.8, 0.8]
    error, bins = calibrate(stated, true)
    # One answer 0.2 off in the first bin; three in the last, whose means are 0.95 and 0.85.
    assert error == pytest.approx((1 * 0.2 + 3 * 0.1) / 4)
    assert [(row["low"], row["n"]) for row in bins] == [(0.0, 1), (0.9, 3)]
    assert bins[1]["stated"] == pytest.approx(0.95)
    assert calibrate([], []) == (None, [])
    assert calibrate([0.5], [0.5])[0] == 0


def test_any_statistic_is_resampled_by_subject() -> None:
    values, subjects = np.array([0.2, 0.8, 0.5, 0.9, 0.1]), ["a", "b", "c", "d", "a"]
    interval = bootstrap_statistic(lambda rows: float(values[rows].mean()), subjects, seed=3)
    assert interval == pytest.approx(bootstrap_interval(values, subjects, seed=3))
    assert bootstrap_statistic(lambda rows: None, subjects) is None
    assert bootstrap_statistic(lambda rows: 1.0, ["a", "a"]) is None
    assert bootstrap_statistic(lambda rows: 1.0, []) is None
