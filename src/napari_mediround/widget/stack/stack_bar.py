"""What is being followed through the stack, as Qt widgets: how far, pause, stop. Decides nothing."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_mediround.widget.qt.wrapping import make_short_label
from napari_mediround.widget.stack.stack_view import StackState


class StackBar(QWidget):
    """A line with words and numbers over a line with buttons, over a progress bar."""

    run_step_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._paused = False
        self.words, self.count = QElidingLabel(), make_short_label("", "muted")
        self.words.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(5)
        self.pause, self.cancel = QPushButton("Pause"), QPushButton("Stop")
        self.cancel.setToolTip("End here; what was found stays, and U takes it back in one step")
        self.along = QCheckBox("Follow in the viewer")
        self.along.setToolTip("Show each plane as it is done")
        self.pause.clicked.connect(self._on_pause)
        self.cancel.clicked.connect(lambda: self.run_step_chosen.emit("cancel"))
        self.along.toggled.connect(lambda _: self.run_step_chosen.emit("follow"))
        for button in (self.pause, self.cancel):
            button.setObjectName("step")
        row, choices = QHBoxLayout(), QHBoxLayout()
        row.addWidget(self.words, stretch=1)
        row.addWidget(self.count)
        choices.addWidget(self.along, stretch=1)
        choices.addWidget(self.pause)
        choices.addWidget(self.cancel)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(3)
        for part in (row, choices):
            column.addLayout(part)
        column.addWidget(self.progress)
        self.hide()

    def show_stack(self, stack: StackState | None) -> None:
        """See `ChatView`."""
        self.setVisible(stack is not None)
        if stack is None:
            return
        self._paused = stack.paused
        self.words.setText(f"Paused: {stack.words}" if stack.paused else stack.words)
        self.count.setText(f"{stack.done} of {stack.steps} planes" if stack.steps else "looking …")
        self.pause.setText("Go on" if stack.paused else "Pause")
        self.progress.setRange(0, stack.steps)
        self.progress.setValue(stack.done)
        with QSignalBlocker(self.along):
            self.along.setChecked(stack.follows)

    def _on_pause(self, _checked: bool = False) -> None:
        self.run_step_chosen.emit("resume" if self._paused else "pause")
