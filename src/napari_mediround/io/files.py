"""Files that appear whole or not at all. Knows no format."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from napari_mediround.errors import ExistingFileError

MISMATCH = ".mismatch"
"""Ending of a file that did not read back as what was meant to be written."""


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` make a file beside `path`, sync it, then move it there in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(part)
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


def refuse_existing(paths: Iterable[Path]) -> None:
    """Refuse to write where something is already.

    Raises
    ------
    ExistingFileError
        Naming the first that exists.
    """
    for path in paths:
        if path.exists():
            raise ExistingFileError(path)


@contextmanager
def staging(folder: Path) -> Iterator[Path]:
    """Give an empty folder inside `folder`, for files that are to be looked at before they move."""
    folder.mkdir(parents=True, exist_ok=True)
    stage = Path(tempfile.mkdtemp(prefix=".mediround-", dir=folder))
    try:
        yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def move_all(files: Iterable[Path], folder: Path, overwrite: bool, ending: str = "") -> tuple[Path, ...]:
    """Sync files and move them into `folder`, each in one step, in the order given.

    Parameters
    ----------
    files : iterable of Path
        On the file system of `folder`.
    folder : Path
        Where they go.
    overwrite : bool
        Whether a file of the same name may be replaced.
    ending : str
        Added to each name.

    Raises
    ------
    ExistingFileError
        When a file came to be there meanwhile and `overwrite` is False.
    """
    moved = []
    for file in files:
        target = folder / (file.name + ending)
        _sync(file)
        if overwrite:
            os.replace(file, target)
        else:
            _move_new(file, target)
        moved.append(target)
    _sync(folder)
    return tuple(moved)


def _move_new(file: Path, target: Path) -> None:
    """Move without ever replacing: a hard link fails where a name is taken."""
    try:
        os.link(file, target)
    except FileExistsError as error:
        raise ExistingFileError(target) from error
    except OSError:  # a file system without hard links
        refuse_existing([target])
        os.replace(file, target)


def _sync(path: Path) -> None:
    """Have a file or folder written to the disk; Windows syncs no folders."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
