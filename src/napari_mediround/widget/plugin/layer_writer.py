"""Labels layers to masks on the grid of the image's file, and napari's writers for them. Knows no Qt."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.notifications import show_info, show_warning
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.judged import (
    PROPOSAL,
    JudgedMask,
    Key,
    MaskRow,
    draw_masks,
    join_origins,
    make_rows,
)
from napari_mediround.domain.segments import (
    AUTOMATIC,
    MANUAL,
    MAX_VALUE,
    ORIGINS,
    SEMIAUTOMATIC,
    LabelledVolume,
    Segment,
    make_segment,
)
from napari_mediround.domain.study import Study
from napari_mediround.errors import MediRoundError
from napari_mediround.io.coding import said_of
from napari_mediround.io.export import Options, export
from napari_mediround.widget.layers.layer_geometry import (
    FIXED_KEY,
    IMAGE_KEY,
    RECORD_KEY,
    STUDY_KEY,
    Grid,
    layer_grid,
)

_NOTHING = (
    "Nothing of “{}” has been accepted, so nothing is exported. Accept masks (J), or take "
    "Plugins → MediRound export and tick them: {}."
)
_PROPOSALS = "Nobody has accepted any of these masks; the file calls each a proposal: {}."
"""Said where a layer is saved that holds nothing but proposals: the person asked for just this layer."""
_CHANGED = "{} was changed in the viewer, outside the conversation: what the layer shows was taken."


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
    rows = list_masks(labels)
    alone = bool(rows) and all(row.verdict == PROPOSAL for row in rows)
    found = collect_masks(labels, labels, left_out=() if alone else None)
    options = Options(overwrite=True, left_out=tuple(map(str, found.left_out)), notes=found.notes)
    export(found.volume, Path(path), options=options)
    if alone:
        show_warning(_PROPOSALS.format(", ".join(map(str, rows))))
    if found.left_out:
        show_info(found.say_left_out())
    return [path]


@dataclass(frozen=True, eq=False)
class Collected:
    """Masks of a layer that are to leave, and what stays.

    Parameters
    ----------
    volume : LabelledVolume
        The masks, on the grid of the image's file.
    left_out : tuple of MaskRow
        What was not taken.
    notes : tuple of str
        Where the layer is not what the record says.
    """

    volume: LabelledVolume
    left_out: tuple[MaskRow, ...] = ()
    notes: tuple[str, ...] = ()

    def say_left_out(self) -> str:
        """Return what was left out in a sentence."""
        return f"Left out, because they were not accepted: {', '.join(map(str, self.left_out))}."


def list_masks(labels: Labels, number: tuple[int, ...] | None = None) -> tuple[MaskRow, ...]:
    """Return the masks of a layer as rows: from the record, and those that its features name besides."""
    rows = make_rows(_record_of(labels, number))
    known = {row.value for row in rows}
    more = (
        MaskRow(value, row["name"], row["origin"], "", None, 0)
        for value, row in _said(labels).items()
        if value and value not in known
    )
    return (*rows, *more)


def collect_masks(
    labels: Labels,
    image: Image | Labels,
    number: tuple[int, ...] | None = None,
    left_out: Collection[Key] | None = None,
) -> Collected:
    """Return a Labels layer's masks on the grid of the image's file; origin and verdict from the record.

    Parameters
    ----------
    labels : Labels
        Its features name the values: columns "index" and "name" and, where they are known, "color" and
        "origin" (AUTOMATIC, SEMIAUTOMATIC, MANUAL). A value without a name was drawn by someone.
    image : Image or Labels
        What it lies on; the layer itself carries the image's metadata where this plugin made it.
    number : tuple of int, optional
        Which volume of a layer with more than three axes; None is the one with masks.
    left_out : collection of (int, bool), optional
        Keys of rows that are not taken; None leaves out what nobody judged.

    Raises
    ------
    MediRoundError
        When no label is drawn or none is left, several volumes have masks and none is chosen, a mask is being
        fixed, or the layer is another image's.
    """
    study, known = image.metadata.get(STUDY_KEY), {STUDY_KEY, IMAGE_KEY} & labels.metadata.keys()
    if known and not is_of(labels, image):
        raise MediRoundError(f"“{labels.name}” was not made on “{image.name}”: choose its own image.")
    if fixed := labels.metadata.get(FIXED_KEY):
        raise MediRoundError(f"{fixed} is being fixed. End the fix first, so that this mask is exported too.")
    grid = layer_grid(image, _one_volume(labels) if number is None else number)
    array = _values(labels, grid)
    masks = _record_of(labels, grid.volume)
    rows = {row.key: row for row in (*make_rows(masks), *list_masks(labels, grid.volume))}
    if left_out is None:
        left_out = {key for key, row in rows.items() if row.verdict == PROPOSAL}
    array, taken, changed = _take(grid.order.apply(array), masks, left_out)
    array = grid.order.undo(array)
    left = tuple(row for key, row in rows.items() if key in left_out and key[0] not in changed)
    if not array.any():
        raise MediRoundError(_NOTHING.format(labels.name, ", ".join(map(str, left))))
    if isinstance(study, Study) and grid.geometry is study.geometry:
        geometry, array = study.source_geometry, study.order.undo(array)
    else:
        geometry = grid.order.undo_geometry(grid.geometry)
    if array.shape != geometry.shape:
        raise MediRoundError(f"“{labels.name}” was not made on “{image.name}”: choose its own image.")
    volume = LabelledVolume.from_labels(geometry, array, _segments(labels, array, taken, changed))
    names = [segment.name for segment in volume.segments if segment.value in changed]
    notes = tuple(_CHANGED.format(name) for name in names)
    return Collected(volume, left, notes)


def _one_volume(labels: Labels) -> tuple[int, ...] | None:
    """Return the volume of a layer with masks, None if there is none; raise `MediRoundError` for several."""
    with_masks = volumes_with_masks(labels)
    if len(with_masks) > 1:
        shown = ", ".join(map(str, with_masks))
        raise MediRoundError(
            f"“{labels.name}” has masks on several volumes ({shown}), and a file holds one. Show one of them "
            "and choose Plugins → MediRound export."
        )
    return with_masks[0] if with_masks else None


def _values(labels: Labels, grid: Grid) -> NDArray[np.integer]:
    """Return a volume's label values (plane, row, column); raise `MediRoundError` for none or odd ones."""
    array = np.asarray(labels.data)[grid.volume]
    array = array[(None,) * (3 - array.ndim)]
    if not array.any():
        raise MediRoundError(f"“{labels.name}” is empty: there is no mask to export.")
    if array.min() < 0 or array.max() > MAX_VALUE:
        raise MediRoundError(f"“{labels.name}” has label values that are not between 0 and {MAX_VALUE}.")
    return array


def _take(
    shown: NDArray, masks: tuple[JudgedMask, ...], left_out: Collection[Key]
) -> tuple[NDArray, dict[int, MaskRow], frozenset[int]]:
    """Return the label values to take (plane, row, column), display order, what they are, and which changed.

    A value whose pixels are not those of the record was changed in the viewer: the layer counts then.
    """
    whole, values = draw_masks(masks, shown.shape), {mask.value for mask in masks}
    changed = frozenset(v for v in values if not np.array_equal(shown == v, whole == v))
    mine = [mask for mask in masks if mask.value not in changed]
    taken = [mask for mask in mine if mask.key not in left_out]
    drawn = draw_masks(taken, shown.shape)
    gone = [*{mask.value for mask in mine}, *(value for value, proposal in left_out if not proposal)]
    others = np.where(np.isin(shown, gone), 0, shown)
    rows: dict[int, MaskRow] = {}
    for row in make_rows(taken):
        first = rows.get(row.value, row)
        joined = replace(row, origin=join_origins((first.origin, row.origin)))
        sure = [q for q in (first.quality, row.quality) if q is not None]
        rows[row.value] = replace(joined, quality=min(sure, default=None))
    return np.where(drawn != 0, drawn, others), rows, changed


def _segments(
    labels: Labels, array: NDArray, taken: dict[int, MaskRow], changed: frozenset[int]
) -> list[Segment]:
    """Return a segment for each label value, from the record or else from the layer's features."""
    known, anatomy = _said(labels), load_anatomy()
    segments = []
    for value in (int(v) for v in np.unique(array) if v):
        row = known.get(value, {"name": f"structure {value}", "origin": MANUAL})
        name, origin = row["name"], SEMIAUTOMATIC if value in changed else row["origin"]
        more: dict = {"colour": tuple(bytes.fromhex(row["color"][1:7]))} if "color" in row else {}
        if value in taken:
            name, origin = taken[value].name, taken[value].origin
            more |= {"verdict": taken[value].verdict, "quality": taken[value].quality}
            more |= said_of(taken[value].imported, name, anatomy)
        segments.append(make_segment(value, name, anatomy, origin, **more))
    return segments


def _record_of(labels: Labels, number: tuple[int, ...] | None) -> tuple[JudgedMask, ...]:
    """Return what the record says of a layer's masks on one volume; None is the only one."""
    record = labels.metadata.get(RECORD_KEY) or {}
    if number is None:
        number = next(iter(record), ())
    return record.get(tuple(number), ())


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
