"""What a structure is on each plane of the stack: accepted, fixed, proposed, doubtful. Knows no image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import LOW_QUALITY
from napari_mediround.journal import Label, State

STANDINGS = ("accepted", "fixed", "proposed", "doubtful")
LEAST_SHARED = 0.6
"""A mask that shares less (of the smaller) with each mask beside it is doubtful, whatever the judge said."""


@dataclass(frozen=True)
class PlaneMask:
    """The mask of a structure on one plane.

    Parameters
    ----------
    plane : int
        0-based, display order.
    value : int
        Label value.
    standing : str
        One of `STANDINGS`; "absent" where a person said that there is nothing.
    quality : float or None
        Judged, 0…1; None where a person drew it.
    trust : float
        Quality times what is shared with the mask beside it, 0…1: of doubtful planes the lowest is the worst.
    area : int
        In pixels.
    """

    plane: int
    value: int
    standing: str
    quality: float | None
    trust: float
    area: int


def planes_of(state: State, number: int) -> tuple[PlaneMask, ...]:
    """Return the masks of a structure, by its number, in the order of their planes; none that is rejected."""
    labels = {x.plane: x for x in state.shown if x.drawn == number and (x.mask.area or x.verdict)}
    return tuple(_judge(labels, plane) for plane in sorted(labels))


def doubtful_planes(state: State, number: int) -> tuple[PlaneMask, ...]:
    """Return the doubtful masks of a structure, the worst first."""
    doubtful = (mask for mask in planes_of(state, number) if mask.standing == "doubtful")
    return tuple(sorted(doubtful, key=lambda mask: (mask.trust, mask.plane)))


def doubtful_beside(state: State, number: int, plane: int) -> tuple[int, ...]:
    """Return the doubtful planes on both sides of a plane, up to the next one that a person judged."""
    masks = planes_of(state, number)
    judged = [m.plane for m in masks if m.standing in ("accepted", "fixed", "absent") and m.plane != plane]
    low = max((p for p in judged if p < plane), default=-1)
    high = min((p for p in judged if p > plane), default=None)
    return tuple(
        m.plane
        for m in masks
        if m.standing == "doubtful" and low < m.plane and (high is None or m.plane < high)
    )


def gaps_beside(state: State, number: int, plane: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of accepted planes, one of them this plane, with planes without a mask in between."""
    masks = {m.plane: m for m in planes_of(state, number) if m.area}
    firm = sorted(p for p, m in masks.items() if m.standing in ("accepted", "fixed"))
    if plane not in firm:
        return ()
    at = firm.index(plane)
    pairs = [
        *zip(firm[max(0, at - 1) : at], (plane,), strict=False),
        *((plane, p) for p in firm[at + 1 : at + 2]),
    ]
    return tuple((a, b) for a, b in pairs if any(p not in masks for p in range(a + 1, b)))


def _judge(labels: dict[int, Label], plane: int) -> PlaneMask:
    label = labels[plane]
    beside = [labels[p].mask for p in (plane - 1, plane + 1) if p in labels and labels[p].mask.area]
    shared = max((_shared(label.mask, other) for other in beside), default=1.0)
    quality = 1.0 if label.quality is None else label.quality
    if label.verdict:
        standing = (
            {"accepted": "accepted", "corrected": "fixed"}[label.verdict] if label.mask.area else "absent"
        )
    else:
        standing = "doubtful" if quality < LOW_QUALITY or shared < LEAST_SHARED else "proposed"
    return PlaneMask(plane, label.value, standing, label.quality, quality * shared, label.mask.area)


@lru_cache(maxsize=4096)
def _shared(one: Mask, other: Mask) -> float:
    """Return the pixels in common as a share of the smaller mask."""
    if not one.area:
        return 1.0
    return float((one.to_array() & other.to_array()).sum()) / min(one.area, other.area)
