"""The judge's scale at a site."""

from __future__ import annotations

import numpy as np

from napari_mediround.training.learning.calibration import Judgement, fit_calibration


def apply(scale: float, offset: float, logits) -> np.ndarray:
    return 1 / (1 + np.exp(-(scale * np.asarray(logits) + offset)))


def test_too_few_masks_leave_the_judge_as_it_is():
    assert fit_calibration([]) == fit_calibration([Judgement(3.0, 0.1)]) == (1.0, 0.0)


def test_a_judge_that_is_right_stays():
    logits = np.linspace(-3, 3, 60)
    scale, offset = fit_calibration([Judgement(x, 1 / (1 + np.exp(-x))) for x in logits])
    assert abs(scale - 1) < 0.02
    assert abs(offset) < 0.02


def test_a_judge_that_praises_too_much_is_brought_down():
    logits = np.linspace(1, 4, 60)
    fitted = fit_calibration([Judgement(x, 0.4) for x in logits])
    assert abs(apply(*fitted, logits).mean() - 0.4) < 0.05


def test_better_masks_are_judged_better_still_whatever_the_masks_say():
    scale, _ = fit_calibration([Judgement(x, 1 / (1 + np.exp(x))) for x in np.linspace(-4, 4, 80)])
    assert scale > 0


def test_few_masks_move_it_less_than_many():
    few = fit_calibration([Judgement(3.0, 0.2)] * 3)
    many = fit_calibration([Judgement(3.0, 0.2)] * 100)
    assert apply(1, 0, 3.0) > apply(*few, 3.0) > apply(*many, 3.0) > 0.2
