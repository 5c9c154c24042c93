"""The chat as a scrolling list of cards. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QApplication, QScrollArea, QSizePolicy, QVBoxLayout, QWidget

from napari_mediround.widget.chat.view import Entry
from napari_mediround.widget.qt.cards import Card, make_card
from napari_mediround.widget.qt.relay import relay
from napari_mediround.widget.qt.wrapping import make_label

WELCOME = """Ask for structures in words; a question is about the plane above.

Segment the liver and the spleen
Outline the vessel next to [1]
Now its mirror on the other side

[1] is the mask with the number 1; click a mask's number to put it into the question. “It” is the last mask. \
The name of a structure that has a mask works too.

Then accept (J), fix (K) or reject (N) each mask. Every step is saved at once, and U takes it back."""


class RoundList(QScrollArea):
    """Cards, the newest at the end and in sight."""

    action_chosen = Signal(object)
    step_chosen = Signal(str)
    mask_chosen = Signal(int)
    mask_hovered = Signal(int)
    number_chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._entries: list[Entry] = []
        self._cards: list[Card] = []
        self._current: tuple[int, str, str, bool] = (0, "", "", False)
        inside = QWidget()
        inside.setObjectName("cards")
        # The width of the dock is the limit, whatever a card would like.
        inside.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._column = QVBoxLayout(inside)
        self._column.setContentsMargins(0, 2, 4, 2)
        self._column.setSpacing(6)
        self._welcome = make_label(WELCOME, "muted")
        self._welcome.setMargin(6)
        self._column.addWidget(self._welcome)
        self._column.addStretch()
        self.setObjectName("cards_area")
        self.setWidget(inside)
        self.setWidgetResizable(True)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._grown = False
        self.verticalScrollBar().rangeChanged.connect(self._on_range_changed)

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Make the cards those of these entries; a card whose entry has not changed stays."""
        entries = list(entries)
        same = sum(1 for _ in _common(self._entries, entries))
        rest = min(len(self._entries), len(entries)) - same
        tail = min(sum(1 for _ in _common(self._entries[::-1], entries[::-1])), rest)
        focus = QApplication.focusWidget()
        focused = focus is not None and any(
            card is focus or card.isAncestorOf(focus) for card in self._cards[same : len(self._cards) - tail]
        )
        for card in self._cards[same : len(self._cards) - tail]:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        fresh = [self._make(entry) for entry in entries[same : len(entries) - tail]]
        self._grown = len(entries) > len(self._entries)
        for at, card in enumerate(fresh, same):
            self._column.insertWidget(at + 1, card)
            card.show_current(*self._current)
        if focused and fresh:
            fresh[0].setFocus()
        self._cards[same : len(self._cards) - tail] = fresh
        self._entries = entries
        self._welcome.setVisible(not entries)

    def show_current(self, value: int, undo: str, redo: str) -> None:
        """Mark the mask that the keys act on, and bring its card into sight."""
        self._show(value, undo, redo, self._current[3])

    def set_fixing(self, fixing: bool) -> None:
        """Hide the steps while a mask is fixed: their keys mean something else then."""
        self._show(*self._current[:3], fixing)

    def _show(self, value: int, undo: str, redo: str, fixing: bool) -> None:
        moved = value != self._current[0]
        self._current = value, undo, redo, fixing
        for card in self._cards:
            if card.show_current(*self._current) and moved:
                self._grown = self._grown or card is self._cards[-1]
                self.ensureWidgetVisible(card, 0, 8)

    def _make(self, entry: Entry) -> Card:
        card = make_card(entry)
        card.action_chosen.connect(relay(self.action_chosen))
        card.step_chosen.connect(relay(self.step_chosen))
        card.mask_chosen.connect(relay(self.mask_chosen))
        card.mask_hovered.connect(relay(self.mask_hovered))
        card.number_chosen.connect(relay(self.number_chosen))
        return card

    def _on_range_changed(self, _: int, end: int) -> None:
        if self._grown:
            self.verticalScrollBar().setValue(end)


def _common(one: Sequence[Entry], other: Sequence[Entry]):
    for first, second in zip(one, other, strict=False):
        if first != second:
            return
        yield first
