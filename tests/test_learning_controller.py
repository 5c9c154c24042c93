"""The learning dock's controller without a window: what it shows, and what it refuses to do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from fakes import FakeWorker
from psygnal import Signal

from napari_mediround.errors import MediRoundError
from napari_mediround.training.learning.needs import Need, Survey
from napari_mediround.widget.learning import learning_controller as module
from napari_mediround.widget.learning.learning_controller import LearningController


class FakeLearningView:
    """Remembers what it was shown."""

    start_asked, cancel_asked, rollback_asked = Signal(), Signal(), Signal()
    use_asked, adapter_chosen = Signal(str, str), Signal(str)
    chosen = None

    def __init__(self) -> None:
        self.shown: dict[str, tuple] = {}

    def __getattr__(self, name: str):
        return lambda *values: self.shown.__setitem__(name, values)


class FakePlace:
    """A chat with a project."""

    changed = Signal()

    def __init__(self, folder) -> None:
        self.project, self.segmenter = SimpleNamespace(folder=folder), None


@pytest.fixture
def open_(tmp_path, monkeypatch):
    survey = Survey(rounds=4, patients=4, apart=1, lost=0, needs=(Need("masks", 4, 3),))
    monkeypatch.setattr(module, "_count", lambda job, folder: (survey, module.Adapters("", {})))

    def make(folder=tmp_path):
        view, place, worker = FakeLearningView(), FakePlace(folder), FakeWorker()
        return LearningController(view, place, worker, lambda: None), view, place, worker

    return make


def test_without_a_project_nothing_is_counted_or_learned(open_) -> None:
    controller, view, _, worker = open_(None)
    controller.count()
    view.start_asked.emit()
    assert worker.jobs == []
    assert view.shown["show_survey"] == (module.NO_PROJECT, False)
    assert controller.is_idle


def test_what_can_teach_is_counted_and_told(open_) -> None:
    controller, view, _, worker = open_()
    controller.count()
    assert not controller.is_idle
    worker.run()
    text, ready, needs = view.shown["show_survey"]
    assert text.startswith("4 rounds of 4 patients can teach")
    assert ready
    assert [need.words for need in needs] == ["masks"]


def test_a_failure_ends_in_words(open_, monkeypatch) -> None:
    def fail(job, **_):
        raise MediRoundError("The split is damaged. Remove it.")

    monkeypatch.setattr(module, "_learn", fail)
    controller, view, _, worker = open_()
    view.start_asked.emit()
    assert view.shown["show_busy"] == (module.LOADING,)
    view.cancel_asked.emit()
    assert view.shown["show_busy"] == (module.STOPPING,)
    assert view.shown["allow_cancelling"] == (False,)
    worker.run()
    assert view.shown["show_message"] == ("The split is damaged. Remove it.", True)
    assert view.shown["show_busy"] == ("",)
    assert controller.is_idle


def test_another_project_ends_what_runs(open_, monkeypatch, tmp_path) -> None:
    monkeypatch.setattr(module, "_learn", lambda job, **_: pytest.fail("it was dropped"))
    controller, view, place, worker = open_()
    view.start_asked.emit()
    place.project = SimpleNamespace(folder=tmp_path / "other")
    place.changed.emit()
    worker.run()
    assert controller.folder == tmp_path / "other"
    assert controller.is_idle
