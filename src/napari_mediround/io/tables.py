"""Tables as text: comma- or tab-separated, UTF-8, a header line. Knows no meaning of a column."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from napari_mediround.domain.segments import STANDINGS, Segment

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(value: object) -> object:
    """Return a cell as a spreadsheet may open it: a text that it would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def standing(segment: Segment, unknown: str = "n/a") -> tuple[str, str]:
    """Return verdict and quality of a mask as cells of a table."""
    quality = unknown if segment.quality is None else f"{segment.quality:.4f}"
    return segment.verdict or unknown, quality


def read_standing(row: Mapping[str, str]) -> dict:
    """Return verdict and quality of a row, as fields of `Segment`; those that say nothing are left out."""
    known: dict = {}
    if row.get("verdict") in STANDINGS[1:]:
        known["verdict"] = row["verdict"]
    try:
        quality = float(row.get("quality") or "")
    except ValueError:
        return known
    return known | {"quality": quality} if 0 <= quality <= 1 else known


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence], delimiter: str = ",") -> None:
    """Write a header line and one line a row."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_table(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file, delimiter=delimiter))
