"""The outline of a mask as closed lines, halfway between the pixels inside and outside.

A hole is part of the line around it: the line runs in through a channel of no width and out again (the
"keyhole" of PS3.3 C.8.8.6.3). So programs that unite lines, that count crossings, and that follow the winding
all leave it open, and none must know `CLOSEDPLANAR_XOR`. Channels run between rows of pixels, where no centre
of a pixel lies.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.measure import find_contours

Point = tuple[float, float]


def outline_mask(mask: NDArray[np.bool_]) -> list[NDArray[np.float64]]:
    """Return the lines around a mask, one for each part of it, its holes included.

    Parameters
    ----------
    mask : ndarray
        bool (row, column), not empty. Parts touch along pixel edges, holes also at corners.

    Returns
    -------
    list of ndarray
        Each (point, 2), (row, column), at least four points, the first not repeated at the end. Points on a
        straight line are left out; nothing else is simplified.
    """
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    first = rows[0], columns[0]
    box = np.pad(mask[first[0] : rows[-1] + 1, first[1] : columns[-1] + 1], 1)
    lines = [[tuple(p) for p in line[:-1]] for line in find_contours(box.astype(np.float32), 0.5)]
    outer = [line for line in lines if not _is_hole(line, box)]
    holes = [(_top_left(line), line) for line in lines if _is_hole(line, box)]
    for start, hole in sorted(holes, key=lambda found: found[0]):
        _open(outer, start, hole, box)
    return [_straighten(line) - 1 + first for line in outer]


def _is_hole(line: list[Point], box: NDArray[np.bool_]) -> bool:
    """Return whether a line goes around background: below its topmost point none is mask."""
    row, column = _top_left(line)
    return not box[int(row + 0.5), int(column)]


def _top_left(line: list[Point]) -> Point:
    """Return the leftmost of the topmost points: halfway between a pixel inside and one outside above it."""
    return min(line)


def _open(outer: list[list[Point]], start: Point, hole: list[Point], box: NDArray[np.bool_]) -> None:
    """Put a hole into the line that a channel to the left of its first point meets.

    What the channel meets is an outer line, or a hole further up or to the left, which is part of one.
    """
    end, between = _meet(start, box)
    line = next(line for line in outer if (end if between is None else between[0]) in line)
    if between is None:
        at = line.index(end)
    else:
        at = line.index(between[0])
        after = line[(at + 1) % len(line)] == between[1]
        at = at + 1 if after else at
        line.insert(at, end)
    turn = hole.index(start)
    line[at + 1 : at + 1] = [*hole[turn:], *hole[:turn], start, end]


def _meet(start: Point, box: NDArray[np.bool_]) -> tuple[Point, tuple[Point, Point] | None]:
    """Return where a channel from `start` to the left ends: at a point of a line, or between two."""
    row, column = start
    above, below = int(row - 0.5), int(row + 0.5)
    at = int(column) - 1
    while box[above, at] and box[below, at]:
        at -= 1
    if box[above, at] or box[below, at]:
        return (row, float(at)), None
    middle = at + 0.5
    return (row, middle), ((float(above), middle), (float(below), middle))


def _straighten(line: list[Point]) -> NDArray[np.float64]:
    """Return a closed line without the points at which it goes straight on."""
    points = np.array(line)
    before, after = points - np.roll(points, 1, 0), np.roll(points, -1, 0) - points
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    onward = (before * after).sum(1)
    return points[(turns != 0) | (onward <= 0)]
