"""A plane in another hospital's clothes: field of view, window, contrast, coil, noise, copy. Knows no model.

References
----------
Billot et al., SynthSeg, 2023 (grey values drawn for each label); Zhou et al., Models Genesis, 2021 (random
grey curves); Zhang et al., TMI 2020 (stacked transformations for an unseen domain).
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from napari_mediround.training.data.pictures import Picture, grey_to_hu
from napari_mediround.training.data.planting import plant, plant_in_map
from napari_mediround.training.data.sets import resize_grid, synthesise

_AIR = -1024.0


def disguise(
    picture: Picture, rng: np.random.Generator, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], bool, dict[str, tuple[int, ...]]]:
    """Return a plane as one step of training sees it.

    Parameters
    ----------
    picture : Picture
    rng : Generator
        The only source of chance.
    size : int
        Side of the square result, pixels.

    Returns
    -------
    image : ndarray
        uint8 (size, size, 3).
    labels : ndarray
        uint8 (size, size).
    mirrored : bool
        Left and right have changed places.
    structures : dict
        Name to label values, of painted lesions too.
    """
    image, labels, structures = picture.image, picture.labels, picture.structures
    if picture.synthesise:
        labels, structures = plant_in_map(labels, structures, rng)
        named = {values[0]: name for name, values in structures.items() if len(values) == 1}
        image = synthesise(labels, named, rng)[..., 0]
    image = grey_to_hu(image) if picture.hounsfield else image.astype(np.float32)
    image, labels, mirrored = move(image, labels, rng, size, _AIR if picture.hounsfield else 0.0)
    if image.ndim == 2 and not picture.synthesise:
        brain = picture.subject.startswith("ms_lesion")
        image, labels, structures = plant(image, labels, structures, rng, picture.hounsfield, brain)
    image = window(image, rng) if picture.hounsfield else image / 255
    colour = image.ndim == 3
    if picture.kind == "body":
        image = recolour(image, labels, rng)
    image = copy(expose(image, rng, picture.kind), rng)
    grey = np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)
    grey = grey if rng.random() > 0.15 else compress(grey, rng)
    return (grey if colour else np.repeat(grey[..., None], 3, -1)), labels, mirrored, structures


def move(
    image: NDArray, labels: NDArray, rng: np.random.Generator, size: int, air: float
) -> tuple[NDArray, NDArray, bool]:
    """Crop or stand off, shift, turn, squeeze, flip and bend an image and its labels alike."""
    shape = np.array(labels.shape)
    flip = rng.random() < 0.1
    zooms = rng.uniform(0.5, 0.9), rng.uniform(0.9, 1.1), rng.uniform(1.1, 1.4)
    zoom = rng.choice(zooms, p=[0.3, 0.5, 0.2])
    squeeze = np.exp(rng.normal(0, 0.12 if rng.random() < 0.4 else 0.03) * np.array([0.5, -0.5]))
    angle = np.deg2rad(rng.normal(0, 15 if rng.random() < 0.1 else 4))
    step = shape.max() * zoom / size * squeeze
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag(step * [1, -1 if flip else 1])
    centre = (shape - 1) / 2
    if zoom < 0.9 and rng.random() < 0.7 and labels.any():
        marked = np.argwhere(labels)
        centre = centre + rng.uniform(0.3, 1) * (1 - zoom) * 1.2 * (
            marked[rng.integers(len(marked))] - centre
        )
    centre = centre + rng.normal(0, 0.04, 2) * shape * max(zoom, 0.7)
    places = np.tensordot(matrix, np.indices((size, size)) - (size - 1) / 2, 1) + centre[:, None, None]
    if rng.random() < 0.3:
        grid = rng.normal(0, rng.uniform(0, 0.02) * shape.max(), (2, 5, 5))
        places = places + np.stack([resize_grid(component, (size, size)) for component in grid])
    places = places.astype(np.float32)
    if step.max() > 1.3:
        blur = tuple(0.35 * step) + (0,) * (image.ndim - 2)
        image = ndimage.gaussian_filter(image, blur)
    if image.ndim == 3:
        moved = np.stack(
            [ndimage.map_coordinates(c, places, order=1, cval=air) for c in np.moveaxis(image, -1, 0)], -1
        )
    else:
        moved = ndimage.map_coordinates(image, places, order=1, cval=air)
    return moved, ndimage.map_coordinates(labels, places, order=0), flip


def window(hu: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return HU through a random window, 0…1: mostly soft tissue, narrow to wide, now and then all."""
    kind = rng.random()
    if kind < 0.75:
        level, width = rng.normal(45, 25), np.exp(rng.normal(np.log(380), 0.35))
    elif kind < 0.9:
        level, width = rng.uniform(-150, 150), rng.uniform(600, 1600)
    else:
        level, width = rng.uniform(-650, 400), rng.uniform(1000, 2600)
    return np.clip((hu - level) / width + 0.5, 0, 1).astype(np.float32)


def recolour(image: NDArray, labels: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an image 0…1 in another contrast: greys bent or reversed, structures lighter or darker."""
    if rng.random() < 0.2:  # each structure, and what is no structure, for itself
        values = np.unique(labels)
        offsets = np.zeros(256, np.float32)
        offsets[values] = rng.normal(0, 0.15, len(values))
        image = image + ndimage.gaussian_filter(offsets[labels], 0.7) * (image > 0.03)
    image = np.clip(image, 0, 1)
    if rng.random() < 0.2:
        knots = np.sort(rng.random(4)) if rng.random() < 0.5 else rng.random(4)
        curve = np.concatenate([[0.0], knots, [knots.max()]])
        image = np.interp(image, np.linspace(0, 1, 6), curve).astype(np.float32)
    return 1 - image if rng.random() < 0.06 else image


def expose(image: NDArray, rng: np.random.Generator, kind: str) -> NDArray[np.float32]:
    """Return an image 0…1 with another gamma, gain, clipping at both ends, tint and bias field."""
    strong = 1.0 if kind == "body" else 0.5
    image = np.clip(image, 0, 1) ** np.exp(rng.normal(0, 0.25 * strong))
    if rng.random() < 0.5:
        low, high = rng.uniform(-0.1, 0.2) * strong, 1 + rng.uniform(-0.35, 0.3) * strong
        image = (image - low) / (high - low)
    if kind == "colour":
        image = image * np.exp(rng.normal(0, 0.12, 3 if image.ndim == 3 else 1))
    if rng.random() < (0.35 if kind == "body" else 0.15):
        field = resize_grid(rng.normal(0, rng.uniform(0.05, 0.3), (4, 4)), image.shape[:2])
        image = image * np.exp(field if image.ndim == 2 else field[..., None])
    return np.clip(image, 0, 1).astype(np.float32)


def copy(image: NDArray, rng: np.random.Generator) -> NDArray[np.float32]:
    """Return an image blurred, sharpened, coarsened or noisy."""
    wide = (0,) * (image.ndim - 2)
    kind = rng.random()
    if kind < 0.2:
        image = ndimage.gaussian_filter(image, (rng.uniform(0.3, 1.3),) * 2 + wide)
    elif kind < 0.3:
        soft = ndimage.gaussian_filter(image, (1.0, 1.0, *wide))
        image = image + rng.uniform(0.3, 1.2) * (image - soft)
    elif kind < 0.38:
        coarse = int(rng.integers(2, 4))
        image = np.repeat(np.repeat(image[::coarse, ::coarse], coarse, 0), coarse, 1)[
            : len(image), : len(image)
        ]
    if rng.random() < 0.35:
        noise = rng.standard_normal(image.shape[:2], np.float32) * rng.uniform(0.01, 0.07)
        image = image + (noise if image.ndim == 2 else noise[..., None])
    return image


def compress(grey: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a picture (H, W) or (H, W, 3) as JPEG gives it back."""
    file = io.BytesIO()
    Image.fromarray(grey).save(file, "JPEG", quality=int(rng.integers(25, 80)))
    return np.asarray(Image.open(file))
