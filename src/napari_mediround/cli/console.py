"""Where the command line writes: one console for results, one for what happens meanwhile.

Nothing that a person, a file or a model wrote is ever markup, an emoji code or a control sequence: every
text goes through `plain`, whatever prints it.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from napari_mediround.errors import SettingsError, printable

_WIDEST = 100_000


def plain(text: object) -> Text:
    """Return text as the screen shows it: itself, and the code of what a terminal would obey or hide.

    Line breaks of a text are such codes as well, so that a text can neither fake a row nor a message.
    """
    return Text(printable(text))


class PlainConsole(Console):
    """A console to which a string is text and nothing else."""

    def render_str(self, text: str, **style) -> Text:
        """Return a string as `plain` text; of what rich may be told, style and layout alone count."""
        shown = plain(text)
        shown.style, shown.justify = style.get("style") or "", style.get("justify")
        shown.overflow = style.get("overflow")
        return shown


class PlainColumn(ProgressColumn):
    """A column of a progress bar: a template with `task`, whose fields may hold any text."""

    def __init__(self, template: str) -> None:
        super().__init__()
        self._template = template

    def render(self, task: Task) -> Text:
        """Return the text of the column now."""
        return plain(self._template.format(task=task))


def results() -> Console:
    """Return a console on stdout; where nobody watches, as wide as the rows are, so that none is cut."""
    watched = sys.stdout.isatty() or "COLUMNS" in os.environ
    return PlainConsole(width=None if watched else _WIDEST, highlight=False)


def notices() -> Console:
    """Return a console on stderr, for progress and remarks."""
    return PlainConsole(stderr=True, highlight=False, soft_wrap=True)


def say(text: object) -> None:
    """Write one remark to stderr."""
    notices().print(str(text))


def answer(*lines: object) -> None:
    """Write results to stdout, each in a line of its own, however long."""
    for line in lines:
        results().print(str(line), soft_wrap=True)


@contextmanager
def doing(text: str) -> Iterator[Callable[[str], None]]:
    """Show what is being done; yields what takes another text."""
    with notices().status(plain(text)) as status:
        yield lambda text: status.update(plain(text))


def make_table(title: str, *columns: str, right: tuple[str, ...] = ()) -> Table:
    """Return an empty table; the columns named in `right` hold numbers. What is too long is folded."""
    table = Table(title=plain(title) if title else None, title_justify="left")
    for column in columns:
        table.add_column(plain(column), justify="right" if column in right else "left", overflow="fold")
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
    # A text that is not Unicode has half characters: their codes are what JSON writes for them.
    write_whole(path, lambda part: part.write_bytes(text.encode("utf-8", "backslashreplace")))
    return path
