"""The export dock in Qt; an `ExportView`. Decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from magicgui import magicgui
from psygnal import Signal
from qtpy.QtCore import QEvent, QSignalBlocker, Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QComboBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from napari_mediround.domain.checks import Finding
from napari_mediround.domain.judged import MaskRow
from napari_mediround.io.export import FORMATS
from napari_mediround.widget.export.check_list import CheckList
from napari_mediround.widget.export.export_view import ExportForm
from napari_mediround.widget.export.mask_table import MaskTable
from napari_mediround.widget.export.titles import TITLES, suffix_of, without_suffix
from napari_mediround.widget.qt.relay import relay

RECEIPT = "The receipt: what another library read back from the file, compared in millimetres."
LEAVES = "Names, dates and private tags are removed, and UIDs are new. Pixels are not changed."


def options(leaves_site: bool = False, with_images: bool = False, overwrite: bool = False) -> None:
    """Take the options of an export; magicgui draws a form of this function."""


class ExportPanel(QWidget):
    """The export dock's widgets; signals and setters as in `ExportView`."""

    export_asked = Signal()
    cancel_asked = Signal()
    masks_chosen = Signal()
    image_chosen = Signal()
    mend_asked = Signal(object)
    entered = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.masks, self.images, self.formats = QComboBox(), QComboBox(), QComboBox()
        for box in (self.masks, self.images, self.formats):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.table, self.path, self.browse = MaskTable(), QLineEdit(), QPushButton("…")
        self.checks = CheckList()
        self.checks.mend_asked.connect(relay(self.mend_asked))
        self.options = magicgui(
            options,
            labels=False,
            call_button=False,
            leaves_site={"text": "leaves the site: de-identify (DICOM PS3.15)", "tooltip": LEAVES},
            with_images={"text": "with de-identified copies of the images"},
            overwrite={"text": "replace files that exist already"},
        )
        self.start, self.stop = QPushButton("Export"), QPushButton("Cancel")
        self.doing, self.bar, self.receipt = QLabel(), QProgressBar(), QPlainTextEdit()
        self._dress()
        self._lay_out()
        self.masks.currentIndexChanged.connect(lambda: self.masks_chosen.emit())
        self.images.currentIndexChanged.connect(lambda: self.image_chosen.emit())
        self.formats.currentIndexChanged.connect(self._on_format_chosen)
        self.options.leaves_site.changed.connect(self._allow_images)
        self.start.clicked.connect(lambda: self.export_asked.emit())
        self.stop.clicked.connect(lambda: self.cancel_asked.emit())
        self.browse.clicked.connect(self._on_browse)
        self._allow_images()

    def _dress(self) -> None:
        self.path.setPlaceholderText("choose a file")
        self.browse.setToolTip("Choose where the file goes")
        self.browse.setFixedWidth(32)
        self.options.native.layout().setContentsMargins(0, 0, 0, 0)
        self.doing.setWordWrap(True)
        self.doing.setTextFormat(Qt.TextFormat.PlainText)
        self.bar.setRange(0, 0)
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(5)
        self.receipt.setReadOnly(True)
        self.receipt.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.receipt.setPlaceholderText(RECEIPT)

    def _lay_out(self) -> None:
        file, buttons = QHBoxLayout(), QHBoxLayout()
        for row, widgets in ((file, (self.path, self.browse)), (buttons, (self.start, self.stop))):
            for widget in widgets:
                row.addWidget(widget)
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for label, field in (("Masks", self.masks), ("", self.table), ("Image", self.images)):
            form.addRow(label, field)
        form.insertRow(2, "Checks", self.checks)
        form.addRow("Format", self.formats)
        form.addRow("File", file)
        column = QVBoxLayout(self)
        column.addLayout(form)
        column.addWidget(self.options.native)
        column.addLayout(buttons)
        column.addWidget(self.doing)
        column.addWidget(self.bar)
        column.addWidget(self.receipt, stretch=1)

    def enterEvent(self, event: QEvent) -> None:
        """Tell that the pointer came in."""
        super().enterEvent(event)
        self.entered.emit()

    @property
    def form(self) -> ExportForm:
        """What is chosen now."""
        chosen = self.options.asdict()
        chosen["with_images"] &= self.options.with_images.enabled
        return ExportForm(
            self.masks.currentText(),
            self.images.currentText(),
            self.formats.currentData() or "",
            self.path.text(),
            left_out=self.table.left_out,
            **chosen,
        )

    # Setters.

    def show_layers(self, masks: Sequence[str], images: Sequence[str]) -> None:
        """See `ExportView`."""
        for box, names in ((self.masks, masks), (self.images, images)):
            chosen = box.currentText()
            with QSignalBlocker(box):
                box.clear()
                box.addItems(list(names))
                box.setCurrentIndex(max(box.findText(chosen), 0) if names else -1)

    def show_findings(self, findings: Sequence[Finding], words: str) -> None:
        """See `ExportView`."""
        self.checks.show_findings(findings, words)

    def choose(self, masks: str = "", image: str = "", form: str = "") -> None:
        """See `ExportView`."""
        if masks:
            self.masks.setCurrentText(masks)
        if image:
            self.images.setCurrentText(image)
        if form:
            self.formats.setCurrentIndex(self.formats.findData(form))

    def show_masks(self, rows: Sequence[MaskRow], anew: bool) -> None:
        """See `ExportView`."""
        if anew:
            self.table.forget()
        self.table.show_rows(rows)

    def tick(self, values: Collection[int]) -> None:
        """See `ExportView`."""
        self.table.tick(values)

    def show_formats(self, formats: Sequence[str], why_not: Mapping[str, str]) -> None:
        """See `ExportView`."""
        chosen = self.formats.currentData()
        with QSignalBlocker(self.formats):
            self.formats.clear()
            for name in formats:
                self.formats.addItem(TITLES[name], name)
            self.formats.setCurrentIndex(max(self.formats.findData(chosen), 0))
        self.formats.setToolTip("\n".join(f"No {TITLES[name]}: {why}" for name, why in why_not.items()))
        if self.formats.currentData() != chosen:
            self._on_format_chosen()

    def show_busy(self, words: str) -> None:
        """See `ExportView`."""
        self.doing.setText(words)
        for widget in (self.doing, self.bar):
            widget.setVisible(bool(words))
        self.stop.setEnabled(bool(words))

    def allow_export(self, allowed: bool) -> None:
        """See `ExportView`."""
        self.start.setEnabled(allowed)

    def show_receipt(self, text: str) -> None:
        """See `ExportView`."""
        self.receipt.setPlainText(text)

    # Slots.

    def _on_format_chosen(self, index: int = 0) -> None:
        stem = without_suffix(self.path.text())
        if stem is not None:
            self.path.setText(stem + suffix_of(self.formats.currentData()))
        self._allow_images()

    def _allow_images(self, _=None) -> None:
        form = FORMATS.get(self.formats.currentData())
        self.options.with_images.enabled = bool(self.options.leaves_site.value and form and form.dicom)

    def _on_browse(self) -> None:
        suffix = suffix_of(self.formats.currentData())
        kinds = f"{self.formats.currentText()} (*{suffix})"
        silent = QFileDialog.Option.DontConfirmOverwrite  # the form has an option for that
        path, _ = QFileDialog.getSaveFileName(self, "Export masks", self.path.text(), kinds, options=silent)
        if path:
            self.path.setText(path if path.lower().endswith(suffix) else path + suffix)
