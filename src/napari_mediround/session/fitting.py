"""How well places and sizes of structures fit names. Arrays in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.sizes import Usual

MOST_OFF = 25.0
"""Squared standard deviations that one coordinate counts at most: one wrong mask does not decide over all."""


class Fit:
    """The cost of giving structures certain names, in squared standard deviations.

    The middle from which places are measured is fitted for each order of names.

    Parameters
    ----------
    centres : ndarray
        (N, 3) LPS mm.
    log_ml : ndarray
        (N,) logarithms of the volumes.
    whole : ndarray
        bool (N,): whether the image shows all of it, so that its volume counts.
    usual : sequence of Usual
        Of the name that each has.
    """

    def __init__(
        self, centres: NDArray, log_ml: NDArray, whole: NDArray[np.bool_], usual: Sequence[Usual]
    ) -> None:
        self._centres, self._sizes, self._whole = centres, log_ml, whole
        self._places = np.array([u.centre_mm for u in usual])
        self._weights = np.array([u.spread_mm for u in usual]) ** -2.0
        self._logs = np.array([u.log_ml for u in usual])
        self._spreads = np.array([u.log_spread for u in usual])

    def cost(self, order: NDArray) -> float:
        """Return the cost where structure k has the name of structure `order[k]`."""
        off, weights = self._centres - self._places[order], self._weights[order]
        middle = (off * weights).sum(0) / weights.sum(0)
        places = np.minimum((off - middle) ** 2 * weights, MOST_OFF)
        sizes = np.minimum(((self._sizes - self._logs[order]) / self._spreads[order]) ** 2, MOST_OFF)
        return float(places.sum() + (sizes * self._whole).sum())

    def gains(self) -> Iterator[tuple[float, int, int]]:
        """Yield how much less it costs where two structures exchange their names, and which two."""
        order = np.arange(len(self._sizes))
        own = self.cost(order)
        for one, other in combinations(range(len(order)), 2):
            order[[one, other]] = other, one
            yield own - self.cost(order), one, other
            order[[one, other]] = one, other
