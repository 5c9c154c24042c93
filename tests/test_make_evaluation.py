"""docs/evaluation.md and its details: every number is one of evaluation.json."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from test_findings import outcome

from napari_mediround.training.evaluation.findings import find_all
from napari_mediround.training.evaluation.outcomes import append_outcomes

DOCS = Path(__file__).parent.parent / "docs"


@pytest.fixture(scope="module")
def script():
    """Import docs/make_evaluation.py, which belongs to no package; its neighbours are found beside it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        return importlib.import_module("make_evaluation")


@pytest.fixture(scope="module")
def tables(script):
    """Import docs/evaluation_tables.py."""
    return sys.modules[script.show.__module__]


def write_report(script, folder: Path, name: str, dice: float) -> Path:
    """Write a report with one outcome beside it."""
    config = dict.fromkeys(script.RUN_KEYS, 1) | {
        "dataset": name,
        "model": {"preset": "x"},
        "skipped": [],
        "split": "val",
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({"config": config}))
    append_outcomes(
        path.with_suffix(".jsonl"), [outcome(dice, question=f"{name}/c/0.x", subject=name, true=300)]
    )
    return path


def text_of(script, name: str = "evaluation.md.in") -> str:
    """Return the text that a document is made of."""
    assert name in script.TEXTS
    return (DOCS / name).read_text("utf-8")


def test_each_document_is_what_its_text_and_numbers_make_it(script) -> None:
    data = json.loads((DOCS / "evaluation.json").read_text("utf-8"))
    for text in script.TEXTS:
        document = (DOCS / text.removesuffix(".in")).read_text("utf-8")
        assert document == script.render(text_of(script, text), data), f"run docs/make_evaluation.py: {text}"


def test_the_short_document_is_short(script) -> None:
    data = json.loads((DOCS / "evaluation.json").read_text("utf-8"))
    document = script.render(
        text_of(script), data | {"new_hospital": {"runs": [], "findings": data["findings"]}}
    )
    assert "## A new hospital" in document
    assert len(document.splitlines()) <= 80


def test_every_table_can_be_drawn_of_nothing(script) -> None:
    data, asked = {"runs": [], "findings": find_all([])}, set()
    for text in script.TEXTS:
        document = script.render(text_of(script, text), data)
        assert "{{" not in document
        assert "not measured" in document or text != "evaluation.md.in"
        asked |= set(names_in(DOCS / text))
    assert set(script.TABLES) | set(script.SECTIONS) <= asked


def test_every_structure_that_a_text_names_was_measured(script) -> None:
    structures = json.loads((DOCS / "evaluation.json").read_text("utf-8"))["findings"]["structures"]
    named = [
        name.removeprefix("dice of ") for name in names_in(DOCS / "evaluation.md.in") if name[:4] == "dice"
    ]
    assert named
    assert set(named) <= set(structures)


def names_in(path: Path) -> list[str]:
    """Return what the text asks for."""
    return re.findall(r"\{\{(.+?)\}\}", path.read_text("utf-8"))


def test_what_is_unknown_is_an_error(script) -> None:
    with pytest.raises(KeyError):
        script.render("{{judge.accuracy}}", {"runs": [], "findings": find_all([])})
    assert script.render("{{chat.compared}}", {"runs": [], "findings": find_all([])}) == "0"


def test_reports_are_pooled_by_their_outcomes(script, tables, tmp_path: Path) -> None:
    data = script.pool_reports(
        [write_report(script, tmp_path, n, d) for n, d in (("one", 0.6), ("two", 0.8))]
    )
    assert [(run["name"], run["dataset"]) for run in data["runs"]] == [("one", "one"), ("two", "two")]
    row = tables.tell_text(data["findings"]["text"]["groups"]).splitlines()[2]
    assert row.startswith("| all | 2 | 2 | 0.70 (0.60 to 0.80) |")


def test_a_new_hospital_is_pooled_apart_and_shown_beside_unseen_patients(
    script, tables, tmp_path: Path
) -> None:
    data = script.pool_reports([write_report(script, tmp_path, "seen", 0.8)])
    for name in ("new hospital", "new hospital sets"):
        assert script.SECTIONS[name](data) == ""
    assert "hospital" not in script.render("one\n\n{{new hospital}}\n\ntwo", data)
    assert script.render("one\n\n{{new hospital}}\n\ntwo", data) == "one\n\ntwo"

    data["new_hospital"] = script.pool_reports([write_report(script, tmp_path, "elsewhere", 0.4)])
    rows = tables.tell_pools(data).splitlines()[-2:]
    assert [row.split(" | ")[1:5] for row in rows] == [["1", "1", "1", "0.80"], ["1", "1", "1", "0.40"]]
    sets = tables.tell_new_sets(data)
    assert "| elsewhere | 1 | 1 | 0.40 |" in sets
    assert "| seen" not in sets


def test_a_pool_without_reports_stays_as_it_was(script, tmp_path: Path, monkeypatch) -> None:
    def run(*arguments: str) -> dict:
        monkeypatch.setattr("sys.argv", ["make_evaluation", "--out", str(tmp_path), *arguments])
        script.main()
        return json.loads((tmp_path / "evaluation.json").read_text("utf-8"))

    seen, new = (str(write_report(script, tmp_path, n, d)) for n, d in (("seen", 0.8), ("elsewhere", 0.4)))
    with pytest.raises(SystemExit):
        run("--new-hospital", new)
    assert "new_hospital" not in run(seen)
    both = run("--new-hospital", new)
    assert both["findings"]["text"]["balanced"] == 0.8
    assert both["new_hospital"]["findings"]["text"]["balanced"] == 0.4
    assert run(seen) == both
    assert "## A new hospital" in (tmp_path / "evaluation.md").read_text("utf-8")
    assert "| elsewhere |" in (tmp_path / "evaluation/details.md").read_text("utf-8")


def test_a_run_is_named_by_its_sets(script) -> None:
    assert script.name_run({"b", "a"}) == "a, b"
    assert script.name_run(set("dcab")) == "4 sets, a to d"


def test_structures_are_sorted_by_how_well_words_find_them(tables) -> None:
    def row(mean: float, subjects: int = 3) -> dict:
        return {"mean": mean, "subjects": subjects}

    structures = {"x/good": row(0.9), "x/poor": row(0.1), "x/rare": row(0.9, 2), "x/twice": row(0.86)}
    lines = tables.tell_strengths({"structures": structures | {"y/twice": row(0.6)}}).splitlines()[2:]
    assert "good 0.90 (3), twice 0.86 (3, `x`)" in lines[0]
    assert lines[1].endswith("| – |")
    assert "twice 0.60 (3, `y`)" in lines[2]
    assert "poor 0.10 (3)" in lines[3]
    assert not any("rare" in line for line in lines)


def test_cells_tell_what_is_missing(tables) -> None:
    assert tables.spread({"mean": None}) == tables.show(None) == "–"
    assert tables.spread({"mean": 0.5, "low": None}) == "0.50"
    rate = {"mean": 0.25, "count": 1, "n": 4, "low": 0.0, "high": 0.5}
    assert tables.percent(rate) == "25.0 % (1 of 4; 0.0 to 50.0)"


def test_the_plot_puts_a_dot_where_the_bin_is(script) -> None:
    judge = {"n": 1, "auroc": {"value": None}, "ece": {"value": 0.4}}
    judge["bins"] = [{"low": 0.5, "n": 1, "stated": 0.5, "true": 0.9}]
    image = np.array(script.draw_reliability(judge, side=600))
    pink = np.argwhere((image == (0xC0, 0x2A, 0x7B)).all(2)).mean(0)
    # x: 0.13 + 0.8·0.5 of the side from the left; y: 0.13 + 0.8·0.9 from below.
    assert pink == pytest.approx([600 * (1 - 0.85), 600 * 0.53], abs=3)
