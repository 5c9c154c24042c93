"""Checks of a conversation's masks, and the fixes that they offer, each one step that can be undone."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.checks import CHECKS, Finding, Shape
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.judged import PROPOSAL, JudgedMask
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.recipes import Recipe
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.journal.edits import MaskEdited
from napari_mediround.journal.entries import Mark
from napari_mediround.session.checking import check_shapes
from napari_mediround.session.editing import WorkedOut
from napari_mediround.session.record import Step
from napari_mediround.session.session import Session

_OPERATIONS = {
    "islands": "islands", "holes": "fill", "gap": "between", "parent": "clip", "overlap": "subtract",
    "swapped": "exchange", "exchanged": "exchange", "side": "exchange",
}  # fmt: skip
STALE = "The masks have changed since they were checked. They are checked again."


def shapes_of_masks(masks: Iterable[JudgedMask], extent: tuple[int, int, int]) -> tuple[Shape, ...]:
    """Return the structures that masks make together, by their numbers; empty ones are left out."""
    groups: dict[int, list[JudgedMask]] = {}
    for mask in masks:
        if mask.mask.area:
            groups.setdefault(mask.value, []).append(mask)
    return tuple(_shape(number, own, extent) for number, own in sorted(groups.items()))


def _shape(number: int, masks: Sequence[JudgedMask], extent: tuple[int, int, int]) -> Shape:
    boxes = np.array([mask.mask.box_xyxy for mask in masks])
    planes = [mask.plane for mask in masks]
    low = np.maximum([min(planes), *boxes[:, [1, 0]].min(0)], 1) - 1
    high = np.minimum([max(planes) + 2, *boxes[:, [3, 2]].max(0) + 1], extent)
    inner = np.zeros(high - low, bool)
    for mask in masks:
        inner[mask.plane - low[0]] |= mask.mask.to_array()[low[1] : high[1], low[2] : high[2]]
    locked = all(mask.verdict != PROPOSAL for mask in masks)
    first = tuple(int(n) for n in low)
    return Shape(number, masks[0].name, inner, first, extent, locked)


def check_session(session: Session) -> tuple[Finding, ...]:
    """Return what is doubtful about the masks that a conversation shows.

    A mask on one plane of a stack is no volume yet, so its size says nothing.
    """
    geometry = session.study.geometry
    shapes = shapes_of_masks(session.judged_masks(), geometry.shape)
    lone = {shape.number for shape in shapes if shape.inner.any((1, 2)).sum() == 1}
    found = check_shapes(shapes, geometry, load_anatomy())
    return tuple(f for f in found if f.check != "size" or not lone.issuperset(f.numbers))


def check_volume(volume: LabelledVolume) -> tuple[Finding, ...]:
    """Return what is doubtful about masks that are to leave; their own grid's planes count."""
    shapes = [
        Shape.of(s.value, s.name, volume.mask(s), s.verdict in ("accepted", "corrected"))
        for s in volume.segments
        if volume.voxels(s)
    ]
    return check_shapes(shapes, volume.geometry, load_anatomy())


def describe_checks(findings: Sequence[Finding], geometry: Geometry) -> tuple[str, ...]:
    """Return lines for a receipt: what was checked, and what was found."""
    placed = geometry.oriented and geometry.calibrated
    lacking = [] if placed else ["side", "swapped", "partner", "exchanged"]
    lacking += [] if geometry.has_volume and geometry.shape[0] > 1 else ["size", "gap"]
    done = [words for check, words in CHECKS.items() if check not in lacking]
    lines = [f"Checked: {', '.join(done)}."]
    if lacking:
        left = ", ".join(CHECKS[check] for check in dict.fromkeys(lacking))
        lines.append(f"Not checked, as the image does not tell enough: {left}.")
    found = [f"Check: {finding.text}" for finding in findings]
    return (*lines, *(found or ["The checks found nothing."]))


def mend(session: Session, finding: Finding) -> Step | None:
    """Do what a finding offers, as one step; None where nothing changes.

    Parameters
    ----------
    session : Session
        Whose masks were checked.
    finding : Finding
        With a fix of masks or names.

    Raises
    ------
    MediRoundError
        When the masks are others by now.
    JournalError
        When it could not be saved.
    """
    fix = finding.fix
    others = tuple(n for n in finding.numbers[1:] if finding.check in ("parent", "overlap"))
    recipe = Recipe(_OPERATIONS[finding.check], others=others)
    if len(fix.names) == 1:
        ((number, name),) = fix.names
        return session.rename(number, name)
    marks: list[Mark] = []
    rounds: tuple = ()
    for shape in fix.masks:
        labels = session.planes_of(shape.number)
        whole = {plane: shape.at(_plane_box(plane, shape.extent))[0] for plane in _planes(shape)}
        for plane, label in sorted(labels.items()):
            after = Mask.from_array(whole.pop(plane, np.zeros(label.mask.shape, bool)))
            changed = int((label.mask.to_array() != after.to_array()).sum())
            if changed:
                marks.append(Mark(label.value, label.mask, after, changed))
        rounds += session.reached(shape.number, recipe, whole)
    state = session.state
    names = tuple(
        (label.value, name)
        for number, name in fix.names
        for label in state.labels.values()
        if label.drawn == number
    )
    entry = MaskEdited(recipe, tuple(marks), (), rounds, 0, names)
    return session.take_edit(WorkedOut(entry, finding.text)) if marks or rounds or names else None


def _planes(shape: Shape) -> list[int]:
    return [shape.first[0] + int(k) for k in np.flatnonzero(shape.inner.any((1, 2)))]


def _plane_box(plane: int, extent: tuple[int, int, int]) -> tuple[slice, slice, slice]:
    return slice(plane, plane + 1), slice(0, extent[1]), slice(0, extent[2])
