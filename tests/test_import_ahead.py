"""What the dock imports while it opens: there is all of it, and torch's threads will not spin."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import os, sys
from napari_mediround.widget import segmenter
assert "torch" not in sys.modules
segmenter.import_ahead().join()
missing = [name for name in segmenter._HEAVY if name not in sys.modules]
assert not missing, missing
assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
"""
BROKEN = """
import sys, threading
from napari_mediround.widget import segmenter
sys.modules["torch"] = None
threading.excepthook = lambda arguments: sys.exit(1)
segmenter.import_ahead().join()
"""


def run(script: str) -> subprocess.CompletedProcess:
    """Run a script in an interpreter of its own."""
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)


def test_all_that_is_heavy_is_there_afterwards() -> None:
    done = run(SCRIPT)
    assert done.returncode == 0, done.stderr


def test_a_broken_torch_is_left_to_the_first_question() -> None:
    done = run(BROKEN)
    assert (done.returncode, done.stderr) == (0, "")
