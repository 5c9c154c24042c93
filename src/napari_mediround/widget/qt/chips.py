"""Chips: what a phrase of a question means, as a button with the other choices behind it."""

from __future__ import annotations

import re
from functools import partial

from psygnal import Signal
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent
from qtpy.QtWidgets import QMenu, QToolButton, QWidget

from napari_mediround.widget.chat.view import Action, Chip
from napari_mediround.widget.qt.buttons import CHIP_WIDTH
from napari_mediround.widget.qt.wrapping import plain_caption, plain_tip


class ChipButton(QToolButton):
    """What a phrase points at: hovering shows the mask, clicking offers others."""

    chosen = Signal(str, object)
    """(phrase, key of the choice)."""
    hovered = Signal(int)
    """(label value), 0 when the pointer or the focus has left."""

    def __init__(self, chip: Chip, tip: str) -> None:
        super().__init__()
        self._chip = chip
        self.setObjectName("chip")
        self.setToolTip(plain_tip(tip))
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._name(chip.current)
        if chip.choices:
            self.setMenu(make_menu(self, chip.choices, self._choose))

    def _name(self, target: str) -> None:
        said = self._chip.phrase and not re.fullmatch(r"\[\d+\.\d+\]", self._chip.phrase)
        text = f"“{self._chip.phrase}” → {target}" if said else target
        self.setAccessibleName(text)
        cut = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, CHIP_WIDTH)
        self.setText(plain_caption(cut))

    def _choose(self, key: object) -> None:
        self._name(next(choice.label for choice in self._chip.choices if choice.key == key))
        self.chosen.emit(self._chip.phrase, key)

    def enterEvent(self, event: QEvent) -> None:
        """Show the mask."""
        super().enterEvent(event)
        if self._chip.value:
            self.hovered.emit(self._chip.value)

    def leaveEvent(self, event: QEvent) -> None:
        """Show all masks again."""
        super().leaveEvent(event)
        self.hovered.emit(0)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the mask to who works with the keyboard."""
        super().focusInEvent(event)
        if self._chip.value:
            self.hovered.emit(self._chip.value)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show all masks again."""
        super().focusOutEvent(event)
        self.hovered.emit(0)


def make_menu(owner: QWidget, actions: tuple[Action, ...], act) -> QMenu:
    """Return a menu of actions; `act` takes the key of the one that is chosen."""
    menu = QMenu(owner)
    for action in actions:
        label = menu.fontMetrics().elidedText(action.label, Qt.TextElideMode.ElideMiddle, 2 * CHIP_WIDTH)
        menu.addAction(plain_caption(label), partial(act, action.key))
    return menu
