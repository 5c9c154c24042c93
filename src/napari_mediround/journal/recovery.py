"""What becomes of a damaged journal: it is kept, and what is intact goes on in a new file.

Events are kept up to the first that the chain does not confirm; a mask that is damaged becomes an empty one,
so that one bad page does not cost the conversation. Every step may be interrupted and is finished at the next
opening: the new file gets its name only when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from napari_mediround import __version__
from napari_mediround.domain.mask import Mask
from napari_mediround.errors import JournalError
from napari_mediround.journal import schema
from napari_mediround.journal.disk import replace_file, sync, sync_folder
from napari_mediround.journal.entries import Recovered, body_to_entry, pack_mask, unpack_mask

Row = tuple
"""An event as the table has it: `schema.COLUMNS`, then its hash."""


class DamageError(JournalError):
    """A journal does not hold what it says; the message says where."""


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error means a damaged file, and not, say, a full disk."""
    code = getattr(error, "sqlite_errorcode", None)
    known = code is not None and (code & 0xFF) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
    return known or "no such table" in str(error)


def read_rows(link: sqlite3.Connection, case: str | None = None, after: int = 0) -> Iterator[Row]:
    """Yield the events of one case, or of all, whose number is above `after`, each checked against the chain.

    Raises
    ------
    DamageError
        At the first event that is not what was written; all before it are.
    """
    query = f"""
        SELECT {", ".join("e." + name for name in schema.COLUMNS.split(", "))}, e.hash, b.hash
        FROM events e LEFT JOIN events b ON b.seq = e.seq - 1
        WHERE e.seq > ? {"" if case is None else "AND e.case_id = ?"} ORDER BY e.seq
    """
    last = after
    try:
        for *row, digest, before in link.execute(query, (after,) if case is None else (after, case)):
            seq = row[0]
            whole = digest == schema.chain_hash(before or "", tuple(row)) and bool(before) == (seq > 1)
            if not whole or (case is None and seq != last + 1):
                raise DamageError(f"Event {seq} of the journal is not what was written.")
            last = seq
            yield (*row, digest)
    except (sqlite3.DatabaseError, UnicodeError) as error:
        if isinstance(error, sqlite3.Error) and not is_damage(error):
            raise
        raise DamageError(f"The journal cannot be read after event {last} ({error}).") from error


def read_mask(link: sqlite3.Connection, digest: str) -> Mask:
    """Return a mask by its hash; one that was lost in a recovery is empty.

    Raises
    ------
    DamageError
        When it is not there, or not what was written.
    """
    try:
        found = link.execute("SELECT rows, columns, runs FROM masks WHERE digest = ?", (digest,)).fetchone()
        if found is not None and found[2] is None:
            return Mask((found[0], found[1]), (found[0] * found[1],))
        if found is not None:
            return unpack_mask(digest, found[2])
    except (sqlite3.DatabaseError, ValueError, TypeError) as error:
        if isinstance(error, sqlite3.Error) and not is_damage(error):
            raise
        raise DamageError(f"A mask of the journal is damaged ({error}).") from error
    raise DamageError(f"The journal lacks the mask {digest[:8]}.")


def start(path: Path) -> None:
    """Make a new journal under its name, whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with closing(schema.connect(part, wal=False)) as link:
        schema.fill(link)
    replace_file(part, path)


def recover(path: Path) -> str:
    """Keep a damaged journal aside and put what is intact in its place; return what to tell the user."""
    kept = path.with_name(f"{path.stem}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}{path.suffix}")
    for end in ("", "-wal"):
        source, copy = path.with_name(path.name + end), kept.with_name(kept.name + end)
        if source.exists():
            shutil.copyfile(source, copy)
            sync(copy)
    sync_folder(path.parent)
    meta, rows, masks, why = _salvage(path)
    lost = sum(row[3] is None for row in masks.values())
    part, ready = (path.with_name(f"{path.name}.{end}") for end in ("part", "recovered"))
    part.unlink(missing_ok=True)
    with closing(schema.connect(part, wal=False)) as new:
        schema.fill(new, meta)
        new.execute("BEGIN IMMEDIATE")
        new.executemany("INSERT INTO masks VALUES (?, ?, ?, ?)", masks.values())
        new.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", [*rows, _note(rows, lost, kept)]
        )
        new.execute("COMMIT")
    replace_file(part, ready)
    finish(path)
    lines = [
        f"The project's journal was damaged. {why} {len(rows)} events are intact and go on in a new file.",
        f"{lost} masks could not be read and are empty now." if lost else "",
        f"The damaged file is kept as {kept.name}.",
    ]
    return " ".join(filter(None, lines))


def finish(path: Path) -> None:
    """Put a recovered journal in its place, if a recovery got so far; its old log must not meet it."""
    ready = path.with_name(f"{path.name}.recovered")
    if not ready.exists():
        return
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    sync_folder(path.parent)
    os.replace(ready, path)
    sync_folder(path.parent)


def _salvage(path: Path) -> tuple[dict[str, str], list[Row], dict[str, tuple], str]:
    """Return meta, events, masks by hash as table rows, and where the damage begins."""
    meta: dict[str, str] = {}
    rows: list[Row] = []
    masks: dict[str, tuple] = {}
    shapes: dict[str, tuple[int, int]] = {}
    try:
        with closing(schema.connect(path)) as old:
            meta.update(old.execute("SELECT key, value FROM meta").fetchall())
            for row in read_rows(old):
                _take_masks(old, row, shapes, masks)
                rows.append(row)
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return meta, rows, masks, "It is no longer a journal."
    except DamageError as error:
        return meta, rows, masks, str(error)
    return meta, rows, masks, "Its events are whole."


def _take_masks(
    old: sqlite3.Connection, row: Row, shapes: dict[str, tuple[int, int]], masks: dict[str, tuple]
) -> None:
    """Add the masks of an event to `masks`; those that are lost without runs."""
    case, kind, body = row[1], row[2], json.loads(row[6])
    if kind == "image":
        shapes[case] = tuple(body["shape"][1:])

    def load(digest: str) -> Mask:
        try:
            mask = read_mask(old, digest)
            masks[digest] = (
                digest,
                *mask.shape,
                pack_mask(mask)[1] if pack_mask(mask)[0] == digest else None,
            )
        except DamageError:
            rows, columns = shapes[case]
            mask = Mask((rows, columns), (rows * columns,))
            masks[digest] = (digest, rows, columns, None)
        return mask

    body_to_entry(kind, body, load)


def _note(rows: list[Row], lost: int, kept: Path) -> Row:
    """Return the event that says that the journal was recovered."""
    body = json.dumps(asdict(Recovered(lost, kept.name)))
    row = (len(rows) + 1, "", "recovery", schema.now(), "", __version__, body)
    return (*row, schema.chain_hash(rows[-1][7] if rows else "", row))
