"""NIfTI label maps as BIDS derivatives: `*_dseg.nii.gz`, `.tsv`, `.json`. Written with nibabel.

References
----------
BIDS 1.10, Derivatives, "Segmentations" and "Common image-derived labels".
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import MANUAL, LabelledVolume, Segment
from napari_mediround.io import tables
from napari_mediround.io.labels import save_grid
from napari_mediround.io.masks.label_map import read_grid, read_names

SUFFIX = ".nii.gz"
COLUMNS = (
    "index",
    "name",
    "color",
    "sct_code",
    "sct_meaning",
    "side",
    "origin",
    "tracking_uid",
    "verdict",
    "quality",
)

_MEANINGS = {
    "sct_code": "SNOMED CT code of the structure, without its side",
    "sct_meaning": "Meaning of the code",
    "side": "The patient's side",
    "origin": "How the mask came to be: AUTOMATIC untouched, SEMIAUTOMATIC fixed, MANUAL drawn",
    "tracking_uid": "DICOM Tracking UID of the structure",
    "verdict": "What a person said of the mask: accepted, corrected, or proposal where nobody judged it",
    "quality": "Agreement with the truth as the model judges it, 0 to 1",
}


def write_nifti(volume: LabelledVolume, path: Path) -> tuple[Path, ...]:
    """Write a label map, its table and its description.

    Parameters
    ----------
    volume : LabelledVolume
        Of one layer; an overlap cannot be kept.
    path : Path
        `.nii.gz`. The source's affine goes to sform and qform, both codes "scanner" (1), or 0 for a source
        that does not say how it lies. uint8 up to the value 255, else uint16.

    Returns
    -------
    tuple of Path
        The table, the description, and last the label map.
    """
    (labels,) = volume.layers
    small = max((s.value for s in volume.segments), default=0) <= np.iinfo(np.uint8).max
    save_grid(path, labels.astype(np.uint8) if small else labels, volume.geometry)
    table, description = (path.with_name(path.name[: -len(SUFFIX)] + end) for end in (".tsv", ".json"))
    tables.write_table(table, COLUMNS, [_row(s) for s in volume.segments], "\t")
    values = {
        "Manual": bool(volume.segments) and all(s.origin == MANUAL for s in volume.segments),
        "labels": {str(s.value): s.name for s in volume.segments},
        **{name: {"Description": text} for name, text in _MEANINGS.items()},
    }
    description.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return table, description, path


def _row(segment: Segment) -> tuple:
    code, meaning = segment.code or ("n/a", "n/a")
    colour = "#{:02x}{:02x}{:02x}".format(*segment.colour)
    rest = (segment.side or "n/a", segment.origin, segment.tracking_uid, *tables.standing(segment))
    return (segment.value, segment.name, colour, code, meaning, *rest)


def read_back_nifti(path: Path, grid: Geometry) -> LabelledVolume:
    """Read a label map and its table again, with SimpleITK."""
    labels, affine = read_grid(path)
    if not grid.oriented:  # no place was written, and libraries make up different ones: distances count
        lengths = [np.linalg.norm(a[:3, :3], axis=0) for a in (affine, grid.affine)]
        affine = grid.affine if np.allclose(*lengths) else affine
    return LabelledVolume.from_labels(Geometry(labels.shape, affine, grid.oriented), labels, read_names(path))
