"""What was read back from an export, beside what was meant: voxels, place in millimetres, volumes, names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
from scipy.ndimage import find_objects

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.files import hash_file

PLACE_MM = 0.01
"""A corner may lie this far from where it should: NIfTI keeps its affine in single precision."""

VOLUME_SHARE = 1e-4
"""A volume may differ by this share."""

Volumes = tuple[str, float | None, float | None]
"""Name of a mask, ml meant, ml read; None where the image does not state its spacing and depth."""

_UIDS = {
    "frame_of_reference_uid": "frame of reference",
    "study_uid": "study",
    "series_uid": "series of the images",
}
_COLOUR_STEPS, _QUALITY_STEP = 3, 1e-4
_PART = 2**20


@dataclass(frozen=True)
class Check:
    """One comparison.

    Parameters
    ----------
    what : str
        In words ("voxels of liver").
    expected, found : str
        What was meant and what was read.
    ok : bool
        Whether they agree.
    """

    what: str
    expected: str
    found: str
    ok: bool


@dataclass(frozen=True)
class Receipt:
    """What an export wrote, and how it read back.

    Parameters
    ----------
    format : str
        In words ("NIfTI label map").
    files : tuple of (str, int, str)
        Name without folder, bytes and sha256 of each.
    reader : str
        The library that read it back.
    segments : tuple of Volumes
        Of each mask.
    checks : tuple of Check
        All comparisons.
    dice : tuple of (str, float)
        For contours, the agreement of each mask after the way out and back.
    notes : tuple of str
        What the format cannot hold, and what was decided.
    """

    format: str
    files: tuple[tuple[str, int, str], ...]
    reader: str
    segments: tuple[Volumes, ...]
    checks: tuple[Check, ...]
    dice: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether everything agrees."""
        return all(check.ok for check in self.checks)

    def to_dict(self) -> dict:
        """Return the receipt as JSON values."""
        files = [dict(zip(("name", "bytes", "sha256"), file, strict=True)) for file in self.files]
        segments = [dict(zip(("name", "meant_ml", "read_ml"), s, strict=True)) for s in self.segments]
        for segment, dice in zip(segments, self.dice, strict=bool(self.dice)):
            segment["dice"] = dice[1]
        checks = [asdict(check) for check in self.checks]
        head = {"ok": self.ok, "format": self.format, "read_back_with": self.reader}
        return {**head, "files": files, "segments": segments, "checks": checks, "notes": list(self.notes)}

    def to_text(self) -> str:
        """Return the receipt as one text."""
        return "\n".join(self.to_lines())

    def to_lines(self) -> list[str]:
        """Return the receipt in lines for the eye."""
        state = "Read back and equal" if self.ok else "READ BACK AND NOT EQUAL"
        lines = [f"{self.format}: {state} ({self.reader})"]
        lines += [f"  {name}  {size:,} bytes  sha256 {digest[:16]}…" for name, size, digest in self.files]
        agreed = [c for c in self.checks if c.ok]
        lines += [f"  {c.what}: meant {c.expected}, read {c.found}" for c in self.checks if not c.ok]
        lines += [f"  {c.what}: {c.found}" for c in agreed if c.what == PLACE]
        dice = dict(self.dice)
        for name, _, read in self.segments:
            amount = "no volume" if read is None else f"{read:.3f} ml"
            lines.append(f"  {name}: {amount}" + (f", Dice {dice[name]:.4f}" if name in dice else ""))
        return [*lines, *(f"  Note: {note}" for note in self.notes)]


PLACE = "largest distance of a corner, mm"


def describe_file(path: Path) -> tuple[str, int, str]:
    """Return a file's name, size in bytes and sha256."""
    return path.name, path.stat().st_size, hash_file(path)


def compare(
    meant: LabelledVolume, found: LabelledVolume, fields: Iterable[str], exact: bool, placed: bool
) -> tuple[tuple[Check, ...], tuple[Volumes, ...], tuple[tuple[str, float], ...]]:
    """Compare what was read with what was meant.

    Parameters
    ----------
    meant, found : LabelledVolume
        On the same grid or a part of it, axes in any order and direction; segments in the same order.
    fields : iterable of str
        Fields of `Segment` that the format holds.
    exact : bool
        Whether the format holds voxels; contours are filled again, and the receipt gives their Dice.
    placed : bool
        Whether the format holds a geometry.

    Returns
    -------
    checks, segments, dice
        As in `Receipt`.
    """
    checks = [_check("number of masks", len(meant.segments), len(found.segments))]
    segments, dice = [], []
    if not checks[0].ok:
        return tuple(checks), (), ()
    pairs = list(zip(meant.segments, found.segments, strict=True))
    checks += [c for pair in pairs for c in _field_checks(*pair, fields)]
    # Most formats cannot say that a spacing is unknown: what is not known of the image is not read either.
    known = meant.geometry.has_volume
    segments = [(a.name, measure_ml(meant, a), found.volume_ml(b) if known else None) for a, b in pairs]
    try:
        aligned = found.place(meant.geometry)
    except ValueError as error:
        return (*checks, Check("grid", "the image's", str(error), False)), tuple(segments), ()
    if placed:
        checks += _uid_checks(meant.geometry, found.geometry)
        distance = corner_distance(meant.geometry, found.geometry)
        checks.append(Check(PLACE, f"≤ {PLACE_MM}", f"{distance:.6f}", distance <= PLACE_MM))
        if found.geometry.forms is not None:
            checks.append(_check("sform and qform", meant.geometry.forms, found.geometry.forms))
    for (name, *ml), (wanted, read, common) in zip(segments, _overlaps(meant, aligned), strict=True):
        score = 2 * common / (wanted + read) if wanted + read else 1.0
        dice.append((name, score))
        checks.append(_check(f"voxels of {name} that differ", 0, wanted + read - 2 * common))
        checks += [_volume_check(name, *ml)] if known else []
    return tuple(checks), tuple(segments), () if exact else tuple(dice)


def measure_ml(volume: LabelledVolume, segment: Segment) -> float | None:
    """Return the volume of a mask, ml; None where its image does not state its spacing and depth."""
    return volume.volume_ml(segment) if volume.geometry.has_volume else None


def _volume_check(name: str, wanted: float, read: float) -> Check:
    near = abs(read - wanted) <= VOLUME_SHARE * wanted
    return Check(f"volume of {name}, ml", f"{wanted:.4f}", f"{read:.4f}", near)


def corner_distance(meant: Geometry, found: Geometry) -> float:
    """Return how far, at most, a corner of one grid lies from its voxel in the other, mm."""
    to_meant = (np.linalg.inv(meant.affine) @ found.affine).round()
    corners = np.array([(*corner, 1.0) for corner in product(*((0.0, n - 1.0) for n in found.shape))])
    off = corners @ (meant.affine @ to_meant - found.affine).T
    return float(np.linalg.norm(off[:, :3], axis=1).max())


def _uid_checks(meant: Geometry, found: Geometry) -> Iterator[Check]:
    """Yield comparisons of study, series and frame of reference, where the file names them."""
    for field, words in _UIDS.items():
        if getattr(found, field):
            yield _check(words, getattr(meant, field), getattr(found, field))


def _overlaps(meant: LabelledVolume, found: LabelledVolume) -> Iterator[tuple[int, int, int]]:
    """Yield, for each segment, its voxels meant, read, and common to both; looks only where it lies."""
    boxes = [find_objects(layer) for layer in meant.layers]
    for segment, other in zip(meant.segments, found.segments, strict=True):
        of_layer = boxes[segment.layer]
        box = of_layer[segment.value - 1] if segment.value <= len(of_layer) else None
        common = 0
        if box is not None:
            mine = meant.layers[segment.layer][box] == segment.value
            common = int(np.count_nonzero(mine & (found.layers[other.layer][box] == other.value)))
        yield meant.voxels(segment), found.voxels(other), common


def _check(what: str, expected: object, found: object) -> Check:
    return Check(what, str(expected), str(found), expected == found)


def _field_checks(meant: Segment, found: Segment, fields: Iterable[str]) -> Iterator[Check]:
    for field in fields:
        one, other = getattr(meant, field), getattr(found, field)
        check = _check(f"{field} of {meant.name}", one, other)
        if field == "colour":
            near = max(abs(a - b) for a, b in zip(one, other, strict=True)) <= _COLOUR_STEPS
            check = replace(check, ok=near)
        elif field == "quality" and None not in (one, other):
            check = replace(check, ok=abs(one - other) <= _QUALITY_STEP)
        yield check
