"""What the dock gets ready as it opens: all that the first question needs; torch's threads do not spin."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading

import pytest

from napari_mediround.errors import AdapterError
from napari_mediround.widget import lazy_model as module
from napari_mediround.widget.lazy_model import LazySegmenter, get_ready

SCRIPT = """
import os, sys
from napari_mediround.widget import lazy_model
assert "torch" not in sys.modules
lazy_model.get_ready(lazy_model.LazySegmenter(dict)).join()
missing = [name for name in lazy_model._HEAVY if name not in sys.modules]
assert not missing, missing
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
"""
BROKEN = """
import sys, threading
from napari_mediround.widget import lazy_model
sys.modules["torch"] = None
threading.excepthook = lambda arguments: sys.exit(1)
lazy_model.get_ready(lazy_model.LazySegmenter(lazy_model.build_predictor)).join()
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


def test_a_broken_torch_is_left_to_the_first_question() -> None:
    done = run(BROKEN)
    assert (done.returncode, done.stderr) == (0, "")


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


def test_what_nobody_waits_for_any_more_is_let_go_of() -> None:
    began, may_end = threading.Event(), threading.Event()
    lazy = LazySegmenter(lambda: began.set() or (may_end.wait(10) and Fake()))
    thread = get_ready(lazy)
    began.wait(10)
    lazy.release()
    may_end.set()
    thread.join()
    assert lazy._segmenter is None
