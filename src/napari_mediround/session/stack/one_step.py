"""One mask propagated by one plane."""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from napari_mediround.domain.rounds import Answer, Reference, Round
from napari_mediround.errors import stop_if
from napari_mediround.session.stack.propagation import image_of, propagate, window_of

if TYPE_CHECKING:
    from napari_mediround.session.session import Session


def carry_once(session: Session, reference: Reference, step: int, cancelled=None) -> Round | str:
    """See `Session.carry`."""
    began = perf_counter()
    source = session.label(session.label_of(reference))
    plane = source.plane + step
    if not 0 <= plane < session.study.planes:
        return "the stack ends"
    there = [o for o in session.state.shown if (o.structure, o.plane) == (source.structure, plane)]
    already = f"plane {plane} has a {source.structure} already"
    if any(other.drawn == source.drawn and other.mask.area for other in there):
        return already
    window = window_of(session, source)
    before = image_of(session, source, window)
    image = session.prepare(plane, window)
    stop_if(cancelled)
    found = propagate(session, source, before, plane)
    stop_if(cancelled)
    if found.target is None:
        return found.why
    if any((other.mask.to_array() & found.target.mask.to_array()).any() for other in there):
        return already
    answer = Answer("Carried from the plane beside it.", (found.target,), image=image)
    text = f"Carry [{source.drawn}] to plane {plane}."
    seconds, rounds = perf_counter() - began, session.conversation.rounds
    return Round(
        len(rounds) + 1, plane, text, (reference,), answer, seconds, window, rounds[-1].id, carried=True
    )
