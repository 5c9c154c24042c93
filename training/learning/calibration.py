"""Calibration of the judge at a site: two numbers, fitted to masks whose IoU is known. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize

TRUST_SCALE, TRUST_OFFSET = 8.0, 1.0
"""How firmly the judge's own scale (its logarithm) and offset are held; a mask weighs at most 1/4."""


@dataclass(frozen=True)
class Judgement:
    """The judge's logit for a mask, and the true IoU of the mask, 0…1."""

    logit: float
    worth: float


def fit_calibration(judgements: Sequence[Judgement]) -> tuple[float, float]:
    """Return the scale and offset of the logit that fit the true IoU best; (1, 0) for too few judgements.

    Minimises the cross entropy against the true IoU, with a pull towards the judge as it is. The scale is
    positive, so that the order of judgements stays.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999; here with soft targets.
    """
    if len(judgements) < 2:
        return 1.0, 0.0
    logits = np.array([j.logit for j in judgements])
    worth = np.array([j.worth for j in judgements])

    def cost(point: np.ndarray) -> tuple[float, np.ndarray]:
        scale = math.exp(point[0])
        said = scale * logits + point[1]
        error = 1 / (1 + np.exp(-np.clip(said, -50, 50))) - worth
        slope = [scale * (error @ logits) + TRUST_SCALE * point[0], error.sum() + TRUST_OFFSET * point[1]]
        pull = (TRUST_SCALE * point[0] ** 2 + TRUST_OFFSET * point[1] ** 2) / 2
        return float((np.logaddexp(0, said) - worth * said).sum() + pull), np.array(slope)

    scale, offset = minimize(cost, np.zeros(2), jac=True, method="L-BFGS-B", bounds=[(-2, 2), (-10, 10)]).x
    return math.exp(scale), float(offset)
