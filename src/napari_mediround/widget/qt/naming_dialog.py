"""Ask what the masks of a file are: a line for each, in napari's theme. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from napari.qt import get_current_stylesheet
from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QComboBox,
    QCompleter,
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.widget.chat.view import NameRow
from napari_mediround.widget.qt.wrapping import make_label

LEAVE = "leave this mask out"
ASKED = (
    "What are these masks? Names that are not certain are marked. Choose a structure, type one, or keep the "
    "name of the file."
)


class NamingDialog(QDialog):
    """A line for each mask: what the file calls it, and what it is.

    Parameters
    ----------
    title : str
        Of the window.
    rows : sequence of NameRow
        At least one.
    parent : QWidget, optional
        The dock.
    """

    named = Signal(object)
    """(names) by value, "" for one that is left out; None when the dialog was closed."""

    def __init__(self, title: str, rows: Sequence[NameRow], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setWindowTitle(title)
        if parent is None:  # else the window's own theme holds
            self.setStyleSheet(get_current_stylesheet())
        self.boxes: dict[int, QComboBox] = {}
        names = [structure.name for structure in load_anatomy()]
        grid, inner = QGridLayout(), QWidget()
        inner.setLayout(grid)
        grid.setColumnStretch(0, 1)
        grid.setColumnStretch(1, 2)
        for line, row in enumerate(sorted(rows, key=lambda row: row.sure)):
            grid.addWidget(make_label(row.text), 2 * line, 0, Qt.AlignmentFlag.AlignVCenter)
            self.boxes[row.value] = _box(row, names)
            grid.addWidget(self.boxes[row.value], 2 * line, 1)
            if not row.sure:
                grid.addWidget(make_label(row.why, "low"), 2 * line + 1, 0, 1, 2)
        grid.setRowStretch(2 * len(rows), 1)
        area = QScrollArea()
        area.setWidgetResizable(True)
        area.setWidget(inner)
        self.buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Ok | QDialogButtonBox.StandardButton.Cancel
        )
        self._take = self.buttons.button(QDialogButtonBox.StandardButton.Ok)
        self._take.setText("Take the masks")
        self.buttons.accepted.connect(self.accept)
        self.buttons.rejected.connect(self.reject)
        self.finished.connect(self._on_finished)
        column = QVBoxLayout(self)
        column.addWidget(make_label(ASKED))
        column.addWidget(area)
        column.addWidget(self.buttons)
        for box in self.boxes.values():
            box.currentTextChanged.connect(self._on_changed)
        self._on_changed()
        self.resize(560, min(190 + 62 * len(rows), 620))

    @property
    def names(self) -> dict[int, str]:
        """What is chosen now."""
        texts = {value: box.currentText().strip() for value, box in self.boxes.items()}
        return {value: "" if text == LEAVE else text for value, text in texts.items()}

    def _on_changed(self, _: str = "") -> None:
        """Let the masks be taken once each has a name or is left out."""
        self._take.setEnabled(all(box.currentText().strip() for box in self.boxes.values()))

    def _on_finished(self, code: int) -> None:
        self.named.emit(self.names if code == QDialog.DialogCode.Accepted else None)


def _box(row: NameRow, names: list[str]) -> QComboBox:
    box = QComboBox()
    box.setEditable(True)
    offered = dict.fromkeys([row.structure, *row.choices, row.text, LEAVE])
    box.addItems([name for name in offered if name])
    completer = QCompleter(names, box)
    completer.setFilterMode(Qt.MatchFlag.MatchContains)
    completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
    box.setCompleter(completer)
    box.setCurrentIndex(0 if row.structure else -1)
    if not row.structure:
        box.setEditText("")
    box.lineEdit().setPlaceholderText("choose or type a structure")
    return box
