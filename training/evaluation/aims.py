"""The aims that the evaluation is held against, and where in its findings each is measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Aim:
    """One target.

    Parameters
    ----------
    name : str
    hold, reach : float or None
        What must hold, what is aimed at; None where there is only one.
    measured : callable
        From findings to the value and its interval, (value, low, high); None where it was not measured.
    most : bool
        Whether the value must not be above `hold`, instead of below.
    """

    name: str
    hold: float
    reach: float | None
    measured: Callable[[dict], tuple[float | None, float | None, float | None]]
    most: bool = False

    def judge(self, findings: dict) -> dict:
        """Return {"name", "hold", "reach", "value", "low", "high", "word"}.

        "word" is "reached", "held", "not held" or "not measured".
        """
        value, low, high = self.measured(findings)
        sign = -1 if self.most else 1
        if value is None:
            word = "not measured"
        elif sign * value >= sign * self.hold:
            word = "held" if self.reach is None or sign * value < sign * self.reach else "reached"
        else:
            word = "not held"
        bound = "≤" if self.most else "≥"
        told = {"name": self.name, "bound": bound, "hold": self.hold, "reach": self.reach}
        return told | {"value": value, "low": low, "high": high, "word": word}


def _look(*path: str, value: str = "mean") -> Callable[[dict], tuple]:
    """Return a lookup of a row in findings and of its value with interval."""

    def look(findings: dict) -> tuple:
        row = findings
        for key in path:
            row = row.get(key) or {}
        return row.get(value), row.get("low"), row.get("high")

    return look


def _share(part: str, count: str, total: str) -> Callable[[dict], tuple]:
    def look(findings: dict) -> tuple:
        row = findings.get(part) or {}
        return (row[count] / row[total] if row.get(total) else None), None, None

    return look


def _saved(harm: str) -> Callable[[dict], tuple]:
    def look(findings: dict) -> tuple:
        return findings.get("corruption", {}).get(harm, {}).get("saved"), None, None

    return look


_ON = "on"
AIMS = (
    Aim("by words alone, structures ≥ 200 px: mean Dice", 0.70, 0.85, _look("text", "groups", "from 200 px")),
    Aim("after at most 3 clicks, structures ≥ 200 px: mean Dice", 0.82, 0.90, _look("clicks", "large", "3")),
    Aim(
        "questions that need an earlier mask: Dice with / without the referenced masks",
        1.6,
        None,
        _look("references", "no masks", value="value"),
    ),
    Aim(
        "the same questions: Dice with / without any earlier round",
        1.6,
        None,
        _look("references", "alone", value="value"),
    ),
    Aim("Dice(round 6) / Dice(round 1)", 0.90, 0.98, _look("rounds", _ON, "last to first", value="value")),
    Aim("correction: change of mean Dice", 0.0, None, _look("correction", _ON, value="value")),
    Aim("bad references: share of the drop that correction saves", 0.5, None, _saved("both")),
    Aim("judge: AUROC for Dice < 0.7", 0.75, 0.90, _look("judge", "auroc", value="value")),
    Aim("judge: calibration error", 0.10, 0.05, _look("judge", "ece", value="value"), most=True),
    Aim("a mask when one is asked for", 0.98, None, _look("answered")),
    Aim("a mask for an absent structure", 0.10, 0.02, _look("absence", "all"), most=True),
    Aim("a mask on the wrong side", 0.02, None, _look("sides"), most=True),
    Aim(
        "Dice lost in wordings kept from training",
        0.03,
        None,
        _look("wording", "all", value="value"),
        most=True,
    ),
    Aim(
        "chat answers that equal the base model's bit for bit",
        1.0,
        None,
        _share("chat", "same_bits", "compared"),
    ),
)


def judge_aims(findings: dict) -> list[dict]:
    """Return each aim with what was measured; see `Aim.judge`."""
    return [aim.judge(findings) for aim in AIMS]
