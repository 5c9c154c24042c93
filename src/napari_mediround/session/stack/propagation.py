"""Follow structures through the stack, plane by plane: which planes, from which mask, and when to stop.

One loop for the dock and the command line: `find` computes the next plane and changes nothing, so that it may
run on another thread; `take` adds what it found. Where the loop stands is read off the record, so a run goes
on after a restart. Knows no torch and no Qt.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from time import perf_counter
from typing import TYPE_CHECKING

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Round, Target
from napari_mediround.domain.windows import choose_window
from napari_mediround.errors import stop_if
from napari_mediround.journal import Label
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session.record import Step
from napari_mediround.session.stack.shape_between import shape_between

if TYPE_CHECKING:
    from napari_mediround.session.session import Session

Window = str | tuple[float, float] | None

CARRY_QUALITY = 0.4
"""A propagated mask that is judged lower is not taken."""
CARRY_OVERLAP = 0.4
"""Least Dice of a propagated mask with the one a plane before."""
PROBES = 8
"""Planes that are looked at for a structure that is not on the plane at hand."""


@dataclass(frozen=True)
class Found:
    """One mask on the next plane, or why there is none.

    Parameters
    ----------
    number : int
        Of the structure.
    source : int
        Label value of the mask that it was propagated from.
    origin : int
        Plane of the mask, from before the run, where its way began.
    target : Target or None
        The mask; None where the structure is not followed further.
    why : str
        In words why not.
    """

    number: int
    source: int
    origin: int = 0
    target: Target | None = None
    why: str = ""


@dataclass(frozen=True)
class PlaneFound:
    """What was found on one plane.

    Parameters
    ----------
    plane : int
        0-based, display order.
    step : int
        1 up the stack, -1 down, 0 where the structures were looked for.
    found : tuple of Found
        One for each structure that was followed to this plane.
    image : str
        Key of the plane.
    window : str, (level, width) or None
        In which it was looked at.
    seconds : float
        For computing it.
    """

    plane: int
    step: int
    found: tuple[Found, ...]
    image: str
    window: Window
    seconds: float


@dataclass(frozen=True)
class Way:
    """How a structure comes to a plane.

    Parameters
    ----------
    source : Label
        The mask that it is propagated from.
    origin : int
        Plane of the mask, of those from before the run, where its way began.
    between : tuple of Label
        The masks from before the run on both sides; empty where there are not two.
    """

    source: Label
    origin: int
    between: tuple[Label, ...] = ()


class Propagation:
    """Structures on their way through the stack.

    Each goes from the planes that have a mask of it to the planes that have none, up the stack and then
    down; between two masks the nearer one decides. Planes are left alone that have a mask already, but for
    those in `plan.planes`, whose proposals are made anew.

    Parameters
    ----------
    session : Session
        Whose structures.
    plan : StackBegun
        Which structures and planes.
    batch : int
        As `Record.begin_stack` returned it: by its rounds the run is known after a restart, and undone.

    Attributes
    ----------
    stops : dict of (int, int, int) to str
        Why a structure is not followed further: by its number, the direction and the plane it came from.
    """

    def __init__(self, session: Session, plan: StackBegun, batch: int) -> None:
        self.session, self.plan, self.batch = session, plan, batch
        self.stops: dict[tuple[int, int, int], str] = {}
        self._done = {label.plane for number in plan.numbers for label in self._masks(number)[1].values()}
        self._probed: set[int] = set()

    @classmethod
    def begin(cls, session: Session, plan: StackBegun) -> Propagation:
        """Return a run that the journal knows, so that it can go on after a restart."""
        return cls(session, plan, session.begin_stack(plan))

    @classmethod
    def resume(cls, session: Session) -> Propagation | None:
        """Return the run that has not ended; None where there is none."""
        return cls(session, session.stack[1], session.stack[0]) if session.stack else None

    # Which planes.

    def _masks(self, number: int) -> tuple[dict[int, Label], dict[int, Label]]:
        """Return the masks of a structure by plane: those from before the run that stay, and the run's."""
        rounds = {round_.id: round_ for round_ in self.session.conversation.rounds}
        before, own = {}, {}
        for label in self.session.state.shown:
            if label.drawn == number and label.round in rounds and (label.mask.area or label.verdict):
                if rounds[label.round].batch == self.batch:
                    own[label.plane] = label
                elif label.verdict or label.plane not in self.plan.planes:
                    before[label.plane] = label
        return before, own

    def planes_of(self, number: int) -> tuple[int, ...]:
        """Return the planes on which the run found a structure, in order."""
        return tuple(sorted(self._masks(number)[1]))

    def todo(self) -> list[tuple[int, int, dict[int, Way]]]:
        """Return the planes still to be looked at, in order.

        Returns
        -------
        list of (int, int, dict)
            Direction and plane, and by number the way of each structure that is followed there, as far as
            its masks reach now.
        """
        planned: dict[tuple[int, int], dict[int, Way]] = {}
        for number in self.plan.numbers:
            for step, plane, way in self._ways(number):
                planned.setdefault((step, plane), {})[number] = way
        order = sorted(planned, key=lambda place: (-place[0], place[0] * place[1]))
        return [(step, plane, planned[step, plane]) for step, plane in order]

    def _ways(self, number: int) -> Iterator[tuple[int, int, Way]]:
        plan, (before, own) = self.plan, self._masks(number)
        there = before | own
        if not any(label.mask.area for label in before.values()) and own:  # it was found by its name
            first = min(own.values(), key=lambda label: label.value)
            before = before | {first.plane: first}
        ends, known = sorted(before), sorted(there)
        for plane in plan.planes or range(plan.first, plan.last + 1):
            if plane in there:
                continue
            at = bisect(ends, plane)
            near = [p for p in (*ends[max(at - 1, 0) : at], *ends[at : at + 1]) if before[p].mask.area]
            if not near:
                continue
            origin = min(near, key=lambda p: (abs(p - plane), p))
            step = 1 if origin < plane else -1
            if (number, step, origin) not in self.stops:
                at = bisect(known, plane)
                source = there[known[at - 1 if step == 1 else at]]
                sides = tuple(before[p] for p in near) if len(near) == 2 else ()
                yield step, plane, Way(source, origin, sides)

    @property
    def done(self) -> int:
        """How many planes were looked at."""
        return len(self._done)

    @property
    def steps(self) -> int:
        """How many planes there are in all, as far as that is known."""
        return len(self._done | {plane for _, plane, _ in self.todo()})

    # What is on them.

    def find(self, cancelled: Callable[[], bool] | None = None) -> PlaneFound | None:
        """Return what is on the next plane; None where all is done.

        Raises
        ------
        CancelledError
            When `cancelled` said so.
        MediRoundError
            When the plane cannot be looked at.
        """
        lost = [n for n in self.plan.numbers if not self._has_mask(n) and (n, 0, 0) not in self.stops]
        if lost:
            return self._search(lost, cancelled)
        todo = self.todo()
        return self._follow(*todo[0], cancelled) if todo else None

    def _has_mask(self, number: int) -> bool:
        return any(label.mask.area for masks in self._masks(number) for label in masks.values())

    def _follow(
        self, step: int, plane: int, ways: Mapping[int, Way], cancelled: Callable[[], bool] | None
    ) -> PlaneFound:
        """Propagate to a plane what is looked at in one window there; the others come next."""
        began, session, plan = perf_counter(), self.session, self.plan
        windows = {number: window_of(session, way.source) for number, way in ways.items()}
        window = windows[min(windows)]
        images = {number: image_of(session, way.source, window) for number, way in ways.items()}
        image = session.prepare(plane, window)
        found = []
        for number in (number for number in ways if windows[number] == window):
            stop_if(cancelled)
            one = propagate(session, ways[number].source, images[number], plane, ways[number].origin)
            found.append(self._fill(one, ways[number], plane) if plan.fills else one)
        stop_if(cancelled)
        return PlaneFound(plane, step, tuple(found), image, window, perf_counter() - began)

    def _fill(self, found: Found, way: Way, plane: int) -> Found:
        """Return the shape between the masks on both sides, unless the judge prefers what was propagated."""
        if not way.between:
            return found
        below, above = way.between
        share = (plane - below.plane) / (above.plane - below.plane)
        spacing = self.session.study.geometry.spacing_mm[1:]
        mask = shape_between(below.mask, above.mask, share, spacing)
        quality = self.session.segmenter.judge(mask, way.source.structure) if mask.area else None
        if found.target is not None and found.target.quality >= (quality or 0.0):
            return found
        return replace(found, target=Target(way.source.structure, mask, quality), why="")

    def _search(self, numbers: list[int], cancelled: Callable[[], bool] | None) -> PlaneFound:
        """Look by words for structures that have no mask yet, on one more plane, the nearest first."""
        began, session, plan = perf_counter(), self.session, self.plan
        labels = {mask.number: mask.reference for mask in reversed([*session.conversation.masks()])}
        labels = {n: session.label(session.label_of(labels[n])) for n in numbers}
        planes = self._probes()
        if not planes:
            found = tuple(Found(n, labels[n].value, why="it was not found") for n in numbers)
            return PlaneFound(plan.start, 0, found, "", None, perf_counter() - began)
        plane, window = planes[0], window_of(session, labels[numbers[0]])
        image = session.prepare(plane, window)
        stop_if(cancelled)
        names = tuple(dict.fromkeys(labels[n].structure for n in numbers))
        text = f"Segment {', '.join(names)}."
        answer = session.segmenter.ask(
            text, session.conversation, (), cancelled, structures=names, chat=False
        )
        best = {t.structure: t for t in answer.targets if t.mask.area and t.quality >= CARRY_QUALITY}
        seen = {n: best[labels[n].structure] for n in numbers if labels[n].structure in best}
        found = tuple(Found(n, labels[n].value, target=target) for n, target in seen.items())
        return PlaneFound(plane, 0, found, image, window, perf_counter() - began)

    def _probes(self) -> list[int]:
        """Return planes spread over the stack that were not looked at yet, the nearest to the start first."""
        plan = self.plan
        count = min(PROBES, plan.last - plan.first + 1)
        spread = {
            plan.first + (2 * k + 1) * (plan.last - plan.first + 1) // (2 * count) for k in range(count)
        }
        return sorted(spread - self._probed - {plan.start}, key=lambda plane: abs(plane - plan.start))

    def take(self, plane: PlaneFound, model: Mapping[str, str] | None = None) -> Step | None:
        """Add what was found to the conversation; None where nothing was.

        Raises
        ------
        MediRoundError
            When the masks that it was propagated from are no longer there, or it cannot be saved.
        """
        session = self.session
        (self._done if plane.step else self._probed).add(plane.plane)
        for one in plane.found:
            if one.target is None:
                self.stops[one.number, plane.step, one.origin] = one.why
        kept = [one for one in plane.found if one.target is not None and self._is_free(one, plane.plane)]
        if not kept:
            return None
        references = tuple(session.reference_to(one.source) for one in kept)
        targets = tuple(one.target for one in kept)
        answer = Answer("Propagated from the plane beside it.", targets, image=plane.image)
        said = ", ".join(f"[{one.number}]" for one in kept)
        round_ = Round(
            len(session.conversation) + 1, plane.plane, f"Carry {said} to plane {plane.plane}.", references,
            answer, plane.seconds, plane.window, session.head, carried=True, batch=self.batch,
        )  # fmt: skip
        return session.add(round_, model=model)

    def _is_free(self, found: Found, plane: int) -> bool:
        """Whether a plane still has no mask of a structure: a person may have drawn one meanwhile."""
        return not any(plane in masks for masks in self._masks(found.number))

    def why(self, number: int) -> str:
        """Return in words why a structure is followed no further."""
        plan, whys = self.plan, []
        if (number, 0, 0) in self.stops:
            return self.stops[number, 0, 0]
        for step, end in ((1, plan.last == self.session.study.planes - 1), (-1, plan.first == 0)):
            told = [why for (one, way, _), why in self.stops.items() if (one, way) == (number, step)]
            whys += told or ["the stack ends" if end else "the planes that were asked for end"]
        return " and ".join(dict.fromkeys(whys))

    def told(self, number: int) -> str:
        """Return in words how far a structure was followed: "to 4 planes, 0 to 4"."""
        planes = self.planes_of(number)
        if not planes:
            return "to no other plane"
        return f"to {len(planes)} plane{'s' if len(planes) > 1 else ''}, {planes[0]} to {planes[-1]}"


def propagate(session: Session, source: Label, image: str, plane: int, origin: int = 0) -> Found:
    """Return the mask on a plane of a structure that has a mask near it; or why there is none.

    `image` is the key of the plane of the source.
    """
    mask, quality = session.segmenter.propagate(source.mask, image, source.structure)
    if why := why_stop(source.mask, mask, quality):
        return Found(source.drawn, source.value, origin, why=f"{why} on plane {plane}")
    return Found(source.drawn, source.value, origin, Target(source.structure, mask, quality))


def why_stop(before: Mask, after: Mask, quality: float) -> str:
    """Return why a propagated mask is not to be trusted, "" where it is."""
    if not after.area:
        return "nothing of it is found"
    if quality < CARRY_QUALITY:
        return f"the judge doubts it ({quality:.2f})"
    overlap = 2 * int((before.to_array() & after.to_array()).sum()) / (before.area + after.area)
    return "" if overlap >= CARRY_OVERLAP else f"it is elsewhere (overlap {overlap:.2f})"


def window_of(session: Session, label: Label) -> Window:
    """Return the window in which a mask was asked for."""
    round_ = session.rounds[label.round]
    return choose_window(session.study, round_.text, round_.window)


def image_of(session: Session, label: Label, window: Window) -> str:
    """Return the key of the plane that a mask lies on."""
    return session.rounds[label.round].answer.image or session.prepare(label.plane, window)
