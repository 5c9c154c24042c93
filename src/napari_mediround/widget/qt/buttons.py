"""Buttons that fit the dock however long their words are. Decide nothing."""

from __future__ import annotations

from qtpy.QtCore import QSize, Qt
from qtpy.QtGui import QIcon, QImage, QPixmap, QResizeEvent
from qtpy.QtWidgets import QPushButton, QSizePolicy

from napari_mediround.widget.chat.view import Action
from napari_mediround.widget.qt.wrapping import plain_caption, plain_tip

CHIP_WIDTH = 280
"""Pixels of a chip's text: the dock is 365 wide where the window is 1280."""


class ElidedButton(QPushButton):
    """A button whose words are cut where there is no room for them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._whole = text
        self.setText(text)
        self.setAccessibleName(text)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setStyleSheet("text-align: left;")

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Show as much as fits."""
        super().resizeEvent(event)
        self.setText(self.fontMetrics().elidedText(self._whole, Qt.TextElideMode.ElideRight, self.width()))


class ActionButton(QPushButton):
    """A button of an `Action`, no wider than a card."""

    def __init__(self, action: Action) -> None:
        super().__init__()
        width = CHIP_WIDTH - (action.picture.columns if action.picture else 0)
        lines = action.label.splitlines()
        cut = (self.fontMetrics().elidedText(line, Qt.TextElideMode.ElideMiddle, width) for line in lines)
        self.setText(plain_caption("\n".join(cut)))
        if len(lines) > 1:
            self.setStyleSheet("text-align: left;")
        self.setAccessibleName(action.label)
        shown = action.label if self.text() != plain_caption(action.label) else ""
        self.setToolTip(plain_tip(action.hint or shown))
        if picture := action.picture:
            grey = QImage(
                picture.grey, picture.columns, picture.rows, picture.columns, QImage.Format.Format_Grayscale8
            )
            self.setIcon(QIcon(QPixmap.fromImage(grey)))
            self.setIconSize(QSize(picture.columns, picture.rows))
