"""The full evaluation: everything that docs/evaluation.md tells, one plane after another.

Beside the questions by name, whose report stays as it is: dialogues in several ways, simulated clicks,
other wordings, absent structures, plain chat. Each plane is encoded once. Outcomes stand beside the report,
one a line (`training.outcomes`). Knows no session.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.errors import SettingsError
from napari_mediround.training.annotator import dices_by_clicks
from napari_mediround.training.data.sets import Case, LabelledPlane, choose_planes
from napari_mediround.training.dialogues.draw import Dialogue, DialogueSettings, make_dialogue
from napari_mediround.training.evaluation.box_baseline import BoxedLiteMedSam, find_boxed
from napari_mediround.training.evaluation.chat_baseline import compare_chat, load_base
from napari_mediround.training.evaluation.evaluate import Evaluation, spread
from napari_mediround.training.evaluation.findings import find_all
from napari_mediround.training.evaluation.metrics import Score
from napari_mediround.training.evaluation.outcomes import Outcome, append_outcomes
from napari_mediround.training.evaluation.probes import ask_absent, ask_chat, ask_reworded
from napari_mediround.training.evaluation.questioning import (
    MAX_ROUNDS,
    Asked,
    ask_plane,
    spoken_name,
    visible_structures,
)
from napari_mediround.training.evaluation.reference_errors import Scenery, follow_dialogue

FEW = 2
"""Structures of a plane that are clicked at and asked for in other words."""

CHATS = 4
"""Sets of a run about which a chat question is asked: the base model answers each of them twice."""

DRAFTS = 10
"""Dialogues written of which the one that points most often at earlier masks is led."""


@dataclass
class FullEvaluation(Evaluation):
    """An evaluation that asks more; its report has "findings" too, once complete.

    Parameters
    ----------
    dialogues : int
        Led about each set, spread over its cases and their planes; a plane must show two structures.

    Other parameters as in `Evaluation`.
    """

    dialogues: int = 6
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._told = 0
        self._chats: set[str] = set()
        self._share: dict[str, list[int]] = {}
        self._led: set[int] = set()
        if self.out is not None:
            outcomes_path(self.out).unlink(missing_ok=True)

    def run_dialogues(self, file: Path, root: Path) -> None:
        """Refuse a file of MR-MedSeg: it does not say which other structures an image shows.

        Raises
        ------
        SettingsError
            Always.
        """
        raise SettingsError(f"{file.name} holds dialogues, but --full needs labelled sets. Leave --full out.")

    def report(self) -> dict:
        """Return the report of `Evaluation`, and "findings" of a complete run."""
        report = super().report()
        report["config"]["dialogues"] = self.dialogues
        complete = report["config"]["complete"] and self.done
        return report | ({"findings": find_all(self.outcomes, self.settings.seed)} if complete else {})

    def save(self) -> None:
        """Write the new outcomes beside the report, then the report."""
        super().save()
        if self.out is not None:
            append_outcomes(outcomes_path(self.out), self.outcomes[self._told :])
            self._told = len(self.outcomes)

    def _entries(self, folder: Path) -> list[int]:
        chosen = super()._entries(folder)
        count = max(1, len(chosen))
        led = set(spread(list(range(count)), self.dialogues))
        each = -(-self.dialogues // count)
        self._share[folder.name] = [each if k in led else 0 for k in range(count)]
        return chosen

    def _ask_case(self, case: Case, prefix: str) -> list[Score]:
        planes = choose_planes(case.labels, self.settings.planes, self.settings.min_px)
        self._led = set(spread(planes, self._share[case.source.partition("/")[0]].pop(0)))
        return super()._ask_case(case, prefix)

    @cached_property
    def _boxed(self) -> BoxedLiteMedSam | None:
        return find_boxed(self.segmenter)

    @cached_property
    def _base(self) -> tuple:
        return load_base(self.segmenter.preset)

    def _ask_plane(self, plane: LabelledPlane, subject: str) -> list[Score]:
        asked = list(ask_plane(self.segmenter, plane, self.settings))
        if asked:
            self.outcomes += self._probe(plane, subject, asked)
        return [answer.score(subject) for answer in asked]

    def _probe(self, plane: LabelledPlane, subject: str, asked: list[Asked]) -> Iterator[Outcome]:
        scenery, seed = (
            describe_plane(plane, subject),
            [self.settings.seed, zlib.crc32(plane.source.encode())],
        )
        values = {name: value for value, name in scenery.names.items()}
        yield from (self._name(scenery, answer) for answer in asked)
        for answer in asked[:FEW]:
            yield from self._click(scenery, answer)
            value = values[load_anatomy().normalise(answer.structure)]
            yield from ask_reworded(self.segmenter, scenery, value, seed)
        yield from ask_absent(self.segmenter, scenery, seed)
        if scenery.plane in self._led and len(visible_structures(plane, self.settings.min_px)) >= 2:
            yield from self._lead(plane, scenery, seed)
        set_name = scenery.name.partition("/")[0]
        if set_name not in self._chats and len(self._chats) < CHATS:
            self._chats.add(set_name)
            yield from self._chat(scenery, seed)

    def _name(self, scenery: Scenery, asked: Asked) -> Outcome:
        boxed = None
        if self._boxed is not None:
            box = Mask.from_array(asked.truth).box_xyxy
            mask = self._boxed.segment(self.segmenter.features(), box)
            boxed = Score("", "", 1, int((mask & asked.truth).sum()), int(mask.sum()), int(asked.truth.sum()))
        return Outcome(
            "name",
            "name",
            f"{scenery.name}.{asked.structure}",
            asked.score(scenery.subject),
            scenery.modality,
            "name",
            wrong_side=scenery.on_wrong_side(asked.structure, asked.mask) if asked.target else None,
            boxed_dice=boxed and boxed.dice,
            corrected=bool(asked.target and asked.target.corrected),
        )

    def _click(self, scenery: Scenery, asked: Asked) -> Iterator[Outcome]:
        for way, target, clicks in (("words", asked.target, 5), ("alone", None, 1)):
            dices = dices_by_clicks(self.segmenter, target and target.mask, asked.truth, clicks)
            question = f"{scenery.name}.{asked.structure}"
            yield Outcome(
                "clicks", way, question, asked.score(scenery.subject), scenery.modality, dices=dices
            )

    def _lead(self, plane: LabelledPlane, scenery: Scenery, seed: list[int]) -> Iterator[Outcome]:
        rng, least = np.random.default_rng(seed), self.settings.min_px
        drafts = [write_dialogue(scenery, plane, rng, least) for _ in range(DRAFTS)]
        richest = max(drafts, key=lambda dialogue: sum(map(dialogue.needs_mask, dialogue.turns)))
        yield from follow_dialogue(self.segmenter, richest, scenery, seed)

    def _chat(self, scenery: Scenery, seed: list[int]) -> Iterator[Outcome]:
        question, answer, outcome = ask_chat(self.segmenter, scenery, seed)
        yield outcome
        if answer.targets or answer.absent:
            return
        same = compare_chat(self.segmenter, self._base, question, answer.text)
        for way, equal in zip(("text", "bits"), same, strict=True):
            yield Outcome("frozen", way, scenery.name, Score("", scenery.subject, 1, 0, 0, 0, answered=equal))


def write_dialogue(scenery: Scenery, plane: LabelledPlane, rng: np.random.Generator, min_px: int) -> Dialogue:
    """Write six rounds about a plane, in trained wordings, every one with a mask to find."""
    rounds = (MAX_ROUNDS, MAX_ROUNDS)
    settings = DialogueSettings(rounds, min_px, absent_rate=0.0, chat_rate=0.0, plane=plane.view)
    return make_dialogue(scenery.labels, scenery.names, plane.oriented, rng, load_anatomy(), settings)


def describe_plane(plane: LabelledPlane, subject: str) -> Scenery:
    """Return what dialogues need of a plane: labels of one name united, names as the anatomy prefers them."""
    labels, names = plane.labels.copy(), {}
    for value, label in sorted(plane.names.items()):
        if value:
            name = load_anatomy().normalise(spoken_name(label))
            first = names.setdefault(name, value)
            labels[labels == value] = first
    labels[~np.isin(labels, list(names.values()))] = 0
    number = int(plane.source.rpartition("/")[2])
    return Scenery(plane.source, subject, plane.modality, number, labels, {v: n for n, v in names.items()})


def outcomes_path(report: Path) -> Path:
    """Return the path of a report's outcomes: beside the report, ending in ``.jsonl``."""
    return Path(report).expanduser().with_suffix(".jsonl")
