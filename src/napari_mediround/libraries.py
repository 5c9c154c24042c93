"""Large libraries, imported by one thread at a time.

Two threads that import torch, transformers or peft at the same moment can each meet a module that the other
has not finished ("cannot import name …"): these libraries import their parts late and in circles. Every late
import of them, or of our modules that need them, therefore takes its turn here. Imports nothing large itself,
and is never waited for on the GUI's thread.
"""

from __future__ import annotations

import gc
import importlib
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

_TURN = threading.RLock()  # of the process, as `sys.modules` is
_FAILED: dict[str, Exception] = {}  # a library half imported fails in another way the next time


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Wait until no other thread imports large libraries; none does inside the block."""
    with _TURN:
        yield


class _Import:
    """The time of an import: its failure is kept, and no garbage is collected.

    An import makes many objects that stay; to look at all of them again and again takes a sixth of its time.
    """

    def __init__(self, name: str) -> None:
        self._name, self._collecting = name, gc.isenabled()

    def __enter__(self) -> None:
        gc.disable()

    def __exit__(self, kind, error: BaseException | None, trace) -> None:
        if self._collecting:
            gc.enable()
        if isinstance(error, Exception):
            _FAILED[self._name] = error


def import_libraries(names: Iterable[str], done: Callable[[str], object] = lambda name: None) -> None:
    """Import modules in their turn.

    Parameters
    ----------
    names : iterable of str
        Dotted names.
    done : callable
        Called with each name once it is imported.

    Raises
    ------
    Exception
        What the import of a module raised, also where it was first tried earlier or by another thread.
    """
    for name in names:
        with one_at_a_time():
            if name in _FAILED:
                raise _FAILED[name]
            with _Import(name):
                importlib.import_module(name)
        done(name)
