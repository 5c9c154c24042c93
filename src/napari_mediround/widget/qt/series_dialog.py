"""Choose one of several series in a window: what each is, in napari's theme. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from napari.qt import get_current_stylesheet
from qtpy.QtWidgets import (
    QAbstractItemView,
    QApplication,
    QDialog,
    QDialogButtonBox,
    QHeaderView,
    QLabel,
    QTreeWidget,
    QTreeWidgetItem,
    QVBoxLayout,
)

from napari_mediround.io.dicom.instances import SeriesInfo

COLUMNS = ("", "Description", "Series", "Files")


class SeriesDialog(QDialog):
    """A table of series; a double click, or OK, takes the chosen one.

    Parameters
    ----------
    choices : sequence of SeriesInfo
        What there is, at least one.
    """

    def __init__(self, choices: Sequence[SeriesInfo]) -> None:
        super().__init__(QApplication.activeWindow())
        self._choices = choices
        self.setWindowTitle("Choose a series")
        self.setStyleSheet(get_current_stylesheet())
        self.table = QTreeWidget()
        self.table.setHeaderLabels(COLUMNS)
        self.table.setRootIsDecorated(False)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        for number, series in enumerate(choices, 1):
            row = [str(number), series.description or "–", series.label, str(len(series.files))]
            self.table.addTopLevelItem(QTreeWidgetItem(row))
        header = self.table.header()
        header.setStretchLastSection(False)
        for column in range(len(COLUMNS)):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(1, QHeaderView.ResizeMode.Stretch)
        self.table.setCurrentItem(self.table.topLevelItem(0))
        self.table.itemDoubleClicked.connect(lambda *_: self.accept())
        buttons = QDialogButtonBox(
            QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Cancel
        )
        buttons.accepted.connect(self.accept)
        buttons.rejected.connect(self.reject)
        column = QVBoxLayout(self)
        column.addWidget(QLabel(f"This folder holds {len(choices)} series. Which one do you want to open?"))
        column.addWidget(self.table)
        column.addWidget(buttons)
        self.resize(620, min(160 + 24 * len(choices), 560))

    @property
    def uid(self) -> str:
        """SeriesInstanceUID of the chosen one."""
        return self._choices[self.table.indexOfTopLevelItem(self.table.currentItem())].uid


def ask_series(choices: Sequence[SeriesInfo]) -> str | None:
    """Ask which series to open; return its uid, or None when the dialog was closed."""
    dialog = SeriesDialog(choices)
    return dialog.uid if dialog.exec() == QDialog.DialogCode.Accepted else None
