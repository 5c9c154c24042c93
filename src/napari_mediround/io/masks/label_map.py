"""Label maps in: NIfTI, NRRD and MetaImage with names beside them, and 3D Slicer's `.seg.nrrd`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import (
    MANUAL,
    MAX_VALUE,
    LabelledVolume,
    Segment,
    make_segment,
)
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import coding, limits, read_study, tables
from napari_mediround.io.coding import GENERAL_TYPES, read_origin
from napari_mediround.io.volumes.itk_header import find_voxels

SEG_NRRD = (".seg.nrrd", ".seg.nhdr")
VERDICT_TAG, QUALITY_TAG = "MediRound.Verdict", "MediRound.Quality"
"""Tags of a segment in 3D Slicer's file."""

_DAMAGED = "Copy or export the file again."
_MAP_SUFFIX = re.compile(r"(\.nii(\.gz)?|\.nrrd|\.nhdr|\.mha|\.mhd|\.mgz|\.mgh|\.png|\.tiff?)$", re.I)
_KEY = re.compile(r"Segment(\d+)_(\w+)")
_CODE = re.compile(r"SCT\^(\d{4,18})\^([^~^|]*)")


def read_label_map(path: Path, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read a label map and the names beside it: a BIDS table (`.tsv`) or our `.json`.

    Parameters
    ----------
    path : Path
        What `read_study` reads, but for DICOM.
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.

    Returns
    -------
    LabelledVolume
        On the file's own grid; a value without a name is "structure K".

    Raises
    ------
    UnreadableFileError
        When it cannot be read, or its voxels are no label values.
    """
    study = read_study(path, modality="")  # label values are no grey values
    labels = study.order.undo(study.pixels)
    whole = not study.is_rgb and np.array_equal(labels, np.rint(labels))
    if not whole or labels.min() < 0 or labels.max() > MAX_VALUE:
        cause = f"its voxels are no label values (whole numbers from 0 to {MAX_VALUE})"
        raise UnreadableFileError(path, cause, "Choose the label map, not the image.")
    labels = np.ascontiguousarray(labels, np.uint16)
    values = set(np.unique(labels).tolist()) - {0}
    named = {s.value: s for s in read_names(path, anatomy)}
    named |= {v: make_segment(v, f"structure {v}", origin=MANUAL) for v in values - set(named)}
    segments = [named[value] for value in sorted(named)]
    return LabelledVolume.from_labels(study.source_geometry, labels, segments)


def read_grid(path: Path) -> tuple[NDArray, NDArray[np.float64]]:
    """Return voxels (plane, row, column[, layer]) and affine of a 3-D file, as SimpleITK sees them."""
    image = SimpleITK.ReadImage(str(path))
    affine, origin = np.eye(4), np.array(image.TransformContinuousIndexToPhysicalPoint((0.0, 0.0, 0.0)))
    for axis in range(3):
        step = [float(axis == other) for other in (2, 1, 0)]
        affine[:3, axis] = np.array(image.TransformContinuousIndexToPhysicalPoint(step)) - origin
    affine[:3, 3] = origin
    return SimpleITK.GetArrayFromImage(image), affine


def read_names(path: Path, anatomy: Anatomy | None = None) -> list[Segment]:
    """Return what the table or description beside a label map says of its values; [] without either.

    Raises
    ------
    UnreadableFileError
        When there is one and it makes no sense.
    """
    stem = _MAP_SUFFIX.sub("", path.name)
    table, description = path.with_name(stem + ".tsv"), path.with_name(stem + ".json")
    beside = table if table.exists() else description
    if not beside.exists():
        return []
    with limits.refusal(beside, "it does not say what the label values are"):
        if beside == table:
            rows = tables.read_table(table, "\t")
            return [_segment(row, anatomy) for row in rows if (row["index"] or "").strip(" 0")]
        said = json.loads(description.read_text("utf-8-sig"))
        names, standings = _names_of(said), said.get("standing", {})
        rows = {value: {k: str(v) for k, v in dict(standings.get(str(value), {})).items()} for value in names}
        return [make_segment(v, name, anatomy, **coding.read_standing(rows[v])) for v, name in names.items()]


def _names_of(said: Mapping) -> dict[int, str]:
    """Return the names of a description: value to name, or name to value as in nnU-Net's `dataset.json`.

    They stand under "labels", or alone. `mediround ask` names its masks "3 left kidney", as the layer does.
    """
    labels = said.get("labels", {k: v for k, v in said.items() if str(k).isdigit()})
    pairs = ((v, k) if isinstance(v, int) and not str(k).isdigit() else (k, v) for k, v in labels.items())
    names = {int(value): str(name).removeprefix(f"{value} ") for value, name in pairs}
    return {value: name for value, name in names.items() if value}


def _segment(row: Mapping[str, str], anatomy: Anatomy | None) -> Segment:
    """Return the segment of a BIDS table's row; only index and name must be there."""
    known = {key: value for key, value in row.items() if value not in ("n/a", "", None)}
    more: dict = {}
    if re.fullmatch(r"#[0-9a-fA-F]{6}", known.get("color", "")):
        more["colour"] = tuple(bytes.fromhex(known["color"][1:]))
    if "sct_code" in known:
        more["code"] = (known["sct_code"], known.get("sct_meaning", ""))
    if known.get("side") in ("left", "right"):
        more["side"] = known["side"]
    if "tracking_uid" in known:
        more["tracking_uid"] = known["tracking_uid"]
    more |= coding.read_standing(known)
    return make_segment(int(row["index"]), row["name"], anatomy, read_origin(known.get("origin")), **more)


def read_seg_nrrd(path: Path, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read a `.seg.nrrd` of 3D Slicer or of ours, with SimpleITK.

    3D Slicer up to 4.10 wrote a layer for each segment, its voxels 1, and named neither layer nor value. Keys
    of later versions may describe a layer without a segment, or a segment whose voxels are gone: voxels that
    no segment claims become "structure K", with a note.

    Parameters
    ----------
    path : Path
        With any number of layers; often cropped to what is drawn: `LabelledVolume.place` brings it back.
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.

    Raises
    ------
    UnreadableFileError
        When it is damaged, or its keys and voxels contradict each other.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO("NrrdImageIO")
    reader.SetFileName(str(path))
    with limits.refusal(path, "it is no readable .seg.nrrd"):
        find_voxels(path)
        reader.ReadImageInformation()
        size, layers = reader.GetSize(), reader.GetNumberOfComponents()
        limits.check_size(path, limits.product(size) * layers, 2, path.stat().st_size, limits.DEFLATE_RATIO)
        if len(size) != 3:
            raise UnreadableFileError(path, f"it has {len(size)} axes, not three", _DAMAGED)
        keys = {key: reader.GetMetaData(key) for key in reader.GetMetaDataKeys()}
        array, affine = read_grid(path)
        geometry = limits.make_geometry(path, array.shape[:3], affine)
        arrays = [array] if layers == 1 else [array[..., k] for k in range(layers)]
        segments = _slicer_segments(keys, layers, anatomy)
        return _unique(geometry, arrays, segments, anatomy)


def _slicer_segments(keys: Mapping[str, str], layers: int, anatomy: Anatomy | None) -> list[Segment]:
    """Return the segments that `Segment<k>_…` keys describe, in the order of k."""
    found: dict[int, dict[str, str]] = {}
    for key, value in keys.items():
        if match := _KEY.fullmatch(key):
            found.setdefault(int(match[1]), {})[match[2]] = value
    old = not any({"Layer", "LabelValue"} & set(table) for table in found.values()) and layers == len(found)
    segments = []
    for place, number in enumerate(sorted(found)):
        table = found[number]
        if old:
            table = {**table, "Layer": str(place), "LabelValue": "1"}
        segment = _slicer_segment(number, table, anatomy)
        if not 0 <= segment.layer < layers:
            raise ValueError(f"there is no layer {segment.layer}")
        segments.append(segment)
    return segments


def _slicer_segment(number: int, table: Mapping[str, str], anatomy: Anatomy | None) -> Segment:
    tags = dict(tag.split(":", 1) for tag in table.get("Tags", "").split("|") if ":" in tag)
    parts = tags.get("TerminologyEntry", "").split("~")
    more: dict = {}
    kind = _CODE.fullmatch(parts[2]) if len(parts) > 2 else None
    if kind and kind[1] not in GENERAL_TYPES:
        more["code"] = kind.groups()
    side = _CODE.fullmatch(parts[3]) if len(parts) > 3 else None
    if side and side[2].casefold() in ("left", "right"):
        more["side"] = side[2].casefold()
    if colour := table.get("Color"):
        more["colour"] = tuple(min(max(round(float(c) * 255), 0), 255) for c in colour.split())[:3]
    if uid := tags.get("DICOM.TrackingUniqueIdentifier"):
        more["tracking_uid"] = uid
    said = {"verdict": tags.get(VERDICT_TAG, ""), "quality": tags.get(QUALITY_TAG, "")}
    more |= coding.read_standing(said)
    more["layer"] = int(table.get("Layer", 0))
    value, origin = int(table.get("LabelValue", number + 1)), tags.get("DICOM.SegmentAlgorithmType")
    return make_segment(value, table.get("Name", ""), anatomy, read_origin(origin), **more)


def _unique(
    geometry: Geometry, arrays: list[NDArray], segments: list[Segment], anatomy: Anatomy | None
) -> LabelledVolume:
    """Return a volume whose values differ over all layers: Slicer counts from 1 on each.

    Values that no segment claims become segments of their own, which are not lost without a word.
    """
    claimed = {(s.layer, s.value) for s in segments}
    values = [set(np.unique(array).tolist()) - {0} for array in arrays]
    spare = [(k, int(v)) for k, found in enumerate(values) for v in sorted(found) if (k, v) not in claimed]
    named = bool(segments)
    segments = [
        *segments,
        *(make_segment(value, f"structure {value}", anatomy, MANUAL, layer=k) for k, value in spare),
    ]
    note = f"{len(spare)} masks have no name in the file, and take their label values for names"
    notes = (note,) if spare and named else ()
    if len({s.value for s in segments}) == len(segments):
        layers = tuple(np.ascontiguousarray(a, np.uint16) for a in arrays)
        return LabelledVolume(geometry, layers, tuple(segments), notes)
    masks = [(s, arrays[s.layer] == s.value) for s in segments]
    numbered = ((replace(s, value=k), mask) for k, (s, mask) in enumerate(masks, 1))
    return replace(LabelledVolume.from_masks(geometry, numbered), notes=notes)
