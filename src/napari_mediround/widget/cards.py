"""The entries of a chat as Qt widgets. Text is shown as it is, never as markup."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mediround.widget.view import Entry, MaskLine, Message, Question, Reply

LOW_QUALITY = 0.6
"""Below this judged quality a mask is marked for a second look: the corrector's threshold."""

STYLE = """
QLabel, QCheckBox {{ background: transparent; }}
#cards, #cards_area {{ background: {background}; border: none; }}
#question {{ background: {primary}; border-radius: 8px; }}
#reply {{ background: {foreground}; border-radius: 8px; }}
#message {{ background: transparent; border-left: 3px solid {secondary}; }}
#error {{ background: transparent; border-left: 3px solid {warning}; }}
#title, #structure {{ font-weight: bold; }}
#muted, #pointed {{ color: {muted}; }}
#low {{ color: {caution}; font-weight: bold; }}
#link {{ background: transparent; border: none; padding: 0; text-decoration: underline; color: {text}; }}
#ask {{ background: {current}; padding: 5px 12px; }}
#chip {{ background: {primary}; border-radius: 8px; padding: 1px 8px; }}
"""


def style(theme: dict[str, str]) -> str:
    """Return the style sheet for a napari theme's colours (`Theme.to_rgb_dict`)."""
    dark = theme["type"] == "dark"
    extra = {"muted": "#a9adb5" if dark else "#56565c", "caution": "#f0c040" if dark else "#8a5a00"}
    return STYLE.format(**{**theme, **extra})


def make_card(entry: Entry, act: Callable[[object], None]) -> QWidget:
    """Return an entry of the chat as a widget; `act` is called with the key of what is clicked."""
    if isinstance(entry, Question):
        return _question(entry)
    return _reply(entry, act) if isinstance(entry, Reply) else _message(entry, act)


def _label(text: str, name: str = "") -> QLabel:
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setObjectName(name)
    return label


def _frame(name: str, margins: tuple[int, int, int, int] = (10, 7, 10, 7)) -> tuple[QFrame, QVBoxLayout]:
    frame = QFrame()
    frame.setObjectName(name)
    column = QVBoxLayout(frame)
    column.setContentsMargins(*margins)
    column.setSpacing(4)
    return frame, column


def _question(question: Question) -> QWidget:
    frame, column = _frame("question")
    column.addWidget(_label(question.text))
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(36, 4, 0, 0)
    row.addWidget(frame)
    return holder


def _reply(reply: Reply, act: Callable[[object], None]) -> QWidget:
    frame, column = _frame("reply")
    head = QHBoxLayout()
    title = _label(f"Round {reply.round}", "title")
    title.setWordWrap(False)
    head.addWidget(title)
    link = QPushButton(reply.plane_name)
    link.setObjectName("link")
    link.setCursor(Qt.CursorShape.PointingHandCursor)
    link.setToolTip("Show this plane")
    link.clicked.connect(lambda: act(reply.plane))
    head.addWidget(link)
    head.addStretch()
    seconds = _label(f"{reply.seconds:.1f} s", "muted")
    seconds.setWordWrap(False)
    head.addWidget(seconds)
    column.addLayout(head)
    for pointed in reply.references:
        column.addWidget(_label(pointed, "pointed"))
    column.addWidget(_label(reply.text))
    if reply.masks:
        column.addLayout(_masks(reply.masks))
    for note in reply.notes:
        column.addWidget(_label(note, "muted"))
    return frame


def _masks(masks: tuple[MaskLine, ...]) -> QGridLayout:
    grid = QGridLayout()
    grid.setHorizontalSpacing(8)
    grid.setVerticalSpacing(3)
    grid.setColumnStretch(1, 1)
    for row, mask in enumerate(masks):
        swatch = QLabel()
        swatch.setFixedSize(12, 12)
        swatch.setStyleSheet(f"background: {mask.colour}; border-radius: 3px;")
        grid.addWidget(swatch, row, 0)
        grid.addWidget(_label(f"{mask.value} {mask.structure}", "structure"), row, 1)
        low = mask.quality < LOW_QUALITY
        quality = _label(f"quality {mask.quality:.2f}" + (", check" if low else ""), "low" if low else "")
        quality.setToolTip(
            "The model's own judgment of the mask, 0 to 1" + (" (corrected)" if mask.corrected else "")
        )
        area = _label(mask.area)
        for column, label in ((2, quality), (3, area)):
            label.setWordWrap(False)
            grid.addWidget(label, row, column, Qt.AlignmentFlag.AlignRight)
    return grid


def _message(message: Message, act: Callable[[object], None]) -> QWidget:
    frame, column = _frame("error" if message.is_error else "message", (10, 2, 4, 2))
    column.addWidget(_label(message.text, "" if message.is_error else "muted"))
    for action in message.actions:
        button = QPushButton(action.label)
        button.clicked.connect(lambda _=False, key=action.key: act(key))
        column.addWidget(button, alignment=Qt.AlignmentFlag.AlignLeft)
    return frame
