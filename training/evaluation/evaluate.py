"""Ask for every labelled structure in words and report the agreement, by structure and by round.

Knows no session; draws no picture (docs/make_sheets.py does).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_mediround import __version__
from napari_mediround.errors import UnreadableFileError
from napari_mediround.files import write_whole
from napari_mediround.io.mrmedseg import IMAGE, read_mrmedseg
from napari_mediround.training.data.sets import Case, LabelledPlane, case_planes, read_cases, read_table
from napari_mediround.training.evaluation.metrics import Score, bootstrap_interval, summarise
from napari_mediround.training.evaluation.questioning import MAX_ROUNDS, Settings, ask_dialogue, ask_plane

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor

__all__ = ["Evaluation", "Settings", "evaluate_dataset"]

Progress = Callable[[int, int, str], None]
"""Called with cases done, cases in all, and what is being read."""


@dataclass
class Evaluation:
    """A run in progress: the scores so far and how they are told.

    Parameters
    ----------
    segmenter : Predictor
        Or anything else with its `set_image`, `ask` and `describe`.
    name : str
        Of the data, for the report; a folder's name, never its whole path.
    settings : Settings
    out : Path, optional
        Where the report is written after each case.
    progress : callable, optional
        See `Progress`.
    """

    segmenter: Predictor
    name: str
    settings: Settings = field(default_factory=Settings)
    out: Path | None = None
    progress: Progress | None = None
    scores: list[Score] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    done: int = 0
    total: int = 0

    def run_sets(self, folders: list[Path]) -> None:
        """Ask about the cases of sets; with several, structures are told apart by the set's name."""
        entries = {folder: self._entries(folder) for folder in folders}
        self.total = sum(map(len, entries.values()))
        self.save()
        for folder, chosen in entries.items():
            prefix = f"{folder.name}/" if len(folders) > 1 else ""
            for index, case in enumerate(read_cases(folder, self.settings.split) if chosen else ()):
                if index in chosen:
                    self._tell(case.source)
                    self._add(self._ask_case(case, prefix))

    def _ask_case(self, case: Case, prefix: str) -> list[Score]:
        planes = case_planes(case, self.settings.planes, self.settings.min_px)
        subject = f"{case.source.partition('/')[0]}/{case.subject}"
        scores = [score for plane in planes for score in self._ask_plane(plane, subject)]
        return [replace(score, structure=prefix + score.structure) for score in scores]

    def _ask_plane(self, plane: LabelledPlane, subject: str) -> list[Score]:
        return [asked.score(subject) for asked in ask_plane(self.segmenter, plane, self.settings)]

    def run_dialogues(self, file: Path, root: Path) -> None:
        """Ask the dialogues of an MR-MedSeg file; masks under `min_px` are asked for and not counted."""
        dialogues = read_mrmedseg(file, root)
        chosen = spread(list(range(len(dialogues))), self.settings.limit)
        self.total = len(chosen)
        self.save()
        for index in chosen:
            self._tell(f"{file.name}, dialogue {index + 1}")
            subject = next((p for turn in dialogues[index].turns for p in turn.paths(IMAGE)), str(index))
            answers = ask_dialogue(self.segmenter, dialogues[index], root)
            self._add([a.score(subject) for a in answers if a.truth.sum() >= self.settings.min_px])

    def _entries(self, folder: Path) -> list[int]:
        """Choose the cases to ask about from those of `read_cases`; note the ones left out."""
        cases, split = read_table(folder)["cases"], self.settings.split
        if any("split" in case for case in cases):
            cases = [case for case in cases if case.get("split") == split]
            if not cases:
                self.skipped.append(f"{folder.name}: no case of split {split!r}")
        drawn = [index for index, case in enumerate(cases) if "image" in case]
        if len(drawn) < len(cases):
            self.skipped.append(f"{folder.name}: {len(cases) - len(drawn)} cases without an image")
        return spread(drawn, self.settings.limit)

    def _tell(self, what: str) -> None:
        if self.progress is not None:
            self.progress(self.done, self.total, what)

    def _add(self, scores: list[Score]) -> None:
        self.scores += scores
        self.done += 1
        self.save()
        self._tell("")

    def report(self) -> dict:
        """Return {"summary", "per_structure", "per_round", "config"} of the scores so far."""
        names = sorted({s.structure for s in self.scores if s.structure})
        rounds = sorted({s.round for s in self.scores})
        return {
            "summary": summarise(self.scores),
            "per_structure": {n: self._row([s for s in self.scores if s.structure == n]) for n in names},
            "per_round": {str(k): summarise([s for s in self.scores if s.round == k]) for k in rounds},
            "config": {
                "dataset": self.name,
                **asdict(self.settings),
                "max_rounds": MAX_ROUNDS,
                "model": self.segmenter.describe(),
                "version": __version__,
                "cases": self.done,
                "skipped": self.skipped,
                "complete": self.done == self.total,
            },
        }

    def _row(self, scores: list[Score]) -> dict:
        subjects = [s.subject for s in scores]
        low, high = bootstrap_interval([s.dice for s in scores], subjects, self.settings.seed) or (None, None)
        interval = {"dice_low": low and round(low, 6), "dice_high": high and round(high, 6)}
        return summarise(scores) | interval | {"subjects": len(set(subjects))}

    def save(self) -> None:
        """Write the report to `out` in one step, if there is an `out`."""
        if self.out is None:
            return
        path = Path(self.out).expanduser()
        text = json.dumps(self.report(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        write_whole(path, lambda part: part.write_text(text, "utf-8"))


def spread(items: list, limit: int | None) -> list:
    """Return up to `limit` items, evenly spaced."""
    if limit is None or len(items) <= limit:
        return items
    return [items[int(i)] for i in (np.arange(limit) + 0.5) * len(items) / limit]


def evaluate_dataset(
    segmenter: Predictor,
    dataset: Path,
    *,
    out: Path | None = None,
    root: Path | None = None,
    settings: Settings | None = None,
    progress: Progress | None = None,
    kind: Callable[..., Evaluation] = Evaluation,
) -> dict:
    """Evaluate a set, a folder of sets, or an MR-MedSeg file.

    Parameters
    ----------
    segmenter : Predictor
        Or anything else with its `set_image`, `ask` and `describe`.
    dataset : Path
        Folder with ``set.json``, folder of such folders, or MR-MedSeg JSON.
    out : Path, optional
        The report, written anew after each case: an interrupted run leaves what it has, with "complete"
        false in its config.
    root : Path, optional
        Folder that an MR-MedSeg file's paths start from; its own by default.
    settings : Settings, optional
    progress : callable, optional
        See `Progress`.
    kind : callable
        `Evaluation`, or `training.full.FullEvaluation`, which asks more.

    Returns
    -------
    dict
        "summary" with the fields of `metrics.SUMMARY`; "per_structure" with these, "dice_low" and
        "dice_high" (95 % over subjects) and "subjects"; "per_round" by 1-based round; "config".

    Raises
    ------
    UnreadableFileError
        When the data is none of these, or a file of it is damaged.
    """
    dataset = Path(dataset).expanduser()
    run = kind(segmenter, dataset.resolve().name, settings or Settings(), out, progress)
    if dataset.is_file():
        run.run_dialogues(dataset, Path(root or dataset.parent))
        return run.report()
    own = (dataset / "set.json").exists()
    folders = [dataset] if own else sorted(path.parent for path in dataset.glob("*/set.json"))
    if not folders:
        remedy = "Give a folder with set.json (docs/data-and-licences.md) or an MR-MedSeg JSON file."
        raise UnreadableFileError(dataset, "there is no set.json in it", remedy)
    run.run_sets(folders)
    return run.report()
