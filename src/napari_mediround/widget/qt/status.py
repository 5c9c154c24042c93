"""What is being done, and with what, as Qt widgets. Decides nothing."""

from __future__ import annotations

from psygnal import Signal
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_mediround.widget.chat.view import DEVICES
from napari_mediround.widget.qt.wrapping import breakable, make_label, make_short_label, plain_tip

NOT_A_DEVICE = "Not a medical device"
NOT_A_DEVICE_HINT = (
    "Software for research and annotation. It is not a medical device: no diagnosis rests on it."
)


class BusyBar(QWidget):
    """A progress bar with words, seconds and a button that cancels."""

    cancel_asked = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.doing = ""
        self._seconds, self._done, self._steps = 0, 0, 0
        self._timer = QTimer(self, interval=1000)
        self._timer.timeout.connect(self._on_second)
        self.progress = QProgressBar()
        self.progress.setRange(0, 0)
        self.progress.setTextVisible(False)
        self.progress.setFixedHeight(5)
        self.label = make_label("")
        self.button = QPushButton("Cancel (Esc)")
        self.button.clicked.connect(lambda: self.cancel_asked.emit())
        row = QHBoxLayout()
        row.addWidget(self.label, stretch=1)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self.progress)
        self.hide()

    def show_busy(self, text: str, done: int = 0, steps: int = 0) -> None:
        """See `ChatView`."""
        if text and not self.doing:
            self._seconds = 0
            self._timer.start()
        elif not text:
            self._timer.stop()
        self.doing, self._done, self._steps = text, done, steps
        self.progress.setRange(0, steps)  # to and fro where the steps are not known
        self.progress.setValue(done)
        self.setVisible(bool(text))
        self._show_words()

    def _on_second(self) -> None:
        self._seconds += 1
        self._show_words()

    def _show_words(self) -> None:
        seconds = f" {self._seconds} s" if self._seconds else ""
        steps = f" ({self._done} of {self._steps} steps)" if self._steps else ""
        self.label.setText(breakable(f"{self.doing}{seconds}{steps}"))


class StatusLine(QWidget):
    """Device, preset, adapter and queue, and what this software is not."""

    device_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._status, self._not = QElidingLabel(), make_short_label(NOT_A_DEVICE, "muted")
        self._status.setObjectName("muted")
        self._status.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._not.setToolTip(NOT_A_DEVICE_HINT)
        device = QComboBox()
        device.addItems(DEVICES)
        device.setToolTip("Where the model runs. auto takes the GPU if there is one.")
        device.textActivated.connect(self.device_chosen.emit)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._status, stretch=1)
        row.addWidget(self._not)
        row.addWidget(device)

    def show_status(self, text: str) -> None:
        """See `ChatView`."""
        self._status.setText(text)
        self._status.setToolTip(plain_tip(text))
