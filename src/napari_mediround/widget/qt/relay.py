"""Hand a psygnal signal on to another. Knows no Qt."""

from __future__ import annotations

from collections.abc import Callable

from psygnal import SignalInstance


def relay(signal: SignalInstance, *fixed: object) -> Callable[..., None]:
    """Return a slot that emits `signal` with what it is called with, or with `fixed` if given.

    psygnal finds out how many arguments a slot takes; of a signal's own `emit` it does so by emitting.
    """

    def emit(*args: object) -> None:
        signal.emit(*(fixed or args))

    return emit
