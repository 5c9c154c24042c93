"""The trap that conftest.py sets sees what it is there to see."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import trap


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let what this test tries be written elsewhere than what fails the run."""
    monkeypatch.setenv(trap.LOG, str(tmp_path / "log.txt"))
    return tmp_path / "log.txt"


def test_connections_and_questions_for_names_are_refused_and_written_down(log: Path) -> None:
    with socket.socket() as one, pytest.raises(ConnectionRefusedError):
        one.connect(("127.0.0.1", 9))
    with pytest.raises(ConnectionRefusedError):
        socket.getaddrinfo("example.org", 443)
    with pytest.raises(OSError, match="no connections"):
        urllib.request.urlopen("http://198.51.100.1/")
    with socket.socket(type=socket.SOCK_DGRAM) as one, pytest.raises(ConnectionRefusedError):
        one.sendto(b"x", ("198.51.100.1", 53))
    assert len(log.read_text().splitlines()) == 4


def test_other_processes_are_trapped_too(log: Path) -> None:
    code = "import socket; socket.create_connection(('198.51.100.1', 80))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, cwd="/")
    assert b"no connections" in done.stderr
    assert "198.51.100.1" in log.read_text()


def test_sockets_within_the_machine_are_no_connections(log: Path) -> None:
    asyncio.run(asyncio.sleep(0))
    here, there = socket.socketpair()
    here.send(b"x")
    assert there.recv(1) == b"x"
    here.close()
    there.close()
    assert not log.exists()


def test_programs_are_heard_of() -> None:
    with trap.watch_programs() as seen:
        subprocess.run([sys.executable, "-c", ""], check=True)
    assert any("subprocess.Popen" in line for line in seen)
