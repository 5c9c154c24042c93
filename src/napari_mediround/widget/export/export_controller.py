"""Which masks go out, on which image, in which format; then the receipt. Knows no Qt."""

from __future__ import annotations

import secrets
from collections.abc import Collection
from dataclasses import replace
from functools import partial
from pathlib import Path

from napari.layers import Image, Labels

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.checks import Finding
from napari_mediround.errors import MediRoundError
from napari_mediround.io.export import MEASUREMENTS, Options, Receipt, export, misfits
from napari_mediround.session.checked import check_volume, describe_checks, shapes_of_masks
from napari_mediround.session.checking import check_shapes
from napari_mediround.widget.chat.find_chat import find_chat
from napari_mediround.widget.export.export_view import ExportForm, ExportView
from napari_mediround.widget.export.titles import TITLES
from napari_mediround.widget.layers.layer_geometry import (
    IMAGE_KEY,
    PATH_KEY,
    RECORD_KEY,
    STUDY_KEY,
    layer_grid,
    shown_volume,
    study_from_layer,
)
from napari_mediround.widget.plugin.layer_writer import collect_masks, is_of, list_masks, volumes_with_masks
from napari_mediround.widget.tasks import TaskBook
from napari_mediround.widget.worker import Job, Worker

FAILED = "The export failed, and nothing was written. The log says where."
NO_FILE = "Choose a file first: click the button beside File."
NO_CHAT = "Open the MediRound chat first: the chat keeps the record that is mended."
NOTHING = "The checks found nothing."
FOREIGN = "Masks of a conversation are checked here, each finding with a button; other masks at the export."
NO_MASK = "There is no mask to export yet."


class ExportController:
    """Offers what a viewer has to export, and exports.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    view : ExportView
    worker : Worker
        Collects the masks and writes the file.
    """

    def __init__(self, viewer, view: ExportView, worker: Worker) -> None:
        self._viewer, self.view = viewer, view
        self.tasks = TaskBook(worker)
        self._listed = ""
        self._worker, self._check, self._checked = worker, None, None
        worker.finished.connect(self._on_checked)
        view.mend_asked.connect(self._on_mend_asked)
        self.tasks.changed.connect(self._on_tasks)
        view.export_asked.connect(self._on_export_asked)
        view.cancel_asked.connect(self.cancel)
        view.masks_chosen.connect(self._on_masks_chosen)
        view.image_chosen.connect(self._show_formats)
        view.entered.connect(self._show_masks)
        events = viewer.layers.events
        for event in (events.inserted, events.removed, events.reordered, events.renamed):
            event.connect(self._on_layers)
        self._on_layers()
        self._on_tasks()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being exported."""
        return not len(self.tasks)

    def choose(self, labels: Labels | None, form: str, values: Collection[int] | None) -> str:
        """Choose masks, a format and the masks of some label values; return why not, "" if that worked."""
        if labels is None or labels not in list(self._viewer.layers):
            return NO_MASK
        self.view.choose(masks=labels.name)
        self._on_masks_chosen()
        if why := self._why_not().get(form):
            return f"No {TITLES[form]}: {why}."
        self.view.choose(form=form)
        if values is not None:
            self.view.tick(values)
        return ""

    def cancel(self) -> None:
        """Cancel the export that is running."""
        if not self.is_idle:
            self.tasks.cancel_all()
            self.view.show_receipt("Cancelled.")

    # What there is to choose from.

    def _on_layers(self, event=None) -> None:
        masks, images = (
            [layer.name for layer in self._viewer.layers if isinstance(layer, kind)]
            for kind in (Labels, Image)
        )
        self.view.show_layers(masks, images)
        self._on_masks_chosen()
        self._on_tasks()

    def _on_masks_chosen(self) -> None:
        """Choose the image that the masks were made on."""
        own = self._own_image()
        if isinstance(own, Image):
            self.view.choose(image=own.name)
        self._show_masks()
        self._show_formats()

    def _show_masks(self) -> None:
        """List the masks of the chosen layer, those of the volume that shows."""
        labels = self._layer(self.view.form.masks)
        rows = list_masks(labels, shown_volume(labels, self._viewer.dims) or None) if labels else ()
        name = labels.name if labels else ""
        self.view.show_masks(rows, anew=name != self._listed)
        self._listed = name
        self._check_masks(labels)

    def _check_masks(self, labels: Labels | None) -> None:
        """Check the masks of a conversation's layer, unless they are those that were checked last."""
        record = labels.metadata.get(RECORD_KEY) if labels is not None else None
        study = labels.metadata.get(STUDY_KEY) if labels is not None else None
        number = tuple(shown_volume(labels, self._viewer.dims) or ()) if record else ()
        masks = record.get(number, ()) if record else ()
        if masks is self._checked:
            return
        self._checked = masks
        if not masks or study is None:
            self._check = None
            self.view.show_findings((), FOREIGN)
            return
        self._check = self._worker.submit(partial(_find, masks=masks, grid=study.geometry))

    def _on_checked(self, job: Job, found: object) -> None:
        if job is self._check:
            self._check = None
            self.view.show_findings(found, NOTHING)

    def _on_mend_asked(self, finding: Finding) -> None:
        chat = find_chat(self._viewer)
        if chat is None:
            self.view.show_findings((), NO_CHAT)
        elif chat.controller.checks.mend(finding):
            self._show_masks()

    def _show_formats(self) -> None:
        """Offer the formats that can hold masks on the chosen image."""
        why_not = self._why_not()
        self.view.show_formats([name for name in TITLES if name not in why_not], why_not)

    def _why_not(self) -> dict[str, str]:
        """Return the formats that cannot work for the chosen image, with the reason."""
        image = self._layer(self.view.form.image)
        if image is None:
            return {}
        study = image.metadata.get(STUDY_KEY)
        grid = study.source_geometry if study is not None else layer_grid(image).geometry
        return misfits(grid, bool(image.metadata.get(PATH_KEY)))

    def _layer(self, name: str) -> Image | Labels | None:
        return self._viewer.layers[name] if name and name in self._viewer.layers else None

    def _own_image(self) -> Image | Labels | None:
        """Return the image that the masks were made on, they themselves once it is closed; else None."""
        labels = self._layer(self.view.form.masks)
        if labels is None or not {STUDY_KEY, IMAGE_KEY} & labels.metadata.keys():
            return None
        images = (layer for layer in self._viewer.layers if isinstance(layer, Image))
        return next((image for image in images if is_of(labels, image)), labels)

    # The export.

    def _on_export_asked(self) -> None:
        if not self.is_idle:
            return
        self._show_masks()
        form, labels, own = self.view.form, self._layer(self.view.form.masks), self._own_image()
        if not form.path.strip():
            self.view.show_receipt(NO_FILE)
        elif labels is None:
            self.view.show_receipt(NO_MASK)
        else:
            image = labels if own is labels else self._layer(form.image) or labels
            number = shown_volume(image, self._viewer.dims) or None
            self.view.show_receipt("")
            work = partial(_export, labels=labels, image=image, number=number, form=form)
            self.tasks.submit(work, self._on_exported, self._on_failed, "Waiting …")

    def _on_exported(self, receipt: Receipt) -> None:
        self.view.show_receipt(receipt.to_text())

    def _on_failed(self, error: Exception) -> None:
        self.view.show_receipt(str(error) if isinstance(error, MediRoundError) else FAILED)

    def _on_tasks(self) -> None:
        self.view.show_busy("" if self.tasks.shown is None else self.tasks.shown.progress.words)
        self.view.allow_export(self.is_idle and bool(self.view.form.masks))


def _find(job: Job, masks, grid) -> tuple[Finding, ...]:
    return check_shapes(shapes_of_masks(masks, grid.shape), grid, load_anatomy())


def _export(
    job: Job, labels: Labels, image: Image | Labels, number: tuple[int, ...] | None, form: ExportForm
) -> Receipt:
    """Export on the worker; the layers are read there, as a volume takes a moment."""
    job.report("Collecting the masks …")
    found = collect_masks(labels, image, number, form.left_out)
    volume = found.volume
    job.report("Checking the masks …")
    checked = describe_checks(check_volume(volume), volume.geometry)
    others = [other for other in volumes_with_masks(labels) if other != number] if number else []
    pixels = None
    if form.form in (MEASUREMENTS, "dicom-sr") and isinstance(image, Image) and not image.rgb:
        study = study_from_layer(image, number)
        pixels = study.order.undo(study.pixels)
    source = image.metadata.get(PATH_KEY) if volume.geometry.series_uid else None
    options = Options(
        overwrite=form.overwrite,
        key=secrets.token_hex(32) if form.leaves_site else "",
        with_images=form.with_images,
        dicom=Path(source) if source else None,
        pixels=pixels,
        left_out=tuple(map(str, found.left_out)),
        notes=(*found.notes, *checked),
        report=job.report,
        cancelled=job.cancelled,
    )
    receipt = export(volume, Path(form.path.strip()).expanduser(), form.form, options)
    if not others:
        return receipt
    left = ", ".join(map(str, others))
    note = f"The masks of volume {left} are not in this file. Show that volume and export again."
    return replace(receipt, notes=(*receipt.notes, note))
