"""A trap for connections and for programs that are started, set by Python's audit hooks (PEP 578).

A connection is refused and written down; the other processes of a test run write theirs into the file that
``MEDIROUND_TRAP`` names. Sockets of the machine itself that have no address on a network (AF_UNIX: Qt, Xvfb,
asyncio, multiprocessing) are no connections. What a C library does on its own is not seen.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

LOG = "MEDIROUND_TRAP"
NETWORK = frozenset(
    (
        "socket.connect",
        "socket.sendto",
        "socket.sendmsg",
        "socket.getaddrinfo",
        "socket.gethostbyname",
        "socket.gethostbyaddr",
    )
)
PROGRAMS = frozenset(
    (
        "os.system",
        "os.exec",
        "os.posix_spawn",
        "os.spawn",
        "os.fork",
        "os.forkpty",
        "os.startfile",
        "pty.spawn",
        "subprocess.Popen",
        "webbrowser.open",
        "urllib.Request",
    )
)
_LOCAL = {getattr(socket, name) for name in ("AF_UNIX", "AF_NETLINK") if hasattr(socket, name)}
_watchers: list[list[str]] = []


def set_trap() -> None:
    """Refuse and write down every connection of this process from now on. There is no way back."""
    sys.addaudithook(_hear)


def _hear(event: str, arguments: tuple) -> None:
    if event in NETWORK and not _is_local(arguments):
        _write_down(
            f"{event} {arguments[1:]!r}" if event.startswith("socket.con") else f"{event} {arguments!r}"
        )
        raise ConnectionRefusedError(f"{event}: a test makes no connections")
    if event in PROGRAMS:
        for seen in _watchers:
            seen.append(f"{event} {arguments!r}")


def _is_local(arguments: tuple) -> bool:
    return getattr(arguments[0], "family", None) in _LOCAL


def _write_down(line: str) -> None:
    if LOG in os.environ:
        with open(os.environ[LOG], "a", encoding="utf-8", errors="backslashreplace") as log:
            log.write(f"{os.environ.get('PYTEST_CURRENT_TEST', sys.argv[:3])}: {line}\n")


@contextmanager
def watch_programs() -> Iterator[list[str]]:
    """Give a list that takes every program started, and every address opened, until the end of the block."""
    seen: list[str] = []
    _watchers.append(seen)
    try:
        yield seen
    finally:
        _watchers.remove(seen)
