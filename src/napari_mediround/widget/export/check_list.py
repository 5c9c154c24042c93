"""What is doubtful about the masks that are to be exported, each with a button that mends it."""

from __future__ import annotations

from functools import partial

from napari.layers import Labels
from qtpy.QtWidgets import QFrame, QHBoxLayout, QPushButton, QScrollArea, QVBoxLayout, QWidget

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.checks import Finding
from napari_mediround.session.checked import shapes_of_masks
from napari_mediround.session.checking import check_shapes
from napari_mediround.widget.layers.layer_geometry import RECORD_KEY, STUDY_KEY
from napari_mediround.widget.qt.wrapping import make_label, plain_caption
from napari_mediround.widget.worker import Job, Worker

NOTHING = "The checks found nothing."
FOREIGN = "Masks of a conversation are checked here, each with a button that mends it; others at the export."
_HEIGHT = 130


class CheckList(QScrollArea):
    """A line for each finding; empty lists say so.

    Parameters
    ----------
    viewer : napari.Viewer
        Whose chat mends.
    worker : Worker
        Where the checks are made.
    """

    def __init__(self, viewer, worker: Worker) -> None:
        super().__init__()
        self._viewer, self._worker = viewer, worker
        self._job: Job | None = None
        self._seen: object = None
        self.findings: tuple[Finding, ...] = ()
        self.buttons: list[QPushButton] = []
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setMaximumHeight(_HEIGHT)
        worker.finished.connect(self._on_finished)
        self._show(FOREIGN)

    def look_at(self, labels: Labels, number: tuple[int, ...] | None) -> None:
        """Check the masks of a layer, unless they are those that were checked last."""
        record = labels.metadata.get(RECORD_KEY) or {}
        masks = record.get(tuple(number), ()) if number else next(iter(record.values()), ())
        study = labels.metadata.get(STUDY_KEY)
        if masks is self._seen:
            return
        self._seen = masks
        if not masks or study is None:
            self._show(FOREIGN)
            return
        grid = study.geometry
        work = partial(_check, masks=masks, grid=grid)
        self._job = self._worker.submit(work)

    def _on_finished(self, job: Job, found: object) -> None:
        if job is not self._job:
            return
        self._job, self.findings = None, tuple(found)
        self._show("" if self.findings else NOTHING)

    def _show(self, text: str) -> None:
        inner, self.buttons = QWidget(), []
        column = QVBoxLayout(inner)
        column.setContentsMargins(0, 0, 0, 0)
        if text:
            column.addWidget(make_label(text, "muted"))
        for finding in () if text else self.findings:
            row = QHBoxLayout()
            row.addWidget(make_label(finding.text), stretch=1)
            if finding.fix is not None and not finding.fix.question:
                button = QPushButton(plain_caption(finding.fix.words))
                button.clicked.connect(partial(self._mend, finding))
                row.addWidget(button)
                self.buttons.append(button)
            column.addLayout(row)
        column.addStretch(1)
        self.setWidget(inner)

    def _mend(self, finding: Finding, _checked: bool = False) -> None:
        chat = find_chat(self._viewer)
        if chat is None:
            self._show("Open the MediRound chat first: it keeps the record that is mended.")
        elif chat.controller.checks.mend(finding):
            self._seen = None


def _check(job: Job, masks, grid) -> tuple[Finding, ...]:
    return check_shapes(shapes_of_masks(masks, grid.shape), grid, load_anatomy())


def find_chat(viewer):
    """Return the chat of a viewer's window, or None."""
    from napari_mediround.widget.chat.chat_dock import ChatDock

    window = getattr(viewer, "window", None)
    docks = window.dock_widgets.values() if window is not None else ()
    return next((dock for dock in docks if isinstance(dock, ChatDock)), None)
