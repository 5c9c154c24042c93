"""The command `mediround`. The only code that prints; imports the model when a command needs it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; an error of ours, or of a file, becomes one line on stderr and exit code 2.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name; None takes those of the process.

    Raises
    ------
    SystemExit
        Always: 0 done, 1 a check failed, 2 an error in words, 130 stopped by the user.
    """
    # Before torch is imported: idle OpenMP threads that spin take the other cores away from everyone.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from napari_mediround.cli.app import app
    from napari_mediround.errors import MediRoundError

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal's code has no sign for is written as its code
            stream.reconfigure(errors="backslashreplace")
    try:
        app(args=None if arguments is None else list(arguments), prog_name="mediround")
    except MediRoundError as error:
        _end(str(error))
    except OSError as error:
        words = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        _end(f"{words}. Check the path, its permissions and the room on the disk.")


def _end(words: str) -> NoReturn:
    from napari_mediround.errors import printable

    print("Error: " + printable(" ".join(words.split())), file=sys.stderr)
    raise SystemExit(2) from None
