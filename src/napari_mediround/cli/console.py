"""Where the command line writes: one console for results, one for what happens meanwhile."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.table import Table

from napari_mediround.errors import SettingsError

_WIDE = 160


def results() -> Console:
    """Return a console on stdout; wide where nobody watches, so that a file holds whole rows."""
    watched = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(width=None if watched else _WIDE, highlight=False)


def notices() -> Console:
    """Return a console on stderr, for progress and remarks."""
    return Console(stderr=True, highlight=False, soft_wrap=True)


def say(text: str) -> None:
    """Write one remark to stderr as it stands."""
    notices().print(text, markup=False)


def make_table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named in `right` hold numbers."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        number = column in right
        table.add_column(column, justify="right" if number else "left", no_wrap=number, overflow="fold")
    return table


def not_written(path: Path, error: Exception) -> SettingsError:
    """Return the error that says why a file cannot be written, and what to do."""
    why = (isinstance(error, OSError) and error.strerror) or str(error).strip().rpartition("\n")[2]
    return SettingsError(f"{path} cannot be written: {why}. Choose another place, or make room there.")


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say that a file was written.

    Raises
    ------
    SettingsError
        When it was not, naming the file: a full disk's own error does not.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:  # SimpleITK raises a RuntimeError
        raise not_written(path, error) from error
    say(f"Wrote {path}")


def write_json(path: Path, value: dict) -> Path:
    """Write JSON; the file appears whole or not at all."""
    from napari_mediround.files import write_whole

    path = Path(path).expanduser()
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    write_whole(path, lambda part: part.write_text(text, "utf-8"))
    return path
