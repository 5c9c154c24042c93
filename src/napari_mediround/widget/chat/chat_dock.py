"""The dock widget that napari opens: view, worker, model and controller put together, and let go of."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import partial

from napari.utils.theme import get_theme
from qtpy.QtCore import QEvent
from qtpy.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from napari_mediround.session import Segmenter
from napari_mediround.widget.chat.controller import ChatController
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.lazy_model import LIBRARIES, LazySegmenter, build_predictor, get_ready
from napari_mediround.widget.qt.chat_panel import ChatPanel
from napari_mediround.widget.worker import Worker


class ChatDock(QWidget):
    """Ask for structures in words, round after round.

    Each dock has its own worker and model, so that several viewers work side by side. Taken out of the
    window or closed with it, a dock stops its worker and frees its model; put back, it starts anew.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    build : callable, optional
        Returns the segmenter; called ahead, or on the worker at the first question.
    project : Project, optional
        Where the rounds are kept until the user chooses another folder.
    ahead : callable, optional
        Gets the segmenter ready, without waiting for it.
    """

    def __init__(
        self,
        napari_viewer,
        build: Callable[[], Segmenter] = build_predictor,
        project: Project | None = None,
        ahead: Callable[[LazySegmenter], object] = get_ready,
    ) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.worker = Worker()
        self.segmenter = LazySegmenter(build, LIBRARIES if build is build_predictor else ())
        ahead(self.segmenter)
        self.panel = ChatPanel()
        self.controller = ChatController(napari_viewer, self.panel, self.worker, self.segmenter, project)
        # Or napari fills the space below with a stretch.
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Expanding)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.panel)
        self.panel.choices.learning_asked.connect(self._on_learning_asked)
        napari_viewer.events.theme.connect(self._on_theme)
        self._on_theme()
        # Qt keeps what is connected here: it must not lead back to this widget.
        self.destroyed.connect(partial(_let_go, self.worker, self.segmenter, weakref.ref(self.controller)))

    def changeEvent(self, event: QEvent) -> None:
        """Stop when napari takes the widget out of its window, start when it puts it back."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange:
            self.controller.stop() if self.parent() is None else self.controller.start()

    def showEvent(self, event: QEvent) -> None:
        """Take the keys: the dock is in use while it can be seen."""
        super().showEvent(event)
        self.controller.keys.bind()

    def hideEvent(self, event: QEvent) -> None:
        """Give the keys back."""
        super().hideEvent(event)
        self.controller.keys.unbind()

    def _on_learning_asked(self) -> None:
        self._viewer.window.add_plugin_dock_widget("napari-mediround", "MediRound learning", tabify=True)

    def _on_theme(self, event=None) -> None:
        self.panel.set_theme(get_theme(self._viewer.theme).to_rgb_dict())


def _let_go(worker: Worker, segmenter: LazySegmenter, controller: weakref.ref, _=None) -> None:
    worker.stop()
    segmenter.release()
    if controller() is not None:
        controller().disconnect()
