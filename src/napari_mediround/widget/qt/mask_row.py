"""One mask of a reply as a Qt widget, with its planes where it has several. Decides nothing."""

from __future__ import annotations

from functools import partial

from psygnal import Signal
from qtpy.QtCore import QEvent, Qt
from qtpy.QtWidgets import QFrame, QGridLayout, QHBoxLayout, QLabel, QProgressBar, QPushButton, QWidget
from superqt import QFlowLayout

from napari_mediround.domain.rounds import LOW_QUALITY
from napari_mediround.widget.chat.view import MaskLine
from napari_mediround.widget.qt.buttons import ActionButton
from napari_mediround.widget.qt.wrapping import make_label, make_short_label
from napari_mediround.widget.stack.ribbon import Ribbon

VERDICTS = {"": "proposed", "accepted": "✓ accepted", "corrected": "✎ corrected", "rejected": "✕ rejected"}


class MaskRow(QFrame):
    """One mask of a reply."""

    number_chosen = Signal(int)
    action_chosen = Signal(object)
    chosen = Signal(int)
    """(label value) of the mask, or of one of its planes."""
    entered = Signal()
    left = Signal()

    def __init__(self, mask: MaskLine) -> None:
        super().__init__()
        self.mask, self.current, self._value = mask, False, 0
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
        tip = f"On this plane; with the distance of planes {mask.volume}" if mask.volume else ""
        area.setToolTip("Of all planes together" if mask.ribbon else tip)
        grid.addWidget(area, 1, 3, Qt.AlignmentFlag.AlignRight)
        if mask.corrected:
            mark = make_short_label("↻ corrected by model", "muted")
            mark.setToolTip("The model judged its first mask low and replaced it with a corrected one")
            grid.addWidget(mark, 2, 1, 1, 3)
        self.ribbon = Ribbon(mask.ribbon, mask.planes) if mask.ribbon else None
        if self.ribbon is not None:
            self.ribbon.plane_chosen.connect(self._on_plane)
            grid.addWidget(self.ribbon, 3, 0, 1, 4)
        if mask.actions:
            grid.addWidget(self._make_actions(mask), 4, 0, 1, 4)

    def _make_actions(self, mask: MaskLine) -> QWidget:
        row = QWidget()
        row.setObjectName("plain")
        row.setLayout(QFlowLayout())
        row.layout().setContentsMargins(0, 2, 0, 0)
        row.layout().setSpacing(4)
        for action in mask.actions:
            button = ActionButton(action)
            button.setObjectName("step")
            button.clicked.connect(partial(self._act, action.key))
            row.layout().addWidget(button)
        return row

    def _act(self, key: object, _checked: bool = False) -> None:
        self.action_chosen.emit(key)

    def _on_plane(self, plane: int) -> None:
        value = next((one.value for one in self.mask.ribbon if one.plane == plane), 0)
        if value:
            self.chosen.emit(value)
        else:
            self.action_chosen.emit(plane)

    def verdict_of(self, value: int) -> str:
        """Return the verdict of one of its planes."""
        standing = next((one.standing for one in self.mask.ribbon if one.value == value), None)
        known = {"accepted": "accepted", "absent": "accepted", "fixed": "corrected"}
        return self.mask.verdict if standing is None else known.get(standing, "")

    def set_current(self, value: int) -> None:
        """Mark the mask, and the plane of it, that the keys act on."""
        current, self._value = value in self.mask.values, value
        if self.ribbon is not None:
            self.ribbon.set_current(value)
        if current == self.current:
            return
        self.current = current
        self.setProperty("current", current)
        self.style().unpolish(self)
        self.style().polish(self)

    def mousePressEvent(self, event: QEvent) -> None:
        """Choose this mask."""
        super().mousePressEvent(event)
        self.chosen.emit(self._value if self.current else self.mask.value)

    def enterEvent(self, event: QEvent) -> None:
        """Say that the pointer is here."""
        super().enterEvent(event)
        self.entered.emit()

    def leaveEvent(self, event: QEvent) -> None:
        """Say that the pointer has left."""
        super().leaveEvent(event)
        self.left.emit()


def describe_planes(mask: MaskLine) -> str:
    """Return in words what the planes of a structure are: "45 planes: 12 accepted, 3 doubtful"."""
    counts = {
        word: sum(one.standing == word for one in mask.ribbon) for word in ("accepted", "fixed", "doubtful")
    }
    told = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    return f"{len(mask.ribbon)} planes{f': {told}' if told else ''}"


def _unjudged(mask: MaskLine) -> str:
    """Return why a mask has no quality."""
    if mask.recipe:
        return "changed in words"
    return "not judged" if mask.imported else "drawn by hand"


def _quality(mask: MaskLine) -> QHBoxLayout:
    row = QHBoxLayout()
    row.setSpacing(6)
    if mask.ribbon:
        row.addWidget(make_short_label(describe_planes(mask), "muted"))
        row.addStretch()
        return row
    if mask.quality is None:
        drawn = make_short_label(_unjudged(mask), "muted")
        drawn.setToolTip("The model judges no mask that a person changed, nor what is too small for its grid")
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
