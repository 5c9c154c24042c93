"""What every test stands on: no user settings touched, quiet threads, repeatable examples."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

# All three are read when a library is first imported, so they are set before any test imports one.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="mediround-tests-")) / "settings.yaml")

import pytest
from hypothesis import settings

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


@pytest.fixture(scope="session")
def lite_weights() -> None:
    """Skip without the weights of `lite`; where CI fetched them they must be there."""
    from napari_mediround import weights

    states = [weights.check(name) for name in ("lite_medsam", "smollm2_135m_instruct", "mediround_lite")]
    missing = [state.remedy for state in states if state.word != "ok"]
    if missing and not os.environ.get("CI"):
        pytest.skip(missing[0])
    assert not missing, missing[0]
