"""Outcomes in a file: they come back as they were, also after an interruption."""

from __future__ import annotations

from pathlib import Path

import pytest

from napari_mediround.errors import UnreadableFileError
from napari_mediround.training.evaluation.metrics import Score
from napari_mediround.training.evaluation.outcomes import Outcome, append_outcomes, read_outcomes

ONE = Outcome(
    "name",
    "on",
    "set/case_1/4.liver",
    Score("liver", "set/é", 2, 3, 5, 4, True, 0.25, 0.5, 0.75),
    "CT",
    "mirror",
    True,
    False,
    0.5,
    True,
    (0.1, 0.2),
)
OTHER = Outcome("chat", "chat", "set/case_1/4.", Score("", "set/a", 1, 0, 0, 0, answered=False))


def test_outcomes_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    append_outcomes(path, [ONE])
    append_outcomes(path, [OTHER])
    assert read_outcomes(path) == [ONE, OTHER]
    assert ONE.set == "set"


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "o.jsonl"
    append_outcomes(path, [ONE, OTHER])
    path.write_bytes(path.read_bytes()[:-5])
    assert read_outcomes(path) == [ONE]


@pytest.mark.parametrize("text", ['{"part": "name"}\n', "no json\n"])
def test_another_file_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "o.jsonl").write_text(text)
    with pytest.raises(UnreadableFileError, match="not outcomes"):
        read_outcomes(tmp_path / "o.jsonl")
