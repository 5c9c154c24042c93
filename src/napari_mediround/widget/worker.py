"""One long-lived thread that does slow work in turn and reports to the thread that made it.

Knows no model, viewer or question.
"""

from __future__ import annotations

import logging
import threading
import traceback
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import SimpleQueue

from psygnal import Signal
from qtpy.QtCore import QObject, Slot
from qtpy.QtCore import Signal as QtSignal

from napari_mediround.errors import CancelledError, MediRoundError

LOG = logging.getLogger(__name__)

EXIT_SECONDS = 10.0
"""How long the interpreter waits at its end for work that is running: torch dislikes being cut off."""


@dataclass(frozen=True)
class Progress:
    """How far some work is.

    Parameters
    ----------
    words : str
        What is being done.
    done, steps : int
        Steps done of steps known; 0 of 0 where that is not known.
    """

    words: str
    done: int = 0
    steps: int = 0


@dataclass(eq=False)
class Job:
    """One piece of work.

    Parameters
    ----------
    work : callable
        Called on the worker with this job; `Worker.finished` carries what it returns.
    emit : callable
        The worker's way to the other thread.
    """

    work: Callable[[Job], object]
    emit: Callable[[str, Job, object], None] = lambda signal, job, value: None
    _stop: threading.Event = field(default_factory=threading.Event)

    def report(self, progress: object) -> None:
        """Say what the running work is doing, in words, numbers or a `Progress`: `Worker.progressed`."""
        self.emit("progressed", self, progress)

    def cancel(self) -> None:
        """Ask the work to stop; returns at once. Nothing more is heard of this job."""
        self._stop.set()

    def cancelled(self) -> bool:
        """Return whether the work should stop; the work asks between its steps."""
        return self._stop.is_set()


class Worker(QObject):
    """A queue and the thread that empties it, started by the first job.

    The signals are emitted on the thread that made the worker (the GUI's, by its event loop), and never
    for a cancelled job. The thread keeps the worker alive: call `stop` when done.
    """

    progressed = Signal(object, object)
    """(job, progress): what the running work is doing."""
    finished = Signal(object, object)
    """(job, result)."""
    failed = Signal(object, object)
    """(job, exception)."""

    _reported = QtSignal(str, object, object)

    def __init__(self) -> None:
        super().__init__()
        self._reported.connect(self._on_reported)
        self._queue: SimpleQueue | None = None
        self._jobs: weakref.WeakSet[Job] = weakref.WeakSet()

    def submit(self, work: Callable[[Job], object]) -> Job:
        """Queue work, to be called with its `Job`; return the job at once."""
        if self._queue is None:
            self._queue = SimpleQueue()
            thread = threading.Thread(target=self._empty, args=(self._queue,), name="mediround", daemon=True)
            weakref.finalize(self, _finish, self._jobs, self._queue, thread)
            thread.start()
        job = Job(work, self._reported.emit)
        self._jobs.add(job)
        self._queue.put(job)
        return job

    def stop(self) -> None:
        """Cancel all work and let the thread end; returns at once. A later `submit` starts another thread."""
        for job in self._jobs:
            job.cancel()
        if self._queue is not None:
            self._queue.put(None)
        self._queue = None

    def _empty(self, queue: SimpleQueue) -> None:
        for job in iter(queue.get, None):
            self._do(job)
            del job  # or its work would keep the model alive until the next one

    def _do(self, job: Job) -> None:
        if job.cancelled():
            return
        try:
            self._reported.emit("finished", job, job.work(job))
        except CancelledError:
            job.cancel()
        except Exception as error:  # the worker's edge: whatever it was becomes a line in the chat
            if not isinstance(error, MediRoundError):
                # Without the message: it may quote what the user typed or where the patient's files are.
                LOG.error("%s\n%s", type(error).__name__, "".join(traceback.format_tb(error.__traceback__)))
            self._reported.emit("failed", job, error)

    @Slot(str, object, object)
    def _on_reported(self, signal: str, job: Job, value: object) -> None:
        if not job.cancelled():
            getattr(self, signal).emit(job, value)


def _finish(jobs: weakref.WeakSet, queue: SimpleQueue, thread: threading.Thread) -> None:
    for job in jobs:
        job.cancel()
    queue.put(None)
    if thread is not threading.current_thread():
        thread.join(EXIT_SECONDS)
