"""What is doubtful about masks that are to be exported, each with a button that mends it. Decides nothing."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from psygnal import Signal
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_mediround.domain.checks import Finding
from napari_mediround.widget.qt.wrapping import make_label, plain_caption

HEIGHT = 120


class CheckList(QScrollArea):
    """A line for each finding."""

    mend_asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.buttons: list[QPushButton] = []
        self.findings: tuple[Finding, ...] = ()
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMaximumHeight(HEIGHT)

    def show_findings(self, findings: Sequence[Finding], words: str) -> None:
        """Show findings, or words where there are none."""
        self.findings, self.buttons, inner = tuple(findings), [], QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        if not findings:
            column.addWidget(make_label(words, "muted"))
        for finding in findings:
            row = QHBoxLayout()
            row.addWidget(make_label(finding.text), stretch=1)
            if finding.fix is not None and not finding.fix.question:
                button = QPushButton(plain_caption(finding.fix.words))
                button.clicked.connect(partial(self._on_clicked, finding))
                row.addWidget(button)
                self.buttons.append(button)
            column.addLayout(row)
        column.addStretch(1)
        self.setWidget(inner)

    def _on_clicked(self, finding: Finding, _checked: bool = False) -> None:
        self.mend_asked.emit(finding)
