"""Overlap, rates and their uncertainty for one list of answers. Knows no image, no model and no file.

References
----------
MediRound, arXiv 2511.12110, and its released evaluation: gIoU is the mean of per-mask IoU, cIoU the summed
intersection over the summed union, Dice the mean over masks, and empty against empty counts 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

GOOD_DICE = 0.7
"""A mask of at least this Dice is one that the judge should have called good."""

SUMMARY = ("dice", "giou", "ciou", "n", "seg_rate", "judge_auroc", "box_fill_dice", "otsu_dice")
"""Fields of `summarise`."""


@dataclass(frozen=True)
class Score:
    """How one question was answered.

    Parameters
    ----------
    structure : str
        As asked; "" where the data does not say.
    subject : str
        Whose image it is; answers about one subject are not independent.
    round : int
        1-based number in its conversation.
    intersection, predicted, true : int
        Pixels in both masks, in the answer's, in the label's.
    answered : bool
        Whether the answer held a mask at all.
    quality : float or None
        Judged IoU, 0…1; None without a mask.
    box_fill_dice, otsu_dice : float
        What `training.baselines` reach from the true box.

    Raises
    ------
    ValueError
        When the counts contradict each other.
    """

    structure: str
    subject: str
    round: int
    intersection: int
    predicted: int
    true: int
    answered: bool = True
    quality: float | None = None
    box_fill_dice: float = 0.0
    otsu_dice: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.intersection <= min(self.predicted, self.true):
            raise ValueError(f"{self.intersection} of {self.predicted} and {self.true} px cannot overlap")

    @property
    def union(self) -> int:
        """Pixels in either mask."""
        return self.predicted + self.true - self.intersection

    @property
    def dice(self) -> float:
        """2I / (A + B); 1 for empty against empty, 0 without an answer."""
        total = self.predicted + self.true
        return (2 * self.intersection / total if total else 1.0) if self.answered else 0.0

    @property
    def iou(self) -> float:
        """I / U; 1 for empty against empty, 0 without an answer."""
        return (self.intersection / self.union if self.union else 1.0) if self.answered else 0.0


def dice(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the Dice of two masks (row, column) on one grid, 0…1; empty against empty is 1.

    Raises
    ------
    ValueError
        When they lie on different grids.
    """
    if one.shape != other.shape:
        raise ValueError(f"masks of {one.shape} and {other.shape} px lie on different grids")
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def auroc(values: ArrayLike, positive: ArrayLike) -> float | None:
    """Return how often a positive's value exceeds a negative's, ties counting half; None for one class only.

    Parameters
    ----------
    values : (N,) float
    positive : (N,) bool
    """
    values, positive = np.asarray(values, float), np.asarray(positive, bool)
    ups = int(positive.sum())
    downs = len(positive) - ups
    if not ups or not downs:
        return None
    wins = rankdata(values)[positive].sum() - ups * (ups + 1) / 2
    return float(wins / (ups * downs))


def bootstrap_interval(
    values: ArrayLike, subjects: Sequence[str], seed: int = 0, level: float = 0.95, draws: int = 1000
) -> tuple[float, float] | None:
    """Return the percentile interval of the mean, drawing whole subjects with replacement.

    Parameters
    ----------
    values : (N,) float
    subjects : sequence of str
        (N,) whose value it is.
    seed : int
        The only source of chance.
    level : float
        0…1.
    draws : int
        Resamples.

    Returns
    -------
    (low, high) or None
        None with fewer than two subjects: they say nothing about others.
    """
    _, owner = np.unique(np.asarray(subjects, str), return_inverse=True)
    count = int(owner.max(initial=-1)) + 1
    if count < 2:
        return None
    sums, sizes = np.bincount(owner, np.asarray(values, float)), np.bincount(owner)
    drawn = np.random.default_rng(seed).integers(count, size=(draws, count))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap_statistic(
    statistic: Callable[[NDArray[np.intp]], float | None],
    subjects: Sequence[str],
    seed: int = 0,
    level: float = 0.95,
    draws: int = 1000,
) -> tuple[float, float] | None:
    """Return the percentile interval of any statistic, drawing whole subjects with replacement.

    Parameters
    ----------
    statistic : callable
        Of the indices (M,) of a resample; draws for which it is None are left out.
    subjects, seed, level, draws
        As in `bootstrap_interval`.
    """
    _, owner = np.unique(np.asarray(subjects, str), return_inverse=True)
    groups = [np.flatnonzero(owner == k) for k in range(int(owner.max(initial=-1)) + 1)]
    if len(groups) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(groups), size=(draws, len(groups)))
    values = (statistic(np.concatenate([groups[k] for k in row])) for row in drawn)
    told = [value for value in values if value is not None]
    if not told:
        return None
    low, high = np.quantile(told, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def calibrate(stated: ArrayLike, true: ArrayLike, bins: int = 10) -> tuple[float | None, list[dict]]:
    """Return the expected calibration error of stated values in 0…1, and its bins.

    The error is the mean over answers of |mean stated − mean true| of their bin; bins are equally wide,
    [0, 0.1), … [0.9, 1]. None for no answers.

    Parameters
    ----------
    stated, true : (N,) float
        0…1.
    bins : int

    Returns
    -------
    error : float or None
    bins : list of dict
        "low", "n", "stated", "true" of each bin that is not empty.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, 2017; here of a value, not of a class.
    """
    stated, true = np.asarray(stated, float), np.asarray(true, float)
    index = np.minimum((stated * bins).astype(int), bins - 1)
    table = []
    for k in np.unique(index):
        own = index == k
        means = {"stated": float(stated[own].mean()), "true": float(true[own].mean())}
        table.append({"low": k / bins, "n": int(own.sum()), **means})
    if not table:
        return None, []
    error = sum(row["n"] * abs(row["stated"] - row["true"]) for row in table) / len(stated)
    return float(error), table


def summarise(scores: Sequence[Score]) -> dict[str, float | int | None]:
    """Return the fields of `SUMMARY` over scores; all but `n` are None where there is nothing to tell.

    `judge_auroc` tells how well the judged quality parts masks of Dice ≥ `GOOD_DICE` from the others, over
    the answers that hold a mask; `seg_rate` is the share of these among all questions.
    """
    if not scores:
        return {field: 0 if field == "n" else None for field in SUMMARY}
    judged = [s for s in scores if s.quality is not None]
    union = sum(s.union for s in scores)
    values = {
        "dice": np.mean([s.dice for s in scores]),
        "giou": np.mean([s.iou for s in scores]),
        "ciou": sum(s.intersection for s in scores) / union if union else 1.0,
        "seg_rate": np.mean([s.answered for s in scores]),
        "judge_auroc": auroc([s.quality for s in judged], [s.dice >= GOOD_DICE for s in judged]),
        "box_fill_dice": np.mean([s.box_fill_dice for s in scores]),
        "otsu_dice": np.mean([s.otsu_dice for s in scores]),
    }
    told = {k: None if v is None else round(float(v), 6) for k, v in values.items()} | {"n": len(scores)}
    return {field: told[field] for field in SUMMARY}
