"""How many seeded errors the checks find, and how often they cry wolf on true label maps.

``python tests/bench/checks.py FOLDER … [--errors N] [--split val]`` puts N errors of all kinds, one at a
time, into label maps of folders with a `set.json`, and prints a line for each kind: found as this kind, and
as any kind. Then the findings on the maps as they are. Positions and sizes that the checks compare with
(`resources/usual.toml`) come from other subjects: those of the split "train".
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

sys.path.insert(0, str(Path(__file__).parent))

from usual import read_shapes

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.checks import CHECKS, Finding, Shape
from napari_mediround.domain.geometry import Geometry
from napari_mediround.session.checking import check_shapes

ANATOMY = load_anatomy()
Seeded = tuple[list[Shape], int] | None
"""The shapes with an error and the number that it is about; None where this kind cannot be put in."""


def seed_side(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Call a structure by its mirror's name; the mirror is not there."""
    one = _choose(shapes, rng, lambda s: _known(s).mirror)
    if one is None:
        return None
    mirror = _known(one).mirror
    rest = [s for s in shapes if s is not one and s.name != mirror]
    return [*rest, replace(one, name=mirror)], one.number


def seed_swapped(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Exchange the names of a pair."""
    names = {s.name: s for s in shapes}
    one = _choose(shapes, rng, lambda s: _known(s).mirror in names)
    if one is None:
        return None
    return _exchange(shapes, one, names[_known(one).mirror]), one.number


def seed_exchanged(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Exchange the names of two structures that are no pair and do not overlap."""
    one = _choose(shapes, rng, lambda s: s.name != "brain")
    other = _choose(shapes, rng, lambda s: s is not one and s.name not in ("brain", _known(one).mirror))
    return None if other is None else (_exchange(shapes, one, other), one.number)


def seed_partner(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Take one of a pair away."""
    names = {s.name: s for s in shapes}
    one = _choose(shapes, rng, lambda s: _known(s).mirror in names)
    if one is None:
        return None
    return [s for s in shapes if s.name != _known(one).mirror], one.number


def seed_islands(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Add a ball of a few millimetres, apart from the structure."""
    one = _choose(shapes, rng, lambda s: _known(s).is_one)
    if one is None:
        return None
    far = ndimage.distance_transform_edt(~one.mask, grid.spacing_mm)
    places = np.argwhere((far > 8) & (far < 40))
    if not len(places):
        return None
    mask = one.mask | _ball(one.mask.shape, places[rng.integers(len(places))], grid, 3 + 3 * rng.random())
    added = mask & ~one.mask
    return None if not 4 <= added.sum() < 0.1 * one.mask.sum() else (_put(shapes, one, mask), one.number)


def seed_holes(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Cut a hole where the structure is thick enough to close around it."""
    deep = {s.number: ndimage.binary_erosion(s.inner, np.ones((3, 5, 5))) for s in shapes}
    thick = {s.number: np.argwhere(deep[s.number]) + s.first for s in shapes}
    one = _choose(shapes, rng, lambda s: len(thick[s.number]) and _known(s).is_one and s.name != "brain")
    if one is None:
        return None
    places = thick[one.number]
    hole = np.zeros_like(one.mask)
    z, y, x = places[rng.integers(len(places))]
    hole[z, y - 1 : y + 2, x - 1 : x + 2] = True
    return _put(shapes, one, one.mask & ~hole), one.number


def seed_gap(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Take one to three planes out of the middle."""
    one = _choose(shapes, rng, lambda s: _known(s).is_one and s.mask.any((1, 2)).sum() >= 6)
    if one is None:
        return None
    planes, mask = np.flatnonzero(one.mask.any((1, 2))), one.mask.copy()
    first = rng.integers(1, len(planes) - 4)
    mask[planes[first : first + rng.integers(1, 4)]] = False
    return _put(shapes, one, mask), one.number


def seed_overlap(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Let a structure grow into a neighbour that was accepted."""
    one = _choose(shapes, rng, lambda s: s.name != "brain")
    grown = ndimage.binary_dilation(one.mask, iterations=3)
    touched = [s for s in shapes if s is not one and s.name != "brain"
               and (grown & s.mask).sum() >= max(5, 0.05 * s.mask.sum())
               and not ANATOMY.share(s.name, one.name)]  # fmt: skip
    if not touched:
        return None
    other = touched[rng.integers(len(touched))]
    seeded = _put(shapes, one, one.mask | (grown & other.mask))
    return [replace(s, locked=True) if s.number == other.number else s for s in seeded], one.number


def seed_size(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Leave a twentieth of a structure, or let it grow to eight times its size."""
    one = _choose(shapes, rng, lambda s: _known(s).is_one and s.name != "brain" and s.mask.sum() >= 200)
    if one is None:
        return None
    mask = one.mask
    if rng.random() < 0.5:
        depth = ndimage.distance_transform_edt(mask)
        mask = depth >= np.sort(depth[mask])[-max(3, int(0.05 * mask.sum()))]
        mask = _largest(mask)
    else:
        depth = ndimage.distance_transform_edt(~mask, grid.spacing_mm)
        mask = depth <= np.sort(depth.ravel())[min(8 * int(mask.sum()), depth.size - 1)]
    return _put(shapes, one, mask), one.number


def seed_parent(shapes: list[Shape], grid: Geometry, rng) -> Seeded:
    """Move a part of the brain until a third of it lies outside the brain."""
    brain = next((s for s in shapes if s.name == "brain"), None)
    if brain is None:
        return None
    inside = [s for s in shapes if "brain" in ANATOMY.ancestors(s.name)]
    one = _choose(inside, rng, lambda s: True)
    for step in range(1, max(one.mask.shape)):
        moved = ndimage.shift(one.mask.astype(np.uint8), (0, -step, 0), order=0).astype(bool)
        outside = (moved & ~ndimage.binary_dilation(brain.mask, iterations=1)).sum()
        if moved.any() and outside >= one.mask.sum() / 3:
            return _put(shapes, one, moved), one.number
    return None


SEEDS: dict[str, Callable[[list[Shape], Geometry, np.random.Generator], Seeded]] = {
    "side": seed_side, "swapped": seed_swapped, "parent": seed_parent, "islands": seed_islands,
    "holes": seed_holes, "gap": seed_gap, "overlap": seed_overlap, "size": seed_size,
    "partner": seed_partner, "exchanged": seed_exchanged,
}  # fmt: skip


def _known(shape: Shape):
    return ANATOMY[shape.name]


def _choose(shapes: list[Shape], rng, fits: Callable[[Shape], object]) -> Shape | None:
    found = [s for s in shapes if fits(s)]
    return found[rng.integers(len(found))] if found else None


def _put(shapes: list[Shape], one: Shape, mask) -> list[Shape]:
    return [Shape.of(s.number, s.name, mask, s.locked) if s is one else s for s in shapes]


def _exchange(shapes: list[Shape], one: Shape, other: Shape) -> list[Shape]:
    names = {one.number: other.name, other.number: one.name}
    return [replace(s, name=names.get(s.number, s.name)) for s in shapes]


def _ball(shape, middle, grid: Geometry, radius_mm: float):
    index = np.indices(shape) - np.reshape(middle, (3, 1, 1, 1))
    return ((index * np.reshape(grid.spacing_mm, (3, 1, 1, 1))) ** 2).sum(0) <= radius_mm**2


def _largest(mask):
    parts, _ = ndimage.label(mask)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def with_brain(shapes: list[Shape], grid: Geometry) -> list[Shape]:
    """Return the shapes of a brain map with the whole brain, closed, so that parts have a parent."""
    if sum("brain" in ANATOMY.ancestors(s.name) for s in shapes) < 10:
        return shapes
    whole = np.logical_or.reduce([s.mask for s in shapes])
    whole = ndimage.binary_fill_holes(ndimage.binary_closing(whole, iterations=2) | whole)
    return [*shapes, Shape.of(9999, "brain", _largest(whole))]


def new_findings(found: tuple[Finding, ...], before: set) -> list[Finding]:
    """Return what was not said of the map as it was."""
    return [f for f in found if (f.check, f.numbers) not in before]


def main() -> int:
    """Print the tables; return 1 where the aims are missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--errors", type=int, default=1000)
    parser.add_argument("--split", default="val")
    parser.add_argument("--most", type=int, default=40, help="maps of each folder")
    options = parser.parse_args()
    began, rng = time.monotonic(), np.random.default_rng(25)
    maps = []
    for folder in options.folders:
        for number, (_, shapes, grid) in enumerate(read_shapes(folder, tuple(options.split.split(",")))):
            if number >= options.most:
                break
            maps.append((folder.name, with_brain(shapes, grid), grid))
    said, alarms, structures = {}, Counter(), 0
    maps_with = 0
    for k, (_, shapes, grid) in enumerate(maps):
        found = check_shapes(shapes, grid, ANATOMY)
        said[k] = {(f.check, f.numbers) for f in found}
        names = {s.name for s in shapes}
        # A partner that the map truly lacks is rightly said to be missing.
        false = [f for f in found if f.check != "partner"]
        alarms.update(f.check for f in false)
        maps_with += bool(false)
        for finding in false:
            print("false alarm:", finding.check, finding.text)
        structures += len(names)
    right, any_kind, tried = Counter(), Counter(), Counter()
    missed = defaultdict(Counter)
    turn = 0
    while sum(tried.values()) < options.errors and turn < 40 * options.errors:
        kind = list(SEEDS)[turn % len(SEEDS)]
        turn += 1
        folder = options.folders[int(rng.integers(len(options.folders)))].name  # each folder as often
        k = int(rng.choice([k for k, (name, *_) in enumerate(maps) if name == folder]))
        _, shapes, grid = maps[k]
        seeded = SEEDS[kind](shapes, grid, rng)
        if seeded is None:
            continue
        wrong, number = seeded
        tried[kind] += 1
        found = new_findings(check_shapes(wrong, grid, ANATOMY), said[k])
        mine = [f for f in found if number in f.numbers]
        right[kind] += any(f.check == kind for f in mine)
        any_kind[kind] += bool(mine)
        if not mine:
            missed[kind][next(s.name for s in wrong if s.number == number)] += 1
    print(f"{'error':12} {'tried':>6} {'this kind':>10} {'any kind':>9}   missed most")
    for kind in SEEDS:
        worst = ", ".join(f"{name} {n}" for name, n in missed[kind].most_common(4))
        print(f"{kind:12} {tried[kind]:6} {right[kind] / max(tried[kind], 1):10.1%}"
              f" {any_kind[kind] / max(tried[kind], 1):9.1%}   {worst}")  # fmt: skip
    total = sum(tried.values())
    share = sum(any_kind.values()) / max(total, 1)
    exact = sum(right.values()) / max(total, 1)
    print(f"{'all':12} {total:6} {exact:10.1%} {share:9.1%}")
    false = sum(alarms.values())
    print(f"true maps: {len(maps)}, structures: {structures}; false alarms: {false} "
          f"({false / max(structures, 1):.1%} of structures), on {maps_with} maps "
          f"({maps_with / max(len(maps), 1):.1%}): {dict(alarms)}")  # fmt: skip
    print(f"seconds={time.monotonic() - began:.0f} checks={', '.join(CHECKS)}")
    return int(share < 0.95 or false / max(structures, 1) > 0.05)


if __name__ == "__main__":
    sys.exit(main())
