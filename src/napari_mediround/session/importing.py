"""Masks from elsewhere become rounds of a conversation: named, judged, and in one step that can be undone.

A mask over several planes is one round where it shows best, and a carried one for each other plane, so that
questions, fixes, exports and lessons treat it as any other mask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Imported, Reference, Round, Target
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.domain.study import Study
from napari_mediround.domain.windows import choose_window, hash_image, render_plane
from napari_mediround.errors import MediRoundError, stop_if
from napari_mediround.session.record import Step
from napari_mediround.session.session import Session

SHOWS_WELL = 0.8
"""A mask is judged on a plane where it has at least this share of its largest area: several share a plane."""

NOTHING = "There is no mask to take: every structure is empty or left out."


@dataclass(frozen=True, eq=False)
class Taken:
    """One mask that comes in.

    Parameters
    ----------
    name : str
        The structure, as the conversation calls it.
    masks : mapping of int to Mask
        On each plane where it shows, 0-based, display order.
    source : Imported
        Where it came from.
    quality : float or None
        Judged on `plane`; None where nothing judged it.
    plane : int
        Where it shows best.
    """

    name: str
    masks: Mapping[int, Mask]
    source: Imported
    plane: int
    quality: float | None = None


def take_masks(
    volume: LabelledVolume,
    study: Study,
    names: Mapping[int, str],
    source_of: Callable[[Segment], Imported],
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Taken, ...]:
    """Return the masks of a volume that have a name, those without a voxel left out.

    Parameters
    ----------
    volume : LabelledVolume
        On the study's source grid.
    study : Study
        The image.
    names : mapping of int to str
        What each label value is called; a value without a name is left out.
    source_of : callable
        Takes a segment, returns where it came from.
    cancelled : callable, optional
        Asked between masks; True stops the work.

    Raises
    ------
    MediRoundError
        When nothing is left.
    CancelledError
        When `cancelled` said so.
    ValueError
        When the volume is not on the study's grid.
    """
    if volume.geometry.shape != study.source_geometry.shape:
        raise ValueError("the masks are not on the grid of the study")
    found: list[tuple[Segment, dict[int, Mask]]] = []
    for segment in volume.segments:
        stop_if(cancelled)
        if names.get(segment.value) and volume.voxels(segment):
            found.append((segment, _by_plane(study.order.apply(volume.mask(segment)))))
    if not found:
        raise MediRoundError(NOTHING)
    planes = _shared_planes([masks for _, masks in found])
    return tuple(
        Taken(names[segment.value], masks, source_of(segment), plane)
        for (segment, masks), plane in zip(found, planes, strict=True)
    )


def _by_plane(shown: NDArray[np.bool_]) -> dict[int, Mask]:
    planes = np.flatnonzero(shown.any((1, 2)))
    return {int(plane): Mask.from_array(shown[plane]) for plane in planes}


def _shared_planes(masks: list[dict[int, Mask]]) -> list[int]:
    """Return for each mask a plane that shows it well; few planes in all, as each has to be encoded."""
    good: list[set[int]] = []
    for own in masks:
        least = SHOWS_WELL * max(mask.area for mask in own.values())
        good.append({plane for plane, mask in own.items() if mask.area >= least})
    chosen: dict[int, int] = {}
    while len(chosen) < len(masks):
        waiting = [k for k in range(len(masks)) if k not in chosen]
        planes = {plane for k in waiting for plane in good[k]}
        areas = {p: [masks[k][p].area for k in waiting if p in good[k]] for p in planes}
        best = max(planes, key=lambda plane: (len(areas[plane]), sum(areas[plane])))
        chosen |= {k: best for k in waiting if best in good[k]}
    return [chosen[k] for k in range(len(masks))]


def judge_taken(
    session: Session,
    taken: tuple[Taken, ...],
    report: Callable[[int, int], object] = lambda done, steps: None,
    cancelled: Callable[[], bool] | None = None,
) -> tuple[Taken, ...]:
    """Return masks with the quality that the model judges, each on its best plane.

    Parameters
    ----------
    session : Session
        Whose model judges.
    taken : tuple of Taken
        What comes in.
    report : callable
        Told how many masks are judged, and how many there are.
    cancelled : callable, optional
        Asked between masks; True stops the work.
    """
    judged: dict[int, Taken] = {}
    places = [(one.plane, choose_window(session.study, _question(one.name))) for one in taken]
    shown = None
    for done, k in enumerate(sorted(range(len(taken)), key=lambda k: (places[k][0], str(places[k][1])))):
        stop_if(cancelled)
        report(done, len(taken))
        one, here = taken[k], places[k]
        if here != shown:
            session.prepare(*here)
            shown = here
        judged[k] = replace(one, quality=session.segmenter.judge(one.masks[one.plane], one.name))
    return tuple(judged[k] for k in range(len(taken)))


def make_rounds(session: Session, taken: tuple[Taken, ...]) -> tuple[Round, ...]:
    """Return the rounds that take masks into a conversation, in the order that `take_import` wants."""
    study = session.study
    first = len(session.conversation) + 1

    @cache
    def key(plane: int, window: str | None) -> str:
        return hash_image(render_plane(study, plane, window))

    rounds = list(_on_best_planes(taken, study, key, first))
    for number, one in enumerate(taken):
        window = choose_window(study, _question(one.name))
        for plane in sorted(set(one.masks) - {one.plane}):
            target = Target(one.name, one.masks[plane], None)
            answer = Answer("Imported.", (target,), image=key(plane, window))
            about = (Reference(first + number),)
            rounds.append(Round(first + len(rounds), plane, _question(one.name), about, answer, carried=True,
                                imported=one.source))  # fmt: skip
    return tuple(rounds)


def _on_best_planes(
    taken: tuple[Taken, ...], study: Study, key: Callable[[int, str | None], str], first: int
) -> Iterator[Round]:
    for number, one in enumerate(taken, first):
        text = _question(one.name)
        target = Target(one.name, one.masks[one.plane], one.quality)
        image = key(one.plane, choose_window(study, text))
        yield Round(
            number, one.plane, text, (), Answer(_said(one), (target,), image=image), imported=one.source
        )


def import_taken(session: Session, taken: tuple[Taken, ...], model: Mapping[str, str] | None = None) -> Step:
    """Take masks into a conversation, in one step.

    `model` is what judged them, as it describes itself; None or nothing where nothing did.

    Raises
    ------
    JournalError
        When it could not be saved.
    """
    return session.take_import(make_rounds(session, taken), model)


def _question(name: str) -> str:
    """Return what would have asked for a mask, for the model and for what it learns: not on the screen."""
    return f"Segment the {name}"


def _said(one: Taken) -> str:
    count = len(one.masks)
    where = "on one plane" if count == 1 else f"on {count} planes, {min(one.masks)} to {max(one.masks)}"
    return f"Imported: {one.name}, {where}."
