"""Masks out: label volumes on the source grid, and a picture for the eye. Knows no model and no viewer."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel
import numpy as np
import SimpleITK
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from skimage.segmentation import find_boundaries

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import PALETTE
from napari_mediround.domain.study import Study
from napari_mediround.errors import SettingsError
from napari_mediround.files import write_whole
from napari_mediround.io.volumes.nifti_header import write_forms
from napari_mediround.io.volumes.volume import ITK_SUFFIXES, REVERSE_AXES, lps_to_ras

LABEL_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".png")

_FILL = 0.25
_SMALLEST_OVERLAY = 512
_SCANNER = 1


def label_files(path: str | os.PathLike, study: Study) -> tuple[Path, Path]:
    """Return the two files that a label volume is written to: itself and its names.

    Raises
    ------
    SettingsError
        When the format is not known, or cannot hold the study.
    """
    path = Path(path)
    suffix = next((s for s in LABEL_SUFFIXES if path.name.lower().endswith(s)), "")
    if not suffix:
        raise SettingsError(f"{path.name}: label volumes are written as {', '.join(LABEL_SUFFIXES)}.")
    planes = study.source_geometry.shape[0]
    if suffix == ".png" and planes > 1:
        raise SettingsError(f"{path.name}: a PNG holds one plane, the study has {planes}.")
    return path, path.with_name(path.name[: -len(suffix)] + ".json")


def write_label_volume(
    path: str | os.PathLike,
    labels: NDArray,
    study: Study,
    names: Mapping[int, str],
    standing: Mapping[int, tuple[str, float | None]] | None = None,
) -> Path:
    """Write labels on the grid of the study's file, and their names beside them in `<name>.json`.

    Each file appears whole or not at all: it is written under another name and moved into place. It replaces
    what is there; `label_files` says beforehand where that would be.

    Parameters
    ----------
    path : str or PathLike
        `.nii.gz`, `.nii`, `.nrrd`, `.mha`, or `.png` for a study of one plane.
    labels : ndarray
        uint8 or uint16 (plane, row, column) in display order; 0 is background.
    study : Study
        The image that the labels belong to.
    names : mapping of int to str
        Name of each label value.
    standing : mapping of int to (str, float or None), optional
        Verdict and quality of label values, as in `Segment`.

    Returns
    -------
    Path
        The file written. NIfTI: sform, qform and codes of a NIfTI source; else the source's affine in both,
        both codes "scanner" (1), or 0 for a source that does not say how it lies.

    Raises
    ------
    SettingsError
        As `label_files`.
    ValueError
        When labels do not fill the study's grid, are of another dtype, or a value has no name.
    """
    path, beside = label_files(path, study)
    if labels.shape != study.geometry.shape or labels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"labels {labels.shape} {labels.dtype} do not fit the grid {study.geometry.shape}")
    unnamed = set(np.unique(labels).tolist()) - {0} - set(names)
    if unnamed:
        raise ValueError(f"label values {sorted(unnamed)} have no name")
    source = np.ascontiguousarray(study.order.undo(labels))
    write_whole(path, lambda target: save_grid(target, source, study.source_geometry))
    sidecar: dict = {"labels": {str(value): names[value] for value in sorted(names)}}
    if standing:
        said = sorted(standing.items())
        sidecar["standing"] = {str(v): {"verdict": word, "quality": sure} for v, (word, sure) in said}
    text = json.dumps(sidecar, indent=2, ensure_ascii=False) + "\n"
    write_whole(beside, lambda target: target.write_text(text, "utf-8"))
    return path


def save_grid(path: Path, array: NDArray, geometry: Geometry) -> None:
    """Write an array (plane, row, column) with its geometry, as the path's suffix says; one plane as PNG."""
    name = path.name.lower()
    if name.endswith(".png"):
        Image.fromarray(array[0]).save(path)
    elif name.endswith(ITK_SUFFIXES):
        SimpleITK.WriteImage(itk_image(array, geometry.affine), str(path), True)
        # It does not say when the disk was full.
        if not np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))), array):
            raise OSError(f"{path.name} did not read back as it was written. Is the disk full?")
    elif geometry.forms is not None:
        image = nibabel.Nifti1Image(array.transpose(2, 1, 0), None)
        write_forms(image.header, geometry.forms)
        nibabel.save(image, path)
    else:
        code = _SCANNER if geometry.oriented else 0
        image = nibabel.Nifti1Image(array.transpose(2, 1, 0), lps_to_ras(geometry.affine))
        image.header.set_xyzt_units("mm")
        image.set_qform(image.affine, code)
        image.set_sform(image.affine, code)
        nibabel.save(image, path)


def itk_image(source: NDArray, affine: NDArray) -> SimpleITK.Image:
    """Return an array (plane, row, column) with its affine, LPS, as an image of SimpleITK."""
    image = SimpleITK.GetImageFromArray(source)
    matrix = (affine @ REVERSE_AXES)[:3]
    spacing = np.linalg.norm(matrix[:, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:, 3].tolist())
    return image


def write_overlay(
    path: str | os.PathLike, image: NDArray[np.uint8], masks: Sequence[NDArray], names: Sequence[str]
) -> Path:
    """Write a picture of masks on their plane: outlines, a light fill and a legend below.

    Parameters
    ----------
    path : str or PathLike
        A `.png` file.
    image : ndarray
        uint8 (row, column, 3), the plane as rendered.
    masks : sequence of ndarray
        Each bool (row, column).
    names : sequence of str
        One for each mask.

    Returns
    -------
    Path
        The file written; small planes are enlarged by a whole number.

    Raises
    ------
    ValueError
        When masks and names differ in number, or a mask has another shape than the image.
    """
    path = Path(path)
    if len(masks) != len(names) or any(mask.shape != image.shape[:2] for mask in masks):
        raise ValueError("each mask needs a name and the shape of the image")
    factor = -(-_SMALLEST_OVERLAY // max(image.shape[:2])) if max(image.shape[:2]) < _SMALLEST_OVERLAY else 1
    canvas = _enlarge(image, factor).astype(np.float32)
    masks = [_enlarge(np.asarray(mask, bool), factor) for mask in masks]
    for k, mask in enumerate(masks):
        canvas[mask] += _FILL * (np.array(PALETTE[k % len(PALETTE)]) - canvas[mask])
    for k, mask in enumerate(masks):
        canvas[find_boundaries(mask, mode="inner")] = PALETTE[k % len(PALETTE)]
    picture = _with_legend(Image.fromarray(np.rint(canvas).astype(np.uint8)), names)
    write_whole(path, picture.save)
    return path


def _enlarge(array: NDArray, factor: int) -> NDArray:
    return array.repeat(factor, axis=0).repeat(factor, axis=1)


def _with_legend(picture: Image.Image, names: Sequence[str]) -> Image.Image:
    """Return the picture with one line for each name below it."""
    font, line, margin = ImageFont.load_default(16), 24, 6
    width = max([picture.width, *(int(font.getlength(name)) + line + 2 * margin for name in names)])
    page = Image.new("RGB", (width, picture.height + line * len(names) + 2 * margin * bool(names)))
    page.paste(picture)
    draw = ImageDraw.Draw(page)
    for k, name in enumerate(names):
        y = picture.height + margin + k * line
        draw.rectangle((margin, y + 4, margin + 16, y + 20), fill=PALETTE[k % len(PALETTE)])
        draw.text((margin + line, y + 2), name, fill="white", font=font)
    return page
