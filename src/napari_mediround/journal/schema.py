"""The tables of a journal, its migrations, and how its file is opened. Knows no entry.

Triggers make the tables append-only. WAL with ``synchronous=FULL`` makes them durable: a commit returns after
the log is on the disk (on macOS with ``fullfsync``).

References
----------
https://sqlite.org/wal.html, https://sqlite.org/pragma.html#pragma_synchronous
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

from napari_mediround.errors import JournalError

APPLICATION_ID = 0x4D645264
"""Application id that tells a journal from other SQLite files ("MdRd")."""

MIGRATIONS = (
    """
    CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE events (
        seq INTEGER PRIMARY KEY,
        case_id TEXT NOT NULL,
        kind TEXT NOT NULL,
        utc TEXT NOT NULL,
        annotator TEXT NOT NULL,
        version TEXT NOT NULL,
        body TEXT NOT NULL,
        hash TEXT NOT NULL
    );
    CREATE INDEX events_of_case ON events (case_id, seq);
    CREATE TABLE masks (digest TEXT PRIMARY KEY, rows INTEGER, columns INTEGER, runs BLOB);
    CREATE TRIGGER events_stay BEFORE UPDATE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
    CREATE TRIGGER events_last BEFORE DELETE ON events BEGIN SELECT RAISE(ABORT, 'append-only'); END;
    CREATE TRIGGER masks_stay BEFORE UPDATE ON masks BEGIN SELECT RAISE(ABORT, 'append-only'); END;
    CREATE TRIGGER masks_last BEFORE DELETE ON masks BEGIN SELECT RAISE(ABORT, 'append-only'); END;
    """,
)
"""Applied in order, each in one transaction; ``user_version`` counts them. Never edited, only added to."""

COLUMNS = "seq, case_id, kind, utc, annotator, version, body"
"""An event's hash covers the hash of the event before it and then these columns."""


def connect(target: Path | str, read_only: bool = False, wal: bool = True) -> sqlite3.Connection:
    """Open a file, or ":memory:", with the settings of every journal; the caller begins transactions.

    Without `wal` one file holds everything after each commit, so that the file can be moved.
    """
    if target == ":memory:":
        name = target
    else:
        name = Path(target).absolute().as_uri() + ("?mode=ro" if read_only else "")
    link = sqlite3.connect(name, uri=True, isolation_level=None, check_same_thread=False, timeout=2.0)
    try:
        if not read_only:
            link.execute(f"PRAGMA journal_mode={'WAL' if wal else 'DELETE'}")
            link.execute("PRAGMA synchronous=FULL")
            link.execute("PRAGMA fullfsync=ON")
    except (sqlite3.Error, UnicodeError):  # a damaged file's own words may not be UTF-8
        link.close()
        raise
    return link


def migrate(link: sqlite3.Connection) -> None:
    """Migrate the tables to the current version.

    Raises
    ------
    JournalError
        When a newer version or another program wrote the file.
    """
    version = check_version(link)
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        begin = (
            f"BEGIN IMMEDIATE;{script}PRAGMA user_version={number};PRAGMA application_id={APPLICATION_ID};"
        )
        link.executescript(begin + "COMMIT;")


def check_version(link: sqlite3.Connection) -> int:
    """Return the number of migrations applied to a file; raises as `migrate`."""
    version = link.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise JournalError("The journal was written by a newer napari-mediround. Update it: pip install -U.")
    if version and link.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
        raise JournalError("The project's journal.sqlite belongs to another program. Choose another folder.")
    return version


def fill(link: sqlite3.Connection, meta: dict[str, str] | None = None) -> None:
    """Create the tables of a new journal, and a salt unless `meta` has one."""
    migrate(link)
    made = {"salt": secrets.token_hex(16), "made": now()}
    link.execute("BEGIN IMMEDIATE")
    link.executemany("INSERT INTO meta VALUES (?, ?)", list({**made, **(meta or {})}.items()))
    link.execute("COMMIT")


def now() -> str:
    """Return the time in UTC, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def chain_hash(before: str, row: tuple) -> str:
    """Return the hash of an event, given that of the one before it ("" for the first) and its `COLUMNS`."""
    return hashlib.sha256(json.dumps([before, *row]).encode()).hexdigest()
