"""`mediround evaluate`: run the evaluation of `training` and show its summary."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_mediround.cli.console import make_table, results, say, write_json

if TYPE_CHECKING:
    from napari_mediround.predictor import Predictor


def _number(value: object) -> str:
    return f"{value:.3f}" if isinstance(value, float) else "–" if value is None else str(value)


def show_report(report: dict) -> None:
    """Print summary, rounds and structures of a report of `evaluate_dataset`."""
    console = results()
    for title, part in (("Summary", {"all": report["summary"]}), ("Rounds", report["per_round"]),
                        ("Structures", report["per_structure"])):  # fmt: skip
        columns = list(dict.fromkeys(key for row in part.values() for key in row))
        if not columns:
            continue
        table = make_table(title, "", *columns, right=tuple(columns))
        for name, row in part.items():
            table.add_row(str(name), *(_number(row.get(c)) for c in columns))
        console.print(table)


def run_evaluate(predictor: Predictor, dataset: Path, out: Path, **options: object) -> None:
    """Evaluate, write the report and print it; options as in `evaluate_dataset`."""
    from napari_mediround.training.evaluate import evaluate_dataset

    report = evaluate_dataset(predictor, dataset, **options)
    path = write_json(out, report)
    show_report(report)
    say(f"Wrote {path}")
