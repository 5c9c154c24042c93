"""Closed contours of one plane to pixels, as DICOM means them. Knows no file and no patient.

A pixel belongs to a contour when its centre is inside; one line that runs out and back along a keyhole leaves
its hole open. What several contours mean depends on their type:

- `CLOSED_PLANAR`: one inside another is a hole, one inside a hole is an island; the same one twice counts
  once; those that cross or touch are one region, as are those apart.
- `CLOSEDPLANAR_XOR`: a pixel belongs when an odd number of contours enclose it.

References
----------
DICOM PS3.3 C.8.8.6.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from skimage.draw import polygon
from skimage.measure import points_in_poly

TOLERANCE = 0.1
"""Pixels by which a contour may leave another that it lies in: coordinates are rounded."""

_STEP = 0.1  # pixels between points along a contour; half of it is the error of a distance
_MOST_POINTS = 20_000


def fill_contours(
    shape: tuple[int, int], closed: Sequence[NDArray], exclusive: Sequence[NDArray] = ()
) -> NDArray[np.bool_]:
    """Return the pixels (row, column) that the contours of one structure on one plane enclose.

    Parameters
    ----------
    shape : tuple of int
        (row, column).
    closed, exclusive : sequence of ndarray
        Contours of the type `CLOSED_PLANAR`, and of `CLOSEDPLANAR_XOR`: each (point, 2), (row, column) of at
        least three points; the last is joined to the first. They may reach out of the plane.
    """
    plane = np.zeros(shape, bool)
    for depth, outlines in enumerate(_by_depth(closed)):
        for outline in outlines:
            plane[_inside(shape, outline)] = depth % 2 == 0
    for outline in exclusive:
        plane[_inside(shape, outline)] ^= True
    return plane


def _inside(shape: tuple[int, int], outline: NDArray) -> tuple[NDArray, NDArray]:
    return polygon(outline[:, 0], outline[:, 1], shape)


@dataclass(frozen=True, eq=False)
class _Line:
    """A contour, its box, and points along it."""

    outline: NDArray[np.float64]
    points: NDArray[np.float64]
    tree: cKDTree

    def reach(self, other: _Line) -> tuple[float, float]:
        """Return how far this line goes into another's region, and how far out of it, in pixels."""
        distance = other.tree.query(self.points)[0]
        inside = points_in_poly(self.points, other.outline)
        return distance[inside].max(initial=0.0), distance[~inside].max(initial=0.0)


def _by_depth(outlines: Sequence[NDArray]) -> list[list[NDArray]]:
    """Return contours by the number of regions that they lie in; of equal ones the first."""
    if len(outlines) < 2:
        return [list(outlines)]
    lines = [_make_line(outline) for outline in outlines]
    within, crossing = _relate(lines)
    # Of two that lie in each other the later one counts no more.
    kept = [k for k in range(len(lines)) if not (within[k, :k] & within[:k, k]).any()]
    region = {k: k for k in kept}
    for k in kept:
        for other in kept:
            if crossing[k, other] and region[k] != region[other]:
                old, new = region[other], region[k]
                region = {key: new if value == old else value for key, value in region.items()}
    depths = []
    for k in kept:
        members = [m for m in kept if region[m] == region[k]]
        around = {region[o] for m in members for o in kept if within[m, o]} - {region[k]}
        depths.append(len(around))
    return [
        [outlines[k] for k, own in zip(kept, depths, strict=True) if own == depth]
        for depth in range(max(depths) + 1)
    ]


def _make_line(outline: NDArray) -> _Line:
    steps = np.roll(outline, -1, axis=0) - outline
    lengths = np.linalg.norm(steps, axis=1)
    step = max(_STEP, lengths.sum() / _MOST_POINTS)
    counts = np.maximum(np.ceil(lengths / step), 1).astype(int)
    edge = np.repeat(np.arange(len(outline)), counts)
    share = (np.arange(len(edge)) - (np.cumsum(counts) - counts)[edge]) / counts[edge]
    points = outline[edge] + share[:, None] * steps[edge]
    return _Line(outline, points, cKDTree(points))


def _relate(lines: Sequence[_Line]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return, for each pair, whether the first lies in the second, and whether their regions cross."""
    low = np.array([line.outline.min(axis=0) for line in lines]) - TOLERANCE
    high = np.array([line.outline.max(axis=0) for line in lines]) + TOLERANCE
    near = ((low[:, None] <= high) & (low <= high[:, None])).all(axis=-1)
    within, crossing = np.zeros((2, len(lines), len(lines)), bool)
    for first, second in np.argwhere(np.triu(near, 1)):
        into, out = lines[first].reach(lines[second])
        into_first, out_first = lines[second].reach(lines[first])
        within[first, second], within[second, first] = out <= TOLERANCE, out_first <= TOLERANCE
        meet = max(into, into_first) > TOLERANCE and min(out, out_first) > TOLERANCE
        crossing[first, second] = crossing[second, first] = meet
    return within, crossing
