"""What can be measured in masks, in millimetres: volume, diameters, intensity; as a CSV table.

Where the image does not state its spacing or the depth of its planes, what would need it is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.io import coding, tables
from napari_mediround.io.export.receipt import Check, Volumes, measure_ml

COLUMNS = (
    "value", "name", "sct_code", "side", "origin", "verdict", "quality", "voxels", "volume_ml",
    "longest_mm", "plane", "plane_longest_mm", "plane_across_mm", "mean", "sd",
)  # fmt: skip

_ROUNDED = 1e-4


@dataclass(frozen=True)
class Measurement:
    """One mask in numbers; None where there is nothing to measure.

    Parameters
    ----------
    voxels : int
        Number of voxels.
    volume_ml : float, optional
        Volume, ml.
    longest_mm : float, optional
        Longest straight line between two of its points, in 3-D.
    plane : int, optional
        0-based plane, in the order of the file, with the longest line inside one plane.
    plane_longest_mm : float, optional
        That line.
    plane_across_mm : float, optional
        Width of the mask on that plane at right angles to the line.
    mean, sd : float, optional
        Of the image's values (HU for CT) inside; the standard deviation of the population.
    """

    voxels: int
    volume_ml: float | None
    longest_mm: float | None = None
    plane: int | None = None
    plane_longest_mm: float | None = None
    plane_across_mm: float | None = None
    mean: float | None = None
    sd: float | None = None


def measure(volume: LabelledVolume, segment: Segment, pixels: NDArray | None = None) -> Measurement:
    """Measure one mask.

    Parameters
    ----------
    volume : LabelledVolume
        Where it lies.
    segment : Segment
        Which one.
    pixels : ndarray, optional
        Grey values (plane, row, column) on the volume's grid.

    Notes
    -----
    A voxel reaches half its size to each side along its axes, so that a row of n voxels is n spacings long.
    """
    voxels, grid = volume.voxels(segment), volume.geometry
    millilitres = measure_ml(volume, segment)
    if not voxels:
        return Measurement(0, millilitres)
    mask = volume.mask(segment)
    box = tuple(_span(mask.any(tuple(a for a in range(3) if a != axis))) for axis in range(3))
    inner, first = mask[box], np.array([s.start for s in box])
    faces = _face_centres(inner, (0, 1, 2)) + first
    longest = _longest(grid.index_to_world(faces))[0] if grid.has_volume else None
    flat = _longest_in_plane(grid, inner, first) if grid.calibrated else ()
    values = None if pixels is None else pixels[box][inner].astype(float)
    mean, sd = (None, None) if values is None else (float(values.mean()), float(values.std()))
    return Measurement(voxels, millilitres, longest, *flat, mean=mean, sd=sd)


def write_measurements(volume: LabelledVolume, path: Path, pixels: NDArray | None = None) -> tuple[Path, ...]:
    """Write a line for each mask to a `.csv`; empty cells where there is nothing to measure."""
    rows = [_cells(volume, segment, pixels) for segment in volume.segments]
    tables.write_table(path, COLUMNS, rows)
    return (path,)


def _cells(volume: LabelledVolume, segment: Segment, pixels: NDArray | None) -> tuple[str, ...]:
    """Return the cells of a mask's line."""
    m = measure(volume, segment, pixels)
    code = segment.code[0] if segment.code else ""
    name = str(tables.harmless(segment.name))
    known = (segment.value, name, code, segment.side, segment.origin, *coding.standing(segment, ""))
    sizes = (m.volume_ml, m.longest_mm, m.plane, m.plane_longest_mm, m.plane_across_mm, m.mean, m.sd)
    return (*(str(cell) for cell in known), str(m.voxels), *(_number(size) for size in sizes))


def check_measurements(
    volume: LabelledVolume, path: Path, pixels: NDArray | None = None
) -> tuple[tuple[Check, ...], tuple[Volumes, ...]]:
    """Compare a table, read again, with the masks, measured again; return checks and volumes for a `Receipt`.

    Voxels, volume, mean and standard deviation are counted in another way than they were measured.
    """
    rows = tables.read_table(path)
    meant = [dict(zip(COLUMNS, _cells(volume, s, pixels), strict=True)) for s in volume.segments]
    checks = [Check("lines", str(len(meant)), str(len(rows)), len(meant) == len(rows))]
    pairs = list(zip(volume.segments, meant, rows, strict=False))
    for segment, line, row in pairs:
        wrong = [column for column in COLUMNS if row.get(column) != line[column]]
        wrong += [what for what in _recount(volume, segment, row, pixels) if what not in wrong]
        checks.append(Check(f"cells of {segment.name}", "equal", ", ".join(wrong) or "equal", not wrong))
    read = ((s, row["volume_ml"]) for s, _, row in pairs)
    volumes = tuple((s.name, measure_ml(volume, s), float(ml) if ml else None) for s, ml in read)
    return tuple(checks), volumes


def _recount(
    volume: LabelledVolume, segment: Segment, row: Mapping[str, str], pixels: NDArray | None
) -> Iterator[str]:
    """Yield the columns that a plain count of the mask contradicts."""
    layer = volume.layers[segment.layer]
    count = int((layer == segment.value).sum())
    edges = volume.geometry.affine[:3, :3].T
    known = {"voxels": float(count)}
    if volume.geometry.has_volume:
        known["volume_ml"] = count * abs(float(np.dot(edges[0], np.cross(edges[1], edges[2])))) / 1000
    if pixels is not None and count:
        values = np.asarray(pixels[layer == segment.value], np.float64)
        known |= {"mean": values.sum() / count, "sd": float(np.std(values))}
    for column, value in known.items():
        if not row.get(column) or abs(float(row[column]) - value) > _ROUNDED * max(1.0, abs(value)):
            yield column


def _number(value: float | None) -> str:
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4f}"


def _span(flat: NDArray[np.bool_]) -> slice:
    there = np.flatnonzero(flat)
    return slice(int(there[0]), int(there[-1]) + 1)


def _face_centres(mask: NDArray[np.bool_], axes: tuple[int, ...]) -> NDArray[np.float64]:
    """Return the middles of the faces across `axes` of the voxels on the edge of a mask, as indices."""
    rim = mask & ~binary_erosion(mask)
    index = np.argwhere(rim).astype(float)
    halves = [sign * 0.5 * np.eye(3)[axis] for axis in axes for sign in (-1, 1)]
    return (index[:, None] + np.array(halves)).reshape(-1, 3)


def _longest(points: NDArray) -> tuple[float, NDArray[np.float64]]:
    """Return the longest distance between points and its unit direction."""
    points = points[ConvexHull(points).vertices]
    distances = squareform(pdist(points))
    one, other = np.unravel_index(int(distances.argmax()), distances.shape)
    line = points[other] - points[one]
    return float(distances[one, other]), line / np.linalg.norm(line)


def _longest_in_plane(geometry: Geometry, mask: NDArray, first: NDArray) -> tuple[int, float, float]:
    """Return the plane with the longest line inside one plane, that line, and the width across it."""
    # In-plane axes need not stand at right angles to the world's: an orthonormal frame of the plane.
    down = geometry.affine[:3, 1] / np.linalg.norm(geometry.affine[:3, 1])
    across = geometry.affine[:3, 2] - down * (geometry.affine[:3, 2] @ down)
    frame = np.stack([down, across / np.linalg.norm(across)], axis=1)
    best = (0, -1.0, 0.0)
    for k, plane in enumerate(mask):
        if not plane.any():
            continue
        points = geometry.index_to_world(_face_centres(plane[None], (1, 2)) + first) @ frame
        length, line = _longest(points)
        if length > best[1]:
            reach = points @ np.array([-line[1], line[0]])
            best = (int(first[0]) + k, length, float(reach.max() - reach.min()))
    return best
