"""The cost of annotation: seconds, clicks and corrected voxels of each round, over time and by adapter.

Reads the journal only, no image.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from napari_mediround.journal import History, Journal
from napari_mediround.training.learning.corrections import judged_rounds
from napari_mediround.training.learning.plot import Panel, draw_panels

NO_ADAPTER = "no adapter"


@dataclass(frozen=True)
class Effort:
    """The cost of one round.

    Parameters
    ----------
    number : int
        1, 2, 3, … in the order of asking.
    utc : str
        Time of the question.
    case : str
        Salted hash of the image.
    adapter : str
        Adapter that was live, or "no adapter".
    structures : str
        Structures that were asked for.
    verdicts : str
        Verdicts of the masks, in order.
    waited, seconds : float
        Seconds until the answer, and seconds that the person spent after it.
    clicks : int
        Number of points and boxes.
    voxels : int
        Number of voxels that the person changed.
    """

    number: int
    utc: str
    case: str
    adapter: str
    structures: str
    verdicts: str
    waited: float
    seconds: float
    clicks: int
    voxels: int


def read_efforts(journal: Journal) -> list[Effort]:
    """Return the cost of each judged round, in the order of asking.

    Raises
    ------
    JournalError
        When the journal is damaged.
    """
    found = [
        (event, masks)
        for info in journal.cases()
        for event, _, masks in judged_rounds(History(journal.events(info.case)))
    ]
    return [
        Effort(
            number,
            event.utc,
            event.case,
            dict(event.entry.model).get("adapter", "") or NO_ADAPTER,
            ", ".join(mask.structure for mask in masks),
            ", ".join(mask.verdict or "none" for mask in masks),
            round(event.entry.round.seconds, 3),
            round(sum(mask.seconds for mask in masks), 3),
            sum(len(mask.prompts.points_xy) + bool(mask.prompts.box_xyxy) for mask in masks),
            sum(mask.changed for mask in masks),
        )
        for number, (event, masks) in enumerate(sorted(found, key=lambda pair: pair[0].seq), 1)
    ]


def summarise_efforts(efforts: Sequence[Effort]) -> dict[str, dict[str, float]]:
    """Return, by adapter: rounds, share accepted unchanged, and mean seconds, clicks and voxels."""
    table: dict[str, dict[str, float]] = {}
    for adapter in dict.fromkeys(effort.adapter for effort in efforts):
        own = [effort for effort in efforts if effort.adapter == adapter]
        untouched = [set(effort.verdicts.split(", ")) == {"accepted"} for effort in own]
        table[adapter] = {"rounds": len(own), "accepted": float(np.mean(untouched))}
        for name in ("seconds", "clicks", "voxels"):
            table[adapter][name] = float(np.mean([getattr(effort, name) for effort in own]))
    return table


def write_efforts(efforts: Sequence[Effort], path: Path) -> Path:
    """Write a CSV with one row for each round; return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Effort)])
        writer.writeheader()
        writer.writerows(asdict(effort) for effort in efforts)
    return path


def plot_efforts(efforts: Sequence[Effort], path: Path) -> Path:
    """Plot seconds, clicks and voxels by round, one colour for each adapter; return the path."""
    adapters = list(dict.fromkeys(effort.adapter for effort in efforts))
    titles = {"seconds": "Seconds a round", "clicks": "Clicks a round", "voxels": "Voxels corrected a round"}
    panels = [
        Panel(
            title,
            "round",
            {a: [(e.number, getattr(e, name)) for e in efforts if e.adapter == a] for a in adapters},
            line=False,
        )
        for name, title in titles.items()
    ]
    return draw_panels(panels, path)
