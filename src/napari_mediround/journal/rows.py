"""Reading of events, masks and strings from a journal's tables, each checked. Changes nothing."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from napari_mediround.domain.mask import Mask
from napari_mediround.errors import JournalError
from napari_mediround.journal import schema
from napari_mediround.journal.entries import unpack_mask

_DAMAGED = ("no such table", "no such column", "decode to UTF-8")
"""Messages of SQLite for damage without an error code."""

_TEXTS = ("case", "kind", "utc", "annotator", "version")

Row = tuple
"""A row of the table of events: `schema.COLUMNS`, then the hash."""


class DamageError(JournalError):
    """A journal is damaged; the message says where."""


@contextmanager
def finding_damage(what: str) -> Iterator[None]:
    """Turn SQLite's errors about a damaged file, but not others (a full disk), into a `DamageError`."""
    try:
        yield
    except (sqlite3.DatabaseError, UnicodeError) as error:
        code = getattr(error, "sqlite_errorcode", None) or 0
        known = isinstance(error, UnicodeError) or code & 0xFF in (
            sqlite3.SQLITE_CORRUPT,
            sqlite3.SQLITE_NOTADB,
        )
        if not known and not any(words in str(error) for words in _DAMAGED):
            raise
        raise DamageError(f"{what} ({error}).") from error


def read_rows(link: sqlite3.Connection, case: str | None = None, after: int = 0) -> Iterator[Row]:
    """Yield events with numbers above `after`, of one case or of all, each checked against the chain.

    Raises
    ------
    DamageError
        At the first event that differs from what was written.
    """
    query = f"""
        SELECT {", ".join("e." + name for name in schema.COLUMNS.split(", "))}, e.hash, b.hash
        FROM events e LEFT JOIN events b ON b.seq = e.seq - 1
        WHERE e.seq > ? {"" if case is None else "AND e.case_id = ?"} ORDER BY e.seq
    """
    last = after
    with finding_damage("The journal cannot be read to its end"):
        for *row, digest, before in link.execute(query, (after,) if case is None else (after, case)):
            seq = row[0]
            whole = digest == schema.chain_hash(before or "", tuple(row)) and bool(before) == (seq > 1)
            if not whole or (case is None and seq != last + 1):
                raise DamageError(f"Event {seq} of the journal is not what was written.")
            last = seq
            yield (*row, digest)


def read_mask(link: sqlite3.Connection, digest: str) -> Mask:
    """Return a mask by its hash; a mask lost in a recovery is empty.

    Raises
    ------
    DamageError
        When the mask is missing or differs from what was written.
    """
    with finding_damage("A mask cannot be read"):
        found = link.execute("SELECT rows, columns, runs FROM masks WHERE digest = ?", (digest,)).fetchone()
    if found is not None and found[2] is None:
        return Mask((found[0], found[1]), (found[0] * found[1],))
    if found is not None:
        try:
            return unpack_mask(digest, found[2])
        except (ValueError, TypeError) as error:
            raise DamageError(str(error)) from error
    raise DamageError(f"The journal lacks the mask {digest[:8]}.")


def read_strings(link: sqlite3.Connection) -> Iterator[tuple[int, str, str]]:
    """Yield every string in the file: number of its event (0 for none), its path, the string."""
    for (name,) in link.execute("SELECT name FROM sqlite_master WHERE type = 'table'"):
        yield 0, "table", name
    for key, value in link.execute("SELECT key, value FROM meta"):
        yield 0, "meta.key", key
        yield 0, f"meta.{key}", value
    for seq, *columns, body, digest in read_rows(link):
        yield from ((seq, place, text) for place, text in zip(_TEXTS, columns, strict=True))
        yield from ((seq, place, text) for place, text in _texts_of(json.loads(body)))
        yield seq, "hash", digest


def _texts_of(value: object, place: str = "body") -> Iterator[tuple[str, str]]:
    """Yield the strings in JSON values, keys included, each with the path of keys to it."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{place} key", key
            yield from _texts_of(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for inner in value:
            yield from _texts_of(inner, place)
