"""The export dock's controller without a window: what it offers, and what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exports import write_series
from fakes import FakeWorker
from napari.components import ViewerModel
from psygnal import Signal
from test_export import GRID

from napari_mediround.io import read_study
from napari_mediround.widget.export import export_controller as module
from napari_mediround.widget.export.export_controller import ExportController
from napari_mediround.widget.export.export_view import ExportForm
from napari_mediround.widget.layers.layer_geometry import study_to_layer
from napari_mediround.widget.layers.mask_layer import make_labels, name_labels


class FakeExportView:
    """Remembers what it was shown and what was chosen."""

    export_asked, cancel_asked = Signal(), Signal()
    masks_chosen, image_chosen, entered, mend_asked = Signal(), Signal(), Signal(), Signal(object)

    def __init__(self) -> None:
        self.form, self.shown = ExportForm("", "", "nifti", ""), {}

    def show_layers(self, masks, images) -> None:
        """Choose the first of each."""
        self.form = replace(self.form, masks=(*masks, "")[0], image=(*images, "")[0])

    def choose(self, **chosen) -> None:
        """Choose."""
        self.form = replace(self.form, **chosen)

    def __getattr__(self, name: str):
        return lambda *values, **named: self.shown.__setitem__(name, (*values, *named.values()))


@pytest.fixture
def at_work(tmp_path):
    viewer, view, worker = ViewerModel(), FakeExportView(), FakeWorker()
    controller = ExportController(viewer, view, worker)
    study = read_study(write_series(tmp_path / "series", GRID))
    pixels, options, _ = study_to_layer(study, tmp_path / "series")
    labels = make_labels(viewer.add_image(pixels, **options))
    labels.data[1, 3:9, 4:12] = 1
    name_labels(labels, {1: "1 liver"})
    viewer.add_layer(labels)
    return controller, view, worker, labels


def test_without_a_mask_nothing_can_be_exported() -> None:
    view = FakeExportView()
    controller = ExportController(ViewerModel(), view, FakeWorker())
    assert view.shown["allow_export"] == (False,)
    assert controller.choose(None, "nifti", None) == module.NO_MASK


def test_a_file_is_written_and_the_receipt_shown(at_work, tmp_path) -> None:
    controller, view, worker, _ = at_work
    view.export_asked.emit()
    assert view.shown["show_receipt"] == (module.NO_FILE,)
    view.choose(path=str(tmp_path / "out.nii.gz"))
    view.export_asked.emit()
    assert view.shown["show_busy"] == ("Waiting …",)
    assert view.shown["allow_export"] == (False,)
    worker.run()
    assert "Read back and equal" in view.shown["show_receipt"][0]
    assert (tmp_path / "out.nii.gz").exists()
    assert controller.is_idle


def test_what_a_request_names_is_chosen_or_refused_with_the_reason(at_work) -> None:
    controller, view, _, labels = at_work
    assert controller.choose(labels, "dicom-seg", (1,)) == ""
    assert view.form.form == "dicom-seg"
    assert view.shown["tick"] == ((1,),)
    assert controller.choose(labels, "png", None).startswith("No ")


def test_an_error_and_a_cancelled_export_are_told(at_work, tmp_path) -> None:
    _controller, view, worker, labels = at_work
    view.choose(path=str(tmp_path / "out.nii.gz"))
    view.export_asked.emit()
    view.cancel_asked.emit()
    worker.run()
    assert view.shown["show_receipt"] == ("Cancelled.",)
    labels.data = np.zeros_like(labels.data)
    view.export_asked.emit()
    worker.run()
    assert "is empty" in view.shown["show_receipt"][0]
