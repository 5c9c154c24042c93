"""Labelled planes: reading sets, choosing planes, augmenting, synthesising contrast. Knows no model.

A set is a folder with ``set.json`` (labels, modality, cases with subject and split) and, for each case, an
image and an integer label map on the same grid.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import render_plane
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import read_study
from napari_mediround.model.crop import find_aspect, find_crop


@dataclass(frozen=True)
class LabelledPlane:
    """One rendered plane with its labels, in display order.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3).
    labels : ndarray
        integer (H, W), 0 is background.
    names : dict
        Label value to the set's own name, for every value the set knows, visible here or not.
    oriented : bool
        Whether left and right are the patient's.
    source : str
        "set/case/view plane".
    subject, split, modality : str
        As the set says.
    view : str
        "axial", "coronal", "sagittal" or, where that is not known, "".
    spacing_mm : tuple of float
        From row to row and from column to column; equal where it is not known.
    mirrored : bool
        Whether augmentation flipped left and right, so that side words in `names` are to be swapped.
    """

    image: NDArray[np.uint8]
    labels: NDArray
    names: dict[int, str]
    oriented: bool
    source: str
    subject: str
    split: str
    modality: str
    view: str = ""
    mirrored: bool = False
    spacing_mm: tuple[float, float] = (1.0, 1.0)


@dataclass(frozen=True)
class Case:
    """One case of a set, read: the study and its label map in the study's display order."""

    study: Study | None
    labels: NDArray
    names: dict[int, str]
    source: str
    subject: str
    split: str
    modality: str
    geometry: Geometry


def read_table(folder: Path) -> dict:
    """Return ``set.json`` of a set.

    Raises
    ------
    UnreadableFileError
        When it is missing or not what it should be.
    """
    path = Path(folder) / "set.json"
    try:
        table = json.loads(path.read_text())
        table["labels"] = {int(k): str(v) for k, v in table["labels"].items()}
        table["cases"] = list(table["cases"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise UnreadableFileError(
            path, f"not a set description ({error})", "See docs/data-and-licences.md for the layout."
        ) from error
    return table


def read_cases(folder: Path, split: str | None = None, view: str | None = None) -> Iterator[Case]:
    """Read the cases of a set, in order.

    Parameters
    ----------
    folder : Path
        The set.
    split : str, optional
        "train" or "val"; all cases if None, or if the set has no splits.
    view : str, optional
        "axial", "coronal" or "sagittal" for volumes; as acquired if None.

    Raises
    ------
    UnreadableFileError
        When an image and its label map do not lie on the same grid.
    """
    folder = Path(folder)
    table = read_table(folder)
    has_splits = any("split" in case for case in table["cases"])
    modality = modality_code(table.get("modality", ""))
    for case in table["cases"]:
        if split and has_splits and case.get("split") != split:
            continue
        label = read_study(folder / case["label"], view=view)
        study = None
        if "image" in case:
            study = replace(read_study(folder / case["image"], view=view), modality=modality)
            label_pixels = label.pixels[..., 0] if label.is_rgb else label.pixels
            if label_pixels.shape != study.pixels.shape[:3]:
                raise UnreadableFileError(
                    folder / case["label"],
                    "the grid of the label map differs from that of its image",
                    "Resample it to the image.",
                )
        pixels = label.pixels[..., 0] if label.is_rgb else label.pixels
        yield Case(
            study,
            np.rint(pixels).astype(np.int32),
            table["labels"],
            f"{folder.name}/{case['case']}",
            str(case.get("subject", case["case"])),
            case.get("split", ""),
            modality,
            label.geometry,
        )


def modality_code(text: str) -> str:
    """Return DICOM's code of a set's description: "CT", "MR", "US", "DX", "PX", "MG"; "" for photographs."""
    words = text.upper().replace("ULTRASOUND", "US").replace("X-RAY", "DX").replace(",", " ").split()
    if "DX" in words and "PANORAMIC" in words:
        return "PX"
    return next((w for w in words if w in ("CT", "MR", "US", "MG", "DX")), "")


def choose_planes(labels: NDArray, count: int, min_px: int = 20) -> list[int]:
    """Return up to `count` plane indices, evenly spaced over those with at least `min_px` labelled pixels."""
    filled = np.flatnonzero((labels > 0).sum((1, 2)) >= min_px)
    if len(filled) <= count:
        return filled.tolist()
    return filled[((np.arange(count) + 0.5) * len(filled) / count).astype(int)].tolist()


def case_planes(case: Case, planes: int, min_px: int = 20) -> Iterator[LabelledPlane]:
    """Render up to `planes` planes of a case that show something labelled."""
    for k in choose_planes(case.labels, planes, min_px):
        yield LabelledPlane(
            render_plane(case.study, k),
            case.labels[k],
            case.names,
            case.study.geometry.oriented,
            f"{case.source}/{k}",
            case.subject,
            case.split,
            case.modality,
            case.geometry.plane_name.removeprefix("oblique "),
            spacing_mm=case.geometry.spacing_mm[1:],
        )


def frame_plane(plane: LabelledPlane) -> LabelledPlane:
    """Return the part of a plane that the model looks at."""
    frame = find_crop(plane.image, find_aspect(plane.spacing_mm))
    image, labels = frame.cut(plane.image), frame.cut(plane.labels)
    return replace(plane, image=image, labels=labels, spacing_mm=(1.0, 1.0))


def fit_plane(plane: LabelledPlane, size: int) -> LabelledPlane:
    """Resize so that the longer side has `size` px: area-like for the image, nearest for the labels."""
    height, width = plane.image.shape[:2]
    scale = size / max(height, width)
    shape = (max(1, round(height * scale)), max(1, round(width * scale)))
    image = _resize_image(plane.image, shape)
    rows = ((np.arange(shape[0]) + 0.5) * height / shape[0]).astype(int)
    columns = ((np.arange(shape[1]) + 0.5) * width / shape[1]).astype(int)
    return replace(plane, image=image, labels=plane.labels[rows][:, columns])


def _resize_image(image: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    from skimage.transform import resize

    grow = shape[0] >= image.shape[0]
    resized = resize(image.astype(np.float32), shape, order=1, anti_aliasing=not grow, preserve_range=True)
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def augment(plane: LabelledPlane, rng: np.random.Generator, size: int) -> LabelledPlane:
    """Crop, turn, flip, bend and change the contrast of a plane.

    Parameters
    ----------
    plane : LabelledPlane
        Any size.
    rng : Generator
        The only source of chance.
    size : int
        Longer side of the result, pixels.

    Returns
    -------
    LabelledPlane
        `mirrored` is true where an oriented plane was flipped.
    """
    height, width = plane.labels.shape
    zoom = rng.uniform(0.55, 1.0) if rng.random() < 0.6 else rng.uniform(1.0, 1.15)
    angle = np.deg2rad(rng.normal(0, 6))
    flip = rng.random() < (0.3 if plane.oriented else 0.5)
    side = max(height, width) * zoom
    out = (max(8, round(min(1, height / width) * size)), max(8, round(min(1, width / height) * size)))
    step = side / size
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = turn @ np.diag([step, step * (-1 if flip else 1)])
    centre = _interesting_centre(plane.labels, rng, zoom)
    offset = centre - matrix @ ((np.array(out) - 1) / 2)
    taken = np.tensordot(matrix, np.indices(out) + bend(out, rng), 1) + offset[:, None, None]
    labels = ndimage.map_coordinates(plane.labels, taken, order=0)
    image = plane.image.astype(np.float32)
    if step > 1:
        image = ndimage.gaussian_filter(image, (0.4 * step, 0.4 * step, 0))
    image = np.stack([ndimage.map_coordinates(image[..., c], taken, order=1) for c in range(3)], -1)
    return replace(plane, image=change_contrast(image, rng), labels=labels, mirrored=flip and plane.oriented)


def bend(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a smooth random shift (2, H, W) in pixels: none for half of the draws, else up to some 4 %.

    References
    ----------
    Ronneberger et al., U-Net, 2015: elastic deformation from a coarse grid of random displacements.
    """
    strength = rng.uniform(0, 0.02) * max(shape) * (rng.random() < 0.5)
    grid = rng.normal(0, strength, (2, 5, 5))
    return np.stack([resize_grid(component, shape) for component in grid])


def resize_grid(grid: NDArray, shape: tuple[int, int]) -> NDArray[np.float64]:
    """Return a coarse grid (h, w) smoothly interpolated to (H, W)."""
    at = [np.linspace(0, n - 1, size) for n, size in zip(grid.shape, shape, strict=True)]
    return ndimage.map_coordinates(grid, np.meshgrid(*at, indexing="ij"), order=3)


def _interesting_centre(labels: NDArray, rng: np.random.Generator, zoom: float) -> NDArray:
    """Return a centre (row, column) for a crop: the middle, drawn towards a labelled pixel as it zooms in."""
    middle = (np.array(labels.shape) - 1) / 2
    marked = np.argwhere(labels > 0)
    if zoom >= 1 or not len(marked):
        return middle + rng.normal(0, 0.03, 2) * labels.shape
    target = marked[rng.integers(len(marked))]
    slack = (1 - zoom) / 2 * np.array(labels.shape)
    return middle + np.clip(target - middle, -slack, slack)


def change_contrast(image: NDArray, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 of the same shape with another gamma, gain, offset, blur and noise (image 0…255).

    A picture in colour is also tinted, as by another lamp or camera.
    """
    image = np.clip(image, 0, 255) / 255
    if np.ptp(image, -1).max() > 0.02:
        image = np.clip(image * np.exp(rng.normal(0, 0.1, 3)), 0, 1)
    image = image ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.8, 1.15) + rng.uniform(-0.06, 0.06)
    if rng.random() < 0.25:
        blur = rng.uniform(0.3, 1.2)
        image = ndimage.gaussian_filter(image, (blur, blur, 0))
    if rng.random() < 0.4:
        image = image + rng.normal(0, rng.uniform(0.01, 0.05), image.shape[:2])[..., None]
    return np.clip(np.rint(image * 255), 0, 255).astype(np.uint8)


_TISSUE = {
    "white matter": 0.75,
    "cortex": 0.5,
    "ventricle": 0.15,
    "csf": 0.12,
    "cerebrospinal fluid": 0.12,
    "thalamus": 0.62,
    "caudate": 0.55,
    "putamen": 0.58,
    "pallidum": 0.68,
    "hippocampus": 0.5,
    "amygdala": 0.5,
    "brainstem": 0.7,
    "accumbens": 0.53,
    "diencephalon": 0.65,
}
_FLAIR = {
    "white matter": 0.42,
    "cortex": 0.52,
    "ventricle": 0.08,
    "cerebrospinal fluid": 0.08,
    "brainstem": 0.45,
    "oedema": 0.85,
    "enhancing tumour": 0.8,
}
"""Mean greys of tissues where fluid is dark and swelling bright; of others any."""


def synthesise(labels: NDArray, names: dict[int, str], rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw an image from a label map, with T1-like, inverted, FLAIR-like or wholly random contrast.

    Parameters
    ----------
    labels : ndarray
        integer (H, W).
    names : dict
        Label value to name; values without a name are other tissue.
    rng : Generator
        The only source of chance.

    Returns
    -------
    ndarray
        uint8 (H, W, 3).

    References
    ----------
    Billot et al., SynthSeg, Medical Image Analysis 2023: grey values drawn for each label, bias field,
    blur, noise.
    """
    kind = rng.choice(["t1", "inverted", "flair", "random"], p=[0.35, 0.15, 0.25, 0.25])
    greys = _FLAIR if kind == "flair" else _TISSUE
    pairs: dict[str, float] = {}
    image = np.zeros(labels.shape, np.float32)
    for value in np.unique(labels):
        name = names.get(int(value), "")
        tissue = next((t for t in greys if t in name.lower()), "")
        base = name.replace("left ", "").replace("right ", "") or str(value)
        if value == 0:
            mean = rng.uniform(0, 0.05)
        elif kind == "random" or not tissue:
            mean = pairs.setdefault(base, rng.uniform(0.05, 0.95))
        else:
            grey = greys[tissue] + rng.normal(0, 0.05 if kind == "flair" else 0.03)
            mean = pairs.setdefault(base, 1 - grey if kind == "inverted" else grey)
        region = labels == value
        image[region] = mean + rng.normal(0, rng.uniform(0.005, 0.04), int(region.sum()))
    image = ndimage.gaussian_filter(image, rng.uniform(0.4, 1.1))
    grid = np.exp(rng.normal(0, 0.12, (4, 4)))
    bias = ndimage.zoom(grid, np.array(labels.shape) / 4, order=3)[: labels.shape[0], : labels.shape[1]]
    image = np.clip(image * bias, 0, None)
    top = np.percentile(image, 99.5) or 1
    return np.repeat(np.clip(np.rint(image / top * 255), 0, 255).astype(np.uint8)[..., None], 3, -1)
