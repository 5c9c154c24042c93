"""The recipe of a mask that was changed in words, under its row on a card."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from napari_mediround.widget.chat.view import MaskLine
from napari_mediround.widget.qt.buttons import ActionButton
from napari_mediround.widget.qt.wrapping import make_label


class RecipeRow(QWidget):
    """What was done to a mask, in order; where another mask has changed since, that and what can be done."""

    action_chosen = Signal(object)

    def __init__(self, mask: MaskLine) -> None:
        super().__init__()
        self.setObjectName("plain")
        column = QVBoxLayout(self)
        column.setContentsMargins(26, 0, 0, 2)
        column.setSpacing(3)
        column.addWidget(make_label(f"Recipe: {mask.recipe}", "muted"))
        if mask.stale:
            column.addWidget(make_label(mask.stale, "low"))
        if mask.again is not None:
            button = ActionButton(mask.again)
            button.setObjectName("step")
            button.clicked.connect(lambda: self.action_chosen.emit(mask.again.key))
            row = QHBoxLayout()
            row.addWidget(button)
            row.addStretch()
            column.addLayout(row)
