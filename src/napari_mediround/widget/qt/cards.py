"""The entries of a chat as Qt widgets. Text is shown as it is, never as markup."""

from __future__ import annotations

from functools import partial

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtGui import QFocusEvent, QKeyEvent
from qtpy.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from superqt import QFlowLayout

from napari_mediround.widget.chat.view import (
    KEYS,
    AbsentLine,
    Chip,
    Entry,
    Message,
    Question,
    Reply,
)
from napari_mediround.widget.qt.answer_table import AnswerTable, split_table
from napari_mediround.widget.qt.buttons import ActionButton, ElidedButton
from napari_mediround.widget.qt.chips import ChipButton, make_menu
from napari_mediround.widget.qt.mask_row import MaskRow
from napari_mediround.widget.qt.recipe_row import RecipeRow
from napari_mediround.widget.qt.relay import relay
from napari_mediround.widget.qt.wrapping import make_label, make_short_label

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
        text, table = split_table(reply.text)
        if text:
            self.column.addWidget(make_label(text))
        if table:
            self.column.addWidget(AnswerTable(table))
        for row in self._masks.values():
            row.chosen.connect(relay(self.mask_chosen))
            row.entered.connect(relay(self.mask_hovered, row.mask.value))
            row.left.connect(relay(self.mask_hovered, 0))
            row.number_chosen.connect(relay(self.number_chosen))
            row.action_chosen.connect(relay(self.action_chosen))
            self.column.addWidget(row)
        for mask in (mask for mask in reply.masks if mask.recipe):
            recipe = RecipeRow(mask)
            recipe.action_chosen.connect(relay(self.action_chosen))
            self.column.insertWidget(self.column.indexOf(self._masks[mask.value]) + 1, recipe)
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
        rows = tuple(self._masks.values())
        at = next((place for place, row in enumerate(rows) if row.current), None)
        if not step or at is None:
            super().keyPressEvent(event)
            return
        self.mask_chosen.emit(rows[min(max(at + step, 0), len(rows) - 1)].mask.value)

    def show_current(self, value: int, undo: str, redo: str, fixing: bool) -> bool:
        """See `Card`."""
        for row in self._masks.values():
            row.set_current(value)
        here = next((row for row in self._masks.values() if row.current), None)
        self._steps.setVisible(here is not None and not fixing)
        if here is not None:
            verdict = here.verdict_of(value)
            self.steps["accept"].setEnabled(verdict not in ("accepted", "corrected"))
            self.steps["reject"].setEnabled(verdict != "rejected")
            self.steps["undo"].setEnabled(bool(undo))
            tips = [f"Take back: {undo}" if undo else "Nothing to take back"]
            tips += [f"{KEYS['redo']} does again: {redo}"] if redo else []
            self.steps["undo"].setToolTip("\n".join(tips))
        return here is not None

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
            more.setMenu(make_menu(more, reply.actions, self.action_chosen.emit))
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
