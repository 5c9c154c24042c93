"""Tables as text: comma- or tab-separated, UTF-8, a header line. Knows no meaning of a column."""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def harmless(value: object) -> object:
    """Return a cell as a spreadsheet may open it: a text that it would take for a formula is quoted."""
    return f"'{value}" if isinstance(value, str) and value.lstrip(" ").startswith(_FORMULA) else value


def write_table(path: Path, columns: Sequence[str], rows: Iterable[Sequence], delimiter: str = ",") -> None:
    """Write a header line and one line a row."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)


def read_table(path: Path, delimiter: str = ",") -> list[dict[str, str]]:
    """Return the rows of a table by the names of its columns; as UTF-16 where Excel wrote it so."""
    data = path.read_bytes()
    text = data.decode("utf-16" if data[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig")
    return list(csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter))
