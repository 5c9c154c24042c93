"""The chat in Qt: a `ChatView`. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from psygnal import Signal
from qtpy.QtCore import QEvent, QSignalBlocker, QSize, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QCheckBox,
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLayoutItem,
    QLineEdit,
    QMenu,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_mediround.domain.rounds import Reference
from napari_mediround.widget.cards import make_card, style
from napari_mediround.widget.view import DEVICES, Chip, Entry

WELCOME = """Ask for structures in words; a question is about the plane above.

Segment the liver and the spleen
Outline the vessel next to [1.1]
Now its mirror on the other side

[1] is the mask of round 1, [1.2] the second mask of that round, “it” the last one; the name of a \
structure that is there already works too."""
NOT_A_DEVICE = "Research and annotation software, not a medical device."


class QuestionEdit(QLineEdit):
    """A line that remembers what was asked: arrow up and down."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[str] = []
        self._at = 0

    def remember(self, text: str) -> None:
        """Put a question into the history."""
        self._asked.append(text)
        self._at = len(self._asked)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Leaf through the history with the arrow keys."""
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(event.key(), 0)
        if not step:
            super().keyPressEvent(event)
            return
        self._at = min(max(self._at + step, 0), len(self._asked))
        self.setText(self._asked[self._at] if self._at < len(self._asked) else "")


class ChatPanel(QWidget):
    """A `ChatView`: see there for signals and setters."""

    question_asked = Signal(str)
    question_edited = Signal(str)
    cancel_asked = Signal()
    image_chosen = Signal(int)
    plane_chosen = Signal(int)
    follow_chosen = Signal(bool)
    window_chosen = Signal(int)
    action_chosen = Signal(object)
    reference_chosen = Signal(str, object)
    device_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 4)
        column.setSpacing(5)
        column.addLayout(self._make_choices())
        column.addWidget(self._make_cards(), stretch=1)
        column.addWidget(self._make_busy())
        column.addWidget(self._make_chips())
        column.addLayout(self._make_input())
        column.addLayout(self._make_status())
        self._elapsed = QTimer(self, interval=1000)
        self._elapsed.timeout.connect(self._on_second)
        self._seconds, self._doing = 0, ""
        self.setMinimumWidth(365)
        self.show_busy("")

    def sizeHint(self) -> QSize:
        """Ask for a narrow column: the image needs the width."""
        return QSize(365, 600)

    def event(self, event: QEvent) -> bool:
        """Claim Esc while something is being done, before a shortcut of the window takes it."""
        if event.type() == QEvent.Type.ShortcutOverride and self._cancels(event):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Cancel with Esc, wherever in the dock the focus is."""
        if self._cancels(event):
            self.cancel_asked.emit()
        else:
            super().keyPressEvent(event)

    def _cancels(self, event: QKeyEvent) -> bool:
        return event.key() == Qt.Key.Key_Escape and not self.is_idle

    def set_theme(self, theme: dict[str, str]) -> None:
        """Take the colours of a napari theme (`Theme.to_rgb_dict`)."""
        self.setStyleSheet(style(theme))

    # Parts.

    def _make_status(self) -> QHBoxLayout:
        self._status = QLabel()
        self._status.setObjectName("muted")
        self._status.setWordWrap(True)
        self._device = QComboBox()
        self._device.addItems(DEVICES)
        self._device.setToolTip("Where the model runs. auto takes the GPU if there is one.")
        self._device.textActivated.connect(self.device_chosen.emit)
        row = QHBoxLayout()
        row.addWidget(self._status, stretch=1)
        row.addWidget(self._device)
        return row

    def _make_choices(self) -> QFormLayout:
        self._images, self._windows = QComboBox(), QComboBox()
        for box in (self._images, self._windows):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._images.setPlaceholderText("choose an image")
        self._images.activated.connect(self.image_chosen.emit)
        self._windows.activated.connect(self.window_chosen.emit)
        self._plane = QSpinBox()
        self._plane.setKeyboardTracking(False)
        self._plane.valueChanged.connect(self.plane_chosen.emit)
        self._plane_name, self._hint = QLabel(), QLabel()
        self._hint.setWordWrap(True)
        self._hint.setObjectName("low")
        self._follow = QCheckBox("follow viewer")
        self._follow.setToolTip("The plane follows the viewer's slider, and the slider this number")
        self._follow.setChecked(True)
        self._follow.toggled.connect(self.follow_chosen.emit)
        plane = QHBoxLayout()
        for widget in (self._plane, self._plane_name):
            plane.addWidget(widget)
        plane.addStretch()
        plane.addWidget(self._follow)
        self._form = QFormLayout()
        self._form.setSpacing(4)
        self._form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self._form.addRow("Image", self._images)
        self._form.addRow("Plane", plane)
        self._form.addRow(self._hint)
        self._form.addRow("Window", self._windows)
        return self._form

    def _make_cards(self) -> QScrollArea:
        cards = QWidget()
        cards.setObjectName("cards")
        self._cards = QVBoxLayout(cards)
        self._cards.setContentsMargins(0, 2, 4, 2)
        self._cards.setSpacing(6)
        self._cards.addWidget(self._make_welcome())
        self._cards.addStretch()
        area = QScrollArea()
        area.setObjectName("cards_area")
        area.setWidget(cards)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        bar = area.verticalScrollBar()
        bar.rangeChanged.connect(lambda _, end: bar.setValue(end))
        return area

    def _make_welcome(self) -> QLabel:
        self._welcome = QLabel(WELCOME)
        self._welcome.setObjectName("muted")
        self._welcome.setWordWrap(True)
        self._welcome.setMargin(6)
        return self._welcome

    def _make_busy(self) -> QWidget:
        self._busy = QWidget()
        self._progress = QProgressBar()
        self._progress.setRange(0, 0)
        self._progress.setTextVisible(False)
        self._progress.setFixedHeight(5)
        self._doing_label = QLabel()
        self._cancel = QPushButton("Cancel (Esc)")
        self._cancel.clicked.connect(lambda: self.cancel_asked.emit())
        row = QHBoxLayout()
        row.addWidget(self._doing_label, stretch=1)
        row.addWidget(self._cancel)
        column = QVBoxLayout(self._busy)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addWidget(self._progress)
        return self._busy

    def _make_chips(self) -> QWidget:
        self._chips = QWidget()
        self._chips.setLayout(QFlowLayout())
        self._chips.layout().setContentsMargins(0, 0, 0, 0)
        self._chips.hide()
        return self._chips

    def _make_input(self) -> QHBoxLayout:
        self._input = QuestionEdit()
        self._input.setPlaceholderText("Segment the liver")
        self._input.setToolTip("Enter asks, arrow up brings back earlier questions, Esc cancels")
        self._input.returnPressed.connect(self._on_return)
        self._input.textChanged.connect(self.question_edited.emit)
        self._ask = QPushButton("Ask")
        self._ask.setObjectName("ask")
        self._ask.clicked.connect(self._on_return)
        row = QHBoxLayout()
        row.addWidget(self._input, stretch=1)
        row.addWidget(self._ask)
        return row

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done."""
        return not self._doing

    # Setters.

    def show_images(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        self._fill(self._images, names, current)

    def show_plane(self, plane: int, planes: int, name: str, hint: str) -> None:
        """See `ChatView`."""
        with QSignalBlocker(self._plane):
            self._plane.setRange(0, max(planes - 1, 0))
            self._plane.setValue(plane)
        self._plane.setEnabled(planes > 1)
        self._plane_name.setText(f"/ {planes - 1} {name}" if planes > 1 else name)
        self._hint.setText(hint)
        self._hint.setVisible(bool(hint))

    def show_windows(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        self._fill(self._windows, [name.replace("_", " ") for name in names], current)
        self._windows.setVisible(bool(names))
        self._form.labelForField(self._windows).setVisible(bool(names))

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """See `ChatView`."""
        while self._cards.count() > 2:
            _remove(self._cards.takeAt(1))
        self._welcome.setVisible(not entries)
        for entry in entries:
            self.add_entry(entry)

    def add_entry(self, entry: Entry) -> None:
        """See `ChatView`."""
        self._welcome.hide()
        self._cards.insertWidget(self._cards.count() - 1, make_card(entry, self.action_chosen.emit))

    def show_chips(self, chips: Sequence[Chip], problem: str) -> None:
        """See `ChatView`."""
        row = self._chips.layout()
        while row.count():
            _remove(row.takeAt(0))
        for chip in chips:
            row.addWidget(self._make_chip(chip))
        if problem:
            label = QLabel(problem)
            label.setObjectName("muted")
            label.setWordWrap(True)
            label.setMinimumWidth(self.width() - 30)
            row.addWidget(label)
        self._chips.setVisible(bool(chips or problem))

    def show_busy(self, text: str) -> None:
        """See `ChatView`."""
        if text and not self._doing:
            self._seconds = 0
            self._elapsed.start()
        elif not text:
            self._elapsed.stop()
        self._doing = text
        self._busy.setVisible(bool(text))
        self._ask.setEnabled(not text)
        self._show_doing()

    def show_status(self, text: str) -> None:
        """See `ChatView`."""
        self._status.setText(f"{text}\n{NOT_A_DEVICE}")

    def restore_question(self, text: str) -> None:
        """See `ChatView`."""
        if not self._input.text():
            with QSignalBlocker(self._input):
                self._input.setText(text)

    # Slots and pieces.

    def _on_return(self) -> None:
        text = self._input.text().strip()
        if text and not self._doing:
            self._input.remember(text)
            self._input.clear()
            self.question_asked.emit(text)

    def _on_second(self) -> None:
        self._seconds += 1
        self._show_doing()

    def _show_doing(self) -> None:
        self._doing_label.setText(f"{self._doing} {self._seconds} s" if self._seconds else self._doing)

    def _make_chip(self, chip: Chip) -> QToolButton:
        button = QToolButton()
        button.setObjectName("chip")
        button.setText(f"“{chip.phrase}” → {chip.current}")
        button.setToolTip("What the question points at. Click to choose another mask.")
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        for name, reference in chip.choices:
            menu.addAction(name, partial(self._swap, button, chip.phrase, name, reference))
        button.setMenu(menu)
        return button

    def _swap(self, button: QToolButton, phrase: str, name: str, reference: Reference) -> None:
        button.setText(f"“{phrase}” → {name}")
        self.reference_chosen.emit(phrase, reference)

    @staticmethod
    def _fill(box: QComboBox, names: Sequence[str], current: int) -> None:
        with QSignalBlocker(box):
            box.clear()
            box.addItems(list(names))
            box.setCurrentIndex(current)


def _remove(item: QLayoutItem) -> None:
    item.widget().hide()
    item.widget().deleteLater()
