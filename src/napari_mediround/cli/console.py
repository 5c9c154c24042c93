"""Where the command line writes: one console for results, one for what happens meanwhile."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

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


def write_json(path: Path, value: dict) -> Path:
    """Write JSON in one step: a temporary name, then a rename."""
    path = Path(path).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    part.write_text(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8")
    os.replace(part, path)
    return path
