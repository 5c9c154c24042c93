"""What is being done, and with what, as Qt widgets. Decides nothing."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from napari_mediround.widget.chat.view import DEVICES

NOT_A_DEVICE = "Research and annotation software, not a medical device."


class BusyBar(QWidget):
    """A progress bar with words, seconds and a button that cancels."""

    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.doing = ""
        self._seconds = 0
        self._timer = QTimer(self, interval=1000)
        self._timer.timeout.connect(self._on_second)
        progress = QProgressBar()
        progress.setRange(0, 0)
        progress.setTextVisible(False)
        progress.setFixedHeight(5)
        self.label = QLabel()
        self.button = QPushButton("Cancel (Esc)")
        self.button.clicked.connect(lambda: self.cancel_asked.emit())
        row = QHBoxLayout()
        row.addWidget(self.label, stretch=1)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(progress)
        self.hide()

    def show_busy(self, text: str) -> None:
        """See `ChatView`."""
        if text and not self.doing:
            self._seconds = 0
            self._timer.start()
        elif not text:
            self._timer.stop()
        self.doing = text
        self.setVisible(bool(text))
        self._show_words()

    def _on_second(self) -> None:
        self._seconds += 1
        self._show_words()

    def _show_words(self) -> None:
        self.label.setText(f"{self.doing} {self._seconds} s" if self._seconds else self.doing)


class StatusLine(QWidget):
    """Device, preset, adapter and queue, and what this software is not."""

    device_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._status = QLabel()
        self._status.setObjectName("muted")
        self._status.setWordWrap(True)
        device = QComboBox()
        device.addItems(DEVICES)
        device.setToolTip("Where the model runs. auto takes the GPU if there is one.")
        device.textActivated.connect(self.device_chosen.emit)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._status, stretch=1)
        row.addWidget(device)

    def show_status(self, text: str) -> None:
        """See `ChatView`."""
        self._status.setText(f"{text}\n{NOT_A_DEVICE}")
