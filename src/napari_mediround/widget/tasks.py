"""The book of a dock's running tasks: names, progress, cancelling. Knows no view and no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from psygnal import Signal

from napari_mediround.widget.worker import Job, Progress, Worker


@dataclass(frozen=True)
class Task:
    """A task that is waiting or running.

    Parameters
    ----------
    name : str
        What the user is told; "" for work that needs no telling.
    progress : Progress
        What the task reported last.
    done, failed : callable
        Called with the result or the exception, on the thread of the book.
    """

    name: str
    progress: Progress
    done: Callable[[object], None]
    failed: Callable[[Exception], None]


class TaskBook:
    """Tasks of one worker, in the order in which they were submitted.

    Parameters
    ----------
    worker : Worker
        Does the work.
    """

    changed = Signal()
    """A task began, went on, or ended."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tasks: dict[Job, Task] = {}
        worker.progressed.connect(self._on_progressed)
        worker.finished.connect(self._on_finished)
        worker.failed.connect(self._on_failed)

    def submit(
        self,
        work: Callable[[Job], object],
        done: Callable[[object], None],
        failed: Callable[[Exception], None],
        name: str = "",
    ) -> Job:
        """Queue work; `done` or `failed` is called on this thread, unless the task is cancelled."""
        job = self._worker.submit(work)
        self._tasks[job] = Task(name, Progress(name), done, failed)
        self.changed.emit()
        return job

    def cancel(self, job: Job | None) -> None:
        """Cancel a task and ignore its result; nothing happens if the task has ended."""
        if job is not None:
            job.cancel()
            self._tasks.pop(job, None)
            self.changed.emit()

    def cancel_all(self) -> None:
        """Cancel all tasks and ignore their results."""
        for job in tuple(self._tasks):
            self.cancel(job)

    def __len__(self) -> int:
        return len(self._tasks)

    def __contains__(self, job: Job | None) -> bool:
        return job in self._tasks

    @property
    def shown(self) -> Task | None:
        """The task to tell the user about: the latest one with a name."""
        return next((task for task in reversed(self._tasks.values()) if task.name), None)

    def _on_progressed(self, job: Job, progress: object) -> None:
        if job in self._tasks and isinstance(progress, str | Progress):
            now = Progress(progress) if isinstance(progress, str) else progress
            self._tasks[job] = replace(self._tasks[job], progress=now)
            self.changed.emit()

    def _on_finished(self, job: Job, result: object) -> None:
        self._end(job, "done", result)

    def _on_failed(self, job: Job, error: Exception) -> None:
        self._end(job, "failed", error)

    def _end(self, job: Job, how: str, value: object) -> None:
        task = self._tasks.pop(job, None)
        if task is not None:
            try:
                getattr(task, how)(value)
            finally:  # it may have submitted another task
                self.changed.emit()
