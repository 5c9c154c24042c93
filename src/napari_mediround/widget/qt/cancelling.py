"""Esc cancels what a panel is doing. Decides nothing."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QWidget


class CancellablePanel(QWidget):
    """A panel that asks to be cancelled with Esc while there is something to cancel."""

    cancel_asked = Signal()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done."""
        raise NotImplementedError

    @property
    def has_cancellable(self) -> bool:
        """Whether Esc has something to cancel."""
        return not self.is_idle

    def event(self, event: QEvent) -> bool:
        """Claim Esc while something is being done, before a shortcut of the window takes it."""
        if event.type() == QEvent.Type.ShortcutOverride and self._cancels(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Cancel with Esc."""
        self.cancel_asked.emit() if self._cancels(event) else super().keyPressEvent(event)

    def _cancels(self, event: QKeyEvent) -> bool:
        return event.key() == Qt.Key.Key_Escape and self.has_cancellable
