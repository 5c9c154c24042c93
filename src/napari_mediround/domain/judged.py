"""A mask of a conversation with what a person said of it, ready to leave. Values only."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Imported
from napari_mediround.domain.segments import AUTOMATIC, MANUAL, SEMIAUTOMATIC

PROPOSAL = "proposal"
"""What a mask is called that nobody judged."""

Key = tuple[int, bool]
"""A label value, and whether its masks that nobody judged are meant, or those that somebody did."""


@dataclass(frozen=True)
class JudgedMask:
    """One mask on one plane.

    Parameters
    ----------
    value : int
        The number that label arrays show.
    name : str
        The structure.
    plane : int
        0-based, display order.
    mask : Mask
        As it is now.
    origin : {"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"}
        Untouched, fixed or drawn.
    verdict : {"proposal", "accepted", "corrected"}
        What a person said.
    quality : float or None
        Judged by the model, 0…1; None where that is not known.
    imported : Imported, optional
        Where it came from, when no model drew it.
    """

    value: int
    name: str
    plane: int
    mask: Mask
    origin: str
    verdict: str
    quality: float | None
    imported: Imported | None = None

    @property
    def key(self) -> Key:
        """Under which row of a list it stands."""
        return self.value, self.verdict == PROPOSAL


@dataclass(frozen=True)
class MaskRow:
    """The masks of one value that were judged, or those that were not, as one row of a list.

    Parameters
    ----------
    value, name, origin, verdict, quality
        As in `JudgedMask`; the origin of all its planes together, the lowest quality.
    planes : int
        How many planes it is on.
    imported : Imported, optional
        Where it came from, when no model drew it.
    """

    value: int
    name: str
    origin: str
    verdict: str
    quality: float | None
    planes: int
    imported: Imported | None = None

    @property
    def key(self) -> Key:
        """Which masks it stands for."""
        return self.value, self.verdict == PROPOSAL

    def __str__(self) -> str:
        sure = "" if self.quality is None else f", quality {self.quality:.2f}"
        count = "1 plane" if self.planes == 1 else f"{self.planes} planes"
        return f"{self.value} {self.name} ({self.verdict}{sure}, {count})"


def make_rows(masks: Iterable[JudgedMask]) -> tuple[MaskRow, ...]:
    """Return the rows of masks that show something, by value, judged ones first."""
    groups: dict[Key, list[JudgedMask]] = {}
    for mask in masks:
        if mask.mask.area:
            groups.setdefault(mask.key, []).append(mask)
    return tuple(_row(groups[key]) for key in sorted(groups))


def _row(masks: list[JudgedMask]) -> MaskRow:
    first, verdicts = masks[0], {mask.verdict for mask in masks}
    verdict = first.verdict if len(verdicts) == 1 else "corrected"
    known = [mask.quality for mask in masks if mask.quality is not None]
    planes = len({mask.plane for mask in masks})
    origin = join_origins(mask.origin for mask in masks)
    return MaskRow(first.value, first.name, origin, verdict, min(known, default=None), planes, first.imported)


def join_origins(origins: Iterable[str]) -> str:
    """Return how masks came to be together: what all of them are, or fixed."""
    found = set(origins)
    return found.pop() if len(found) == 1 else SEMIAUTOMATIC


def draw_masks(
    masks: Iterable[JudgedMask], shape: tuple[int, int, int], chosen: Collection[Key] | None = None
) -> NDArray[np.uint16]:
    """Return label values (plane, row, column), display order; first come, first drawn; `None` is all."""
    drawn = np.zeros(shape, np.uint16)
    for mask in masks:
        if chosen is None or mask.key in chosen:
            plane = drawn[mask.plane]
            plane[mask.mask.to_array() & (plane == 0)] = mask.value
    return drawn


def origin_after_fix(before: str, was: Mask, now: Mask, prompted: bool) -> str:
    """Return the origin of a mask that a person mended: drawn, where nothing of a model's is in it.

    Parameters
    ----------
    before : str
        Origin until then.
    was, now : Mask
        Before and after.
    prompted : bool
        Whether the model answered to clicks or a box.
    """
    drawn = before == MANUAL or not (was.to_array() & now.to_array()).any()
    return MANUAL if drawn and not prompted else SEMIAUTOMATIC


def first_origin(model: object) -> str:
    """Return the origin of a mask as it came: a model's, or somebody's where none is named."""
    return AUTOMATIC if model else MANUAL
