"""Outcomes: one question of the full evaluation, how it was put and how it was answered.

Kept one a line in a file, so that a stopped run loses nothing and several runs can be told of together.
Knows no model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from napari_mediround.errors import UnreadableFileError
from napari_mediround.training.evaluation.metrics import Score


@dataclass(frozen=True)
class Outcome:
    """One question and the score of its answer.

    Parameters
    ----------
    part : str
        What it was asked for: "name", "dialogue", "clicks", "wording", "absent" or "chat".
    way : str
        The condition within the part ("off", "on", "held out", …).
    question : str
        The same for one question in several ways: "set/case/plane#…".
    score : Score
        How the mask compares; for "absent" and "chat" against nothing, `answered` being a mask that shows.
    modality : str
        DICOM's code, "" for photographs and the like.
    kind : str
        Of the question ("name", "mirror", …).
    refers : bool
        Whether it points at an earlier mask.
    wrong_side : bool or None
        Whether more of the mask lies on the structure's mirror than on it; None where the plane does not
        show both.
    boxed_dice : float or None
        LiteMedSAM's with the true box.
    corrected : bool
        Whether the corrector's mask was kept.
    dices : tuple of float
        For "clicks": after 0, 1, … clicks.
    needs : bool
        Whether it cannot be understood without an earlier mask: it does not name what it points at.
    """

    part: str
    way: str
    question: str
    score: Score
    modality: str = ""
    kind: str = ""
    refers: bool = False
    wrong_side: bool | None = None
    boxed_dice: float | None = None
    corrected: bool = False
    dices: tuple[float, ...] = ()
    needs: bool = False

    @property
    def set(self) -> str:
        """Name of the set."""
        return self.question.partition("/")[0]


_SCORE = tuple(field.name for field in fields(Score))


def append_outcomes(path: Path, outcomes: Iterable[Outcome]) -> None:
    """Write outcomes at the end of a file, one JSON object a line."""
    with open(path, "a", encoding="utf-8") as file:
        for outcome in outcomes:
            row = asdict(outcome)
            file.write(json.dumps(row | row.pop("score"), ensure_ascii=False) + "\n")


def read_outcomes(path: Path) -> list[Outcome]:
    """Read what `append_outcomes` wrote; a last line that was cut off is left out.

    Raises
    ------
    UnreadableFileError
        When a line is no outcome.
    """
    text = Path(path).read_text("utf-8")
    try:
        rows = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
        return [_to_outcome(row) for row in rows]
    except (ValueError, TypeError, KeyError) as error:
        remedy = "Run mediround evaluate --full again."
        raise UnreadableFileError(path, f"not outcomes of an evaluation ({error})", remedy) from error


def _to_outcome(row: dict) -> Outcome:
    score = Score(**{name: row.pop(name) for name in _SCORE})
    return Outcome(**row | {"score": score, "dices": tuple(row["dices"])})
