"""The tools of a fix, as Qt widgets. Decides nothing."""

from __future__ import annotations

from functools import partial

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QPushButton, QVBoxLayout

from napari_mediround.widget.chat.view import KEYS, REASON_KEYS, TOOLS, FixState
from napari_mediround.widget.qt.wrapping import breakable, make_label

TOOL_WORDS = {
    "paint": "Paint", "erase": "Erase", "fill": "Fill",
    "inside": "+ inside", "outside": "− outside", "box": "Box",
}  # fmt: skip
TOOL_TIPS = {
    "paint": "napari's brush; [ and ] change its size",
    "erase": "napari's eraser",
    "fill": "napari's bucket",
    "inside": "Click inside the structure; the model draws the mask anew",
    "outside": "Click where the structure is not; the model draws the mask anew",
    "box": "Drag a box around the structure; the model draws the mask anew",
}


class FixBar(QFrame):
    """Tools above, below them what ends the fix: done, or done for a reason."""

    tool_chosen = Signal(str)
    reason_chosen = Signal(str)
    step_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("fix")
        self._title, self._hint = make_label("", "title"), make_label("", "muted")
        self.tools, self.reasons = {}, {}
        grid = QGridLayout()
        grid.setSpacing(4)
        for at, (tool, key) in enumerate(TOOLS.items()):
            button = self._button(f"{TOOL_WORDS[tool]} ({key})", TOOL_TIPS[tool])
            button.setCheckable(True)
            button.clicked.connect(partial(self._on_tool, tool))
            self.tools[tool] = button
            grid.addWidget(button, at // 3, at % 3)
        reasons = QGridLayout()
        reasons.setSpacing(4)
        for at, (reason, key) in enumerate(REASON_KEYS.items()):
            button = self._button(f"{reason} ({key})", "End the fix, keep the mask, and say what was wrong")
            button.clicked.connect(partial(self._on_reason, reason))
            self.reasons[reason] = button
            # Three short words above two long ones.
            row, column, width = (0, 2 * at, 2) if at < 3 else (1, 3 * (at - 3), 3)
            reasons.addWidget(button, row, column, 1, width)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 7, 10, 7)
        column.setSpacing(5)
        column.addLayout(self._make_head())
        column.addWidget(self._hint)
        column.addLayout(grid)
        done = self._button("Done (Enter)", f"End the fix and keep the mask; {KEYS['accept']} does the same")
        done.setObjectName("ask")
        done.clicked.connect(partial(self._on_reason, ""))
        row = QHBoxLayout()
        row.addWidget(done)
        row.addWidget(make_label("or say what was wrong:", "muted"), stretch=1)
        column.addLayout(row)
        column.addLayout(reasons)
        self.hide()

    def _make_head(self) -> QHBoxLayout:
        head = QHBoxLayout()
        head.addWidget(self._title, stretch=1)
        undo = self._button(f"Undo stroke ({KEYS['undo']})", "Take back the last stroke or click of this fix")
        undo.clicked.connect(lambda: self.step_chosen.emit("undo"))
        drop = self._button("Drop (Esc)", "End the fix and leave the mask as it was")
        drop.clicked.connect(lambda: self.step_chosen.emit("drop"))
        for button in (undo, drop):
            head.addWidget(button)
        return head

    def show_fix(self, fix: FixState | None) -> None:
        """See `ChatView`."""
        self.setVisible(fix is not None)
        if fix is None:
            return
        self._title.setText(breakable(f"Fix {fix.name}"))
        self._hint.setText(breakable(fix.hint))
        for tool, button in self.tools.items():
            button.setChecked(tool == fix.tool)

    @staticmethod
    def _button(text: str, tip: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName("step")
        button.setToolTip(tip)
        return button

    def _on_tool(self, tool: str, _checked: bool = False) -> None:
        self.tool_chosen.emit(tool)

    def _on_reason(self, reason: str, _checked: bool = False) -> None:
        self.reason_chosen.emit(reason)
