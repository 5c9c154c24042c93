"""The chat in Qt: a `ChatView` put together from its parts. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import QSize, Qt, QTimer
from qtpy.QtGui import QKeyEvent
from qtpy.QtWidgets import QVBoxLayout

from napari_mediround.widget.chat.view import (
    DONE_KEY,
    Chip,
    Entry,
    FixState,
    NameRow,
    StackState,
    Suggestion,
)
from napari_mediround.widget.qt.cancelling import CancellablePanel
from napari_mediround.widget.qt.fix_bar import FixBar
from napari_mediround.widget.qt.mask_doors import MaskDrop
from napari_mediround.widget.qt.naming_dialog import NamingDialog
from napari_mediround.widget.qt.question_box import QuestionBox
from napari_mediround.widget.qt.relay import relay
from napari_mediround.widget.qt.round_list import RoundList
from napari_mediround.widget.qt.source_form import Choices
from napari_mediround.widget.qt.status import BusyBar, StatusLine
from napari_mediround.widget.qt.style import style
from napari_mediround.widget.stack.stack_bar import StackBar


class ChatPanel(MaskDrop, CancellablePanel):
    """A `ChatView`: see there for signals and setters."""

    question_asked = Signal(str)
    question_edited = Signal(str)
    project_chosen = Signal(str)
    image_chosen = Signal(int)
    volume_chosen = Signal(int)
    plane_chosen = Signal(int)
    follow_chosen = Signal(bool)
    modality_chosen = Signal(int)
    window_chosen = Signal(int)
    action_chosen = Signal(object)
    reference_chosen = Signal(str, object)
    device_chosen = Signal(str)
    free_text_chosen = Signal(bool)
    step_chosen = Signal(str)
    mask_chosen = Signal(int)
    mask_hovered = Signal(int)
    tool_chosen = Signal(str)
    reason_chosen = Signal(str)
    stack_chosen = Signal(bool)
    run_step_chosen = Signal(str)
    masks_given = Signal(object)
    layer_given = Signal()
    names_chosen = Signal(object)

    key_pressed = Signal(str)
    """(key) pressed in the dock, but not in a text box: "J", "Shift+U", "Enter"."""

    def __init__(self) -> None:
        super().__init__()
        self.choices, self.rounds, self.question = Choices(), RoundList(), QuestionBox()
        self.busy, self.fix, self.status, self.stack = BusyBar(), FixBar(), StatusLine(), StackBar()
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 4)
        column.setSpacing(5)
        for part in (
            self.choices, self.rounds, self.stack, self.busy, self.fix, self.question, self.status,
        ):  # fmt: skip
            column.addWidget(part, stretch=1 if part is self.rounds else 0)
        self._entries: Sequence[Entry] = ()
        self._current: tuple[int, str, str] = (0, "", "")
        self._later = QTimer(self, interval=0, singleShot=True)
        self._later.timeout.connect(self._show_rounds)
        self._forward()
        self.setMinimumWidth(365)
        self.setAcceptDrops(True)

    def _forward(self) -> None:
        """Hand on what the parts say."""
        parts = (self.choices, self.rounds, self.question, self.busy, self.fix, self.status, self.stack)
        for part in parts:
            for name in _SIGNALS:
                if hasattr(type(part), name):
                    getattr(part, name).connect(relay(getattr(self, name)))
        self.rounds.number_chosen.connect(self.question.insert_number)

    def sizeHint(self) -> QSize:
        """Ask for a narrow column: the image needs the width."""
        return QSize(365, 600)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Take the letters, and Enter, that no text box took."""
        letter = event.text().upper()
        plain = event.modifiers() in (Qt.KeyboardModifier.NoModifier, Qt.KeyboardModifier.ShiftModifier)
        if plain and len(letter) == 1 and letter.isalpha():
            shifted = bool(event.modifiers() & Qt.KeyboardModifier.ShiftModifier)
            self.key_pressed.emit(f"Shift+{letter}" if shifted else letter)
        elif event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.key_pressed.emit(DONE_KEY)
        else:
            super().keyPressEvent(event)

    def set_theme(self, theme: dict[str, str]) -> None:
        """Take the colours of a napari theme (`Theme.to_rgb_dict`)."""
        self.setStyleSheet(style(theme))

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being done."""
        return not self.busy.doing

    @property
    def has_cancellable(self) -> bool:
        """Whether there is a job to cancel or a fix to drop."""
        return not self.is_idle or self.fix.isVisibleTo(self)

    def show_project(self, name: str, hint: str) -> None:
        """See `ChatView`."""
        self.choices.show_project(name, hint)

    def show_images(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        self.choices.show_images(names, current)

    def show_volume(self, volume: int, volumes: int, hint: str) -> None:
        """See `ChatView`."""
        self.choices.show_volume(volume, volumes, hint)

    def show_plane(self, plane: int, planes: int, name: str, hint: str) -> None:
        """See `ChatView`."""
        self.choices.show_plane(plane, planes, name, hint)
        self.question.show_planes(planes)

    def show_windows(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        self.choices.show_windows(names, current)

    def show_modalities(self, names: Sequence[str], current: int) -> None:
        """See `ChatView`."""
        self.choices.show_modalities(names, current)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """See `ChatView`. Cards are made a turn of the event loop later: the masks are painted before."""
        self._entries = tuple(entries)
        self._later.start()

    def show_current(self, value: int, undo: str, redo: str) -> None:
        """See `ChatView`."""
        self._current = value, undo, redo
        self._later.start()

    def _show_rounds(self) -> None:
        self.rounds.show_entries(self._entries)
        self.rounds.show_current(*self._current)

    def show_chips(self, chips: Sequence[Chip], problem: str) -> None:
        """See `ChatView`."""
        self.question.show_chips(chips, problem)

    def show_suggestions(self, suggestions: Sequence[Suggestion]) -> None:
        """See `ChatView`."""
        self.question.show_suggestions(suggestions)

    def show_fix(self, fix: FixState | None) -> None:
        """See `ChatView`."""
        self.fix.show_fix(fix)
        self.rounds.set_fixing(fix is not None)

    def show_stack(self, stack: StackState | None) -> None:
        """See `ChatView`."""
        self.stack.show_stack(stack)

    def show_busy(self, text: str, done: int = 0, steps: int = 0) -> None:
        """See `ChatView`."""
        self.busy.show_busy(text, done, steps)
        self.question.set_idle(not text)

    def show_status(self, text: str) -> None:
        """See `ChatView`."""
        self.status.show_status(text)

    def restore_question(self, text: str) -> None:
        """See `ChatView`."""
        self.question.restore(text)

    def ask_names(self, title: str, rows: Sequence[NameRow]) -> None:
        """See `ChatView`."""
        self._naming = NamingDialog(title, rows, self)
        self._naming.named.connect(relay(self.names_chosen))
        self._naming.open()

    def focus_question(self) -> None:
        """See `ChatView`."""
        self.question.line.setFocus()


_SIGNALS = (
    "question_asked", "question_edited", "cancel_asked", "project_chosen", "image_chosen", "volume_chosen",
    "plane_chosen", "follow_chosen", "modality_chosen", "window_chosen", "action_chosen", "reference_chosen",
    "device_chosen", "free_text_chosen",
    "step_chosen", "mask_chosen", "mask_hovered", "tool_chosen", "reason_chosen",
    "stack_chosen", "run_step_chosen", "masks_given", "layer_given",
)  # fmt: skip
"""What the parts say to the outside."""
