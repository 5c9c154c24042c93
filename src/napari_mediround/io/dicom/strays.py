"""Files of a DICOM series that are none of its slices: localizers, dose pages, renderings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from napari_mediround.io.dicom.frames import Frame, first_frame

_ACROSS = np.cos(np.radians(45))
"""Planes whose normals make a wider angle than this are none of one stack."""

_FEW = 0.2
"""Share of a series up to which files that lie across the others are strays."""

_MOST_NAMES = 3


def split_strays(headers: Sequence[Dataset]) -> tuple[list[Dataset], tuple[str, ...]]:
    """Return the headers of a series that can be its slices, and what the others are, in words with names.

    A stray is a localizer among other images, a page without a place or in colours among placed grey slices,
    and a plane or two across all others and of another size. What differs in any other way stays: the stack
    is then refused, as a slice could be lost.
    """
    kept, said = list(headers), []
    for what, is_stray in (
        ("a localizer", _localizers),
        ("a page without a place in the patient", _unplaced),
        ("a picture in colours", _coloured),
        ("a plane across the others", _across),
    ):
        strays = is_stray(kept)
        if any(strays) and not all(strays):
            files = [header for header, stray in zip(kept, strays, strict=True) if stray]
            said.append(describe_files(what, [Path(header.filename) for header in files]))
            kept = [header for header, stray in zip(kept, strays, strict=True) if not stray]
    return kept, tuple(said)


def describe_files(what: str, files: Sequence[Path]) -> str:
    """Return what files are, with the names of the first few."""
    names = ", ".join(file.name for file in files[:_MOST_NAMES])
    more = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
    return f"left out of the folder as {what}: {names}{more}"


def _localizers(headers: Sequence[Dataset]) -> list[bool]:
    return ["LOCALIZER" in (header.get("ImageType") or ()) for header in headers]


def _unplaced(headers: Sequence[Dataset]) -> list[bool]:
    """Which have no place, where at least half have one."""
    placed = [_is_placed(first_frame(header)) for header in headers]
    return [not own for own in placed] if 2 * sum(placed) >= len(placed) else [False] * len(placed)


def _is_placed(frame: Frame) -> bool:
    return frame.position is not None and frame.orientation is not None


def _coloured(headers: Sequence[Dataset]) -> list[bool]:
    """Which are in colours, where at least half are grey."""
    coloured = [int(header.get("SamplesPerPixel") or 1) > 1 for header in headers]
    return coloured if 2 * sum(coloured) <= len(coloured) else [False] * len(coloured)


def _across(headers: Sequence[Dataset]) -> list[bool]:
    """Which lie across the others and have another size, where they are few."""
    frames = [first_frame(header) for header in headers]
    if any(frame.orientation is None for frame in frames):
        return [False] * len(headers)
    normals = np.array([np.cross(*frame.orientation) for frame in frames])
    crossing = np.abs(normals @ normals.T) < _ACROSS
    most = int(np.argmin(crossing.sum(axis=1)))
    sizes = [
        (header.get("Rows"), header.get("Columns"), f.spacing)
        for header, f in zip(headers, frames, strict=True)
    ]
    strays = [bool(own) and size != sizes[most] for own, size in zip(crossing[most], sizes, strict=True)]
    return strays if sum(strays) <= _FEW * len(strays) else [False] * len(headers)
