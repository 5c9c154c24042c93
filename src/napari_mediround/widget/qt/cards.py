"""The entries of a chat as Qt widgets. Text is shown as it is, never as markup."""

from __future__ import annotations

from functools import partial

from psygnal import Signal
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFocusEvent, QKeyEvent
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QMenu,
    QProgressBar,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_mediround.domain.rounds import LOW_QUALITY
from napari_mediround.widget.chat.view import (
    KEYS,
    AbsentLine,
    Action,
    Chip,
    Entry,
    MaskLine,
    Message,
    Question,
    Reply,
)
from napari_mediround.widget.qt.buttons import CHIP_WIDTH, ActionButton, ElidedButton
from napari_mediround.widget.qt.relay import relay
from napari_mediround.widget.qt.wrapping import make_label, make_short_label, plain_caption, plain_tip

VERDICTS = {"": "proposed", "accepted": "✓ accepted", "corrected": "✎ corrected", "rejected": "✕ rejected"}
STEPS = {"accept": "Accept", "fix": "Fix", "reject": "Reject", "undo": "Undo"}
STEP_TIPS = {
    "accept": "The mask is right: lock it, so that no later round writes over it",
    "fix": "Correct the mask with clicks or a box, or draw in it",
    "reject": "The mask is wrong: remove it",
}


def make_card(entry: Entry) -> Card:
    """Return an entry of the chat as a widget."""
    if isinstance(entry, Question):
        return QuestionCard(entry)
    return ReplyCard(entry) if isinstance(entry, Reply) else MessageCard(entry)


class Card(QFrame):
    """One entry of the chat; says what is clicked and what is under the pointer."""

    action_chosen = Signal(object)
    step_chosen = Signal(str)
    mask_chosen = Signal(int)
    mask_hovered = Signal(int)
    number_chosen = Signal(int)
    """(number) of a mask, to be put into the question."""

    def __init__(self, name: str, margins: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.setObjectName(name)
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(*margins)
        self.column.setSpacing(4)

    def show_current(self, value: int, undo: str, redo: str, fixing: bool) -> bool:
        """Show whether the keys act on a mask of this card, and what undo and redo would take.

        Return whether they act on one; while a mask is fixed the keys mean something else.
        """
        return False


class QuestionCard(Card):
    """What was asked."""

    def __init__(self, question: Question) -> None:
        super().__init__("", (36, 4, 0, 0))
        bubble = QFrame()
        bubble.setObjectName("question")
        QVBoxLayout(bubble).addWidget(make_label(question.text))
        bubble.layout().setContentsMargins(10, 7, 10, 7)
        self.column.addWidget(bubble)


class MessageCard(Card):
    """A line from the program, with what it offers to do."""

    def __init__(self, message: Message) -> None:
        super().__init__("error" if message.is_error else "message", (10, 2, 4, 2))
        self.column.addWidget(make_label(message.text, "" if message.is_error else "muted"))
        for action in message.actions:
            button = ActionButton(action)
            button.clicked.connect(partial(self._act, action.key))
            self.column.addWidget(button, alignment=Qt.AlignmentFlag.AlignLeft)

    def _act(self, key: object, _checked: bool = False) -> None:
        self.action_chosen.emit(key)


class ReplyCard(Card):
    """The answer to a question: references, masks, and what can be done with them."""

    def __init__(self, reply: Reply) -> None:
        super().__init__("reply", (10, 7, 10, 7))
        self._masks = {mask.value: MaskRow(mask) for mask in reply.masks}
        self.column.addLayout(self._make_head(reply))
        if reply.references:
            self.column.addWidget(self._make_references(reply.references))
        if reply.text:
            self.column.addWidget(make_label(reply.text))
        for value, row in self._masks.items():
            row.clicked.connect(relay(self.mask_chosen, value))
            row.entered.connect(relay(self.mask_hovered, value))
            row.left.connect(relay(self.mask_hovered, 0))
            row.number_chosen.connect(relay(self.number_chosen))
            self.column.addWidget(row)
        for line in reply.absent:
            row = AbsentRow(line)
            row.action_chosen.connect(relay(self.action_chosen))
            self.column.addWidget(row)
        for note in reply.notes:
            self.column.addWidget(make_label(note, "muted"))
        self.steps: dict[str, QPushButton] = {}
        self._steps = self._make_steps()
        self._steps.hide()
        self.column.addWidget(self._steps)
        if self._masks:
            self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            self.setAccessibleName(f"Round {reply.round}: {reply.text}")

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Let the keys act on this round once it is reached with Tab."""
        super().focusInEvent(event)
        if not self._steps.isVisibleTo(self):
            self.mask_chosen.emit(next(iter(self._masks)))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Go from mask to mask with the arrow keys."""
        step = {Qt.Key.Key_Up: -1, Qt.Key.Key_Down: 1}.get(event.key(), 0)
        values = [value for value, row in self._masks.items() if row.current]
        if not step or not values:
            super().keyPressEvent(event)
            return
        others = list(self._masks)
        at = others.index(values[0]) + step
        self.mask_chosen.emit(others[min(max(at, 0), len(others) - 1)])

    def show_current(self, value: int, undo: str, redo: str, fixing: bool) -> bool:
        """See `Card`."""
        for number, row in self._masks.items():
            row.set_current(number == value)
        here = value in self._masks
        self._steps.setVisible(here and not fixing)
        if here:
            verdict = self._masks[value].verdict
            self.steps["accept"].setEnabled(verdict not in ("accepted", "corrected"))
            self.steps["reject"].setEnabled(verdict != "rejected")
            self.steps["undo"].setEnabled(bool(undo))
            tips = [f"Take back: {undo}" if undo else "Nothing to take back"]
            tips += [f"{KEYS['redo']} does again: {redo}"] if redo else []
            self.steps["undo"].setToolTip("\n".join(tips))
        return here

    def _make_head(self, reply: Reply) -> QHBoxLayout:
        head = QHBoxLayout()
        head.addWidget(make_short_label(f"Round {reply.round}", "title"))
        link = ElidedButton(reply.plane_name)
        link.setObjectName("link")
        link.setCursor(Qt.CursorShape.PointingHandCursor)
        link.setToolTip("Show this plane")
        link.clicked.connect(lambda: self.action_chosen.emit(reply.plane))
        head.addWidget(link, stretch=1)
        seconds = make_short_label(f"{reply.seconds:.1f} s" if reply.seconds else "", "muted")
        seconds.setToolTip("From Enter to the answer, waiting included")
        head.addWidget(seconds)
        if reply.actions:
            more = QToolButton()
            more.setText("⋯")
            more.setObjectName("chip")
            more.setToolTip("More: ask again, go on from here")
            more.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
            more.setMenu(_menu(more, reply.actions, self.action_chosen.emit))
            head.addWidget(more)
        return head

    def _make_references(self, chips: tuple[Chip, ...]) -> QWidget:
        row = QWidget()
        row.setObjectName("plain")
        row.setLayout(QFlowLayout())
        row.layout().setContentsMargins(0, 0, 0, 0)
        for chip in chips:
            button = ChipButton(chip, "Choose another mask: the question is asked again with it.")
            button.chosen.connect(lambda _, key: self.action_chosen.emit(key))
            button.hovered.connect(relay(self.mask_hovered))
            row.layout().addWidget(button)
        return row

    def _make_steps(self) -> QWidget:
        steps = QWidget()
        steps.setObjectName("plain")
        row = QHBoxLayout(steps)
        row.setContentsMargins(0, 2, 0, 0)
        row.setSpacing(4)
        for step, word in STEPS.items():
            button = QPushButton(f"{word} ({KEYS[step]})")
            button.setObjectName("step")
            button.setToolTip(STEP_TIPS.get(step, ""))
            button.clicked.connect(partial(self._take, step))
            row.addWidget(button)
            self.steps[step] = button
        return steps

    def _take(self, step: str, _checked: bool = False) -> None:
        self.step_chosen.emit(step)


class MaskRow(QFrame):
    """One mask of a reply."""

    number_chosen = Signal(int)
    clicked = Signal()
    entered = Signal()
    left = Signal()

    def __init__(self, mask: MaskLine) -> None:
        super().__init__()
        self.verdict, self.current = mask.verdict, False
        self.setObjectName("mask")
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        grid = QGridLayout(self)
        grid.setContentsMargins(6, 1, 0, 1)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(2, 1)
        swatch = QLabel()
        swatch.setFixedSize(12, 12)
        swatch.setStyleSheet(f"background: {mask.colour}; border-radius: 3px;")
        grid.addWidget(swatch, 0, 0)
        self.number = QPushButton(f"[{mask.number}]")
        self.number.setObjectName("number")
        self.number.setCursor(Qt.CursorShape.PointingHandCursor)
        self.number.setToolTip(f"Put [{mask.number}] into the question")
        self.number.clicked.connect(lambda: self.number_chosen.emit(mask.number))
        grid.addWidget(self.number, 0, 1)
        grid.addWidget(make_label(mask.structure, "structure"), 0, 2)
        verdict = make_short_label(VERDICTS[mask.verdict], mask.verdict or "muted")
        grid.addWidget(verdict, 0, 3, Qt.AlignmentFlag.AlignRight)
        grid.addLayout(_quality(mask), 1, 1, 1, 2)
        area = make_short_label(mask.area)
        area.setToolTip(f"On this plane; with the distance of planes {mask.volume}" if mask.volume else "")
        grid.addWidget(area, 1, 3, Qt.AlignmentFlag.AlignRight)
        if mask.corrected:
            mark = make_short_label("↻ corrected by model", "muted")
            mark.setToolTip("The model judged its first mask low and replaced it with a corrected one")
            grid.addWidget(mark, 2, 1, 1, 3)

    def set_current(self, current: bool) -> None:
        """Mark the mask that the keys act on."""
        if current == self.current:
            return
        self.current = current
        self.setProperty("current", current)
        self.style().unpolish(self)
        self.style().polish(self)

    def mousePressEvent(self, event: QEvent) -> None:
        """Choose this mask."""
        super().mousePressEvent(event)
        self.clicked.emit()

    def enterEvent(self, event: QEvent) -> None:
        """Say that the pointer is here."""
        super().enterEvent(event)
        self.entered.emit()

    def leaveEvent(self, event: QEvent) -> None:
        """Say that the pointer has left."""
        super().leaveEvent(event)
        self.left.emit()


class AbsentRow(QWidget):
    """A structure that was not found, in one line, and what a person can say of it."""

    action_chosen = Signal(object)

    def __init__(self, line: AbsentLine) -> None:
        super().__init__()
        self.setObjectName("plain")
        said, choices = QHBoxLayout(), QHBoxLayout()
        said.addWidget(make_label(line.text, "structure"), stretch=1)
        if line.confirmed:
            said.addWidget(make_short_label("✓ confirmed", "accepted"))
        for action in line.actions:
            button = ActionButton(action)
            button.setObjectName("step")
            button.clicked.connect(partial(self._act, action.key))
            choices.addWidget(button)
        choices.addStretch()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addLayout(said)
        column.addLayout(choices)

    def _act(self, key: object, _checked: bool = False) -> None:
        self.action_chosen.emit(key)


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
            self.setMenu(_menu(self, chip.choices, self._choose))

    def _name(self, target: str) -> None:
        text = f"“{self._chip.phrase}” → {target}"
        self.setAccessibleName(text)
        cut = self.fontMetrics().elidedText(text, Qt.TextElideMode.ElideMiddle, CHIP_WIDTH)
        self.setText(plain_caption(cut))

    def _choose(self, key: object) -> None:
        self._name(next(choice.label for choice in self._chip.choices if choice.key == key))
        self.chosen.emit(self._chip.phrase, key)

    def enterEvent(self, event: QEvent) -> None:
        """Show the mask."""
        super().enterEvent(event)
        self.hovered.emit(self._chip.value)

    def leaveEvent(self, event: QEvent) -> None:
        """Show all masks again."""
        super().leaveEvent(event)
        self.hovered.emit(0)

    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show the mask to who works with the keyboard."""
        super().focusInEvent(event)
        self.hovered.emit(self._chip.value)

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """Show all masks again."""
        super().focusOutEvent(event)
        self.hovered.emit(0)


def _menu(owner: QWidget, actions: tuple[Action, ...], act) -> QMenu:
    menu = QMenu(owner)
    for action in actions:
        label = menu.fontMetrics().elidedText(action.label, Qt.TextElideMode.ElideMiddle, 2 * CHIP_WIDTH)
        menu.addAction(plain_caption(label), partial(act, action.key))
    return menu


def _quality(mask: MaskLine) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    if mask.quality is None:
        drawn = make_short_label("not judged" if mask.imported else "drawn by hand", "muted")
        drawn.setToolTip("The model does not judge what a person drew, nor what is too small for its grid")
        row.addWidget(drawn)
        row.addStretch()
        return row
    low = mask.quality < LOW_QUALITY
    bar = QProgressBar()
    bar.setObjectName("quality")
    bar.setProperty("low", low)
    bar.setRange(0, 100)
    bar.setValue(round(100 * mask.quality))
    bar.setTextVisible(False)
    bar.setFixedWidth(54)
    words = f"{'check' if low else 'quality'} {mask.quality:.2f}"
    label = make_short_label(words, "low" if low else "muted")
    tip = f"The model's own judgment of its mask, 0 to 1; check it below {LOW_QUALITY}"
    for widget in (bar, label):
        widget.setToolTip(tip)
        row.addWidget(widget)
    row.addStretch()
    return row
