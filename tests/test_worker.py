"""The worker thread, on a Qt event loop without a window."""

import gc
import threading
import weakref

import pytest

from napari_mediround.errors import CancelledError, MediRoundError
from napari_mediround.widget.worker import Worker


@pytest.fixture
def worker(qtbot):
    worker = Worker()
    yield worker
    worker.stop()


def heard(worker):
    got = []
    worker.progressed.connect(lambda job, text: got.append(("progressed", text)))
    worker.finished.connect(lambda job, result: got.append(("finished", result)))
    worker.failed.connect(lambda job, error: got.append(("failed", error)))
    return got


def test_work_runs_on_one_other_thread_and_reports_on_this_one(qtbot, worker):
    threads, got = [], []
    worker.finished.connect(lambda job, result: got.append((result, threading.current_thread())))
    for number in range(3):
        worker.submit(lambda job, n=number: threads.append(threading.current_thread()) or n)
    qtbot.waitUntil(lambda: len(got) == 3)
    assert [result for result, _ in got] == [0, 1, 2]
    assert {thread for _, thread in got} == {threading.main_thread()}
    assert len(set(threads)) == 1
    assert threads[0] is not threading.main_thread()


def test_progress_comes_before_the_result(qtbot, worker):
    got = heard(worker)
    worker.submit(lambda job: job.report("half way"))
    qtbot.waitUntil(lambda: len(got) == 2)
    assert got == [("progressed", "half way"), ("finished", None)]


def test_a_cancelled_job_is_not_heard_of_again(qtbot, worker):
    got, gate = heard(worker), threading.Event()
    running = worker.submit(lambda job: gate.wait(5) and job.report("late"))
    waiting = worker.submit(lambda job: pytest.fail("this was cancelled"))
    running.cancel()
    waiting.cancel()
    gate.set()
    worker.submit(lambda job: "next")
    qtbot.waitUntil(lambda: bool(got))
    assert got == [("finished", "next")]


def test_work_that_stops_itself_when_cancelled_is_no_failure(qtbot, worker):
    def stop(job):
        raise CancelledError("stopped")

    got = heard(worker)
    worker.submit(stop)
    worker.submit(lambda job: "next")
    qtbot.waitUntil(lambda: bool(got))
    assert got == [("finished", "next")]


def test_a_failure_is_reported_and_the_thread_goes_on(qtbot, worker):
    got = heard(worker)
    worker.submit(lambda job: 1 / 0)
    worker.submit(lambda job: "next")
    qtbot.waitUntil(lambda: len(got) == 2)
    assert isinstance(got[0][1], ZeroDivisionError)
    assert got[1] == ("finished", "next")


def test_the_log_has_the_place_of_a_failure_and_nothing_that_was_typed(qtbot, worker, caplog):
    def fail_badly(job):
        raise RuntimeError("Mr. Smith's liver")

    def refuse(job):
        raise MediRoundError("Mr. Smith's file is not there")

    got = heard(worker)
    worker.submit(fail_badly)
    worker.submit(refuse)
    qtbot.waitUntil(lambda: len(got) == 2)
    assert "fail_badly" in caplog.text
    assert "RuntimeError" in caplog.text
    assert len(caplog.records) == 1
    assert "RuntimeError: Mr" not in caplog.text


def test_stopping_ends_the_thread_and_a_later_job_starts_another(qtbot, worker):
    got, threads = heard(worker), []
    worker.submit(lambda job: threads.append(threading.current_thread()))
    qtbot.waitUntil(lambda: len(got) == 1)
    worker.stop()
    threads[0].join(5)
    assert not threads[0].is_alive()
    worker.submit(lambda job: "again")
    qtbot.waitUntil(lambda: len(got) == 2)
    assert got[1] == ("finished", "again")


def test_finished_work_keeps_nothing_alive(qtbot, worker):
    class Model:
        pass

    got, model = heard(worker), Model()
    reference = weakref.ref(model)
    worker.submit(lambda job, model=model: None)
    qtbot.waitUntil(lambda: len(got) == 1)
    del model
    gc.collect()
    qtbot.waitUntil(lambda: reference() is None)
