"""Where a question is typed, as Qt widgets: chips, quick prompts, the line itself. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import (
    QComboBox,
    QHBoxLayout,
    QLayoutItem,
    QLineEdit,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_mediround.widget.chat.view import Chip, Suggestion
from napari_mediround.widget.qt.chips import ChipButton
from napari_mediround.widget.qt.relay import relay
from napari_mediround.widget.qt.wrapping import make_label, plain_caption, plain_tip

FREE_TEXT_HINT = (
    "Let the language model answer what draws nothing. It does not see the image, and its replies are marked "
    "as unverified. Off, such a question gets a fixed answer."
)


class QuestionEdit(QLineEdit):
    """A line that remembers what was asked: arrow up and down."""

    def __init__(self) -> None:
        super().__init__()
        self._asked: list[str] = []
        self._at = 0

    def remember(self, text: str) -> None:
        """Put a question into the history."""
        if self._asked[-1:] != [text]:
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


class QuestionBox(QWidget):
    """Chips over quick prompts over the line."""

    question_asked = Signal(str)
    question_edited = Signal(str)
    reference_chosen = Signal(str, object)
    mask_hovered = Signal(int)
    stack_chosen = Signal(bool)
    free_text_chosen = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        self._idle = True
        self._suggestions: tuple[Suggestion, ...] = ()
        self.chips, self.suggestions = _row(), _row()
        self.line = QuestionEdit()
        self.line.setPlaceholderText("Segment the liver")
        self.line.setAcceptDrops(False)  # a dropped file is for the dock
        self.line.setToolTip("Enter asks, arrow up brings back earlier questions, Esc cancels")
        self.line.returnPressed.connect(self._on_return)
        self.line.textChanged.connect(self.question_edited.emit)
        self.scope = QComboBox()
        self.scope.addItems(("plane", "stack"))
        self.scope.setToolTip(
            "plane: the mask is drawn on the plane above. stack: it is then propagated through all planes. "
            "Words such as “from plane 10 to 40” count more."
        )
        self.scope.setAccessibleName("What a question is about")
        self.scope.currentIndexChanged.connect(lambda index: self.stack_chosen.emit(index == 1))
        self.scope.hide()
        self._ask = QPushButton("Ask")
        self._ask.setObjectName("ask")
        self._ask.clicked.connect(self._on_return)
        row = QHBoxLayout()
        row.addWidget(self.line, stretch=1)
        row.addWidget(self.scope)
        row.addWidget(self._ask)
        row.addWidget(self._make_more())
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(5)
        column.addWidget(self.chips)
        column.addWidget(self.suggestions)
        column.addLayout(row)

    def show_planes(self, planes: int) -> None:
        """Offer the stack where there is one; an image of one plane has none."""
        self.scope.setVisible(planes > 1)
        if planes == 1:
            self.scope.setCurrentIndex(0)

    def _make_more(self) -> QToolButton:
        more, menu = QToolButton(), QMenu(self)
        menu.setToolTipsVisible(True)
        self.free_text = menu.addAction("Free text of the language model")
        self.free_text.setCheckable(True)
        self.free_text.setToolTip(plain_tip(FREE_TEXT_HINT))
        self.free_text.toggled.connect(self.free_text_chosen.emit)
        more.setText("⋯")
        more.setObjectName("chip")
        more.setToolTip("How questions are answered")
        more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        more.setMenu(menu)
        return more

    def show_chips(self, chips: Sequence[Chip], problem: str) -> None:
        """See `ChatView`."""
        row = self.chips.layout()
        while row.count():
            _remove(row.takeAt(0))
        for chip in chips:
            tip = "What the question points at." if chip.phrase else "What I understood."
            button = ChipButton(chip, f"{tip} Click to change it." if chip.choices else tip)
            button.chosen.connect(relay(self.reference_chosen))
            button.hovered.connect(relay(self.mask_hovered))
            row.addWidget(button)
        if problem:
            label = make_label(problem, "muted")
            label.setFixedWidth(self.width() - 30)
            row.addWidget(label)
        self.chips.setVisible(bool(chips or problem))

    def show_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        """See `ChatView`."""
        if tuple(suggestions) == self._suggestions:
            return
        self._suggestions = tuple(suggestions)
        row = self.suggestions.layout()
        while row.count():
            _remove(row.takeAt(0))
        for suggestion in suggestions:
            button = QPushButton(plain_caption(suggestion.label))
            button.setObjectName("suggestion")
            button.setToolTip(plain_tip(f"Ask: {suggestion.text}"))
            button.clicked.connect(partial(self._on_suggestion, suggestion.text))
            button.setEnabled(self._idle)
            row.addWidget(button)
        self.suggestions.setVisible(bool(suggestions))

    def set_idle(self, idle: bool) -> None:
        """Let a question be asked, or not now."""
        self._idle = idle
        self._ask.setEnabled(idle)
        for button in self.suggestions.findChildren(QPushButton):
            button.setEnabled(idle)

    def insert_number(self, number: int) -> None:
        """Put a reference to a mask where the cursor is."""
        before = self.line.text()[: self.line.cursorPosition()]
        self.line.insert(f"{'' if not before or before.endswith((' ', '(')) else ' '}[{number}]")
        self.line.setFocus()

    def restore(self, text: str) -> None:
        """Put a question back, unless something else was typed."""
        if not self.line.text():
            with QSignalBlocker(self.line):
                self.line.setText(text)

    def _on_return(self) -> None:
        text = self.line.text().strip()
        if text and self._idle:
            self.line.remember(text)
            self.line.clear()
            self.question_asked.emit(text)

    def _on_suggestion(self, text: str, _checked: bool = False) -> None:
        if self._idle:
            self.line.remember(text)
            self.question_asked.emit(text)


def _row() -> QWidget:
    row = QWidget()
    row.setLayout(QFlowLayout())
    row.layout().setContentsMargins(0, 0, 0, 0)
    row.layout().setSpacing(4)
    row.hide()
    return row


def _remove(item: QLayoutItem) -> None:
    item.widget().hide()
    item.widget().deleteLater()
