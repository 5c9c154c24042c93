"""What a labelled plane shows of where structures lie. Counts pixels; knows no names.

Every function returns None rather than a guess: what is nearly as true of a second structure is not said.
Label maps are int (row, column), 0 is background.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

UP, DOWN, LEFT, RIGHT = (-1, 0), (1, 0), (0, -1), (0, 1)
_LEFT_RIGHT = {RIGHT: "left", LEFT: "right"}
_UP_DOWN = {UP: "above", DOWN: "below"}
DIRECTIONS = {
    "axial": _LEFT_RIGHT | {UP: "front", DOWN: "behind"},
    "coronal": _LEFT_RIGHT | _UP_DOWN,
    "sagittal": _UP_DOWN | {LEFT: "front", RIGHT: "behind"},
    "": {UP: "image_above", DOWN: "image_below"},
}
"""What the directions of the image are called on each plane in display order; "" is one of unknown sides."""


def count_areas(label_map: NDArray[np.integer]) -> dict[int, int]:
    """Return pixels for each value but 0 of an int map (row, column)."""
    values, counts = np.unique(label_map, return_counts=True)
    return {int(v): int(c) for v, c in zip(values, counts, strict=True) if v}


def find_neighbour(
    label_map: NDArray[np.integer],
    value: int,
    direction: tuple[int, int],
    reach: float = 0.06,
    least: float = 0.5,
    clear: float = 0.8,
    further: bool = True,
) -> int | None:
    """Return the label that one meets first when leaving `value` in a direction of the image.

    Parameters
    ----------
    label_map : NDArray of int (row, column)
    value : int
        Label to start from.
    direction : {UP, DOWN, LEFT, RIGHT}
        (row, column) step.
    reach : float
        Widest gap allowed, as a part of the map's extent in that direction.
    least, clear : float
        Shares of the lines that leave `value`, and of those that meet any label.
    further : bool
        Whether the label's centre must lie further in that direction.

    Returns
    -------
    int or None
        A label met by at least both of these shares; None when there is no such label.
    """
    turned = label_map if direction[1] else label_map.T
    turned = turned[:, ::-1] if -1 in direction else turned
    mask = turned == value
    rows = np.flatnonzero(mask.any(1))
    if not rows.size:
        return None
    edges = turned.shape[1] - np.argmax(mask[rows, ::-1], axis=1)
    gap = max(2, round(reach * turned.shape[1]))
    met = [_first(turned[row, edge : edge + gap]) for row, edge in zip(rows, edges, strict=True)]
    winner, votes, hits = _winner(np.array(met))
    if votes < least * len(rows) or votes < clear * hits:
        return None
    if further and np.nonzero(turned == winner)[1].mean() <= np.nonzero(mask)[1].mean():
        return None
    return winner


def find_between(
    label_map: NDArray[np.integer], one: int, other: int, least: float = 1 / 3, clear: float = 0.8
) -> int | None:
    """Return the only label on the line between the centres of two labels, or None.

    It must fill `least` of what the line crosses outside the two, and `clear` of the labelled part of that.
    """
    ends = [np.array([axis.mean() for axis in np.nonzero(label_map == value)]) for value in (one, other)]
    if any(np.isnan(end).any() for end in ends):
        return None
    steps = int(np.abs(ends[1] - ends[0]).max()) + 1
    points = np.linspace(ends[0], ends[1], steps).round().astype(int)
    crossed = label_map[points[:, 0], points[:, 1]]
    crossed = crossed[(crossed != one) & (crossed != other)]
    winner, votes, hits = _winner(crossed)
    return winner if votes >= 3 and votes >= clear * hits and votes >= least * crossed.size else None


def find_largest_on_side(label_map: NDArray[np.integer], direction: tuple[int, int]) -> int | None:
    """Return the largest label that lies wholly LEFT or RIGHT in the image; None when that is not clear.

    The middle is that of everything labelled. A label counts when 95 % of it lies on that side; no other
    label may have more than 80 % of its area there.
    """
    columns = np.flatnonzero(label_map.any(0))
    if not columns.size:
        return None
    middle = (columns[0] + columns[-1] + 1) // 2
    half = label_map[:, middle:] if direction == RIGHT else label_map[:, :middle]
    here, everywhere = count_areas(half), count_areas(label_map)
    ranked = sorted(here, key=here.get, reverse=True)
    if not ranked or here[ranked[0]] < 0.95 * everywhere[ranked[0]]:
        return None
    runner_up = here[ranked[1]] if len(ranked) > 1 else 0
    return ranked[0] if runner_up <= 0.8 * here[ranked[0]] else None


def _first(line: NDArray[np.integer]) -> int:
    """Return the first label along a line, 0 when there is none."""
    labelled = np.flatnonzero(line)
    return int(line[labelled[0]]) if labelled.size else 0


def _winner(values: NDArray[np.integer]) -> tuple[int, int, int]:
    """Return the most frequent label but 0, how often it occurs, and how many values are no background."""
    counts = count_areas(values)
    if not counts:
        return 0, 0, 0
    winner = max(counts, key=counts.get)
    return winner, counts[winner], sum(counts.values())
