"""The formats that the export dock offers, by name, with the titles that people read."""

from __future__ import annotations

from napari_mediround.io.export import FORMATS, MEASUREMENTS

TITLES = {**{name: form.title for name, form in FORMATS.items()}, MEASUREMENTS: "Table of measurements"}


def suffix_of(form: str | None) -> str:
    """Return the ending of a format's files."""
    return FORMATS[form].suffixes[0] if form in FORMATS else ".csv"


def without_suffix(path: str) -> str | None:
    """Return a path without the ending of any format; None if it has none of these endings."""
    suffixes = [suffix for form in FORMATS.values() for suffix in form.suffixes] + [".csv"]
    own = next((s for s in sorted(suffixes, key=len, reverse=True) if path.lower().endswith(s)), "")
    return path[: -len(own)] if own else None
