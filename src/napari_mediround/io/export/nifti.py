"""NIfTI label maps as BIDS derivatives: `*_dseg.nii.gz`, `.tsv`, `.json`. Written with nibabel.

References
----------
BIDS 1.10, Derivatives, "Segmentations" and "Common image-derived labels".
"""

from __future__ import annotations

import gzip
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from napari_mediround.domain.geometry import Forms, Geometry
from napari_mediround.domain.segments import MANUAL, LabelledVolume, Segment
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import coding, tables
from napari_mediround.io.labels import save_grid
from napari_mediround.io.masks.label_map import read_grid
from napari_mediround.io.volumes.volume import ras_to_lps

SUFFIX = ".nii.gz"
_HEADER, _NEAR = 348, 0.25  # bytes; share of a voxel by which SimpleITK may round
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
        `.nii.gz`. sform, qform and codes are those of a NIfTI source; of any other, its affine goes to both,
        both codes "scanner" (1), or 0 for a source that does not say how it lies. uint8 up to the value 255,
        else uint16.

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
    rest = (segment.side or "n/a", segment.origin, segment.tracking_uid, *coding.standing(segment))
    return (segment.value, segment.name, colour, code, meaning, *rest)


def read_back_nifti(path: Path, grid: Geometry) -> LabelledVolume:
    """Read a label map and its table again, with SimpleITK; sform and qform from the bytes of the header."""
    labels, affine = read_grid(path)
    if not grid.oriented:  # no place was written, and libraries make up different ones: distances count
        lengths = [np.linalg.norm(a[:3, :3], axis=0) for a in (affine, grid.affine)]
        affine = grid.affine if np.allclose(*lengths) else affine
    geometry = Geometry(labels.shape, affine, grid.oriented)
    if grid.forms is not None:
        geometry = _read_forms(path, geometry, grid.forms.differ)
    else:
        _check_forms(path, geometry)
    return LabelledVolume.from_labels(geometry, labels, _read_rows(path))


def _read_rows(path: Path) -> list[Segment]:
    """Return what table and description beside a label map say, as strictly as they were written.

    Raises
    ------
    ValueError
        When the two name the values differently.
    """
    table, description = (path.with_name(path.name[: -len(SUFFIX)] + end) for end in (".tsv", ".json"))
    found = []
    for row in tables.read_table(table, "\t"):
        code = None if row["sct_code"] == "n/a" else (row["sct_code"], row["sct_meaning"])
        side = "" if row["side"] == "n/a" else row["side"]
        colour = tuple(bytes.fromhex(row["color"][1:]))
        facts = (code, side, colour, row["origin"], row["tracking_uid"])
        found.append(Segment(int(row["index"]), row["name"], *facts, **coding.read_standing(row)))
    named = json.loads(description.read_text("utf-8"))["labels"]
    if named != {str(segment.value): segment.name for segment in found}:
        raise ValueError("table and description name the values differently")
    return found


def _read_forms(path: Path, seen: Geometry, differ: bool) -> Geometry:
    """Return the geometry by the form that counts, if the place that SimpleITK saw is that of a form."""
    forms = replace(_forms_of(path), differ=differ)
    placed = [place for place, code in _places(forms) if code > 0]
    reach = np.array([*seen.shape, 1])
    for affine in placed:
        if (np.abs(affine - seen.affine) @ reach)[:3].max() < _NEAR * min(seen.spacing_mm):
            return replace(seen, affine=placed[0], forms=forms)
    return replace(seen, forms=forms)


def _check_forms(path: Path, grid: Geometry) -> None:
    """Check that both forms place a grid where SimpleITK saw it; a qform knows no shear.

    Raises
    ------
    UnreadableFileError
        When one does not.
    """
    straight, sizes = grid.affine.copy(), np.array(grid.spacing_mm)
    left, _, right = np.linalg.svd(grid.affine[:3, :3] / sizes)
    straight[:3, :3] = left @ right * sizes
    reach = np.array([*grid.shape, 1])
    for (place, code), meant in zip(_places(_forms_of(path)), (grid.affine, straight), strict=True):
        off = (np.abs(place - meant) @ reach)[:3].max()
        if code != int(grid.oriented) or (grid.oriented and not off < _NEAR * sizes.min()):
            raise UnreadableFileError(path, "its sform and qform lie in different places", "Report this.")


def _forms_of(path: Path) -> Forms:
    """Return sform and qform from the bytes of a header."""
    with gzip.open(path) as file:
        header = file.read(_HEADER)
    qfac, *size = struct.unpack_from("<4f", header, 76)
    codes = struct.unpack_from("<2h", header, 252)
    numbers = struct.unpack_from("<18f", header, 256)
    quatern, offset, rows = numbers[:3], numbers[3:6], numbers[6:]
    return Forms(codes[1], codes[0], rows, quatern, offset, (qfac, *size), header[123] & 7)


def _places(forms: Forms) -> tuple[tuple[NDArray[np.float64], int], ...]:
    """Return where sform and qform place (plane, row, column), LPS mm, each with its code."""
    quatern, (qfac, *size) = forms.quatern, forms.pixdim
    real = np.sqrt(max(0.0, 1 - np.square(quatern).sum()))
    turn = Rotation.from_quat([*quatern, real] if np.any(quatern) or real else [0, 0, 0, 1]).as_matrix()
    sform, qform = np.eye(4), np.eye(4)
    qform[:3, :3] = turn * np.array([*size[:2], size[2] * (-1 if qfac < 0 else 1)])
    qform[:3, 3], sform[:3] = forms.qoffset, np.reshape(forms.srow, (3, 4))
    scale = {1: 1000.0, 3: 0.001}.get(forms.unit, 1.0)
    to_mm = np.diag([scale, scale, scale, 1])
    return (ras_to_lps(to_mm @ sform), forms.sform_code), (ras_to_lps(to_mm @ qform), forms.qform_code)
