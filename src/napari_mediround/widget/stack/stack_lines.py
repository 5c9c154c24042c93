"""What a card says of a structure on several planes, and what can be done with all of them. Values only."""

from __future__ import annotations

from dataclasses import dataclass, replace

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.units import volume_in_words
from napari_mediround.journal import State
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session.stack.standing import PlaneMask, planes_of
from napari_mediround.widget.chat.view import KEYS, Action, MaskLine, RibbonPlane


@dataclass(frozen=True)
class AcceptAll:
    """Accept masks, by their label values, in one step."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class RejectAll:
    """Reject masks, by their label values, in one step."""

    values: tuple[int, ...]


@dataclass(frozen=True)
class NextDoubtful:
    """Go to the worst of the doubtful planes of a structure, by its number."""

    number: int


@dataclass(frozen=True)
class Follow:
    """Follow structures through the stack."""

    plan: StackBegun


@dataclass(frozen=True)
class GoOn:
    """Go on with what was being followed, or end it."""

    ends: bool = False


def add_planes(line: MaskLine, state: State, geometry: Geometry) -> MaskLine:
    """Return the line of a mask with all planes of its structure, where it has several."""
    masks = planes_of(state, line.number)
    if len(masks) < 2:
        return line
    total = sum(mask.area for mask in masks)
    size = volume_in_words(total * geometry.voxel_mm3 / 1000) if geometry.has_volume else f"{total:,} voxels"
    judged = {mask.standing for mask in masks}
    verdict = "" if judged & {"proposed", "doubtful"} else "corrected" if "fixed" in judged else "accepted"
    ribbon = tuple(RibbonPlane(m.plane, m.value, m.standing, m.quality) for m in masks)
    return replace(
        line, area=size, volume="", verdict=verdict, ribbon=ribbon, planes=geometry.shape[0],
        corrected=False, actions=tuple(_actions(line.number, masks)),
    )  # fmt: skip


def _actions(number: int, masks: tuple[PlaneMask, ...]):
    sure = tuple(mask.value for mask in masks if mask.standing == "proposed")
    doubtful = [mask for mask in masks if mask.standing == "doubtful"]
    if sure:
        words = f"Accept {len(sure)} sure" if doubtful else f"Accept all {len(sure)}"
        hint = "Accept each plane that is neither judged nor doubtful, in one step"
        yield Action(words, AcceptAll(sure), hint)
    if doubtful:
        hint = f"Go to the plane that needs a look most ({KEYS['doubtful']})"
        yield Action("Next doubtful", NextDoubtful(number), hint)
    if len(sure) + len(doubtful) > 1:
        values = (*sure, *(mask.value for mask in doubtful))
        yield Action("Reject all", RejectAll(values), "Reject each plane that nobody judged, in one step")
