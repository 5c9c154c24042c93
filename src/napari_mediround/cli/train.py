"""`mediround train` and `mediround effort`: find the recipe, show how it goes; the work is in `training`."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress

from napari_mediround.cli.console import PlainColumn, answer, make_table, notices, results, say
from napari_mediround.cli.loading import load_predictor, require_path
from napari_mediround.errors import SettingsError


def find_recipe(name: str) -> Path:
    """Return the recipe file that `name` is, or the bundled recipe of that name.

    Raises
    ------
    SettingsError
        When there is neither; the message lists the bundled ones.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = Path(str(files("napari_mediround.training"))) / "recipes"
    bundled = {p.stem: p for p in sorted(folder.glob("*.toml"))}
    if name not in bundled:
        known = ", ".join(bundled) or "none"
        raise SettingsError(f"There is no recipe {name!r}: give a .toml file or a bundled one ({known}).")
    return bundled[name]


def run_recipe(name: str | None) -> None:
    """Train the stages of a recipe.

    Raises
    ------
    SettingsError
        When there is no such recipe, or none was named.
    """
    if name is None:
        raise SettingsError("Name a recipe, or give --project to learn from its corrections.")
    path = find_recipe(name)
    from napari_mediround.training.stages.run import main

    main(path, say)


@contextmanager
def _showing():
    """Yield what takes a `Progress` of learning and draws it as a bar."""
    columns = (PlainColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, PlainColumn("{task.fields[more]}"), console=notices(), transient=True) as bar:
        task = bar.add_task("Reading", total=None, more="")

        def show(progress) -> None:
            more = f"loss {progress.loss:.3f}" if progress.phase in ("words", "masks") else ""
            more += f"  Dice {progress.dice:.3f}" if progress.dice is not None else ""
            more += f"  {progress.left:.0f} s left" if progress.left else ""
            place = {"completed": progress.step, "total": progress.steps, "more": more}
            bar.update(task, description=progress.phase.capitalize(), **place)

        yield show


def run_learning(
    project: Path, recipe: str | None, preset: str, device: str, weights_dir: Path | None
) -> None:
    """Learn from a project's corrections and say what came of it.

    Raises
    ------
    SystemExit
        With 130 when the user stops it; the last good step is kept and the next call goes on from there.
    """
    from napari_mediround.journal import Journal
    from napari_mediround.training.learning.learn import learn_from_corrections, read_corrections
    from napari_mediround.training.learning.recipe import read_learning

    settings = read_learning(find_recipe(recipe)) if recipe else None
    with Journal.open_read_only(require_path(project)) as journal:
        corrections = read_corrections(project, journal)
        predictor = load_predictor(preset, _own_device(device), None, weights_dir)
        stop = _Stop()
        with stop, _showing() as show:
            outcome = learn_from_corrections(
                project, journal, predictor, settings, show, stop.asked, corrections=corrections
            )
    for note in outcome.notes:
        say(f"Left out: {note}")
    if outcome.words:
        answer(*outcome.words.split("\n"))
    if outcome.adapter and not outcome.live:
        say(f"{outcome.adapter} is kept, not live. `mediround adapters use` takes it with a reason.")
    if not outcome.finished:
        raise SystemExit(130)


def _own_device(device: str) -> str:
    """Return the GPU of this process where `accelerate launch` started several."""
    import torch

    several = device == "auto" and "LOCAL_RANK" in os.environ and torch.cuda.is_available()
    return f"cuda:{os.environ['LOCAL_RANK']}" if several else device


def run_measure(project: Path, name: str, preset: str, device: str, weights_dir: Path | None) -> None:
    """Measure one adapter on the project's held-out rounds and say what came of it."""
    from napari_mediround.journal import Journal
    from napari_mediround.training.learning.learn import measure_adapter

    with Journal.open_read_only(project) as journal, _showing() as show:
        predictor = load_predictor(preset, device, None, weights_dir)
        card = measure_adapter(project, journal, predictor, name, show)
    answer(f"{name}: {card['gate']['words']}")


def run_effort(project: Path, csv: Path | None, png: Path | None) -> None:
    """Print what annotating cost by adapter; write it round by round."""
    from napari_mediround.journal import Journal
    from napari_mediround.training.learning.effort import (
        plot_efforts,
        read_efforts,
        summarise_efforts,
        write_efforts,
    )

    with Journal.open_read_only(require_path(project)) as journal:
        efforts = read_efforts(journal)
    columns = ("rounds", "accepted as they came", "seconds a round", "clicks a round", "voxels a round")
    table = make_table("", "adapter", *columns, right=columns)
    for adapter, row in summarise_efforts(efforts).items():
        means = (f"{row[name]:.1f}" for name in ("seconds", "clicks", "voxels"))
        table.add_row(adapter, str(row["rounds"]), f"{row['accepted']:.0%}", *means)
    results().print(table)
    if csv:
        say(f"Wrote {write_efforts(efforts, csv)}")
    if png:
        say(f"Wrote {plot_efforts(efforts, png)}")


class _Stop:
    """Ctrl+C asks learning to stop after its step, so that nothing is lost; a second one stops at once."""

    def __init__(self) -> None:
        self._asked = False

    def asked(self) -> bool:
        """Whether it was asked."""
        return self._asked

    def __enter__(self) -> _Stop:
        self._before = signal.signal(signal.SIGINT, self._ask)
        return self

    def __exit__(self, *error: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _ask(self, *_: object) -> None:
        if self._asked:
            raise KeyboardInterrupt
        self._asked = True
        say("Stopping after this step; Ctrl+C again stops at once.")
