"""The export dock: which masks, on which image, in which format, where; then the receipt."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari.layers import Image, Labels
from qtpy.QtCore import QEvent, Qt
from qtpy.QtGui import QFontDatabase
from qtpy.QtWidgets import (
    QCheckBox,
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

from napari_mediround.domain.judged import Key
from napari_mediround.errors import MediRoundError
from napari_mediround.io.export import FORMATS, MEASUREMENTS, Options, Receipt, export, misfits
from napari_mediround.session.checked import check_volume, describe_checks
from napari_mediround.widget.export.check_list import CheckList
from napari_mediround.widget.export.mask_table import MaskTable
from napari_mediround.widget.layers.layer_geometry import (
    IMAGE_KEY,
    PATH_KEY,
    STUDY_KEY,
    layer_grid,
    shown_volume,
    study_from_layer,
)
from napari_mediround.widget.plugin.layer_writer import collect_masks, is_of, list_masks, volumes_with_masks
from napari_mediround.widget.worker import Job, Worker

TITLES = {**{name: form.title for name, form in FORMATS.items()}, MEASUREMENTS: "Table of measurements"}
FAILED = "The export failed; nothing was written. The log says where."


class ExportDock(QWidget):
    """Write masks to a file that another library has read back.

    Parameters
    ----------
    napari_viewer : napari.Viewer
        Given by napari.
    """

    def __init__(self, napari_viewer) -> None:
        super().__init__()
        self._viewer = napari_viewer
        self.worker = Worker()
        self._job: Job | None = None
        self._masks, self._images, self._formats = QComboBox(), QComboBox(), QComboBox()
        for box in (self._masks, self._images, self._formats):
            box.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._table, self._listed = MaskTable(), ""
        self.checks = CheckList(napari_viewer, self.worker)
        self._make_layout()
        self._masks.currentIndexChanged.connect(self._on_masks_chosen)
        self._images.currentIndexChanged.connect(self._show_formats)
        self._formats.currentIndexChanged.connect(self._on_format_chosen)
        self._leaves.toggled.connect(self._on_leaves_toggled)
        self._start.clicked.connect(self._on_export_asked)
        self._cancel.clicked.connect(self._on_cancel_asked)
        self.worker.progressed.connect(self._on_progressed)
        self.worker.finished.connect(self._on_finished)
        self.worker.failed.connect(self._on_failed)
        for event in self._layer_events():
            event.connect(self._on_layers)
        self.destroyed.connect(partial(_stop, self.worker))
        self._on_layers()
        self._on_leaves_toggled(False)
        self._show_busy("")

    def _make_layout(self) -> None:
        self._path, browse = QLineEdit(), QPushButton("…")
        self._path.setPlaceholderText("choose a file")
        browse.setToolTip("Choose where the file goes")
        browse.setFixedWidth(32)
        browse.clicked.connect(self._on_browse)
        place = QHBoxLayout()
        place.addWidget(self._path)
        place.addWidget(browse)
        self._leaves = QCheckBox("leaves the site: de-identify (DICOM PS3.15)")
        self._leaves.setToolTip("Names, dates and private tags go, UIDs are new. Pixels are not changed.")
        self._with_images = QCheckBox("with de-identified copies of the images")
        self._overwrite = QCheckBox("replace files that are there")
        self._start, self._cancel = QPushButton("Export"), QPushButton("Cancel")
        self._doing, self._bar = QLabel(), QProgressBar()
        self._doing.setWordWrap(True)
        self._doing.setTextFormat(Qt.TextFormat.PlainText)
        self._bar.setRange(0, 0)
        self._bar.setTextVisible(False)
        self._bar.setFixedHeight(5)
        self._receipt = QPlainTextEdit()
        self._receipt.setReadOnly(True)
        self._receipt.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self._receipt.setPlaceholderText(
            "The receipt: what another library read back from the file, compared in millimetres."
        )
        form = QFormLayout()
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        fields = (
            ("Masks", self._masks),
            ("", self._table),
            ("Checks", self.checks),
            ("Image", self._images),
            ("Format", self._formats),
        )
        for label, field in fields:
            form.addRow(label, field)
        form.addRow("File", place)
        buttons = QHBoxLayout()
        buttons.addWidget(self._start)
        buttons.addWidget(self._cancel)
        column = QVBoxLayout(self)
        column.addLayout(form)
        for widget in (self._leaves, self._with_images, self._overwrite):
            column.addWidget(widget)
        column.addLayout(buttons)
        for widget in (self._doing, self._bar):
            column.addWidget(widget)
        column.addWidget(self._receipt, stretch=1)

    def enterEvent(self, event: QEvent) -> None:
        """List the masks anew: verdicts may have been given since."""
        super().enterEvent(event)
        self._show_masks()

    def changeEvent(self, event: QEvent) -> None:
        """Stop when napari takes the widget out of its window."""
        super().changeEvent(event)
        if event.type() == QEvent.Type.ParentChange and self.parent() is None:
            self._on_cancel_asked()
            self.worker.stop()

    def _layer_events(self) -> tuple:
        events = self._viewer.layers.events
        return (events.inserted, events.removed, events.reordered, events.renamed)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being exported."""
        return self._job is None

    def receipt_text(self) -> str:
        """Return what the receipt says."""
        return self._receipt.toPlainText()

    # Slots.

    def choose(self, labels: Labels | None, form: str, values: Collection[int] | None) -> str:
        """Choose masks, format and the masks of some numbers; return why not, "" where that works."""
        if labels is None or self._masks.findText(labels.name) < 0:
            return "There is no mask to export yet."
        self._masks.setCurrentIndex(self._masks.findText(labels.name))
        self._show_formats()
        index = self._formats.findData(form)
        if index < 0:
            return f"No {TITLES[form]}: {self._why_not().get(form, 'it does not fit this image')}."
        self._formats.setCurrentIndex(index)
        self._show_masks()
        if values is not None:
            self._table.tick(values)
        return ""

    def _on_layers(self, event=None) -> None:
        for box, kind in ((self._masks, Labels), (self._images, Image)):
            chosen = box.currentText()
            box.blockSignals(True)
            box.clear()
            box.addItems([layer.name for layer in self._viewer.layers if isinstance(layer, kind)])
            box.setCurrentIndex(max(box.findText(chosen), 0) if box.count() else -1)
            box.blockSignals(False)
        self._on_masks_chosen(self._masks.currentIndex())
        self._show_formats()
        self._start.setEnabled(bool(self._masks.count()) and self.is_idle)

    def _on_masks_chosen(self, index: int) -> None:
        """Choose the image that the masks were made on."""
        own = self._own_image(self._viewer.layers[self._masks.currentText()]) if index >= 0 else None
        if isinstance(own, Image):
            self._images.setCurrentText(own.name)
        self._show_masks()

    def _show_masks(self) -> None:
        """List the masks of the chosen layer, those of the volume that shows."""
        name = self._masks.currentText()
        if name != self._listed:
            self._listed = name
            self._table.forget()
        if name:
            labels = self._viewer.layers[name]
            number = shown_volume(labels, self._viewer.dims) or None
            self._table.show_rows(list_masks(labels, number))
            self.checks.look_at(labels, number)

    def _show_formats(self, index: int = 0) -> None:
        """Offer the formats that can hold masks on the chosen image; the tip says why not the others."""
        chosen, missing = self._formats.currentData(), self._why_not()
        self._formats.blockSignals(True)
        self._formats.clear()
        for name, title in TITLES.items():
            if name not in missing:
                self._formats.addItem(title, name)
        self._formats.setCurrentIndex(max(self._formats.findData(chosen), 0))
        self._formats.blockSignals(False)
        self._formats.setToolTip("\n".join(f"No {TITLES[name]}: {why}" for name, why in missing.items()))
        if self._formats.currentData() != chosen:
            self._on_format_chosen(self._formats.currentIndex())

    def _why_not(self) -> dict[str, str]:
        """Return the formats that cannot work for the chosen image, with the reason."""
        if not self._images.count() or not self._images.currentText():
            return {}
        image = self._viewer.layers[self._images.currentText()]
        study = image.metadata.get(STUDY_KEY)
        grid = study.source_geometry if study is not None else layer_grid(image).geometry
        return misfits(grid, bool(image.metadata.get(PATH_KEY)))

    def _own_image(self, labels: Labels) -> Image | Labels | None:
        """Return the image that masks were made on, they themselves once it is closed; None for others'."""
        if not {STUDY_KEY, IMAGE_KEY} & labels.metadata.keys():
            return None
        images = (layer for layer in self._viewer.layers if isinstance(layer, Image))
        return next((image for image in images if is_of(labels, image)), labels)

    def _on_format_chosen(self, index: int) -> None:
        name = self._path.text()
        suffixes = [s for form in FORMATS.values() for s in form.suffixes] + [".csv"]
        old = next((s for s in sorted(suffixes, key=len, reverse=True) if name.lower().endswith(s)), "")
        if old:
            self._path.setText(name[: -len(old)] + self._suffix())
        self._on_leaves_toggled(self._leaves.isChecked())

    def _on_leaves_toggled(self, leaves: bool) -> None:
        form = FORMATS.get(self._formats.currentData())
        self._with_images.setEnabled(bool(leaves and form and form.dicom))

    def _on_browse(self) -> None:
        title = f"{self._formats.currentText()} (*{self._suffix()})"
        path, _ = QFileDialog.getSaveFileName(
            self, "Export masks", self._path.text(), title, options=QFileDialog.Option.DontConfirmOverwrite
        )
        if path:
            self._path.setText(path if path.lower().endswith(self._suffix()) else path + self._suffix())

    def _suffix(self) -> str:
        form = FORMATS.get(self._formats.currentData())
        return form.suffixes[0] if form else ".csv"

    def _on_export_asked(self) -> None:
        if not self.is_idle:
            return
        if not self._path.text().strip():
            self._receipt.setPlainText("Choose a file first: the button beside File.")
            return
        layers = self._viewer.layers
        labels = layers[self._masks.currentText()]
        self._show_masks()
        image = layers[self._images.currentText()] if self._images.count() else labels
        image = labels if self._own_image(labels) is labels else image
        self._receipt.setPlainText("")
        self._show_busy("Waiting …")
        self._job = self.worker.submit(
            partial(
                _export,
                labels=labels,
                image=image,
                number=shown_volume(image, self._viewer.dims) or None,
                path=Path(self._path.text().strip()).expanduser(),
                form=self._formats.currentData(),
                key=secrets.token_hex(32) if self._leaves.isChecked() else "",
                with_images=self._with_images.isEnabled() and self._with_images.isChecked(),
                overwrite=self._overwrite.isChecked(),
                left_out=self._table.left_out,
            )
        )
        self._on_layers()

    def _on_cancel_asked(self) -> None:
        if self._job is not None:
            self._job.cancel()
            self._end("Cancelled.")

    def _on_progressed(self, job: Job, text: str) -> None:
        if job is self._job:
            self._show_busy(text)

    def _on_finished(self, job: Job, receipt: object) -> None:
        if job is self._job and isinstance(receipt, Receipt):
            self._end(receipt.to_text())

    def _on_failed(self, job: Job, error: Exception) -> None:
        if job is self._job:
            self._end(str(error) if isinstance(error, MediRoundError) else FAILED)

    def _end(self, text: str) -> None:
        self._job = None
        self._receipt.setPlainText(text)
        self._show_busy("")
        self._on_layers()

    def _show_busy(self, text: str) -> None:
        self._doing.setText(text)
        for widget in (self._doing, self._bar):
            widget.setVisible(bool(text))
        self._cancel.setEnabled(bool(text))


def _export(
    job: Job,
    labels: Labels,
    image: Image | Labels,
    number: tuple[int, ...] | None,
    path: Path,
    form: str,
    key: str,
    with_images: bool,
    overwrite: bool,
    left_out: frozenset[Key],
) -> Receipt:
    """Export on the worker; the layers are read there, as a volume takes a moment."""
    job.report("Collecting the masks …")
    found = collect_masks(labels, image, number, left_out)
    volume = found.volume
    job.report("Checking the masks …")
    checked = describe_checks(check_volume(volume), volume.geometry)
    others = [other for other in volumes_with_masks(labels) if other != number] if number else []
    pixels = None
    if form in (MEASUREMENTS, "dicom-sr") and isinstance(image, Image) and not image.rgb:
        study = study_from_layer(image, number)
        pixels = study.order.undo(study.pixels)
    source = image.metadata.get(PATH_KEY) if volume.geometry.series_uid else None
    options = Options(
        overwrite=overwrite,
        key=key,
        with_images=with_images,
        dicom=Path(source) if source else None,
        pixels=pixels,
        left_out=tuple(map(str, found.left_out)),
        notes=(*found.notes, *checked),
        report=job.report,
        cancelled=job.cancelled,
    )
    receipt = export(volume, path, form, options)
    if not others:
        return receipt
    left = ", ".join(map(str, others))
    note = f"The masks of volume {left} are not in this file: show one and export again."
    return replace(receipt, notes=(*receipt.notes, note))


def _stop(worker: Worker, _=None) -> None:
    worker.stop()
