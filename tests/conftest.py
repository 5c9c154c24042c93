"""What every test stands on: no user settings touched, no connections, quiet threads, repeatable examples."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# All three are read when a library is first imported, so they are set before any test imports one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="mediround-tests-")) / "settings.yaml")
# Processes that tests start find the trap for connections there.
sys.path.insert(0, str(Path(__file__).parent / "traps"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (sys.path[0], os.environ.get("PYTHONPATH"))))
os.environ["MEDIROUND_TRAP"] = str(Path(tempfile.mkdtemp(prefix="mediround-trap-")) / "connections.txt")

import pytest
import trap
from hypothesis import settings

CONNECTIONS = Path(os.environ[trap.LOG])
trap.set_trap()

# Shared machines stall; an example is judged by its result, not by its time.
settings.register_profile("mediround", deadline=None, max_examples=50, derandomize=bool(os.environ.get("CI")))
settings.register_profile("thorough", deadline=None, max_examples=2000)
settings.load_profile("mediround")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test an empty MEDIROUND_HOME of its own."""
    folder = tmp_path / "home"
    monkeypatch.setenv("MEDIROUND_HOME", str(folder))
    return folder


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let docks keep their rounds in a folder of the test's own."""
    folder = tmp_path / "project"
    monkeypatch.setenv("MEDIROUND_PROJECT", str(folder))
    return folder


@pytest.fixture(scope="session", autouse=True)
def connections() -> Iterator[Path]:
    """Fail the run when it, or a process that it started, tried to connect to anything."""
    yield CONNECTIONS
    tried = CONNECTIONS.read_text("utf-8") if CONNECTIONS.exists() else ""
    assert not tried, f"The tests make no connections, but:\n{tried}"


@pytest.fixture(scope="session")
def lite_weights() -> None:
    """Skip without the weights of `lite`; where CI fetched them they must be there."""
    from napari_mediround import weights

    states = [weights.check(name) for name in ("lite_medsam", "smollm2_135m_instruct", "mediround_lite")]
    missing = [state.remedy for state in states if state.word != "ok"]
    if missing and not os.environ.get("CI"):
        pytest.skip(missing[0])
    assert not missing, missing[0]
