"""Settings files: a TOML table becomes a frozen dataclass. Knows no setting."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from napari_mediround.errors import SettingsError

Settings = TypeVar("Settings")


def read_toml(path: Path) -> dict[str, Any]:
    """Return the tables of a TOML file.

    Raises
    ------
    SettingsError
        When the file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read ({error}). Give a .toml file.") from error


def check_keys(table: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    """Raise `SettingsError` if something is not a table, or has keys that are not known; `where` names it."""
    if not isinstance(table, Mapping):
        raise SettingsError(f"{where}: this is not a table. Begin a section with its name in brackets.")
    if unknown := sorted(set(table) - set(known)):
        raise SettingsError(f"{where}: {', '.join(unknown)} is not known. Known keys: {', '.join(known)}.")


def to_settings(kind: type[Settings], table: Mapping[str, Any], where: str) -> Settings:
    """Return a dataclass filled from a table of a settings file.

    Parameters
    ----------
    kind : type
        A frozen dataclass whose fields are all in its constructor.
    table : mapping
        Field name to value, as TOML gives them; a list becomes a tuple where the field is one.
    where : str
        Names the table in the error, for example "lite_cpu.toml, [run]".

    Raises
    ------
    SettingsError
        For an unknown key, a missing one, or a value of the wrong kind; naming the key.
    """
    from pydantic import TypeAdapter, ValidationError

    check_keys(table, [field.name for field in fields(kind)], where)
    hints, values = get_type_hints(kind), {}
    for key, value in table.items():
        value = tuple(value) if isinstance(value, list) else value
        try:
            values[key] = TypeAdapter(hints[key]).validate_python(value, strict=True)
        except ValidationError as error:
            raise SettingsError(f"{where}: {key}: {error.errors()[0]['msg']}, not {value!r}.") from error
    required = [field.name for field in fields(kind) if field.default is field.default_factory is MISSING]
    if missing := [key for key in required if key not in values]:
        raise SettingsError(f"{where}: {', '.join(missing)} is missing.")
    return kind(**values)
