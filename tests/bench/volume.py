"""How well one accepted plane becomes a volume, against each plane alone and against region growing.

For each structure a person has the largest plane right; the machine does the others. Then the worst doubtful
plane is put right and its doubtful neighbours are renewed, or the next plane without a mask is drawn, again
and again; each such intervention is counted. Prints one line a structure (Dice in 3-D, mean surface distance
in mm, interventions), the planes a second from cold and from kept embeddings, and exits non-zero where
following is worse than each plane alone.
``python tests/bench/volume.py [FOLDER] [--structures liver,spleen] [--most 4]``

FOLDER has an `image.nii.gz`, a `labels.nii.gz` on its grid and a `labels.json` with the names; without it the
bundled sample is taken.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

import napari_mediround.resources
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Reference
from napari_mediround.domain.study import Study
from napari_mediround.inference.predictor import Predictor
from napari_mediround.io import read_study
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session import Propagation, Session
from napari_mediround.session.stack.standing import doubtful_beside, doubtful_planes

SAMPLE = Path(napari_mediround.resources.__file__).parent / "sample/ct_abdomen"
LEAST_PLANES = 8
"""Structures on fewer planes are no stack."""
RIGHT = 0.85
"""A doubtful plane with this Dice is accepted as it is; a person need not touch it."""


@dataclass
class Result:
    """What was measured of one structure."""

    name: str
    planes: int
    alone: float
    grown: float
    followed: float
    surface_mm: float
    interventions: int = 0
    final: float = 0.0
    final_mm: float = 0.0
    seconds: list[float] = field(default_factory=list)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the Dice overlap; two empty masks agree."""
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def surface_distance(one: np.ndarray, other: np.ndarray, spacing_mm: tuple[float, ...]) -> float:
    """Return the mean distance between the surfaces of two masks, both ways, mm; NaN where one is empty."""
    if not one.any() or not other.any():
        return float("nan")
    edges = [mask & ~ndimage.binary_erosion(mask) for mask in (one, other)]
    away = [ndimage.distance_transform_edt(~edge, spacing_mm) for edge in edges]
    return float(np.concatenate([away[1][edges[0]], away[0][edges[1]]]).mean())


def volume_of(session: Session, number: int) -> np.ndarray:
    """Return a structure, bool (plane, row, column)."""
    volume = np.zeros(session.study.geometry.shape, bool)
    for label in session.state.shown:
        if label.drawn == number:
            volume[label.plane] = label.mask.to_array()
    return volume


def follow(session: Session, plan: StackBegun) -> list[float]:
    """Follow a structure to the end; return the seconds of each plane."""
    run, seconds = Propagation.begin(session, plan), []
    while (found := run.find()) is not None:
        run.take(found)
        seconds.append(found.seconds)
    session.end_stack()
    return seconds


def grow(study: Study, truth: np.ndarray, plane: int) -> np.ndarray:
    """Return what region growing (SimpleITK, ConfidenceConnected) makes of the accepted plane."""
    inner = ndimage.binary_erosion(truth, iterations=3)
    seeds = np.argwhere(inner if inner.any() else truth)
    seeds = seeds[:: max(1, len(seeds) // 50)]
    image = sitk.CurvatureFlow(sitk.GetImageFromArray(study.pixels.astype(np.float32)), 0.05, 5)
    at = [(int(x), int(y), int(plane)) for y, x in seeds]
    grown = sitk.ConfidenceConnected(image, at, numberOfIterations=1, multiplier=2.0, replaceValue=1)
    return sitk.GetArrayFromImage(sitk.BinaryMorphologicalClosing(grown, (2, 2, 0))).astype(bool)


def each_alone(predictor: Predictor, study: Study, names: list[str]) -> dict[str, np.ndarray]:
    """Return each structure as asked for by its name on each plane alone."""
    session = Session(predictor, study, load_anatomy())
    found = {name: np.zeros(study.geometry.shape, bool) for name in names}
    for plane in range(study.planes):
        session.prepare(plane)
        text = f"Segment {', '.join(names)}."
        answer = predictor.ask(text, Conversation(), structures=tuple(names), chat=False)
        for target in answer.targets:
            if target.structure in found:
                found[target.structure][plane] = target.mask.to_array()
    return found


def put_right(session: Session, value: int, truth: np.ndarray) -> None:
    """Let the person make a plane what it is in truth."""
    session.fix(value, Mask.from_array(truth[session.label(value).plane]), overlap="both")


def intervene(session: Session, truth: np.ndarray, result: Result) -> bool:
    """Put the worst doubtful plane right, or the nearest that lacks a mask; return whether there was one."""
    for worst in doubtful_planes(session.state, 1):
        label = session.label(worst.value)
        if dice(label.mask.to_array(), truth[worst.plane]) >= RIGHT:
            session.accept(worst.value, overlap="both")
            continue
        result.interventions += 1
        if not truth[worst.plane].any():
            session.reject(worst.value)
            return True
        put_right(session, worst.value, truth)
        if beside := doubtful_beside(session.state, 1, worst.plane):
            follow(session, StackBegun((1,), worst.plane, beside[0], beside[-1], beside))
        return True
    there = {label.plane for label in session.state.shown if label.drawn == 1}
    lacking = [plane for plane in np.flatnonzero(truth.any((1, 2))) if plane not in there]
    if not lacking:
        return False
    plane = int(min(lacking, key=lambda plane: min(abs(plane - p) for p in there)))
    result.interventions += 1
    session.ask(f"segment the {result.name}", plane)
    put_right(session, session.label_of(Reference(len(session.conversation))), truth)
    return True


def measure(
    predictor: Predictor, study: Study, truth: np.ndarray, name: str, alone: np.ndarray, most: int
) -> Result:
    """Measure one structure."""
    areas = truth.sum((1, 2))
    start, last, spacing = int(areas.argmax()), study.planes - 1, study.geometry.spacing_mm
    session = Session(predictor, study, load_anatomy())
    session.ask(f"segment the {name}", start)
    put_right(session, 1, truth)
    seconds = follow(session, StackBegun((1,), start, 0, last))
    volume = volume_of(session, 1)
    grown = grow(study, truth[start], start)
    result = Result(
        name, int((areas > 0).sum()), dice(alone, truth), dice(grown, truth), dice(volume, truth),
        surface_distance(volume, truth, spacing), seconds=seconds,
    )  # fmt: skip
    while result.interventions < most and intervene(session, truth, result):
        follow(session, StackBegun((1,), start, 0, last))  # a stop may be behind it now
    volume = volume_of(session, 1)
    result.final, result.final_mm = dice(volume, truth), surface_distance(volume, truth, spacing)
    return result


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--structures", default="", help="names with commas between; all on enough planes")
    parser.add_argument("--most", type=int, default=4, help="interventions at most")
    chosen = parser.parse_args()
    study = read_study(chosen.folder / "image.nii.gz")
    labels = np.asarray(read_study(chosen.folder / "labels.nii.gz").pixels)
    known = json.loads((chosen.folder / "labels.json").read_text("utf-8"))
    wanted = [name.strip() for name in chosen.structures.split(",") if name.strip()]
    truths = {name: labels == int(value) for value, name in known.items() if not wanted or name in wanted}
    truths = {name: truth for name, truth in truths.items() if truth.any((1, 2)).sum() >= LEAST_PLANES}
    with tempfile.TemporaryDirectory() as cache:
        predictor = Predictor.from_preset("lite", cache_dir=Path(cache))
        size = study.geometry.shape[1:]
        print(f"planes={study.planes} size={size} load={os.getloadavg()[0]:.1f}", flush=True)
        first = next(iter(truths))
        seconds = measure(predictor, study, truths[first], first, truths[first], 0).seconds
        cold = len(seconds) / sum(seconds)
        alone = each_alone(predictor, study, list(truths))
        results = []
        for name, truth in truths.items():
            one = measure(predictor, study, truth, name, alone[name], chosen.most)
            results.append(one)
            print(
                f"{one.name}: planes={one.planes} followed={one.followed:.3f} alone={one.alone:.3f} "
                f"grown={one.grown:.3f} surface={one.surface_mm:.1f} mm | interventions={one.interventions} "
                f"dice={one.final:.3f} surface={one.final_mm:.1f} mm",
                flush=True,
            )
    kept = [len(one.seconds) / sum(one.seconds) for one in results if one.seconds]
    print(f"planes/s: cold={cold:.2f} kept={np.median(kept):.2f} load={os.getloadavg()[0]:.1f}")
    followed, lone = (np.mean([getattr(one, key) for one in results]) for key in ("followed", "alone"))
    final, grown = (np.mean([getattr(one, key) for one in results]) for key in ("final", "grown"))
    print(f"mean: followed={followed:.3f} alone={lone:.3f} grown={grown:.3f} corrected={final:.3f}")
    print(f"ratio={followed / lone:.3f}")
    return 0 if followed >= lone else 1


if __name__ == "__main__":
    sys.exit(main())
