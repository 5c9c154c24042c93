"""`mediround train`: find the recipe; the training itself is a program in `training`."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from napari_mediround.errors import SettingsError


def find_recipe(name: str) -> Path:
    """Return the recipe file that `name` is, or the bundled recipe of that name.

    Raises
    ------
    SettingsError
        When there is neither; the message lists the bundled ones.
    """
    path = Path(name).expanduser()
    if path.is_file():
        return path
    folder = Path(str(files("napari_mediround.training"))) / "recipes"
    bundled = {p.stem: p for p in sorted(folder.glob("*.toml"))}
    if name not in bundled:
        known = ", ".join(bundled) or "none"
        raise SettingsError(f"There is no recipe {name!r}: give a .toml file or a bundled one ({known}).")
    return bundled[name]
