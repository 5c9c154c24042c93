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
    import typer

    from napari_mediround.cli.app import app
    from napari_mediround.errors import MediRoundError, printable

    usage_error = typer.BadParameter.__base__  # click's, which typer brings along under a name of its own

    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # what the terminal's code has no sign for is written as its code
            stream.reconfigure(errors="backslashreplace")
    try:
        words = None if arguments is None else list(arguments)
        code = app(args=words, prog_name="mediround", standalone_mode=False)
    except usage_error as error:
        error.message = printable(error.message)  # quotes what was typed
        error.show()
        raise SystemExit(error.exit_code) from None
    except typer.Abort:
        _end("Stopped: there was no answer to read.")
    except MediRoundError as error:
        _end(str(error))
    except OSError as error:
        words = ": ".join(str(part) for part in (error.filename, error.strerror or error) if part)
        _end(f"{words}. Check the path, its permissions and the room on the disk.")
    raise SystemExit(code if isinstance(code, int) else 0)


def _end(words: str) -> NoReturn:
    from napari_mediround.errors import printable

    print("Error: " + printable(" ".join(words.split())), file=sys.stderr)
    raise SystemExit(2) from None
