"""Right ventricle and myocardium on short-axis planes of which only the left cavity is labelled.

``python -m napari_mediround.training.data.short_axis OUT`` adds both to
``OUT/pictures/cardiac_mr_sunnybrook.npz``, on the planes that ``short_axis.toml`` lists: those where a person
looked at the proposal and found it good. Everywhere else both stay unknown. No expert drew them.

The wall is the closed path of steepest change around the cavity. The right ventricle is what the bundled
model draws from clicks into the bright pool beyond the septum, where five clicks agree.
"""

from __future__ import annotations

import argparse
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon2mask

from napari_mediround.files import write_whole
from napari_mediround.inference.predictor import Predictor
from napari_mediround.training.data.pictures import Picture

SET = "cardiac_mr_sunnybrook"
RIGHT_VENTRICLE, MYOCARDIUM = 2, 3
"""Label values that are added; 1 is the cavity."""
_ANGLES, _STEP = 72, 0.5
_TURNS = {-2: 0.12, -1: 0.03, 0: 0.0, 1: 0.03, 2: 0.12}
"""Cost of a change of thickness from one angle to the next, in steps."""


def find_wall(
    image: NDArray[np.uint8], cavity: NDArray[np.bool_], beside: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_]:
    """Return the myocardium (H, W) around a cavity; the septum's thickness is known where `beside` is."""
    grey = ndimage.gaussian_filter(image.astype(np.float32), 0.8)
    radius, centre = np.sqrt(cavity.sum() / np.pi), np.array(ndimage.center_of_mass(cavity))
    angles = np.arange(_ANGLES) * 2 * np.pi / _ANGLES
    away = np.stack([-np.sin(angles), np.cos(angles)], 1)
    places = centre[:, None, None] + away.T[:, :, None] * np.arange(0, 3 * radius + 30, _STEP)
    rays = ndimage.map_coordinates(grey, places, order=1)
    inside = ndimage.map_coordinates(cavity.astype(np.uint8), places, order=0) > 0
    edge = ndimage.median_filter(inside.shape[1] - 1 - inside[:, ::-1].argmax(1), 5, mode="wrap")
    low, high = 4, int((0.75 * radius + 11) / _STEP)
    columns = np.minimum(edge[:, None] + np.arange(low - 3, high + 4), rays.shape[1] - 1)
    beyond = np.take_along_axis(rays, columns, 1)
    contrast = max(10.0, float(np.median(grey[cavity]) - np.percentile(beyond[:, :12], 30)))
    change = np.minimum(np.abs(beyond[:, 6:] - beyond[:, :-6]) / contrast, 1)
    thick = np.arange(change.shape[1]) * _STEP + low * _STEP
    if beside is not None and beside.any():
        far = ndimage.distance_transform_edt(~cavity)[beside]
        septum = np.percentile(far[far < np.percentile(far, 30) + 1], 20)
        cost = 0.6 * ((thick - septum) / (0.5 * septum + 2)) ** 2 - change
    else:
        cost = 0.25 * ((thick - 0.35 * radius - 3) / (0.4 * radius + 4)) ** 2 - change
    path = _cheapest(np.concatenate([cost] * 3))[_ANGLES : 2 * _ANGLES]  # three turns close the circle
    reach = (edge + 1) * _STEP + ndimage.gaussian_filter1d(thick[path], 1.0, mode="wrap")
    wall = polygon2mask(cavity.shape, centre + away * reach[:, None]) & ~cavity
    return wall if beside is None else wall & ~beside


def _cheapest(cost: NDArray) -> NDArray[np.intp]:
    """Return the column of each row (N, M) on the path of least cost, by dynamic programming."""
    total, came, columns = cost[0], [], np.arange(cost.shape[1])
    for row in cost[1:]:
        options = np.stack(
            [
                np.where(
                    (columns - turn >= 0) & (columns - turn < len(columns)), np.roll(total, turn), np.inf
                )
                + price
                for turn, price in _TURNS.items()
            ]
        )
        came.append(options.argmin(0))
        total = options.min(0) + row
    path = [int(total.argmin())]
    for choice in reversed(came):
        path.append(path[-1] - list(_TURNS)[choice[path[-1]]])
    return np.array(path[::-1])


def find_pool(image: NDArray[np.uint8], cavity: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return up to five places (K, 2) row, column in the bright pool beyond the septum, at the image's left.

    Empty where too few rays from the cavity's middle pass dark muscle and then something as bright as blood.
    """
    grey = ndimage.gaussian_filter(image.astype(np.float32), 1.2)
    radius, centre = np.sqrt(cavity.sum() / np.pi), np.array(ndimage.center_of_mass(cavity))
    blood, found = float(np.median(grey[cavity])), []
    for angle in np.deg2rad(np.arange(140, 226, 6)):
        away = np.array([-np.sin(angle), np.cos(angle)])
        places = centre[:, None] + away[:, None] * np.arange(0, 2.6 * radius + 22, _STEP)
        ray = ndimage.map_coordinates(grey, places, order=1)
        inside = np.flatnonzero(ndimage.map_coordinates(cavity.astype(np.uint8), places, order=0))
        if not len(inside):
            continue
        edge = inside[-1] + 2
        darkest = edge + int(ray[edge : edge + int((0.45 * radius + 6) / _STEP)].argmin())
        if blood - ray[darkest] < 0.25 * blood:
            continue
        level = 0.5 * (blood + ray[darkest])
        bright = np.flatnonzero(ray[darkest : edge + int((0.7 * radius + 10) / _STEP)] > level)
        if not len(bright):
            continue
        start = darkest + bright[0]
        within = (ray[start:] > level) & (ray[start:] < 2.2 * blood)
        run = len(within) if within.all() else int(within.argmin())
        if run * _STEP >= 2.5:
            found.append(places[:, start + min(run, int(0.8 * radius / _STEP)) // 2])
    if len(found) < 4:
        return np.zeros((0, 2))
    found = np.array(found)
    return found[np.argsort(np.linalg.norm(found - np.median(found, 0), axis=1))[:5]]


def draw_ventricle(
    predictor: Predictor, image: NDArray[np.uint8], cavity: NDArray[np.bool_]
) -> tuple[NDArray[np.bool_], float, float]:
    """Return the right ventricle (H, W), how far five clicks agree (mean Dice), and the judged quality."""
    places, middle = find_pool(image, cavity), ndimage.center_of_mass(cavity)
    if not len(places):
        return np.zeros_like(cavity), 0.0, 0.0
    predictor.set_image(np.repeat(image[..., None], 3, -1), "", "MR", (1.0, 1.0))
    drawn, judged = [], []
    for place in places:
        clicks = np.array([place[::-1], middle[::-1]])
        mask, quality = predictor.refine(clicks, np.array([True, False]))
        drawn.append(mask.to_array())
        judged.append(quality)
    vote = np.mean(drawn, 0) > 0.5
    alike = [2 * (one & vote).sum() / max(1, one.sum() + vote.sum()) for one in drawn]
    parts, _ = ndimage.label(vote)
    largest = parts == 1 + int(np.bincount(parts[parts > 0]).argmax() - 1) if vote.any() else vote
    return largest & ~cavity, float(np.mean(alike)), float(np.mean(judged))


def enrich(picture: Picture, ventricle: NDArray[np.bool_] | None, wall: NDArray[np.bool_] | None) -> Picture:
    """Return a plane that knows its right ventricle, its myocardium, or both."""
    labels, structures = picture.labels.copy(), dict(picture.structures)
    for name, value, where in (
        ("myocardium", MYOCARDIUM, wall),
        ("right ventricle", RIGHT_VENTRICLE, ventricle),
    ):
        if where is not None:
            labels[where & (picture.labels == 0)] = value
            structures[name] = (value,)
    return replace(picture, labels=labels, structures=structures)


def main() -> None:
    """Add to the set's planes what was found good."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    file = parser.parse_args().out / "pictures" / f"{SET}.npz"
    with open(Path(__file__).with_suffix(".toml"), "rb") as listed:
        good = tomllib.load(listed)
    pictures, predictor = np.load(file, allow_pickle=True)["pictures"], Predictor.from_preset("lite")
    for row in sorted({*good["right_ventricle"], *good["myocardium"]}):
        image, cavity = pictures[row].image, pictures[row].labels == 1
        ventricle = draw_ventricle(predictor, image, cavity)[0] if row in good["right_ventricle"] else None
        wall = find_wall(image, cavity, ventricle) if row in good["myocardium"] else None
        pictures[row] = enrich(pictures[row], ventricle, wall)
    write_whole(file, lambda part: np.savez_compressed(part, pictures=pictures))


if __name__ == "__main__":
    main()
