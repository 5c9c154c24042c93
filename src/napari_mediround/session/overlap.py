"""Who gets the pixels that two masks want. Knows no journal file."""

from __future__ import annotations

from collections.abc import Mapping

from napari_mediround.domain.mask import Mask
from napari_mediround.journal import State


def settle_overlaps(state: State, wanted: Mapping[int, Mask], overlap: str) -> dict[int, Mask]:
    """Return the masks of all labels that change when some are locked.

    Parameters
    ----------
    state : State
        Before.
    wanted : mapping of int to Mask
        Label values with the masks that they are to have.
    overlap : {"keep", "replace", "both"}
        Other locked masks keep their pixels; or lose them; or both masks are whole. Of those that are
        locked together the earlier keeps its pixels, unless both may.

    Returns
    -------
    dict of int to Mask
        The wanted ones, cut as need be, and those that lost pixels.
    """
    if overlap == "both":
        return dict(wanted)
    others = [label for label in state.shown if label.locked and label.value not in wanted]
    settled: dict[int, Mask] = {}
    for value, mask in wanted.items():
        plane, array = state.labels[value].plane, mask.to_array()
        firm = [settled[v] for v in settled if v in wanted and state.labels[v].plane == plane]
        firm += [o.mask for o in others if overlap == "keep" and o.plane == plane]
        for other in firm:
            array &= ~other.to_array()
        settled[value] = Mask.from_array(array)
        for other in others:
            left = settled.get(other.value, other.mask).to_array()
            if overlap == "replace" and other.plane == plane and (left & array).any():
                settled[other.value] = Mask.from_array(left & ~array)
    return settled
