"""`mediround demo`: a dialogue on the bundled case, compared with the labels that come with it."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mediround.cli.ask import Outputs, ask_rounds, round_rows, write_outputs
from napari_mediround.cli.console import make_table, results, say
from napari_mediround.cli.loading import load_predictor, read_image, require_writable
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.errors import SettingsError
from napari_mediround.session import Session


@dataclass(frozen=True)
class Demo:
    """The bundled dialogue, as ``resources/sample/demo.toml`` says it.

    Parameters
    ----------
    folder : pathlib.Path
        Holds ``image.nii.gz``, ``labels.nii.gz`` and ``labels.json`` (label value to name).
    plane : int
        0-based, display order.
    questions, expected : tuple of str
        What is asked in each round, and the name in ``labels.json`` of what should be found.
    """

    folder: Path
    plane: int
    questions: tuple[str, ...]
    expected: tuple[str, ...]


def read_demo(path: Path | None = None) -> Demo:
    """Read the dialogue: keys ``case``, ``plane`` and ``rounds`` with ``text`` and ``expected``.

    Raises
    ------
    SettingsError
        When a key is missing or unknown.
    """
    path = path or Path(str(files("napari_mediround.resources"))) / "sample" / "demo.toml"
    table = tomllib.loads(path.read_text("utf-8"))
    rounds = table.get("rounds", [])
    if set(table) != {"case", "plane", "rounds"} or any(set(r) != {"text", "expected"} for r in rounds):
        raise SettingsError(f"{path}: needs case, plane and rounds with text and expected, and nothing else.")
    questions, expected = zip(*((r["text"], r["expected"]) for r in rounds), strict=True)
    return Demo(path.parent / table["case"], table["plane"], questions, expected)


def dice(first: NDArray, second: NDArray) -> float:
    """Return the Dice overlap of two masks, 0…1; two empty masks agree."""
    total = np.count_nonzero(first) + np.count_nonzero(second)
    return 2 * np.count_nonzero(np.logical_and(first, second)) / total if total else 1.0


def read_truth(demo: Demo) -> list[NDArray[np.bool_]]:
    """Return the mask (row, column), display order, that each round should find.

    Raises
    ------
    SettingsError
        When a round expects a name that ``labels.json`` does not have.
    """
    from napari_mediround.io import read_study

    labels = read_study(demo.folder / "labels.nii.gz").pixels[demo.plane]
    values = {
        name: int(v) for v, name in json.loads((demo.folder / "labels.json").read_text("utf-8")).items()
    }
    if unknown := set(demo.expected) - set(values):
        raise SettingsError(f"{demo.folder / 'labels.json'} has no {', '.join(sorted(unknown))}.")
    return [labels == values[name] for name in demo.expected]


def show_demo(session: Session, truth: list[NDArray[np.bool_]]) -> None:
    """Print the rounds beside their agreement with the labels of the case."""
    columns = ("round", "text", "refers to", "structure", "area", "quality", "s", "Dice")
    table = make_table("", *columns, right=("round", "area", "s", "Dice"))
    for round_, expected in zip(session.conversation.rounds, truth, strict=True):
        found = np.zeros(expected.shape, bool)
        for target in round_.targets:
            found |= target.mask.to_array()
        for row in round_rows(session, round_):
            table.add_row(*row, f"{dice(found, expected):.2f}" if row[0] else "")
    results().print(table)


def run_demo(out: Path, preset: str, device: str, weights_dir: Path | None) -> None:
    """Run the bundled dialogue and write picture, label volume and rounds to a folder."""
    demo = read_demo()
    outputs = Outputs(out / "labels.nii.gz", out / "overlay.png", out / "rounds.json")
    require_writable(outputs.labels, outputs.png, outputs.json)
    study = read_image(demo.folder / "image.nii.gz", None, None, None)
    truth = read_truth(demo)
    say(f"Plane: {demo.plane} of 0 to {study.planes - 1}")
    predictor = load_predictor(preset, device, None, weights_dir)
    session = Session(predictor, study, load_anatomy())
    ask_rounds(session, demo.questions, demo.plane, None)
    show_demo(session, truth)
    write_outputs(session, predictor, demo.plane, None, outputs)
