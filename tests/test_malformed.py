"""The readers hold against a sample of what tests/bench/malformed.py spoils in full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parent / "bench" / "malformed.py"


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sets no limit on memory")
def test_a_sample_of_spoilt_files_breaks_nothing() -> None:
    command = [sys.executable, str(BENCH), "--count", "200", "--no-peers"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "broken=0" in done.stdout
