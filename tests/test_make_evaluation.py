"""docs/evaluation.md: its numbers are those of evaluation.json, and it asks for nothing that is not there."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from test_findings import outcome

from napari_mediround.training.evaluation.findings import find_all
from napari_mediround.training.evaluation.outcomes import append_outcomes

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def script():
    """Import docs/make_evaluation.py, which belongs to no package."""
    spec = importlib.util.spec_from_file_location("make_evaluation", DOCS / "make_evaluation.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_report(script, folder: Path, name: str, dice: float) -> Path:
    """Write a report with one outcome beside it."""
    config = dict.fromkeys(script.RUN_KEYS, 1) | {"dataset": name, "model": {"preset": "x"}, "skipped": []}
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"config": config}))
    append_outcomes(
        path.with_suffix(".jsonl"), [outcome(dice, question=f"{name}/c/0.x", subject=name, true=300)]
    )
    return path


def test_the_document_is_what_its_text_and_numbers_make_it(script) -> None:
    if not (DOCS / "evaluation.json").exists():
        pytest.skip("nothing evaluated yet: python docs/make_evaluation.py REPORT.json …")
    data = json.loads((DOCS / "evaluation.json").read_text("utf-8"))
    text = (DOCS / "evaluation.md.in").read_text("utf-8")
    assert (DOCS / "evaluation.md").read_text("utf-8") == script.render(text, data)


def test_every_table_can_be_drawn_of_nothing(script) -> None:
    data = {"runs": [], "findings": find_all([])}
    document = script.render((DOCS / "evaluation.md.in").read_text("utf-8"), data)
    assert "{{" not in document
    assert "not measured" in document
    assert set(script.TABLES) <= {name.strip("{}") for name in names_in(DOCS / "evaluation.md.in")}


def names_in(path: Path) -> list[str]:
    """Return what the text asks for."""
    return re.findall(r"\{\{(.+?)\}\}", path.read_text("utf-8"))


def test_what_is_unknown_is_an_error(script) -> None:
    with pytest.raises(KeyError):
        script.render("{{judge.accuracy}}", {"runs": [], "findings": find_all([])})
    assert script.render("{{chat.compared}}", {"runs": [], "findings": find_all([])}) == "0"


def test_reports_are_pooled_by_their_outcomes(script, tmp_path: Path) -> None:
    data = script.pool_reports(
        [write_report(script, tmp_path, n, d) for n, d in (("one", 0.6), ("two", 0.8))]
    )
    assert [run["dataset"] for run in data["runs"]] == ["one", "two"]
    row = script.tell_text(data["findings"]["text"]["groups"]).splitlines()[2]
    assert row.startswith("| all | 2 | 2 | 0.70 (0.60 to 0.80) |")


def test_cells_tell_what_is_missing(script) -> None:
    assert script.spread({"mean": None}) == script.show(None) == "–"
    assert script.spread({"mean": 0.5, "low": None}) == "0.50"
    rate = {"mean": 0.25, "count": 1, "n": 4, "low": 0.0, "high": 0.5}
    assert script.percent(rate) == "25.0 % (1 of 4; 0.0 to 50.0)"


def test_the_plot_puts_a_dot_where_the_bin_is(script) -> None:
    judge = {"n": 1, "auroc": {"value": None}, "ece": {"value": 0.4}}
    judge["bins"] = [{"low": 0.5, "n": 1, "stated": 0.5, "true": 0.9}]
    image = np.array(script.draw_reliability(judge, side=600))
    pink = np.argwhere((image == (0xC0, 0x2A, 0x7B)).all(2)).mean(0)
    # x: 0.13 + 0.8·0.5 of the side from the left; y: 0.13 + 0.8·0.9 from below.
    assert pink == pytest.approx([600 * (1 - 0.85), 600 * 0.53], abs=3)
