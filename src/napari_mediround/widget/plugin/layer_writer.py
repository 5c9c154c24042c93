"""Labels layers to masks on the grid of the image's file, and napari's writers for them. Knows no Qt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from napari.layers import Image, Labels, Layer
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.segments import (
    AUTOMATIC,
    MANUAL,
    MAX_VALUE,
    ORIGINS,
    LabelledVolume,
    make_segment,
)
from napari_mediround.domain.study import Study
from napari_mediround.errors import MediRoundError
from napari_mediround.io.export import Options, export
from napari_mediround.widget.layers.layer_geometry import FIXED_KEY, IMAGE_KEY, STUDY_KEY, layer_grid


def write_labels(path: str, data: NDArray, meta: dict) -> list[str]:
    """Write one Labels layer and read it back (npe2's single-layer writer).

    Parameters
    ----------
    path : str
        `.nii.gz` or `.seg.nrrd`; whether it may be replaced, napari has asked already.
    data : ndarray
        The layer's labels, on its own axes.
    meta : dict
        The layer's attributes.

    Returns
    -------
    list of str
        The path.

    Raises
    ------
    MismatchError
        When it did not read back as it was meant.
    MediRoundError
        When no label is drawn.
    """
    labels = Layer.create(data, meta, "labels")
    export(labels_to_volume(labels, labels), Path(path), options=Options(overwrite=True))
    return [path]


def labels_to_volume(
    labels: Labels, image: Image | Labels, number: tuple[int, ...] | None = None
) -> LabelledVolume:
    """Return a Labels layer's masks on the grid of the image's file.

    Parameters
    ----------
    labels : Labels
        Its features name the values: columns "index" and "name" and, where they are known, "color" and
        "origin" (AUTOMATIC, SEMIAUTOMATIC, MANUAL). A value without a name was drawn by someone.
    image : Image or Labels
        What it lies on; the layer itself carries the image's metadata where this plugin made it.
    number : tuple of int, optional
        Which volume of a layer with more than three axes; None is the one with masks.

    Raises
    ------
    MediRoundError
        When no label is drawn, several volumes have masks and none is chosen, a mask is being fixed, or the
        layer is another image's.
    """
    study, known = image.metadata.get(STUDY_KEY), {STUDY_KEY, IMAGE_KEY} & labels.metadata.keys()
    if known and not is_of(labels, image):
        raise MediRoundError(f"“{labels.name}” does not lie on “{image.name}”: choose its own image.")
    if fixed := labels.metadata.get(FIXED_KEY):
        raise MediRoundError(f"{fixed} is being fixed: end the fix first, so that its mask is exported too.")
    with_masks = volumes_with_masks(labels) if number is None else [number]
    if len(with_masks) > 1:
        shown = ", ".join(map(str, with_masks))
        raise MediRoundError(
            f"“{labels.name}” has masks on several volumes ({shown}) and a file holds one. Show one of them "
            "and take Plugins → MediRound export."
        )
    grid = layer_grid(image, with_masks[0] if with_masks else None)
    array = np.asarray(labels.data)[grid.volume]
    array = array[(None,) * (3 - array.ndim)]
    if not array.any():
        raise MediRoundError(f"“{labels.name}” is empty: there is no mask to export.")
    if array.min() < 0 or array.max() > MAX_VALUE:
        raise MediRoundError(f"“{labels.name}” has label values that are not between 0 and {MAX_VALUE}.")
    if isinstance(study, Study) and grid.geometry is study.geometry:
        geometry, array = study.source_geometry, study.order.undo(array)
    else:
        geometry = grid.order.undo_geometry(grid.geometry)
    if array.shape != geometry.shape:
        raise MediRoundError(f"“{labels.name}” does not lie on “{image.name}”: choose its own image.")
    known, anatomy = _said(labels), load_anatomy()
    segments = []
    for value in (int(v) for v in np.unique(array) if v):
        row = known.get(value, {"name": f"structure {value}", "origin": MANUAL})
        more = {"colour": tuple(bytes.fromhex(row["color"][1:7]))} if "color" in row else {}
        segments.append(make_segment(value, row["name"], anatomy, row["origin"], **more))
    return LabelledVolume.from_labels(geometry, array, segments)


def is_of(labels: Labels, image: Image | Labels) -> bool:
    """Whether a Labels layer was made for an image layer, or for another one of the same study."""
    study = labels.metadata.get(STUDY_KEY)
    same = study is not None and study is image.metadata.get(STUDY_KEY)
    return image is labels or same or labels.metadata.get(IMAGE_KEY) == image.unique_id


def volumes_with_masks(labels: Labels) -> list[tuple[int, ...]]:
    """Return which volumes of a Labels layer, by their index on the leading axes, have a mask."""
    data = np.asarray(labels.data)
    return [tuple(map(int, at)) for at in np.argwhere(data.reshape(*data.shape[:-3], -1).any(-1))]


def _said(labels: Labels) -> dict[int, dict[str, str]]:
    """Return what the features say of each value; "3 left kidney" is called "left kidney"."""
    features = labels.features
    if "index" not in features or "name" not in features:
        return {}
    rows = {}
    for record in features.to_dict("records"):
        value = int(record["index"])
        row = {"name": str(record["name"]).removeprefix(f"{value} "), "origin": AUTOMATIC}
        if record.get("origin") in ORIGINS:
            row["origin"] = record["origin"]
        if str(record.get("color", "")).startswith("#"):
            row["color"] = record["color"]
        rows[value] = row
    return rows
