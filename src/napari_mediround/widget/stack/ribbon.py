"""The planes of a structure as a strip, coloured by what each is; a click goes there. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence

from psygnal import Signal
from qtpy.QtCore import Property, QEvent, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QMouseEvent, QPainter, QPaintEvent
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from napari_mediround.widget.qt.wrapping import plain_tip
from napari_mediround.widget.stack.stack_view import RibbonPlane

HEIGHT, MARK = 14, 3
"""Of the strip and of the mark of the current plane, in pixels."""


def _colour(name: str) -> Property:
    """Return a property that a style sheet sets: `qproperty-<name>`."""
    return Property(
        QColor, lambda self: self.colours[name], lambda self, colour: self.set_colour(name, colour)
    )


class Ribbon(QWidget):
    """A strip of all planes, the first at the left.

    Parameters
    ----------
    ribbon : sequence of RibbonPlane
        Those that have a mask.
    planes : int
        How many planes there are.
    """

    plane_chosen = Signal(int)
    """(plane) that was clicked."""

    def __init__(self, ribbon: Sequence[RibbonPlane], planes: int) -> None:
        super().__init__()
        self._ribbon = {one.plane: one for one in ribbon}
        self._planes, self._current = max(planes, *(one.plane + 1 for one in ribbon)), 0
        self.colours = {
            "accepted": QColor("#4cd07d"), "fixed": QColor("#7fb2ff"), "proposed": QColor("#9aa0a8"),
            "doubtful": QColor("#f0c040"), "unseen": QColor("#3a3f47"), "mark": QColor("#ffffff"),
        }  # fmt: skip
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setMouseTracking(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)
        counts: dict[str, int] = {}
        for one in ribbon:
            counts[one.standing] = counts.get(one.standing, 0) + 1
        told = ", ".join(f"{count} {word}" for word, count in counts.items())
        self.setAccessibleName(f"Planes of the structure: {told}")

    accepted = _colour("accepted")
    fixed = _colour("fixed")
    proposed = _colour("proposed")
    doubtful = _colour("doubtful")
    unseen = _colour("unseen")
    mark = _colour("mark")

    def set_colour(self, name: str, colour: QColor) -> None:
        """Take a colour of the theme."""
        self.colours[name] = QColor(colour)
        self.update()

    def set_current(self, value: int) -> None:
        """Mark the plane with a label value."""
        if value != self._current:
            self._current = value
            self.update()

    def sizeHint(self) -> QSize:
        """Ask for a low strip."""
        return QSize(200, HEIGHT + MARK)

    def plane_at(self, x: float) -> int:
        """Return the plane at a place of the strip; near a doubtful plane that one, as strips are narrow."""
        plane = min(max(int(x * self._planes / max(1, self.width())), 0), self._planes - 1)
        reach = int(2 * self._planes / max(1, self.width()))
        near = [p for p in range(plane - reach, plane + reach + 1) if p in self._ribbon]
        doubtful = [p for p in near if self._ribbon[p].standing == "doubtful"]
        return min(doubtful or [plane], key=lambda p: abs(p - plane))

    def paintEvent(self, event: QPaintEvent) -> None:
        """Draw the planes; a doubtful one is taller than the others, so that colour is not needed."""
        painter = QPainter(self)
        painter.fillRect(QRectF(0, MARK + 3, self.width(), HEIGHT - 6), self.colours["unseen"])
        for plane, one in self._ribbon.items():
            left, right = (p * self.width() / self._planes for p in (plane, plane + 1))
            inset = {"doubtful": 0, "absent": 6}.get(one.standing, 3)
            box = QRectF(left, MARK + inset, max(right - left, 1.0), HEIGHT - 2 * inset)
            painter.fillRect(box, self.colours[{"absent": "accepted"}.get(one.standing, one.standing)])
            if one.value == self._current:
                middle = (left + right) / 2
                painter.fillRect(QRectF(middle - 1, 0, 2, HEIGHT + MARK), self.colours["mark"])

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Go to the plane that is clicked; the row below is not meant."""
        self.plane_chosen.emit(self.plane_at(event.position().x()))
        event.accept()

    def event(self, event: QEvent) -> bool:
        """Say which plane is under the pointer."""
        if event.type() == QEvent.Type.ToolTip:
            plane = self.plane_at(event.pos().x())
            text = str(self._ribbon.get(plane, f"plane {plane}: no mask"))
            QToolTip.showText(event.globalPos(), plain_tip(text), self)
            return True
        return super().event(event)
