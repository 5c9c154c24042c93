"""The planes the finder is trained on: read once, kept small, structures by name. Knows no model.

``python -m napari_mediround.training.data.pictures OUT ROOT [ROOT …]`` reads `finder.toml` and writes
one file a set to ``OUT/pictures``.

A set speaks for the structures that it labels and for nothing else: a liver in a set of spleens is unknown,
not background. What a set labels wherever it shows and does not label here is absent here; what belongs to a
far part of the body is absent too.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Container, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mediround.domain.anatomy import Anatomy, load_anatomy
from napari_mediround.training.data.planes import WHOLES
from napari_mediround.training.data.sets import Case, choose_planes, read_cases, read_table
from napari_mediround.training.dialogues.draw import foreign_names

SIZE = 224
"""Longer side of a kept plane, pixels."""
SMALL = 128
"""A coarser plane is enlarged smoothly, labels too, so that its pixels are not learned as edges."""
_HU, _GREY = (-1024.0, -200.0, 300.0, 1800.0), (0.0, 45.0, 215.0, 255.0)


@dataclass(frozen=True)
class Picture:
    """One plane as it is kept.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W) or, in colour, (H, W, 3); of CT with HU, `hu_to_grey` of it.
    labels : ndarray
        uint8 (H, W), 0 is background.
    structures : dict
        Preferred name to label values, of all that the set labels wherever it shows, pairs and wholes
        included.
    foreign : tuple of str
        What cannot lie in such an image.
    subject, kind : str
        "set/subject", and the contrast that it has ("body", "echo", "colour").
    hounsfield, sided, synthesise : bool
        The image is of HU; left and right are the patient's; there are labels only.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    structures: dict[str, tuple[int, ...]]
    foreign: tuple[str, ...]
    subject: str
    kind: str = "body"
    hounsfield: bool = False
    sided: bool = True
    synthesise: bool = False


def hu_to_grey(hu: NDArray) -> NDArray[np.uint8]:
    """Return HU as uint8, finest (3 HU) where soft tissue lies."""
    return np.rint(np.interp(hu, _HU, _GREY)).astype(np.uint8)


def grey_to_hu(grey: NDArray) -> NDArray[np.float32]:
    """Return about the HU that `hu_to_grey` was given, -1024…1800."""
    return np.interp(grey, _GREY, _HU).astype(np.float32)


def load_shares() -> dict[str, dict]:
    """Return the sets of ``finder.toml``."""
    with open(Path(__file__).with_name("finder.toml"), "rb") as file:
        return tomllib.load(file)["set"]


def read_pictures(folder: Path, quota: dict, anatomy: Anatomy, split: str = "train") -> Iterator[Picture]:
    """Yield the planes of one set that show something labelled.

    Parameters
    ----------
    folder : Path
    quota : dict
        Its entry of ``finder.toml``.
    anatomy : Anatomy
    split : str
    """
    table = read_table(folder)
    renamed = {int(value): name for value, name in quota.get("names", {}).items()}
    named = {value: anatomy.normalise(name) for value, name in (table["labels"] | renamed).items()}
    alone = {name: (value,) for value, name in named.items()}
    foreign = foreign_names(named.values(), anatomy)
    entries = {f"{folder.name}/{entry['case']}": entry for entry in table["cases"]}
    for view in quota.get("views", [None]):
        for case in read_cases(folder, split, view):
            shown = set(entries[case.source].get("labels_present", named))
            structures = known_structures(named, shown, anatomy) if quota.get("wholes", True) else alone
            clean = np.where(np.isin(case.labels, list(named)), case.labels, 0)
            for k in choose_planes(clean, quota.get("planes", 3)):
                image, labels = _fit(_grey(case, k, quota), clean[k], case.geometry.spacing_mm[1:])
                if quota.get("mirrored"):
                    image, labels = image[:, ::-1].copy(), labels[:, ::-1].copy()
                yield Picture(
                    image,
                    labels.astype(np.uint8),
                    structures,
                    foreign,
                    f"{folder.name}/{case.subject}",
                    quota.get("contrast", "body"),
                    _has_hu(case),
                    quota.get("sides", True),
                    quota.get("synthesise", False),
                )


def known_structures(
    named: dict[int, str], shown: Container[int], anatomy: Anatomy
) -> dict[str, tuple[int, ...]]:
    """Return name to label values: the labels, and wholes all of whose labelled parts are known here."""
    found: dict[str, list[int]] = {}
    for value, name in named.items():
        for one in (name, *wholes_of(name, named.values(), anatomy)):
            found.setdefault(one, []).append(value)
    return {name: tuple(values) for name, values in found.items() if all(v in shown for v in values)}


def wholes_of(name: str, labelled: Container[str], anatomy: Anatomy) -> list[str]:
    """Return the wholes that labels of their parts give together: pairs, lungs of lobes, tumours of kinds."""
    structure = anatomy.find(name)
    if structure is None:
        return []
    group = anatomy.find(name.removeprefix(f"{structure.side} ")) if structure.mirror in labelled else None
    wholes = [whole for whole in anatomy.ancestors(name) if whole in WHOLES]
    return list(dict.fromkeys([*([group.name] if group else []), *wholes]))


def _has_hu(case: Case) -> bool:
    return case.study is not None and case.modality == "CT" and case.study.pixels.dtype != np.uint8


def _grey(case: Case, plane: int, quota: dict) -> NDArray[np.uint8]:
    if case.study is None:
        return np.zeros(case.labels[plane].shape, np.uint8)
    pixels = case.study.pixels[plane]
    if case.study.is_rgb:
        return pixels if np.ptp(pixels.astype(int), -1).max() > 20 else pixels.mean(-1).astype(np.uint8)
    if _has_hu(case):
        return hu_to_grey(pixels)
    if pixels.dtype == np.uint8:
        return pixels
    low, high = case.study.grey_range
    return np.clip(np.rint((pixels - low) * (255 / max(high - low, 1e-6))), 0, 255).astype(np.uint8)


def _fit(image: NDArray, labels: NDArray, spacing: tuple[float, float]) -> tuple[NDArray, NDArray]:
    """Cut away the air around, bring to square pixels and at most `SIZE`."""
    bright = np.argwhere((image if image.ndim == 2 else image.max(-1)) > 8)
    marked = np.argwhere(labels > 0)
    places = np.concatenate([bright, marked])
    low, high = np.maximum(places.min(0) - 4, 0), places.max(0) + 5
    image, labels = image[low[0] : high[0], low[1] : high[1]], labels[low[0] : high[0], low[1] : high[1]]
    extent = np.array(labels.shape) * spacing
    longest = max(labels.shape)
    size = min(SIZE, longest) if longest >= SMALL else min(SIZE, 4 * longest)
    shape = tuple(np.maximum(8, np.rint(extent / extent.max() * size)).astype(int))
    zoom = np.array(shape) / labels.shape
    values = np.unique(labels)
    if zoom.max() > 1.5 and len(values) < 12:
        soft = np.stack([ndimage.zoom((labels == v).astype(np.float32), zoom, order=1) for v in values])
        labels = values[soft.argmax(0)]
    else:
        at = [((np.arange(n) + 0.5) * m / n).astype(int) for n, m in zip(shape, labels.shape, strict=True)]
        labels = labels[at[0]][:, at[1]]
    smooth = image.astype(np.float32)
    blur = tuple(np.maximum(0, 0.4 * (1 / zoom - 1))) + (0,) * (image.ndim - 2)
    smooth = ndimage.zoom(ndimage.gaussian_filter(smooth, blur), (*zoom, 1)[: image.ndim], order=1)
    smooth = smooth[: labels.shape[0], : labels.shape[1]]
    return np.clip(np.rint(smooth), 0, 255).astype(np.uint8), labels[: smooth.shape[0], : smooth.shape[1]]


def gather(roots: list[Path], out: Path, split: str = "train") -> None:
    """Write every set's planes to ``out/SET.npz``; sets that are there already stay."""
    anatomy = load_anatomy()
    out.mkdir(parents=True, exist_ok=True)
    for name, quota in load_shares().items():
        folder = next((root / name for root in roots if (root / name / "set.json").exists()), None)
        file = out / f"{name}.npz"
        if folder is None or file.exists():
            continue
        read = list(read_pictures(folder, quota, anatomy, split))
        pictures = np.empty(len(read), object)
        pictures[:] = read
        np.savez_compressed(file.with_suffix(".part.npz"), pictures=pictures)
        file.with_suffix(".part.npz").replace(file)


def main() -> None:
    """Gather what ``finder.toml`` names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("roots", type=Path, nargs="+")
    options = parser.parse_args()
    gather(options.roots, options.out / "pictures")


if __name__ == "__main__":
    main()
