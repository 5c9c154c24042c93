"""The learning dock in Qt; a `LearningView`. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import QPointF, QRectF, QSignalBlocker, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPaintEvent, QPen, QPolygonF
from qtpy.QtWidgets import (
    QAbstractItemView,
    QFormLayout,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTextBrowser,
    QVBoxLayout,
    QWidget,
)
from superqt import QElidingLabel

from napari_mediround.training.learning.needs import Need
from napari_mediround.widget.learning.learning_view import AdapterLine
from napari_mediround.widget.qt.cancelling import CancellablePanel
from napari_mediround.widget.qt.status import NOT_A_DEVICE, NOT_A_DEVICE_HINT
from napari_mediround.widget.qt.style import colours, style
from napari_mediround.widget.qt.wrapping import breakable, make_label, plain_tip

NONE = "none: the model without an adapter"


class Curve(QWidget):
    """Lines over steps, the last values beside their names; y starts at 0.

    Parameters
    ----------
    names : sequence of str
        Of the lines.
    top : float, optional
        Upper end of y; None is the greatest value.
    """

    def __init__(self, names: Sequence[str], top: float | None = None) -> None:
        super().__init__()
        self.lines: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
        self._top, self._steps = top, 1
        self._theme = {"text": "#888888", "muted": "#888888", "good": "#888888", "info": "#888888"}
        self.setMinimumHeight(84)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    def sizeHint(self) -> QSize:
        """Ask for a strip: the words need the height."""
        return QSize(170, 84)

    def set_theme(self, theme: dict[str, str]) -> None:
        """Take colours, `style.colours`."""
        self._theme = theme
        self.update()

    def add(self, name: str, step: int, steps: int, value: float) -> None:
        """Add a point. Points at this step or later belong to an earlier run and are removed."""
        self.lines[name] = [p for p in self.lines[name] if p[0] < step] + [(step, value)]
        self._steps = steps
        said = ", ".join(f"{n} {line[-1][1]:.3f}" for n, line in self.lines.items() if line)
        self.setAccessibleDescription(f"step {step} of {steps}: {said}")
        self.update()

    def clear(self) -> None:
        """Forget all points."""
        self.lines = {name: [] for name in self.lines}
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw names and last values above, lines below."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        head = painter.fontMetrics().height() + 4
        box = QRectF(1, head, self.width() - 2, self.height() - head - 3)
        top = self._top or max((y for line in self.lines.values() for _, y in line), default=1.0) or 1.0
        painter.setPen(QPen(QColor(self._theme["muted"]), 1))
        painter.drawLine(box.bottomLeft(), box.bottomRight())
        at = 0.0
        for (name, line), colour in zip(self.lines.items(), ("info", "good"), strict=False):
            painter.setPen(QPen(QColor(self._theme[colour]), 2))
            points = [
                QPointF(box.left() + box.width() * x / self._steps, box.bottom() - box.height() * y / top)
                for x, y in line
            ]
            if len(points) == 1:
                painter.drawEllipse(points[0], 1, 1)
            painter.drawPolyline(QPolygonF(points))
            label = f"{name} {line[-1][1]:.3f}" if line else name
            painter.drawText(QPointF(at, head - 6), label)
            at += painter.fontMetrics().horizontalAdvance(f"{label}   ")
        painter.end()


class NeedBars(QWidget):
    """A bar for each thing that learning needs, with words and numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.bars: list[QProgressBar] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setColumnStretch(1, 1)

    def show_needs(self, needs: Sequence[Need]) -> None:
        """Show these needs in place of those before."""
        while self._grid.count():
            widget = self._grid.takeAt(0).widget()
            widget.hide()
            widget.deleteLater()
        self.bars = []
        for row, need in enumerate(needs):
            bar = QProgressBar()
            bar.setObjectName("need")
            bar.setProperty("met", need.met)
            bar.setRange(0, need.need)
            bar.setValue(min(need.have, need.need))
            bar.setTextVisible(False)
            bar.setFixedWidth(54)
            words = f"{need.have} of {need.need} {need.words}"
            bar.setAccessibleName(words)
            self.bars.append(bar)
            self._grid.addWidget(bar, row, 0)
            self._grid.addWidget(make_label(words, "muted" if need.met else ""), row, 1)
        self.setVisible(bool(needs))


class LearningPanel(CancellablePanel):
    """The learning dock's widgets; signals and setters as in `LearningView`."""

    start_asked = Signal()
    use_asked = Signal(str, str)
    rollback_asked = Signal()
    adapter_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.busy, self._ready, self._switching = False, False, True
        column = QVBoxLayout(self)
        column.setContentsMargins(6, 6, 6, 4)
        column.setSpacing(6)
        self._make_start(column)
        self._make_adapters(column)
        self.note = make_label(NOT_A_DEVICE, "muted")
        self.note.setToolTip(NOT_A_DEVICE_HINT)
        column.addWidget(self.note)
        self.setMinimumWidth(330)
        self.show_busy("")

    def _make_start(self, column: QVBoxLayout) -> None:
        self._project = QElidingLabel()
        self._project.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        form.addRow("Project", self._project)
        self.survey, self.doing, self.message = make_label(""), make_label("", "muted"), make_label("")
        self.needs = NeedBars()
        self.start, self.cancel = QPushButton("Learn from corrections"), QPushButton("Cancel (Esc)")
        self.start.setObjectName("ask")
        self.start.setToolTip(
            "Learn words and masks from what you accepted or corrected in this project.\n"
            "You can keep annotating meanwhile. A cancelled run continues where it stopped."
        )
        self.cancel.setToolTip(
            "Stop after this step. The best result so far is kept, and the next run continues there"
        )
        self.start.clicked.connect(lambda: self.start_asked.emit())
        self.cancel.clicked.connect(lambda: self.cancel_asked.emit())
        buttons = QHBoxLayout()
        buttons.addWidget(self.start, stretch=1)
        buttons.addWidget(self.cancel)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(5)
        self.bar.setAccessibleName("Progress of learning")
        self.loss, self.dice = Curve(["Loss"]), Curve(["Dice", "check"], 1.0)
        self.loss.setAccessibleName("Loss over the steps")
        self.dice.setAccessibleName("Dice over the steps")
        self.loss.setToolTip("The error of each step; it should fall")
        self.dice.setToolTip(
            "Dice of the masks in each step, some of them drawn from clicks and boxes.\n"
            "Check: masks from words alone, of the one patient in five who does not teach;\n"
            "with fewer than five patients, of those who teach."
        )
        curves = QHBoxLayout()
        curves.addWidget(self.loss, stretch=2)
        curves.addWidget(self.dice, stretch=3)
        column.addLayout(form)
        column.addWidget(self.survey)
        column.addWidget(self.needs)
        column.addLayout(buttons)
        column.addWidget(self.doing)
        column.addWidget(self.bar)
        column.addLayout(curves)
        column.addWidget(self.message)

    def _make_adapters(self, column: QVBoxLayout) -> None:
        self.adapters, self.card = QListWidget(), QTextBrowser()
        self.adapters.setAccessibleName("Adapters of this project")
        self.adapters.setToolTip("Adapters that this project has learned; choose one to see its card")
        self.adapters.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.adapters.setMinimumHeight(66)
        for widget, name in ((self.adapters, "adapters"), (self.card, "adapter_card")):
            widget.setObjectName(name)
            widget.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Ignored)
        self.adapters.currentItemChanged.connect(self._on_chosen)
        self.card.setAccessibleName("Card of the adapter")
        self.card.setMinimumHeight(110)
        self.card.setPlaceholderText("The card of the chosen adapter")
        self.reason = QLineEdit()
        self.reason.setPlaceholderText("Not measured as better. Why use it anyway?")
        self.reason.setToolTip("Required if the measurement does not favour the adapter; kept in the project")
        self.reason.textChanged.connect(self._on_reason)
        self.reason.returnPressed.connect(self._on_use)
        self.use, self.rollback = QPushButton("Use"), QPushButton("Roll back")
        self.use.setToolTip("Answer with the chosen adapter from the next question on")
        self.rollback.setToolTip("Go back to the adapter that was live before, or to none")
        self.use.clicked.connect(self._on_use)
        self.rollback.clicked.connect(lambda: self.rollback_asked.emit())
        buttons = QHBoxLayout()
        buttons.addWidget(self.use, stretch=1)
        buttons.addWidget(self.rollback)
        column.addWidget(make_label("Adapters", "title"))
        column.addWidget(self.adapters, stretch=2)
        column.addWidget(self.card, stretch=3)
        column.addWidget(self.reason)
        column.addLayout(buttons)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being learned."""
        return not self.busy

    # Setters.

    def set_theme(self, theme: dict[str, str]) -> None:
        """Take the colours of a napari theme (`Theme.to_rgb_dict`)."""
        self.setStyleSheet(style(theme))
        for curve in (self.loss, self.dice):
            curve.set_theme(colours(theme))

    def show_project(self, name: str, hint: str) -> None:
        """Show which project learns."""
        self._project.setText(name)
        self._project.setToolTip(plain_tip(hint))

    def show_survey(self, text: str, ready: bool, needs: Sequence[Need] = ()) -> None:
        """See `LearningView`."""
        self.survey.setText(breakable(text))
        self.needs.show_needs(() if ready else needs)
        self._ready = ready
        self.start.setEnabled(ready and not self.busy)

    def show_busy(self, words: str, done: int = 0, steps: int = 0) -> None:
        """Show what is being done, "" for nothing; 0 steps if their number is not known."""
        self.busy = bool(words)
        self.start.setEnabled(self._ready and not self.busy)
        for widget in (self.bar, self.doing):
            widget.setVisible(self.busy)
        self.doing.setText(breakable(words))
        self.bar.setRange(0, steps)
        self.bar.setValue(done)
        self.allow_cancelling(self.busy)

    def allow_cancelling(self, allowed: bool) -> None:
        """Enable or disable the button that cancels."""
        self.cancel.setEnabled(allowed)

    def add_point(self, name: str, step: int, steps: int, value: float) -> None:
        """Add a point to the curve that has a line of this name."""
        curve = next(curve for curve in (self.loss, self.dice) if name in curve.lines)
        curve.add(name, step, steps, value)

    def clear_curves(self) -> None:
        """Remove the points of all curves."""
        self.loss.clear()
        self.dice.clear()

    def show_message(self, text: str, is_error: bool = False) -> None:
        """See `LearningView`."""
        self.message.setText(breakable(text))
        self.message.setVisible(bool(text))
        self.message.setObjectName("low" if is_error else "")
        self.message.style().polish(self.message)

    def show_adapters(self, lines: Sequence[AdapterLine], chosen: str) -> None:
        """List adapters and choose one."""
        with QSignalBlocker(self.adapters):
            self.adapters.clear()
            for line in lines:
                words = f"{line.name} {line.words}" if line.name else NONE
                item = QListWidgetItem(f"● {words}" if line.live else f"○ {words}")
                item.setData(Qt.ItemDataRole.UserRole, line)
                item.setToolTip(plain_tip(f"{words}, live" if line.live else words))
                self.adapters.addItem(item)
                if line.name == chosen:
                    self.adapters.setCurrentItem(item)
        self._on_chosen(self.adapters.currentItem())

    def show_card(self, html: str) -> None:
        """Show the card of the adapter chosen."""
        self.card.setHtml(html)

    def allow_switching(self, allowed: bool) -> None:
        """Allow to change what is live, or not."""
        self._switching = allowed
        self._show_use()

    @property
    def chosen(self) -> AdapterLine | None:
        """The adapter chosen in the list."""
        item = self.adapters.currentItem()
        return item.data(Qt.ItemDataRole.UserRole) if item is not None else None

    # Slots.

    def _on_chosen(self, item: QListWidgetItem | None, _before: object = None) -> None:
        self.reason.clear()
        self._show_use()
        if item is not None:
            self.adapter_chosen.emit(item.data(Qt.ItemDataRole.UserRole).name)

    def _on_reason(self, _text: str = "") -> None:
        self._show_use()

    def _on_use(self) -> None:
        if self.use.isEnabled():
            self.use_asked.emit(self.chosen.name, self.reason.text().strip())

    def _show_use(self) -> None:
        line = self.chosen
        can = line is not None and not line.live and self._switching
        doubtful = can and bool(line.name) and not line.wins
        self.reason.setVisible(doubtful)
        self.use.setText("Use anyway" if doubtful else "Use")
        self.use.setEnabled(can and (not doubtful or bool(self.reason.text().strip())))
        lives = any(self._line(row).live and self._line(row).name for row in range(self.adapters.count()))
        self.rollback.setEnabled(lives and self._switching)

    def _line(self, row: int) -> AdapterLine:
        return self.adapters.item(row).data(Qt.ItemDataRole.UserRole)
