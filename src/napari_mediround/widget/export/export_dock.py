"""The export dock: what napari opens. Lets the controller work on the panel."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from napari.layers import Labels
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QVBoxLayout, QWidget

from napari_mediround.widget.export.export_controller import ExportController
from napari_mediround.widget.export.export_panel import ExportPanel
from napari_mediround.widget.worker import Worker


class ExportDock(QWidget):
    """Write masks to a file that another library has read back.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer) -> None:
        super().__init__()
        self.worker, self.view = Worker(), ExportPanel()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.view)
        self.controller = ExportController(napari_viewer, self.view, self.worker)
        # Qt keeps what is connected here: it must not lead back to this widget.
        self.destroyed.connect(partial(_stop, self.worker))

    def changeEvent(self, event: QEvent) -> None:
        """Stop when napari takes the widget out of its window."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.controller.cancel()
            self.worker.stop()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being exported."""
        return self.controller.is_idle

    def choose(self, labels: Labels | None, form: str, values: Collection[int] | None) -> str:
        """Choose what to export. See `ExportController.choose`."""
        return self.controller.choose(labels, form, values)

    def receipt_text(self) -> str:
        """Return what the receipt says."""
        return self.view.receipt.toPlainText()


def _stop(worker: Worker, _=None) -> None:
    worker.stop()
