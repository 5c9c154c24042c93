"""`mediround evaluate`: run the evaluation of `training` and show its summary."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from napari_mediround.cli.console import PlainColumn, make_table, notices, results, say
from napari_mediround.errors import SettingsError

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor


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


def show_findings(findings: dict) -> None:
    """Print what a full evaluation aims at and what it measured."""
    from napari_mediround.training.evaluation.aims import judge_aims

    table = make_table("Aims", "", "hold", "aim", "measured", "95 %", "", right=("hold", "aim", "measured"))
    for row in judge_aims(findings):
        interval = f"{_number(row['low'])}…{_number(row['high'])}" if row["low"] is not None else ""
        numbers = (f"{row['bound']} {row['hold']:g}", _number(row["reach"]), _number(row["value"]))
        table.add_row(row["name"], *numbers, interval, row["word"])
    results().print(table)


def require_split(dataset: Path, split: str) -> None:
    """Refuse a split that no set of the data has; sets without splits are evaluated whole.

    Raises
    ------
    SettingsError
        Naming the splits that there are; before any model is loaded.
    """
    from napari_mediround.training.data.sets import read_table

    tables = sorted(dataset.glob("set.json")) or sorted(dataset.glob("*/set.json"))
    splits = [{c["split"] for c in read_table(t.parent)["cases"] if "split" in c} for t in tables]
    if splits and all(splits) and split not in set().union(*splits):
        known = ", ".join(sorted(map(str, set().union(*splits))))
        raise SettingsError(
            f"{dataset} has no case of the split {split!r}. Choose one with --split: {known}."
        )


def run_evaluate(
    predictor: Predictor,
    dataset: Path,
    out: Path,
    root: Path | None,
    options: dict,
    dialogues: int | None = None,
) -> None:
    """Evaluate, write the report after each case and print it; options as in `training.evaluate.Settings`.

    With a number of `dialogues`, evaluate in full.

    Raises
    ------
    SettingsError
        When there was nothing to ask.
    SystemExit
        With 130 when the user stops it; the report then holds the cases that are done.
    """
    from napari_mediround.training.evaluation.evaluate import Evaluation, Settings, evaluate_dataset
    from napari_mediround.training.evaluation.full import FullEvaluation

    settings = Settings(**options)
    out = out.expanduser()
    out.parent.mkdir(parents=True, exist_ok=True)
    columns = (PlainColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=notices(), transient=True) as bar:
        task = bar.add_task("Evaluating", total=None)

        def show(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, **({"description": what} if what else {}))

        try:
            report = evaluate_dataset(
                predictor,
                dataset,
                out=out,
                root=root,
                settings=settings,
                progress=show,
                kind=Evaluation if dialogues is None else partial(FullEvaluation, dialogues=dialogues),
            )
        except KeyboardInterrupt:
            say(f"Stopped. {out} holds the cases done so far.")
            raise SystemExit(130) from None
    if not report["summary"]["n"]:
        left_out = "".join(f" {note}." for note in report["config"]["skipped"])
        raise SettingsError(
            f"There was nothing to ask about in {dataset}: it needs images with labels of {settings.min_px} "
            f"pixels or more (--min-px).{left_out}"
        )
    show_report(report)
    if "findings" in report:
        show_findings(report["findings"])
    for note in report["config"]["skipped"]:
        say(f"Left out: {note}")
    say(f"Wrote {out}")
