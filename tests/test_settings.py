"""Settings files: known keys of the right kind, and an error that names the key for all others."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from napari_mediround.errors import SettingsError
from napari_mediround.settings import read_toml, to_settings


@dataclass(frozen=True)
class Knobs:
    """Settings of a test."""

    name: str
    steps: int = 3
    rate: float = 0.5
    parts: tuple[str, ...] = ()


def test_a_table_becomes_a_dataclass() -> None:
    table = {"name": "a", "rate": 1, "parts": ["x", "y"]}
    assert to_settings(Knobs, table, "here") == Knobs("a", 3, 1.0, ("x", "y"))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ({"name": "a", "step": 1}, "step is not known"),
        ({"steps": 1}, "name is missing"),
        ({"name": "a", "steps": "1"}, "steps: .*integer"),
        ({"name": "a", "steps": True}, "steps: .*integer"),
        ({"name": "a", "steps": 1.5}, "steps: .*integer"),
        ({"name": "a", "parts": "xy"}, "parts: .*tuple"),
        ({"name": "a", "parts": [1]}, "parts: .*string"),
        (7, "not a table"),
    ],
)
def test_what_is_wrong_is_named(table, told: str) -> None:
    with pytest.raises(SettingsError, match=f"(?s)here: .*{told}"):
        to_settings(Knobs, table, "here")


def test_a_file_that_is_no_toml_is_refused_in_one_line(tmp_path) -> None:
    path = tmp_path / "a.toml"
    path.write_text("name = ")
    with pytest.raises(SettingsError, match=r"a\.toml cannot be read"):
        read_toml(path)
    with pytest.raises(SettingsError, match=r"b\.toml cannot be read"):
        read_toml(tmp_path / "b.toml")
