"""The judge's scale at a site: two numbers, fitted to masks whose worth is known. Knows no model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

TRUST = 4.0
"""How many masks it takes to weigh as much as the judge's own scale."""


@dataclass(frozen=True)
class Judgement:
    """What the judge said of a mask, as a logit, and what the mask was worth: its IoU, 0…1."""

    logit: float
    worth: float


def fit_calibration(judgements: Sequence[Judgement]) -> tuple[float, float]:
    """Return the scale and offset of the logit that bring judgements close to worth; (1, 0) for too few.

    The cross entropy against the worth, with a pull towards (1, 0) that weighs as much as `TRUST` masks,
    by Newton's method. The scale stays positive, so that better masks are still judged better.

    References
    ----------
    Platt, Probabilistic outputs for support vector machines, 1999; here with soft targets.
    """
    if len(judgements) < 2:
        return 1.0, 0.0
    logits = np.array([[j.logit, 1.0] for j in judgements])
    worth = np.array([j.worth for j in judgements])
    start = np.array([1.0, 0.0])
    point = start.copy()
    for _ in range(50):
        said = 1 / (1 + np.exp(-np.clip(logits @ point, -30, 30)))
        slope = logits.T @ (said - worth) + TRUST * (point - start)
        curve = (logits * (said * (1 - said))[:, None]).T @ logits + TRUST * np.eye(2)
        move = np.linalg.solve(curve, slope)
        point = point - move / max(1.0, np.abs(move).max())
        if np.abs(move).max() < 1e-9:
            break
    scale, offset = point.tolist()
    return (scale, offset) if scale > 0.05 and math.isfinite(offset) else (1.0, 0.0)
