"""What the record says of masks: sizes, axes, means, distances. Each number is measured, its mask named."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion
from scipy.spatial import ConvexHull, QhullError, cKDTree
from scipy.spatial.distance import pdist, squareform

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Reference
from napari_mediround.domain.units import area_in_words, volume_in_words
from napari_mediround.journal.history import Label
from napari_mediround.session.record import Record

ONE_PLANE = "Only one plane has a mask of it, so that is no volume. Ask for it “in the whole stack” first."
NO_SCALE = "The image does not say how large a pixel is, so I cannot measure that."


def tell(record: Record, what: str, references: tuple[Reference, ...], table: bool = False) -> str:
    """Return a measurement of masks in words.

    Parameters
    ----------
    record : Record
        Whose masks.
    what : str
        One of `questions.request.MEASURES`.
    references : tuple of Reference
        The masks; for a count all that there are.
    table : bool
        All measurements of each mask, as the rows of a table: cells between bars, the head first.
    """
    labels = [record.label(record.label_of(r)) for r in references]
    geometry = record.study.geometry
    if table:
        return _table(record, labels or [label for label in record.state.shown if label.mask.area])
    if what == "count":
        return _count(record)
    if what in ("volume", "area"):
        said = "\n".join(_size(record, label) for label in labels)
        lacking = what == "volume" and " planes that" not in said and record.study.planes > 1
        return f"{said}\n{ONE_PLANE}" if lacking else said
    if what in ("diameter", "short_axis", "distance") and not geometry.calibrated:
        return NO_SCALE
    if what == "distance":
        return _distance(record, labels)
    if what == "compare":
        return _compare(record, labels)
    if what == "mean":
        return "\n".join(_mean(record, label) for label in labels)
    return "\n".join(_axis(record, label, what) for label in labels)


def _count(record: Record) -> str:
    shown = record.state.shown
    masks = {label.drawn: label.name for label in shown if label.mask.area}
    verdicts = [
        t.verdict or "proposed"
        for r in record.conversation.rounds
        if not r.carried
        for t in r.targets
        if t.mask.area
    ]
    parts = ", ".join(f"{verdicts.count(v)} {v}" for v in dict.fromkeys(verdicts))
    return (
        f"{len(verdicts)} masks{f': {parts}' if parts else ''}."
        if masks or verdicts
        else "There is no mask yet."
    )


def _table(record: Record, labels: list[Label]) -> str:
    """Return every measurement of masks as rows; what the image does not allow is left empty."""
    geometry, study = record.study.geometry, record.study
    unit = " HU" if study.modality == "CT" else ""
    rows = [("mask", "plane", "area", "volume", "longest axis", "short axis", f"mean ± SD{unit}")]
    for label in labels:
        lengths = axes(label.mask.to_array(), geometry) if geometry.calibrated else ()
        same = [x for x in record.state.shown if x.drawn == label.drawn and x.mask.area]
        ml = sum(x.mask.area for x in same) * geometry.voxel_mm3 / 1000
        volume = f"{volume_in_words(ml)} in {len(same)} planes"
        values = np.asarray(study.pixels[label.plane], float)[label.mask.to_array()]
        rows.append(
            (
                label.name,
                str(label.plane),
                area_in_words(*record.area(label.mask)),
                volume if len(same) > 1 and geometry.has_volume else "–",
                *(f"{value:,.1f} mm" for value in lengths or ()),
                *(("–", "–") if not lengths else ()),
                "–" if study.is_rgb else f"{values.mean():,.1f} ± {values.std():,.1f}",
            )
        )
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _where(record: Record, label: Label) -> str:
    return f"{record.study.geometry.plane_name} plane {label.plane}".strip()


def _size(record: Record, label: Label) -> str:
    """Return the size of a mask; of one that was carried, through the stack as well."""
    geometry = record.study.geometry
    said = f"{label.name}: {area_in_words(*record.area(label.mask))} on {_where(record, label)}"
    same = [other for other in record.state.shown if other.drawn == label.drawn and other.mask.area]
    if len(same) > 1 and geometry.has_volume:
        ml = sum(other.mask.area for other in same) * geometry.voxel_mm3 / 1000
        said += f"; {volume_in_words(ml)} in the {len(same)} planes that have a mask of it"
    return f"{said}."


def _mean(record: Record, label: Label) -> str:
    if record.study.is_rgb:
        return f"{label.name}: the image has colours, so there is no one mean."
    values = np.asarray(record.study.pixels[label.plane], float)[label.mask.to_array()]
    unit = " HU" if record.study.modality == "CT" else ""
    return (
        f"{label.name}: mean {values.mean():,.1f}{unit}, standard deviation {values.std():,.1f}{unit} "
        f"in {values.size:,} pixels on {_where(record, label)}."
    )


def _axis(record: Record, label: Label, what: str) -> str:
    longest, short = axes(label.mask.to_array(), record.study.geometry)
    name, value = ("longest axis", longest) if what == "diameter" else ("short axis", short)
    return f"{label.name}: {name} {value:,.1f} mm on {_where(record, label)}."


def _distance(record: Record, labels: list[Label]) -> str:
    if len(labels) != 2:
        return "A distance is between two masks. Name both: “the distance between [1] and [2]”."
    one, other = labels
    points = [_points(label, record.study.geometry) for label in labels]
    nearest, _ = cKDTree(points[0]).query(points[1])
    touching = one.plane == other.plane and (one.mask.to_array() & other.mask.to_array()).any()
    value = 0.0 if touching else float(nearest.min())
    where = f"{_where(record, one)}, {_where(record, other)}"
    return f"{one.name} to {other.name}: {value:,.1f} mm between the nearest pixel centres ({where})."


def _points(label: Label, geometry: Geometry) -> NDArray[np.float64]:
    rows, columns = np.nonzero(label.mask.to_array())
    return geometry.index_to_world(
        np.stack([np.full(rows.size, label.plane), rows, columns], 1).astype(float)
    )


def _compare(record: Record, labels: list[Label]) -> str:
    if len(labels) < 2:
        return "A comparison needs two masks. Name both: “is [1] larger than [2]”."
    sizes = [record.area(label.mask) for label in labels]
    said = "\n".join(_size(record, label) for label in labels)
    order = sorted(range(len(labels)), key=lambda i: -sizes[i][0])
    first, last = order[0], order[-1]
    ratio = sizes[first][0] / sizes[last][0] if sizes[last][0] else float("inf")
    said += f"\nThe largest is {labels[first].name}, {ratio:.2f} times the area of {labels[last].name}."
    if len(labels) == 2 and labels[0].plane == labels[1].plane:
        a, b = (label.mask.to_array() for label in labels)
        shared = int((a & b).sum())
        of_one, of_other = 100 * shared / a.sum(), 100 * shared / b.sum()
        said += f" They share {of_one:.0f}% of {labels[0].name} and {of_other:.0f}% of {labels[1].name}."
    return said


def axes(mask: NDArray[np.bool_], geometry: Geometry) -> tuple[float, float]:
    """Return the longest line within the outline of a mask and the width across it, in mm.

    Parameters
    ----------
    mask : ndarray
        bool (H, W), not empty, of one plane.
    geometry : Geometry
        Of the study.
    """
    return tuple(line.length_mm for line in axis_lines(mask, geometry))


@dataclass(frozen=True)
class AxisLine:
    """A measured line on a plane.

    Parameters
    ----------
    ends : ((row, column), (row, column))
        Where it ends, in pixels of the plane, display order.
    length_mm : float
        How long it is.
    """

    ends: tuple[tuple[float, float], tuple[float, float]]
    length_mm: float


def axis_lines(mask: NDArray[np.bool_], geometry: Geometry) -> tuple[AxisLine, AxisLine]:
    """Return the longest line within the outline of a mask, and the width across it; as `axes`."""
    rows, columns = np.nonzero(mask & ~binary_erosion(mask))
    step = geometry.affine[:3, 1:3]
    down = step[:, 0] / np.linalg.norm(step[:, 0])
    across = step[:, 1] - down * (step[:, 1] @ down)
    frame = np.stack([down, across / np.linalg.norm(across)], 1)
    centres = np.stack([rows, columns], 1).astype(float)
    edges = np.array([(0.5, 0), (-0.5, 0), (0, 0.5), (0, -0.5)])
    to_mm = step.T @ frame
    points = (centres[:, None] + edges).reshape(-1, 2) @ to_mm
    with suppress(QhullError):
        points = points[ConvexHull(points).vertices]
    distances = squareform(pdist(points))
    one, other = np.unravel_index(int(distances.argmax()), distances.shape)
    line = (points[other] - points[one]) / distances[one, other]
    across = np.array([-line[1], line[0]])
    reach = points @ across
    middle = (points[reach.argmax()] @ line + points[reach.argmin()] @ line) / 2
    ends = [points[one], points[other]], [line * middle + across * r for r in (reach.min(), reach.max())]
    lengths = distances[one, other], reach.max() - reach.min()
    lines = (np.stack(pair) @ np.linalg.inv(to_mm) for pair in ends)
    return tuple(
        AxisLine(tuple(map(tuple, pair.tolist())), float(length))
        for pair, length in zip(lines, lengths, strict=True)
    )
