"""The list of masks to export: each with a tick, its verdict, its quality and its origin."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from napari_mediround.domain.judged import PROPOSAL, Key, MaskRow

COLUMNS = ("mask", "verdict", "quality", "origin")
_LINES = 6


class MaskTable(QTreeWidget):
    """Masks as rows. A mask without a verdict is not ticked until a person ticks it."""

    def __init__(self) -> None:
        super().__init__()
        self.setHeaderLabels(COLUMNS)
        self.setRootIsDecorated(False)
        self.setUniformRowHeights(True)
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.header().setStretchLastSection(True)
        self.setFixedHeight((_LINES + 1) * (self.fontMetrics().height() + 6))
        self._rows: tuple[MaskRow, ...] = ()
        self._ticks: dict[Key, bool] = {}
        self.itemChanged.connect(self._on_ticked)

    @property
    def left_out(self) -> frozenset[Key]:
        """Keys of the rows that are not ticked."""
        return frozenset(row.key for row in self._rows if not self._is_ticked(row))

    def show_rows(self, rows: Sequence[MaskRow]) -> None:
        """List masks; those that were ticked or not by hand stay so."""
        if tuple(rows) == self._rows:
            return
        self._rows = tuple(rows)
        self.blockSignals(True)
        self.clear()
        for row in self._rows:
            quality = "" if row.quality is None else f"{row.quality:.2f}"
            item = QTreeWidgetItem(
                [f"{row.value} {row.name}", row.verdict or "not known", quality, row.origin]
            )
            item.setCheckState(0, Qt.CheckState.Checked if self._is_ticked(row) else Qt.CheckState.Unchecked)
            item.setData(0, Qt.ItemDataRole.UserRole, row.key)
            self.addTopLevelItem(item)
        self.blockSignals(False)

    def tick(self, values: Collection[int] | None) -> None:
        """Tick the rows of some label values alone; all of them for None."""
        self._ticks |= {row.key: values is None or row.value in values for row in self._rows}
        rows, self._rows = self._rows, ()
        self.show_rows(rows)

    def forget(self) -> None:
        """Let the verdicts alone decide again."""
        self._rows, self._ticks = (), {}
        self.clear()

    def _is_ticked(self, row: MaskRow) -> bool:
        return self._ticks.get(row.key, row.verdict != PROPOSAL)

    def _on_ticked(self, item: QTreeWidgetItem, column: int) -> None:
        key = tuple(item.data(0, Qt.ItemDataRole.UserRole))
        self._ticks[key] = item.checkState(0) == Qt.CheckState.Checked
