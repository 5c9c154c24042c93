"""The prepared planes as training sees them: embedding, structures by name, masks. Knows no language.

Subjects are split once more here: one in eight, by a hash of its name, is kept from stage 1 so that the
judge of stage 2 learns from masks of patients that the decoder has not seen.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Container
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy, load_anatomy
from napari_mediround.training.data.prepare import encoded_rows, scale_plane
from napari_mediround.training.data.warping import View, warp
from napari_mediround.training.dialogues.draw import absent_names, foreign_names

WHOLES = (
    *("lungs", "left lung", "right lung", "vertebra", "hippocampus", "left ribs", "right ribs"),
    *("brain tumour", "glioma", "breast lesion", "liver mass", "teeth", "intervertebral disc"),
)
"""Structures that are the union of their parts, so that labels of the parts give the whole."""


def kept_for_judging(subject: str) -> bool:
    """Whether stage 1 must not see this subject: one in eight, by its name's hash."""
    return hashlib.sha256(subject.encode()).digest()[0] % 8 == 0


def set_of(entry: dict) -> str:
    """Return the name of the set that a plane of the preparation's table is from."""
    return entry["source"].split("/")[0]


class Planes:
    """Planes of one preparation.

    Parameters
    ----------
    folder : Path
        What `training.prepare` wrote.
    judging : bool
        The subjects kept for stage 2 instead of the others. Sets of fewer than four subjects cannot spare
        one and serve both: a judge that never saw an abdomen is worse than one that saw it learned.
    min_px : int
        Smallest mask that is a target, pixels at 256×256.
    """

    def __init__(self, folder: Path, judging: bool = False, min_px: int = 20) -> None:
        folder = Path(folder)
        self.anatomy: Anatomy = load_anatomy()
        table = json.loads((folder / "planes.json").read_text())
        self.embeddings = np.load(folder / "embeddings.npy", mmap_mode="r")
        kept = np.load(folder / "planes.npz")
        self._labels, self._images = kept["labels"], kept["images"]
        self.table = table
        subjects: dict[str, set[str]] = {}
        for entry in table:
            subjects.setdefault(set_of(entry), set()).add(entry["subject"])
        self._folder, self._unbent, wanted = folder, set(), []
        for row, entry in enumerate(table):
            name = set_of(entry)
            few = len(subjects[name]) < 4
            kept = not few and kept_for_judging(f"{name}/{entry['subject']}")
            if (kept or few) if judging else not kept:
                wanted.append(row)
            if judging and kept:
                self._unbent.add(row)
        values = {row: self._structures(row, min_px) for row in wanted}
        self.values = {row: found for row, found in values.items() if found}
        self._known: dict[str, set[str]] = {}
        for row, found in self.values.items():
            self._known.setdefault(set_of(table[row]), set()).update(found)
        self.refresh()

    def refresh(self) -> None:
        """Take in planes that were encoded since: `rows`, and `by_set` with the rows of each set."""
        self.rows = [int(row) for row in encoded_rows(self._folder) if row in self.values]
        self.by_set: dict[str, list[int]] = {}
        for row in self.rows:
            self.by_set.setdefault(set_of(self.table[row]), []).append(row)
        structures = [len(set().union(*(self.values[row] for row in rows))) for rows in self.by_set.values()]
        shares = np.cbrt([n * len(rows) for n, rows in zip(structures, self.by_set.values(), strict=True)])
        self._sets, self._shares = list(self.by_set), shares / shares.sum()

    def draw(self, rng: np.random.Generator) -> int:
        """Return a row: sets of many structures or planes more often, but less than in proportion."""
        rows = self.by_set[self._sets[rng.choice(len(self._sets), p=self._shares)]]
        return int(rows[rng.integers(len(rows))])

    def names(self, row: int) -> dict[int, str]:
        """Return label value to preferred name, side words swapped where the plane was mirrored."""
        entry = self.table[row]
        names = {int(v): self.anatomy.normalise(n) for v, n in entry["names"].items()}
        if entry["mirrored"]:
            found = {v: self.anatomy.find(n) for v, n in names.items()}
            names = {v: s.mirror if s and s.mirror else names[v] for v, s in found.items()}
        return names

    def labels(self, row: int) -> NDArray[np.uint16]:
        """Return the label map (256, 256), 0 in the padding."""
        return self._labels[row]

    def _structures(self, row: int, min_px: int) -> dict[str, tuple[int, ...]]:
        """Return name to label values: the labels themselves, pairs and wholes, each large enough."""
        names, counts = self.names(row), np.bincount(self._labels[row].ravel(), minlength=1)
        found: dict[str, list[int]] = {}
        for value, name in names.items():
            if value >= len(counts) or not counts[value]:
                continue
            found.setdefault(name, []).append(value)
            for whole in self.anatomy.ancestors(name):
                structure = self.anatomy.find(name)
                is_pair = bool(structure and structure.mirror and structure.parent == whole)
                if is_pair or whole in WHOLES:
                    found.setdefault(whole, []).append(value)
        return {
            name: tuple(sorted(set(values)))
            for name, values in found.items()
            if counts[list(set(values))].sum() >= min_px
        }

    def absent(self, row: int, known: Container[str]) -> tuple[list[str], list[str]]:
        """Return which of `known` the plane lacks: labelled elsewhere in its set, and of regions far off."""
        named, shown = self.names(row), np.unique(self._labels[row])
        here = {named[v] for v in shown if v in named}
        near = absent_names(here, self._known[set_of(self.table[row])], self.anatomy)
        far = foreign_names(named.values(), self.anatomy)
        return [name for name in near if name in known], [name for name in far if name in known]

    def mask(self, row: int, values: tuple[int, ...]) -> NDArray[np.bool_]:
        """Return the union of label values, bool (256, 256)."""
        return np.isin(self._labels[row], values)

    def view(self, row: int, rng: np.random.Generator) -> View:
        """Return a (usually augmented) view of a plane; structures may have moved out of it.

        Planes of subjects that stage 1 did not see are as they are half of the time: the judge must know how
        well the model does on these, and bent ones are harder.
        """
        view = View(self.embedding(row).astype(np.float32), self.pixels(row), self._labels[row])
        return view if row in self._unbent and rng.random() < 0.5 else warp(view, rng)

    def embedding(self, row: int) -> NDArray[np.float16]:
        """Return (256, 64, 64)."""
        return self.embeddings[row]

    def pixels(self, row: int) -> NDArray[np.float32]:
        """Return what the embedding was encoded from, (3, 256, 256), 0…1."""
        return scale_plane(self._images[row], self.table[row]["shape"]).transpose(2, 0, 1)
