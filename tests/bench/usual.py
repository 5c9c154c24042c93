"""Make `resources/usual.toml`: where structures usually lie and how large they are, from label maps.

``python tests/bench/usual.py OUT REGION=FOLDER …`` reads the training subjects of folders with
a `set.json`. The file holds means and spreads over subjects, and nothing of any one of them.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.checks import Shape
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import make_segment
from napari_mediround.io import read_study
from napari_mediround.session.checking import ISLAND_SHARE, Checker
from napari_mediround.session.naming import name_segments

SELDOM = 0.93
"""So many true masks stay under the amount of specks, holes and missing planes that is called usual."""
LEAST_SPREAD_MM, LEAST_LOG_SPREAD = 2.0, 0.15
STEP_MM = 1.6
"""Finer maps are thinned to every second voxel."""
_FEWEST, _TURNS = 10, 5
_HEAD = (
    "# Where structures usually lie and how large they are; made by tests/bench/usual.py from the training\n"
    "# subjects of the sets named beside each region. Read by napari_mediround.domain.sizes.\n"
)


def read_shapes(folder: Path, splits: tuple[str, ...]) -> Iterator[tuple[str, list[Shape], Geometry]]:
    """Yield the structures of each label map of some splits: subject, shapes, grid.

    Labels that the anatomy does not know are left out.
    """
    about, anatomy = json.loads((folder / "set.json").read_text("utf-8")), load_anatomy()
    named = name_segments((make_segment(int(v), n) for v, n in about["labels"].items()), anatomy)
    names = {n.segment.value: anatomy.find(n.structure) if n.sure else None for n in named}
    for case in about["cases"]:
        if case["split"] not in splits:
            continue
        study = read_study(folder / case["label"], modality="")
        labels, grid = np.asarray(study.pixels), study.geometry
        if max(grid.spacing_mm) < STEP_MM:
            labels, grid = labels[::2, ::2, ::2], _thin(grid)
        there = [int(v) for v in np.unique(labels) if names.get(int(v)) is not None]
        shapes = [Shape.of(value, names[value].name, labels == value) for value in there]
        yield case["subject"], [s for s in shapes if np.count_nonzero(s.inner) >= _FEWEST], grid


def _thin(grid: Geometry) -> Geometry:
    """Return the grid of every second voxel."""
    shape = tuple(-(-n // 2) for n in grid.shape)
    return Geometry(shape, grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0]), grid.oriented)


def make_region(maps: Iterator[tuple[str, list[Shape], Geometry]]) -> dict[str, dict]:
    """Return the rows of one region, by name."""
    centres: list[dict[str, np.ndarray]] = []
    logs, parts, count = defaultdict(list), defaultdict(list), defaultdict(int)
    odd = defaultdict(lambda: defaultdict(list))
    for _, shapes, grid in maps:
        checker = Checker(shapes, grid, load_anatomy())
        centres.append({body.shape.name: body.centre for body in checker.bodies})
        for body in checker.bodies:
            count[body.shape.name] += 1
            (parts if body.cut else logs)[body.shape.name].append(np.log(body.ml))
        for body in checker.bodies:
            for what, amount in _peculiar(checker, body).items():
                odd[body.shape.name][what].append(amount)
    for name in [name for name in parts if len(logs[name]) < 3]:  # the border cuts it in most maps
        logs[name] += parts[name]
    names = [name for name in count if count[name] >= 3 and len(logs[name]) >= 3]
    rows = {}
    for name, row in _places(centres, names).items():
        both = [other for other in (name, _mirror(name)) if other in count]
        sizes = [size for other in both for size in logs[other]]
        amounts = {
            w: [n for other in both for n in odd[other][w]] for w in ("scattered", "hollow", "interrupted")
        }
        rows[name] = {
            **row,
            "log_ml": round(float(np.mean(sizes)), 3),
            "log_spread": round(max(float(np.std(sizes)), LEAST_LOG_SPREAD), 3),
            "scattered": _usual(amounts["scattered"]),
            "hollow": _usual(amounts["hollow"]),
            "interrupted": int(_usual(amounts["interrupted"])),
        }
    return rows


def _mirror(name: str) -> str:
    structure = load_anatomy().find(name)
    return structure.mirror if structure is not None else ""


def _usual(amounts: list[float]) -> float:
    """Return the amount that all but few true masks stay under, rounded up."""
    return float(np.ceil(1000 * np.quantile(amounts, SELDOM)) / 1000) if amounts else 0.0


def _peculiar(checker: Checker, body) -> dict[str, float]:
    """Return the share of a true mask in small parts and in holes, and how many planes it leaves out."""
    parts, _ = ndimage.label(body.inner, np.ones((3, 3, 3)))
    sizes = np.bincount(parts.ravel())[1:]
    holes = ndimage.binary_fill_holes(body.inner) & ~body.inner
    for other in checker.bodies:
        if other is not body:
            holes &= ~other.shape.at(body.box)
    there = np.flatnonzero(body.inner.any((1, 2)))
    return {
        "scattered": float(sizes[sizes < ISLAND_SHARE * sizes.max()].sum() / body.voxels),
        "hollow": float(np.count_nonzero(holes) / body.voxels),
        "interrupted": float(there[-1] - there[0] + 1 - len(there)),
    }


def _places(centres: list[dict[str, np.ndarray]], names: list[str]) -> dict[str, dict]:
    """Return mean and spread of each centre, all maps laid on their common middle."""
    means = {name: np.mean([c[name] - np.mean(list(c.values()), 0) for c in centres if name in c], 0)
             for name in names}  # fmt: skip
    for _ in range(_TURNS):
        laid = defaultdict(list)
        for own in centres:
            middle = np.median([own[name] - means[name] for name in names if name in own], axis=0)
            for name in names:
                if name in own:
                    laid[name].append(own[name] - middle)
        means = {name: np.mean(laid[name], 0) for name in names}
    return {
        name: {
            "centre_mm": [round(float(n), 1) for n in means[name]],
            "spread_mm": [round(max(float(n), LEAST_SPREAD_MM), 1) for n in np.std(laid[name], 0)],
        }
        for name in names
    }


def write_usual(path: Path, regions: Mapping[str, tuple[str, dict[str, dict]]]) -> None:
    """Write the rows of all regions, each with the name of its set."""
    lines = [_HEAD]
    for region, (source, rows) in regions.items():
        lines.append(f"# {region}: {source}")
        for name, row in rows.items():
            lines.append(f'[{region}."{name}"]')
            lines += [f"{key} = {json.dumps(value)}" for key, value in row.items()]
            lines.append("")
    path.write_text("\n".join(lines), "utf-8")


def main(words: list[str]) -> None:
    """Make the file that the first word names from the folders of the others."""
    regions = {}
    for word in words[1:]:
        region, _, folder = word.partition("=")
        rows = make_region(read_shapes(Path(folder), ("train",)))
        regions[region] = (Path(folder).name, rows)
    write_usual(Path(words[0]), regions)


if __name__ == "__main__":
    main(sys.argv[1:])
