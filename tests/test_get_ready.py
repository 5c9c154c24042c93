"""What the dock gets ready as it opens: all that the first question needs; torch's threads do not spin."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from napari_mediround.errors import AdapterError, MissingWeightsError
from napari_mediround.widget import lazy_model as module
from napari_mediround.widget.lazy_model import LazySegmenter, get_ready
from napari_mediround.widget.qt.status import BusyBar

SCRIPT = """
import os, sys
from napari_mediround.widget import lazy_model
assert "torch" not in sys.modules
lazy_model.get_ready(lazy_model.LazySegmenter(dict, lazy_model.LIBRARIES)).join()
missing = [name for name in lazy_model.LIBRARIES if name not in sys.modules]
assert not missing, missing
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
"""
BROKEN = """
import sys, threading
from napari_mediround.widget import lazy_model
sys.modules["torch"] = None
threading.excepthook = lambda arguments: sys.exit(1)
lazy = lazy_model.LazySegmenter(lazy_model.build_predictor, lazy_model.LIBRARIES)
lazy_model.get_ready(lazy).join()
sys.modules.pop("torch")  # mended, but half of what stands on it may have been imported
for question in range(2):
    try:
        lazy.load()
    except ImportError as error:
        assert "torch" in str(error), error
    else:
        raise AssertionError("loaded with a broken library")
"""
TWO_WINDOWS = """
import threading
from napari_mediround.widget import lazy_model
def build():
    from transformers import AutoModelForCausalLM
    return {}
steps, failures = [], []
threading.excepthook = lambda arguments: failures.append(arguments.exc_value)
windows = [lazy_model.LazySegmenter(build, lazy_model.LIBRARIES) for _ in range(2)]
ready = [lazy_model.get_ready(window) for window in windows]
watch = lambda *step: steps.append(step)
asking = [threading.Thread(target=window.prepare) for window in windows for _ in range(2)]
[thread.start() for thread in asking]
windows[0]._watchers.append(watch)
[thread.join() for thread in (*ready, *asking)]
assert not failures, failures
assert all(window._segmenter is not None for window in windows)
known = len(lazy_model.LIBRARIES) + 1
assert steps == [(done, known) for done in range(known - len(steps) + 1, known + 1)], steps
"""


class Fake:
    """A segmenter that notes which adapter it was given, and has none that fits."""

    def describe(self) -> dict[str, str]:
        """Return nothing."""
        return {}

    def use_adapter(self, folder) -> None:
        """Refuse."""
        raise AdapterError(f"{folder} is damaged.")


@pytest.fixture(autouse=True)
def _thaw():
    yield
    gc.unfreeze()


def run(script: str) -> subprocess.CompletedProcess:
    """Run a script in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


def test_all_that_is_heavy_is_there_afterwards() -> None:
    done = run(SCRIPT)
    assert done.returncode == 0, done.stderr


def test_a_broken_torch_is_met_again_by_every_question() -> None:
    done = run(BROKEN)
    assert (done.returncode, done.stderr) == (0, "")


def test_questions_of_two_windows_wait_for_the_libraries_and_hear_of_the_steps() -> None:
    done = run(TWO_WINDOWS)
    assert (done.returncode, done.stderr) == (0, "")


def test_who_asks_hears_of_the_steps_that_another_thread_does() -> None:
    began, may_end, heard = threading.Event(), threading.Event(), []
    lazy = LazySegmenter(lambda: began.set() or (may_end.wait(10) and Fake()), ("json", "csv"))
    thread = get_ready(lazy)
    began.wait(10)
    threading.Timer(0.2, may_end.set).start()
    lazy.load(lambda *step: heard.append(step))
    thread.join()
    assert heard == [(2, 3), (3, 3)]


def test_the_busy_line_shows_steps_and_seconds(qtbot) -> None:
    bar = BusyBar()
    qtbot.addWidget(bar)
    bar.show_busy("Loading the model …", 3, 6)
    bar._on_second()
    assert bar.label.text() == "Loading the model … 1 s (3 of 6 steps)"
    assert (bar.progress.value(), bar.progress.maximum()) == (3, 6)
    bar.show_busy("looking at plane 9 …")
    assert bar.label.text() == "looking at plane 9 … 1 s"
    assert bar.progress.maximum() == 0


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError, TypeError])
def test_an_import_that_failed_ahead_is_met_again_with_its_own_error(tmp_path, monkeypatch, error) -> None:
    name = f"broken_{error.__name__}"
    lines = (
        "import sys",
        "if not sys.argv:",
        "    sys.argv.append('tried')",
        f"    raise {error.__name__}('half')",
    )
    (tmp_path / f"{name}.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", [])
    lazy = LazySegmenter(Fake, (name,))
    get_ready(lazy).join()
    for _ in range(2):  # importing it now would work, and hide what failed
        with pytest.raises(error, match="half"):
            lazy.load()


def test_weights_that_were_missing_ahead_are_looked_for_again() -> None:
    found = []

    def build() -> Fake:
        if not found:
            raise MissingWeightsError("The weights are not here.")
        return Fake()

    lazy = LazySegmenter(build)
    get_ready(lazy).join()
    with pytest.raises(MissingWeightsError):
        lazy.load()
    found.append("weights")
    assert isinstance(lazy.load(), Fake)


def test_the_first_question_finds_what_was_built() -> None:
    built = []
    lazy = LazySegmenter(lambda: built.append(Fake()) or built[-1])
    get_ready(lazy).join()
    assert not lazy.loaded  # nobody asked for it
    assert lazy.load() is built[0]
    assert lazy.loaded
    assert len(built) == 1


def test_an_adapter_that_cannot_be_used_is_told_to_who_asks(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_find_live", lambda project: project)
    lazy = LazySegmenter(Fake)
    lazy.follow(tmp_path)
    get_ready(lazy).join()  # says nothing
    with pytest.raises(AdapterError, match="damaged"):
        lazy.load()
    assert isinstance(lazy.load(), Fake)  # told once


def test_a_project_is_opened_while_the_model_is_being_built(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "_find_live", lambda project: project)
    began, may_end = threading.Event(), threading.Event()
    lazy = LazySegmenter(lambda: began.set() or (may_end.wait(10) and Fake()))
    thread = get_ready(lazy)
    began.wait(10)
    lazy.follow(tmp_path)  # would wait for the model if it took the lock
    assert not may_end.is_set()
    may_end.set()
    thread.join()
    with pytest.raises(AdapterError, match=str(tmp_path)):
        lazy.load()


def test_what_nobody_waits_for_any_more_is_let_go_of() -> None:
    began, may_end = threading.Event(), threading.Event()
    lazy = LazySegmenter(lambda: began.set() or (may_end.wait(10) and Fake()))
    thread = get_ready(lazy)
    began.wait(10)
    lazy.release()
    may_end.set()
    thread.join()
    assert lazy._segmenter is None
