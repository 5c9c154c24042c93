"""Files that are there whole or not at all, also after the power went. Knows no content."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(part: Path, path: Path) -> None:
    """Give a finished file its name: on the disk is the old one or the new one, never neither."""
    sync(part)
    os.replace(part, path)
    sync_folder(path.parent)


def sync(path: Path) -> None:
    """Return when a file's content is on the disk."""
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Return when a folder's names are on the disk; Windows keeps them itself."""
    if os.name == "nt":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
