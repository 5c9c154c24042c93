"""Recovery of a damaged journal: it is kept aside, and the intact part goes on in a new file.

Events before the first one that breaks the hash chain are kept. A damaged mask becomes an empty one, so that
one bad page does not cost the conversation. An interrupted recovery is finished at the next opening, because
the new file gets its name only when it is whole.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from sqlite3 import Connection

from napari_mediround import __version__
from napari_mediround.domain.mask import Mask
from napari_mediround.files import replace_file, sync
from napari_mediround.journal import schema
from napari_mediround.journal.entries import Recovered, body_to_entry, pack_mask
from napari_mediround.journal.rows import DamageError, Row, finding_damage, read_mask, read_rows


def start(path: Path) -> None:
    """Create a new journal; the file gets its name only when it is whole."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)
    with closing(schema.connect(part, wal=False)) as link:
        schema.fill(link)
    replace_file(part, path)


def recover(path: Path) -> str:
    """Keep a damaged journal aside, put its intact part in its place, and return a note for the user."""
    kept = path.with_name(f"{path.stem}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S}{path.suffix}")
    for end in ("", "-wal"):
        source, copy = path.with_name(path.name + end), kept.with_name(kept.name + end)
        if source.exists():
            shutil.copyfile(source, copy)
            sync(copy)
    sync(path.parent)
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
    """Put a finished recovery in place of the journal, without the old write-ahead log."""
    ready = path.with_name(f"{path.name}.recovered")
    if not ready.exists():
        return
    for end in ("-wal", "-shm"):
        path.with_name(path.name + end).unlink(missing_ok=True)
    sync(path.parent)
    os.replace(ready, path)
    sync(path.parent)


def _salvage(path: Path) -> tuple[dict[str, str], list[Row], dict[str, tuple], str]:
    """Return meta, events and masks by hash as table rows, and the place where the damage begins."""
    meta: dict[str, str] = {}
    rows: list[Row] = []
    masks: dict[str, tuple] = {}
    shapes: dict[str, tuple[int, int]] = {}
    try:
        with finding_damage("It is no longer a journal"), closing(schema.connect(path)) as old:
            meta.update(old.execute("SELECT key, value FROM meta").fetchall())
            for row in read_rows(old):
                _take_masks(old, row, shapes, masks)
                rows.append(row)
    except DamageError as error:
        return meta, rows, masks, str(error)
    return meta, rows, masks, "Its events are whole."


def _take_masks(
    old: Connection, row: Row, shapes: dict[str, tuple[int, int]], masks: dict[str, tuple]
) -> None:
    """Add the masks of an event to `masks`; lost masks get no runs."""
    case, kind, body = row[1], row[2], json.loads(row[6])
    if kind == "image":
        shapes[case] = tuple(body["shape"][1:])

    def load(digest: str) -> Mask:
        try:
            mask = read_mask(old, digest)
            found, runs = pack_mask(mask)  # of a mask that was lost before, another hash
            masks[digest] = (digest, *mask.shape, runs if found == digest else None)
        except DamageError:
            rows, columns = shapes[case]
            mask = Mask((rows, columns), (rows * columns,))
            masks[digest] = (digest, rows, columns, None)
        return mask

    body_to_entry(kind, body, load)


def _note(rows: list[Row], lost: int, kept: Path) -> Row:
    """Return the event that records the recovery."""
    body = json.dumps(asdict(Recovered(lost, kept.name)))
    row = (len(rows) + 1, "", "recovery", schema.now(), "", __version__, body)
    return (*row, schema.chain_hash(rows[-1][7] if rows else "", row))
