"""Folders of MONAI Label: images in the root, `labels/original` by a model, `labels/final` approved.

References
----------
MONAI Label, "Datastore": `datastore_v2.json` and the folder layout of its local datastore.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import AUTOMATIC, SEMIAUTOMATIC, LabelledVolume, make_segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits
from napari_mediround.io.masks import read_masks

KINDS = ("final", "original")
"""Folders of labels, the approved first."""

_INDEX = "datastore_v2.json"
_LARGEST_INDEX = 2**26
_SUFFIX = re.compile(r"(\.nii(\.gz)?|(\.seg)?\.nrrd|\.mha|\.mhd|\.png|\.jpe?g|\.tiff?|\.dcm)$", re.I)
_STRUCTURE_K = re.compile(r"structure (\d+)")


@dataclass(frozen=True)
class MonaiCase:
    """One image of a folder, and its labels.

    Parameters
    ----------
    image : Path
        A file, or a folder of DICOM files.
    labels : Path
        Those approved where there are any, else the model's.
    approved : bool
        Which of the two.
    names : tuple of (int, str)
        What the folder's index says of the label values; may be empty.
    """

    image: Path
    labels: Path
    approved: bool
    names: tuple[tuple[int, str], ...] = ()


def read_monai(folder: Path) -> tuple[MonaiCase, ...]:
    """Return the images of a MONAI Label folder that have labels, in the order of their names.

    Raises
    ------
    UnreadableFileError
        When there is no folder of labels, or the index is damaged.
    """
    folder = Path(folder)
    found = {kind: _files(folder / "labels" / kind) for kind in KINDS}
    if not any((folder / "labels" / kind).is_dir() for kind in KINDS):
        cause = "there is no labels/final or labels/original in it"
        raise UnreadableFileError(folder, cause, "Choose the folder of a MONAI Label datastore.")
    names = _read_index(folder / _INDEX)
    cases = []
    for stem, image in sorted(_files(folder).items()):
        kind = next((kind for kind in KINDS if stem in found[kind]), "")
        if kind:
            known = names.get((stem, kind), ())
            cases.append(MonaiCase(image, found[kind][stem], kind == "final", known))
    return tuple(cases)


def read_monai_masks(case: MonaiCase, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read a case's masks onto the grid of its image; approved ones count as fixed, others as automatic.

    Raises
    ------
    UnreadableFileError
        As `read_masks`.
    """
    return name_monai_masks(read_masks(case.labels, grid, anatomy), case, anatomy)


def name_monai_masks(
    volume: LabelledVolume, case: MonaiCase, anatomy: Anatomy | None = None
) -> LabelledVolume:
    """Return a case's masks with the names of the folder's index and the origin of their folder."""
    names = dict(case.names)
    origin = SEMIAUTOMATIC if case.approved else AUTOMATIC
    segments = []
    for segment in volume.segments:
        named = names.get(segment.value) if _STRUCTURE_K.fullmatch(segment.name) else None
        segment = make_segment(segment.value, named, anatomy, layer=segment.layer) if named else segment
        segments.append(replace(segment, origin=origin))
    return replace(volume, segments=tuple(segments))


def _files(folder: Path) -> dict[str, Path]:
    """Return images by name without suffix: files of a known kind, and folders that hold DICOM files."""
    if not folder.is_dir():
        return {}
    found = {}
    for path in sorted(folder.iterdir()):
        if path.is_file() and _SUFFIX.search(path.name):
            found[_SUFFIX.sub("", path.name)] = path
        elif path.is_dir() and path.name != "labels" and any(path.glob("*.dcm")):
            found[path.name] = path
    return found


def _read_index(path: Path) -> dict[tuple[str, str], tuple[tuple[int, str], ...]]:
    """Return the names of label values by image and kind; empty without an index."""
    if not path.is_file():
        return {}
    if path.stat().st_size > _LARGEST_INDEX:
        raise UnreadableFileError(path, "it is too large for an index", "Remove it to read without names.")
    with limits.refusal(path, "it is no index of MONAI Label"):
        names = {}
        for stem, entry in json.loads(path.read_text("utf-8")).get("objects", {}).items():
            for kind, label in entry.get("labels", {}).items():
                info = label.get("info", {})
                said = info.get("params", {}).get("label_names") or {
                    item["name"]: item["idx"] for item in info.get("label_info", [])
                }
                names[stem, kind] = tuple((int(value), str(name)) for name, value in said.items())
        return names
