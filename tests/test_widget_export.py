"""The export dock on the viewer that napari hands to plugins, and napari's own saving of Labels layers."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from exports import write_series
from test_export import GRID

from napari_mediround.errors import MediRoundError
from napari_mediround.io import read_study
from napari_mediround.io.masks import read_masks
from napari_mediround.widget.export.export_dock import ExportDock
from napari_mediround.widget.layers.layer_geometry import FIXED_KEY, study_to_layer
from napari_mediround.widget.layers.mask_layer import make_labels, name_labels
from napari_mediround.widget.plugin.layer_writer import collect_masks


def add_case(viewer, folder):
    """Open a DICOM series in the viewer and draw three labels on it; the third has no name."""
    study = read_study(write_series(folder / "series", GRID))
    pixels, options, _ = study_to_layer(study, folder / "series")
    image = viewer.add_image(pixels, **options)
    labels = make_labels(image)
    labels.data[1, 3:9, 4:12] = 1
    labels.data[2, 3:9, 4:12] = 2
    labels.data[0, 0, 0] = 7
    name_labels(labels, {1: "1 liver", 2: "2 left kidney"})
    viewer.add_layer(labels)
    return study, image, labels


@pytest.fixture
def dock(make_napari_viewer, qtbot):
    """Return a dock in a viewer, its worker stopped at the end."""
    viewer = make_napari_viewer()
    dock = ExportDock(viewer)
    viewer.window.add_dock_widget(dock, name="export")
    yield dock, viewer
    dock.worker.stop()


def run(dock, qtbot, path, form):
    """Ask for an export and wait for the receipt."""
    dock.view.formats.setCurrentIndex(dock.view.formats.findData(form))
    dock.view.path.setText(str(path))
    dock.view.start.click()
    qtbot.waitUntil(lambda: dock.is_idle, timeout=60000)
    return dock.receipt_text()


def test_masks_go_out_on_the_grid_of_the_file_with_names_and_codes(make_napari_viewer, tmp_path):
    study, image, labels = add_case(make_napari_viewer(), tmp_path)
    volume = collect_masks(labels, image).volume
    assert volume.geometry == study.source_geometry
    assert np.array_equal(volume.layers[0], study.order.undo(labels.data))
    assert [s.name for s in volume.segments] == ["liver", "left kidney", "structure 7"]
    assert [s.origin for s in volume.segments] == ["AUTOMATIC", "AUTOMATIC", "MANUAL"]
    assert volume.segments[1].code == ("64033007", "Kidney")


def test_an_empty_layer_is_refused(make_napari_viewer, tmp_path):
    _, image, labels = add_case(make_napari_viewer(), tmp_path)
    labels.data = np.zeros_like(labels.data)
    with pytest.raises(MediRoundError, match="is empty"):
        collect_masks(labels, image)


def test_the_dock_writes_a_segmentation_and_shows_the_receipt(dock, qtbot, tmp_path):
    dock, viewer = dock
    study, _, labels = add_case(viewer, tmp_path)
    text = run(dock, qtbot, tmp_path / "out.dcm", "dicom-seg")
    assert "Read back and equal (pydicom" in text
    again = read_masks(tmp_path / "out.dcm", study.source_geometry)
    assert [s.name for s in again.segments] == ["liver", "left kidney", "structure 7"]
    assert np.array_equal(again.mask(again.segments[0]), study.order.undo(labels.data) == 1)
    assert json.loads((tmp_path / "out.dcm.receipt.json").read_text("utf-8"))["ok"]


def test_a_file_that_is_there_stays_until_the_box_is_ticked(dock, qtbot, tmp_path):
    dock, viewer = dock
    add_case(viewer, tmp_path)
    (tmp_path / "out.nii.gz").write_text("mine")
    assert "exists already" in run(dock, qtbot, tmp_path / "out.nii.gz", "nifti")
    assert (tmp_path / "out.nii.gz").read_text() == "mine"
    dock.view.options.overwrite.value = True
    assert "Read back and equal" in run(dock, qtbot, tmp_path / "out.nii.gz", "nifti")


def test_the_suffix_follows_the_format_and_images_go_with_dicom_only(dock, qtbot, tmp_path):
    dock, _ = dock
    dock.view.path.setText("a.nii.gz")
    dock.view.options.leaves_site.value = True
    dock.view.formats.setCurrentIndex(dock.view.formats.findData("rtstruct"))
    assert dock.view.path.text() == "a.dcm"
    assert dock.view.options.with_images.enabled
    dock.view.formats.setCurrentIndex(dock.view.formats.findData("csv"))
    assert dock.view.path.text() == "a.csv"
    assert not dock.view.options.with_images.enabled
    assert not dock.view.start.isEnabled()


def test_cancelling_leaves_no_file_and_another_export_can_start(dock, qtbot, tmp_path, monkeypatch):
    import threading

    from napari_mediround.widget.export import export_controller as module

    dock, viewer = dock
    add_case(viewer, tmp_path)
    gate, real = threading.Event(), module.collect_masks
    monkeypatch.setattr(module, "collect_masks", lambda *layers: gate.wait(10) and real(*layers))
    dock.view.path.setText(str(tmp_path / "out.nii.gz"))
    dock.view.start.click()
    assert not dock.view.start.isEnabled()
    dock.view.stop.click()
    assert dock.is_idle
    gate.set()
    assert "Read back and equal" in run(dock, qtbot, tmp_path / "b.nii.gz", "nifti")
    assert not (tmp_path / "out.nii.gz").exists()


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_napari_saves_a_labels_layer_through_our_writer(make_napari_viewer, tmp_path, suffix):
    viewer = make_napari_viewer()
    study, _, labels = add_case(viewer, tmp_path)
    path = str(tmp_path / f"saved{suffix}")
    assert viewer.layers[labels.name].save(path, plugin="napari-mediround") == [path]
    again = read_masks(path, study.source_geometry)
    assert np.array_equal(again.layers[0], study.order.undo(labels.data))
    assert again.segments[0].name == "liver"


def test_masks_go_out_on_their_own_image_also_where_another_has_the_same_shape(dock, qtbot, tmp_path):
    dock, viewer = dock
    study, first, labels = add_case(viewer, tmp_path / "one")
    moved = replace(GRID, affine=np.add(GRID.affine, np.outer((0, 0, 500, 0), (0, 0, 0, 1))))
    other = read_study(write_series(tmp_path / "two", moved))
    pixels, options, _ = study_to_layer(other, tmp_path / "two")
    second = viewer.add_image(pixels, **options)
    on_second = make_labels(second)
    on_second.data[1, 3:9, 4:12] = 1
    viewer.add_layer(on_second)
    for masks, image, origin in ((labels, first, study), (on_second, second, other)):
        dock.view.masks.setCurrentText(masks.name)
        assert dock.view.images.currentText() == image.name
        assert "Read back and equal" in run(dock, qtbot, tmp_path / f"{image.name}.nii.gz", "nifti")
        written = read_study(tmp_path / f"{image.name}.nii.gz")
        assert np.allclose(written.source_geometry.affine, origin.source_geometry.affine)
    dock.view.images.setCurrentText(first.name)
    assert "choose its own image" in run(dock, qtbot, tmp_path / "no.nii.gz", "nifti")
    viewer.layers.remove(second)
    assert "Read back and equal" in run(dock, qtbot, tmp_path / "closed.nii.gz", "nifti")
    assert np.allclose(
        read_study(tmp_path / "closed.nii.gz").source_geometry.affine, other.source_geometry.affine
    )


def test_the_volume_that_shows_goes_out_and_the_others_are_named(dock, qtbot, tmp_path):
    dock, viewer = dock
    image = viewer.add_image(np.random.default_rng(0).random((3, 5, 20, 24)), name="four")
    labels = make_labels(image)
    labels.data[0, 1, 3:6, 3:6] = 1
    labels.data[2, 1, 3:6, 3:6] = 2
    viewer.add_layer(labels)
    with pytest.raises(MediRoundError, match=r"several volumes \(\(0,\), \(2,\)\)"):
        collect_masks(labels, image)
    assert [s.value for s in collect_masks(labels, image, (2,)).volume.segments] == [2]
    viewer.dims.set_point(0, 2)
    text = run(dock, qtbot, tmp_path / "out.nii.gz", "nifti")
    assert "Read back and equal" in text
    assert "The masks of volume (0,) are not in this file" in text
    assert set(np.unique(read_study(tmp_path / "out.nii.gz").pixels)) == {0, 2}


def test_a_mask_that_is_being_fixed_is_not_left_out_unsaid(make_napari_viewer, tmp_path):
    _, image, labels = add_case(make_napari_viewer(), tmp_path)
    labels.metadata[FIXED_KEY] = "1 liver"
    with pytest.raises(MediRoundError, match="1 liver is being fixed"):
        collect_masks(labels, image)


def test_layers_of_other_readers_are_told_apart_too(dock, qtbot, tmp_path):
    dock, viewer = dock
    pixels = np.random.default_rng(0).random((5, 20, 24))
    viewer.add_image(pixels, name="first", units="mm")
    second = viewer.add_image(pixels, name="second", scale=(5, 2, 2), units="mm")
    labels = make_labels(second)
    labels.data[1, 3:9, 4:12] = 1
    viewer.add_layer(labels)
    assert dock.view.images.currentText() == "second"
    assert "Read back and equal" in run(dock, qtbot, tmp_path / "out.nii.gz", "nifti")
    assert read_study(tmp_path / "out.nii.gz").geometry.spacing_mm == pytest.approx((5, 2, 2))
    dock.view.images.setCurrentText("first")
    assert "choose its own image" in run(dock, qtbot, tmp_path / "no.nii.gz", "nifti")
