"""A table in an answer: the lines of a text that are cells between bars, as a grid of labels."""

from __future__ import annotations

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGridLayout

from napari_mediround.widget.qt.wrapping import make_label

Rows = tuple[tuple[str, ...], ...]


def split_table(text: str) -> tuple[str, Rows]:
    """Return a text without its table, and the rows of that."""
    lines = text.split("\n")
    rows = [line for line in lines if line.startswith("| ") and line.endswith(" |")]
    cells = tuple(tuple(cell.strip() for cell in row[2:-2].split(" | ")) for row in rows)
    return "\n".join(line for line in lines if line not in rows), cells


class AnswerTable(QFrame):
    """Measurements of masks, a column a mask: the dock is narrow, and masks are few.

    Parameters
    ----------
    rows : tuple of tuple of str
        The head, then a row for each mask.
    """

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self.setObjectName("plain")
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 2, 0, 2)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(3)
        for column, cells in enumerate(rows):
            for row, cell in enumerate(cells):
                label = make_label(cell, "muted" if not column else "structure" if not row else "")
                if column:
                    label.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop)
                label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                grid.addWidget(label, row, column)
