"""Files that are on the disk whole or not at all, also after a power cut. Knows no format."""

from __future__ import annotations

import hashlib
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
    """Write a file under a temporary name in the folder of `path`, then give it its name in one step.

    Parameters
    ----------
    path : Path
        The file; an existing one is replaced. Missing folders are made.
    write : callable
        Given the temporary path, writes the content there. If it raises, `path` stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(part)
        replace_file(part, path)
    finally:
        part.unlink(missing_ok=True)


def replace_file(part: Path, path: Path) -> None:
    """Give a finished file its name; after a crash `path` is the old file or the new one, never neither."""
    sync(part)
    os.replace(part, path)
    sync(path.parent)


def hash_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
        sync(file)
        if overwrite:
            os.replace(file, target)
        else:
            _move_new(file, target)
        moved.append(target)
    sync(folder)
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


def sync(path: Path) -> None:
    """Return when a file's content, or a folder's list of names, is on the disk; Windows syncs no folders."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
