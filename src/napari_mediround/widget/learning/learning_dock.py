"""The learning dock: what napari opens. Puts the panel into a scroll area and lets the controller work."""

from __future__ import annotations

from functools import partial

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QFrame, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_mediround.widget.chat.chat_dock import ChatDock
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.learning.learning_controller import LearningController
from napari_mediround.widget.learning.learning_panel import LearningPanel
from napari_mediround.widget.worker import Worker

CHAT = ("napari-mediround", "MediRound chat")
PAUSE_MS = 300
"""The corrections are counted when nothing has been done for so long."""


class LearningDock(QWidget):
    """Learn from corrections, and choose what the model answers with.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    place : Workplace, optional
        Of the chat whose project learns; by default that of the viewer's chat, opened if need be.
    settings : LearningSettings, optional
        The recipe.
    """

    def __init__(self, napari_viewer, place: Workplace | None = None, settings=None) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.worker, self.view = Worker(), LearningPanel()
        self._pause = QTimer(self, interval=PAUSE_MS, singleShot=True)
        self._lay_out()
        place = place or find_chat(napari_viewer).controller.workplace
        self.controller = LearningController(self.view, place, self.worker, self._pause.start, settings)
        self._pause.timeout.connect(self._on_paused)
        napari_viewer.events.theme.connect(self._on_theme)
        # Qt keeps what is connected here: it must not lead back to this widget.
        self.destroyed.connect(partial(_stop, self.worker))
        self._on_theme()

    def _lay_out(self) -> None:
        # Or napari fills the space below with a stretch.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        area = QScrollArea()  # below the chat there is little height
        area.setWidgetResizable(True)
        area.setFrameShape(QFrame.Shape.NoFrame)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setMinimumWidth(365)
        area.setWidget(self.view)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(area)

    def changeEvent(self, event: QEvent) -> None:
        """Stop when napari takes the widget out of its window; the best result so far is kept."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self.controller.drop()
            self.worker.stop()

    def showEvent(self, event: QEvent) -> None:
        """Count the corrections again."""
        super().showEvent(event)
        self._pause.start()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being learned, counted or switched."""
        return self.controller.is_idle and not self._pause.isActive()

    def _on_paused(self) -> None:
        if self.isVisible():
            self.controller.count()

    def _on_theme(self, event=None) -> None:
        self.view.set_theme(get_theme(self._viewer.theme).to_rgb_dict())


def find_chat(viewer) -> ChatDock:
    """Return the chat of a viewer, opened if need be: learning works with its project and its model."""
    chats = [widget for widget in viewer.window.dock_widgets.values() if isinstance(widget, ChatDock)]
    return chats[0] if chats else viewer.window.add_plugin_dock_widget(*CHAT)[1]


def _stop(worker: Worker, _=None) -> None:
    worker.stop()
