"""The book of running tasks: what is told, what is cancelled, what begins when another ends."""

from __future__ import annotations

import pytest
from fakes import FakeWorker

from napari_mediround.widget.tasks import TaskBook
from napari_mediround.widget.worker import Progress


@pytest.fixture
def book():
    worker = FakeWorker()
    book = TaskBook(worker)
    book.worker = worker
    return book


def test_a_task_is_told_until_it_has_ended_and_its_result_is_handed_on(book) -> None:
    told, results = [], []
    book.changed.connect(lambda: told.append(book.shown and book.shown.progress))

    def work(job):
        job.report("half way")
        job.report(Progress("three of four", 3, 4))
        return "result"

    job = book.submit(work, results.append, pytest.fail, "Working …")
    assert job in book
    book.worker.run()
    words = [now and (now.words, now.done, now.steps) for now in told]
    assert words == [("Working …", 0, 0), ("half way", 0, 0), ("three of four", 3, 4), None]
    assert results == ["result"]
    assert len(book) == 0


def test_work_without_a_name_is_not_told_and_the_latest_name_is(book) -> None:
    book.submit(lambda job: 1, lambda _: None, pytest.fail)
    assert book.shown is None
    book.submit(lambda job: 1, lambda _: None, pytest.fail, "first")
    last = book.submit(lambda job: 1, lambda _: None, pytest.fail, "second")
    assert book.shown.name == "second"
    book.cancel(last)
    assert book.shown.name == "first"
    assert len(book) == 2


def test_nothing_is_heard_of_a_cancelled_task(book) -> None:
    job = book.submit(lambda job: 1, pytest.fail, pytest.fail, "x")
    book.cancel_all()
    book.cancel(None)
    book.worker.run()
    assert job.cancelled()
    assert job not in book


def test_a_failure_is_handed_on_and_a_task_may_submit_the_next(book) -> None:
    def fail(job):
        raise ValueError("no")

    errors = []

    def again(error):
        errors.append(str(error))
        book.submit(lambda job: 2, errors.append, pytest.fail, "again")

    book.submit(fail, pytest.fail, again, "once")
    book.worker.run()
    assert errors == ["no", 2]
    assert book.shown is None
