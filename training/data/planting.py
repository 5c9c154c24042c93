"""Lesions painted into planes that have none, so that rare findings are known in many contrasts.

Masses of the kidney, liver and lung, kidney cysts, and gliomas with their oedema. What is painted replaces
grey values and labels; the structures of the result name it. Knows no model.

References
----------
Hu et al., Label-Free Liver Tumor Segmentation, CVPR 2023 (painted tumours teach as well as drawn ones);
Billot et al., SynthSeg, 2023.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mediround.training.data.sets import resize_grid

FIRST = 230
"""Label values from here on are painted; sets use lower ones."""
OFTEN = 0.35
"""Share of the planes with a fitting organ that get a lesion."""
PAINTED = (
    *("kidney tumour", "kidney cyst", "liver tumour", "lung tumour", "glioma", "brain tumour"),
    *("peritumoral oedema", "enhancing tumour", "necrotic tumour core"),
)
"""What is painted, by preferred name."""
_BRAIN = ("cerebral white matter", "cerebral cortex")
Structures = dict[str, tuple[int, ...]]


def blob(
    shape: tuple[int, int], centre: NDArray, radius: float, rng: np.random.Generator, rough: float = 0.35
) -> NDArray[np.float32]:
    """Return the distance from a lesion's middle in units of its radius, rough (H, W): below 1 is inside."""
    grid = np.indices(shape, np.float32) - centre[:, None, None]
    angle, stretch = rng.uniform(0, np.pi), np.exp(rng.normal(0, 0.2))
    along = np.cos(angle) * grid[0] + np.sin(angle) * grid[1]
    across = np.cos(angle) * grid[1] - np.sin(angle) * grid[0]
    far = np.hypot(along * stretch, across / stretch) / radius
    knots = max(4, round(shape[0] / (0.7 * radius)))
    return far + rough * resize_grid(rng.normal(0, 0.6, (knots, knots)), shape)


def plant(
    image: NDArray[np.float32],
    labels: NDArray,
    structures: Structures,
    rng: np.random.Generator,
    hounsfield: bool,
    brain: bool = False,
) -> tuple[NDArray[np.float32], NDArray, Structures]:
    """Return a plane with a lesion of one of its organs now and then, and its structures with the lesion.

    Parameters
    ----------
    image : ndarray
        (H, W): HU, or greys of any scale.
    labels : ndarray
        uint8 (H, W).
    structures : dict
        Name to label values.
    rng : Generator
    hounsfield : bool
        The image is of HU.
    brain : bool
        What is bright is a brain on MR, though the set labels only its lesions.
    """
    kinds = [kind for organ, kind in _KINDS if organ in structures and (hounsfield or organ == "kidney")]
    if brain:
        kinds.append(_glioma_in_image)
    kinds = [kind for kind in kinds if kind is not _liver or "kidney" in structures]
    known = dict(structures)
    if hounsfield and "kidney" in structures:
        known.setdefault("kidney tumour", (FIRST,))  # never left to chance: a painted one is the only one
    if not kinds or rng.random() > OFTEN:
        return image, labels, known
    return kinds[rng.integers(len(kinds))](image.copy(), labels.copy(), known, rng, hounsfield)


def _organ(labels: NDArray, values: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.isin(labels, values)


def _paint(image: NDArray, where: NDArray, mean: float, spread: float, rng: np.random.Generator) -> NDArray:
    """Return an image with a soft-edged region of grainy grey."""
    grain = ndimage.gaussian_filter(rng.normal(0, 1, image.shape).astype(np.float32), rng.uniform(0.6, 2))
    grain *= spread / max(float(grain.std()), 1e-6)
    soft = ndimage.gaussian_filter(where.astype(np.float32), rng.uniform(0.4, 0.9))
    return image * (1 - soft) + (mean + grain) * soft


def _kidney(
    image: NDArray, labels: NDArray, structures: Structures, rng: np.random.Generator, hounsfield: bool
) -> tuple[NDArray, NDArray, Structures]:
    """Paint a solid mass or a cyst at one kidney."""
    kidney = _organ(labels, structures["kidney"])
    parts, count = ndimage.label(kidney)
    if not count:
        return image, labels, structures
    part = parts == 1 + rng.integers(count)
    area = part.sum()
    if area < 60:
        return image, labels, structures
    edge = part & ~ndimage.binary_erosion(part) if rng.random() < 0.7 else part
    places = np.argwhere(edge)
    radius = rng.uniform(0.35, 1.3) * np.sqrt(area / np.pi)
    inside = blob(labels.shape, places[rng.integers(len(places))].astype(np.float32), radius, rng) < 1
    inside &= part | (labels == 0)
    if hounsfield:
        inside &= image > -300  # not into lung or bowel gas
    is_cyst = hounsfield and "kidney cyst" in structures and rng.random() < 0.3
    own, spread = float(np.median(image[part])), float(image[part].std())
    if is_cyst:
        image = _paint(image, inside, rng.uniform(-5, 20), rng.uniform(4, 14), rng)
        structures = {**structures, "kidney cyst": (*structures["kidney cyst"], FIRST + 1)}
    else:
        step = rng.normal(-35, 45) if hounsfield else rng.choice([-1, 1]) * rng.uniform(0.6, 2.5) * spread
        grain = rng.uniform(6, 25) if hounsfield else rng.uniform(0.2, 0.8) * spread
        image = _paint(image, inside, own + step, grain, rng)
        if rng.random() < 0.4:  # dead in the middle
            core = ndimage.distance_transform_edt(inside) > 0.45 * radius
            image = _paint(image, core, own + (step - 30 if hounsfield else 1.6 * step), grain, rng)
        structures = {**structures, "kidney tumour": (FIRST,)}
    labels[inside] = FIRST + is_cyst
    return image, labels, structures


def _inside(
    organ: str, lesion: str, steps: tuple[float, float], sizes: tuple[float, float], most: int
) -> Callable:
    """Return what paints up to `most` masses inside an organ, which keeps them as its own."""

    def paint(
        image: NDArray, labels: NDArray, structures: Structures, rng: np.random.Generator, hounsfield: bool
    ) -> tuple[NDArray, NDArray, Structures]:
        values = structures[organ]
        whole = _organ(labels, values)
        if whole.sum() < 200:
            return image, labels, structures
        value, painted = FIRST + 2, np.zeros_like(whole)
        places, reach = np.argwhere(whole), np.sqrt(whole.sum() / np.pi)
        own = float(np.median(image[whole]))
        for _ in range(rng.integers(1, most + 1)):
            radius = max(2.5, rng.uniform(*sizes) * reach)
            centre = places[rng.integers(len(places))].astype(np.float32)
            inside = (blob(labels.shape, centre, radius, rng) < 1) & whole
            aim = own + rng.normal(*steps) if organ == "liver" else rng.normal(*steps)
            image = _paint(image, inside, aim, rng.uniform(5, 20), rng)
            painted |= inside
        labels[painted] = value
        for name, theirs in list(structures.items()):
            if set(values) & set(theirs):
                structures = {**structures, name: (*theirs, value)}
        return image, labels, {**structures, lesion: (value,)}

    return paint


def _glioma_in_image(
    image: NDArray, labels: NDArray, structures: Structures, rng: np.random.Generator, hounsfield: bool
) -> tuple[NDArray, NDArray, Structures]:
    """Paint oedema, brighter than the brain, with a rim and a core, into a FLAIR or T2 picture of a head."""
    head = ndimage.binary_erosion(ndimage.binary_fill_holes(image > 0.2 * image.max()), iterations=4)
    if head.sum() < 1500:
        return image, labels, structures
    if rng.random() < 0.5:  # skull-stripped, as many public copies are
        depth = round(rng.uniform(0.05, 0.12) * np.sqrt(head.sum() / np.pi))
        head = ndimage.binary_erosion(head, iterations=max(1, depth))
        image = np.where(head, image, 0).astype(np.float32)
    own, top = float(np.median(image[head])), float(np.percentile(image[head], 99))
    places = np.argwhere(ndimage.binary_erosion(head, iterations=8) if head.sum() > 4000 else head)
    if not len(places):
        return image, labels, structures
    radius = rng.uniform(0.15, 0.5) * np.sqrt(head.sum() / np.pi)
    far = blob(labels.shape, places[rng.integers(len(places))].astype(np.float32), radius, rng, 0.6)
    oedema, rim = (far < 1) & head, (far < rng.uniform(0.4, 0.75)) & head
    core = (far < rng.uniform(0.2, 0.5)) & rim
    grain = 0.05 * own
    image = _paint(image, oedema, own + rng.uniform(0.5, 1.1) * (top - own), grain, rng)
    image = _paint(image, rim, own + rng.uniform(0.1, 1.0) * (top - own), 2 * grain, rng)
    image = _paint(image, core, own * rng.uniform(0.4, 1.3), 2 * grain, rng)
    return image, *_label_glioma(labels, structures, oedema, rim, core)


def _label_glioma(
    labels: NDArray, structures: Structures, oedema: NDArray, rim: NDArray, core: NDArray
) -> tuple[NDArray, Structures]:
    for value, where in enumerate((oedema, rim, core), FIRST + 3):
        labels[where] = value
    whole = (FIRST + 3, FIRST + 4, FIRST + 5)
    names = ("peritumoral oedema", "enhancing tumour", "necrotic tumour core")
    parts = {name: (value,) for name, value in zip(names, whole, strict=True)}
    return labels, {**structures, **parts, "glioma": whole, "brain tumour": whole}


def plant_in_map(
    labels: NDArray, structures: Structures, rng: np.random.Generator
) -> tuple[NDArray, Structures]:
    """Return a label map of a head, without its skull now and then, with a glioma in half of the maps."""
    values = {value for theirs in structures.values() for value in theirs}
    brain = np.isin(labels, list(values))
    if rng.random() < 0.5:
        labels = np.where(ndimage.binary_fill_holes(brain), labels, 0).astype(labels.dtype)
    room = np.isin(labels, [v for name in _BRAIN for v in structures.get(name, ())])
    none = {"glioma": (FIRST + 3,), "brain tumour": (FIRST + 3,)}
    if room.sum() < 300 or rng.random() < 0.5:
        return labels, {**structures, **none}
    places = np.argwhere(room)
    radius = rng.uniform(0.12, 0.45) * np.sqrt(brain.sum() / np.pi)
    far = blob(labels.shape, places[rng.integers(len(places))].astype(np.float32), radius, rng, 0.6)
    oedema, rim = (far < 1) & brain, (far < rng.uniform(0.4, 0.8)) & brain
    return _label_glioma(labels.copy(), structures, oedema, rim, (far < rng.uniform(0.15, 0.5)) & rim)


_liver = _inside("liver", "liver tumour", (-35, 25), (0.06, 0.35), 3)
_KINDS = (
    ("kidney", _kidney),
    ("liver", _liver),
    ("lungs", _inside("lungs", "lung tumour", (20, 40), (0.04, 0.3), 2)),
)
