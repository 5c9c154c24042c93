"""Carry fetched model files to a machine without a network, in one zip that is checked on arrival."""

from __future__ import annotations

import json
import os
import re
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from napari_mediround.errors import MissingWeightsError, SettingsError, UnreadableFileError
from napari_mediround.files import write_whole
from napari_mediround.weights.registry import (
    MANIFEST,
    Weight,
    check,
    load_registry,
    models_dir,
    read_manifest,
    write_manifest,
)
from napari_mediround.weights.sources import (
    MODEL_SUFFIXES,
    ZIP_FAILURES,
    finish,
    require_space,
    scratch,
    take,
)

_INDEX = "bundle.json"
_INDEX_LIMIT = 1 << 20


def _files_of(weight: Weight) -> dict[str, tuple[int, str]]:
    """List the files to pack: the pinned file if it is here (converted on arrival), else the whole folder."""
    folder = models_dir() / weight.name
    if weight.file and (folder / weight.file).is_file():
        return {weight.file: (weight.size, weight.sha256)}
    return read_manifest(folder) or {}


def bundle(path: str | Path, names: tuple[str, ...] = ()) -> Path:
    """Pack fetched entries into one zip with their sizes and hashes.

    Parameters
    ----------
    path : path
        The zip to write; put in place when whole.
    names : tuple of str
        Entries; empty for every one that is on this machine.

    Returns
    -------
    pathlib.Path
        The zip.

    Raises
    ------
    MissingWeightsError
        When an entry that was named, or every one, is not here or is damaged.
    """
    path = Path(path).expanduser()
    fetched = [w for w in load_registry().values() if not w.bundled]
    states = {w.name: check(w.name, hashes=True) for w in fetched if not names or w.name in names}
    broken = [s for s in states.values() if s.word != "ok" and (names or s.word == "damaged")]
    if broken:
        raise MissingWeightsError(broken[0].remedy)
    if unknown := set(names) - set(states):
        raise SettingsError(f"{', '.join(sorted(unknown))}: no fetched weights of that name.")
    chosen = [w for w in fetched if w.name in states and states[w.name].word == "ok"]
    if not chosen:
        raise MissingWeightsError("There is nothing to bundle yet. Run `mediround weights fetch` first.")
    index = {w.name: {n: {"size": s, "sha256": h} for n, (s, h) in _files_of(w).items()} for w in chosen}
    write_whole(path, lambda part: _pack(part, index))
    return path


def _pack(part: Path, index: dict[str, dict[str, dict]]) -> None:
    """Write a pack of files; they are stored, not deflated, because weights do not compress."""
    with zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(_INDEX, json.dumps({"format": 1, "weights": index}, indent=1))
        for name, listed in index.items():
            for file in listed:
                archive.write(models_dir() / name / file, f"{name}/{file}")


def _refuse(path: Path, cause: str) -> UnreadableFileError:
    return UnreadableFileError(
        path, cause, "The bundle was not used; make a new one with `mediround weights bundle`."
    )


def _read_index(archive: zipfile.ZipFile, path: Path) -> dict[str, tuple[str, str, int, str]]:
    """Return member to (entry, file, size, sha256), after every check that needs no content."""
    try:
        if archive.getinfo(_INDEX).file_size > _INDEX_LIMIT:
            raise _refuse(path, "its index is too large")
        index = json.loads(archive.read(_INDEX))["weights"]
        listed = {
            f"{name}/{file}": (name, file, int(entry["size"]), str(entry["sha256"]))
            for name, entries in index.items()
            for file, entry in entries.items()
        }
    except (KeyError, TypeError, AttributeError, ArithmeticError, *ZIP_FAILURES) as error:
        raise _refuse(path, "it is not a bundle of mediround") from error
    members = [info for info in archive.infolist() if info.filename != _INDEX]
    if len(members) != len(listed) or {m.filename for m in members} != set(listed):
        raise _refuse(path, "it does not hold exactly the files that its index lists")
    for info in members:
        name, file, size, sha256 = listed[info.filename]
        _check_member(path, info, name, file, size, sha256)
    return listed


def _check_member(path: Path, info: zipfile.ZipInfo, name: str, file: str, size: int, sha256: str) -> None:
    weight = load_registry().get(name)
    parts = PurePosixPath(file).parts
    plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", part) for part in parts)
    mode = info.external_attr >> 16
    if weight is None or weight.bundled:
        raise _refuse(path, f"it holds {name!r}, which is not a name of models.toml")
    if not plain or file.startswith("/") or "\\" in file or len(parts) > 2:
        raise _refuse(path, f"it holds a file with a path that leads elsewhere: {file!r}")
    if mode and not stat.S_ISREG(mode) and stat.S_IFMT(mode):
        raise _refuse(path, f"{file!r} is a link or another special file")
    if info.compress_type != zipfile.ZIP_STORED or info.flag_bits & 0x1:
        raise _refuse(path, f"{file!r} is compressed or encrypted, which bundles never are")
    if info.file_size != size:
        raise _refuse(path, f"{file!r} has {info.file_size} bytes, its index says {size}")
    if file == weight.file:
        if (size, sha256) != (weight.size, weight.sha256):
            raise _refuse(path, f"{file!r} is not the file that models.toml names")
    elif not weight.is_folder or not file.endswith(MODEL_SUFFIXES) or file == MANIFEST:
        raise _refuse(path, f"{file!r} has no place in {name}")


def unbundle(path: str | Path, progress: Callable[[str], None] | None = None) -> tuple[str, ...]:
    """Unpack a zip made by `bundle` into the cache.

    Parameters
    ----------
    path : path
        The zip. It is not trusted: names, kinds, sizes and hashes are checked, and pinned files must
        be those that this package's registry names.
    progress : callable, optional
        Told in words what happens.

    Returns
    -------
    tuple of str
        The entries that are now on this machine.

    Raises
    ------
    UnreadableFileError
        When it is no zip, no bundle, or holds anything that it should not.
    MissingWeightsError
        When a file's hash differs.
    """
    path, say = Path(path).expanduser(), progress or (lambda _: None)
    if not path.is_file():
        raise UnreadableFileError(path, "there is no such file", "Check the path.")
    models_dir().mkdir(parents=True, exist_ok=True)
    try:
        with zipfile.ZipFile(path) as archive:
            listed = _read_index(archive, path)
            require_space(models_dir(), sum(size for *_, size, _ in listed.values()))
            with scratch() as folder:
                for member, (name, file, size, sha256) in listed.items():
                    say(f"{name}: {file}, {size / 1e6:.1f} MB")
                    with archive.open(member) as stream:
                        take(stream, folder / name / file, size, sha256, f"{file} in {path}")
                for name, file, *_ in listed.values():
                    target = models_dir() / name / file
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(folder / name / file, target)
    except ZIP_FAILURES as error:
        raise _refuse(path, "it cannot be read as a zip file") from error
    names = tuple(dict.fromkeys(name for name, *_ in listed.values()))
    for name in names:
        weight = load_registry()[name]
        finish(weight, say)
        if weight.is_folder and not (models_dir() / name / MANIFEST).is_file():
            write_manifest(models_dir() / name, str(path.name))
    return names
