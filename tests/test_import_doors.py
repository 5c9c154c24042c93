"""The doors of the dock for masks from elsewhere: a file, another grid, unclear names, layers, the menu."""

from __future__ import annotations

import numpy as np
import pytest
from desk import Desk
from fakes import make_volume
from napari.layers import Labels, Shapes
from test_importing import make_masks

from napari_mediround.domain.segments import LabelledVolume, make_segment
from napari_mediround.io.export import export
from napari_mediround.widget.chat.view import Message, Reply


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def give(desk, *paths):
    """Drop files on the dock and let the worker work; return the last entry of the chat."""
    desk.view.masks_given.emit(paths)
    desk.worker.run()
    return desk.view.entries[-1] if desk.view.entries else None


def test_a_dropped_file_becomes_judged_rounds_with_one_card_each(desk, tmp_path):
    masks = make_masks(make_volume())
    export(masks, tmp_path / "a.seg.nrrd")
    said = give(desk, tmp_path / "a.seg.nrrd")
    assert said.text.startswith("Took 2 masks from “a.seg.nrrd” (sha256 ")
    assert [reply.text for reply in desk.replies] == [
        "Imported: liver, on 4 planes, 0 to 3.", "Imported: spleen, on 2 planes, 1 to 2.",
    ]  # fmt: skip
    assert [line.quality for reply in desk.replies for line in reply.masks] == [0.9, 0.9]
    assert np.array_equal(desk.mask_layer.data, desk.session.label_volume())
    (accept,) = said.actions
    desk.view.action_chosen.emit(accept.key)
    assert {label.verdict for label in desk.session.state.labels.values()} == {"accepted"}
    desk.press("U", "U")
    assert not desk.replies


def test_a_mask_that_nothing_judged_is_not_said_to_be_drawn(desk, tmp_path):
    desk.segmenter.load().quality = None
    export(make_masks(make_volume()), tmp_path / "a.seg.nrrd")
    give(desk, tmp_path / "a.seg.nrrd")
    assert [(line.quality, line.imported) for reply in desk.replies for line in reply.masks] == [
        (None, True)
    ] * 2


def test_another_grid_is_resampled_by_a_button_only(desk, tmp_path):
    study = make_volume((5, 48, 64), (3.0, 0.25, 0.25))
    mask = np.zeros(study.source_geometry.shape, bool)
    mask[1:4, 10:30, 12:40] = True
    export(LabelledVolume.from_masks(study.source_geometry, [(make_segment(1, "liver"), mask)]),
           tmp_path / "a.nii.gz")  # fmt: skip
    said = give(desk, tmp_path / "a.nii.gz")
    assert said.is_error
    assert "0.25 x 0.25 x 3.00 mm" in said.text
    assert not desk.session.label_names()
    desk.view.action_chosen.emit(said.actions[0].key)
    desk.worker.run()
    assert "resampled" in desk.view.entries[-1].text
    assert desk.session.label_names() == {1: "1 liver"}


def test_unclear_names_are_asked_and_a_mask_can_be_left_out(desk, tmp_path):
    masks = make_masks(make_volume())
    named = [(make_segment(k, text), masks.mask(s)) for k, text, s in
             zip((1, 2), ("GTV", "spleen"), masks.segments, strict=True)]  # fmt: skip
    export(LabelledVolume.from_masks(masks.geometry, named), tmp_path / "a.seg.nrrd")
    give(desk, tmp_path / "a.seg.nrrd")
    assert [(row.text, row.structure, row.sure) for row in desk.view.names.values()] == [
        ("GTV", "", False), ("spleen", "spleen", True),
    ]  # fmt: skip
    desk.view.names_chosen.emit({1: "hepar", 2: ""})
    desk.worker.run()
    assert desk.session.label_names() == {1: "1 liver"}
    give(desk, tmp_path / "a.seg.nrrd")
    desk.view.names_chosen.emit(None)
    assert "No mask was taken" in desk.view.entries[-1].text


def test_a_labels_layer_is_taken_where_it_shows(desk):
    image = desk.viewer.layers[0]
    data = np.zeros(image.data.shape, np.uint16)
    data[2, 5:9, 6:12] = 3
    layer = Labels(data, scale=image.scale, translate=image.translate, affine=image.affine, name="mine")
    desk.viewer.add_layer(layer)
    desk.viewer.layers.selection.active = layer
    desk.view.layer_given.emit()
    desk.worker.run()
    desk.view.names_chosen.emit({3: "left kidney"})
    desk.worker.run()
    assert np.array_equal(desk.session.label_volume() == 1, data == 3)


def test_a_flipped_labels_layer_is_taken_where_it_shows(desk):
    image = desk.viewer.layers[0]
    data = np.zeros(image.data.shape, np.uint16)
    data[2, 5:9, 6:12] = 1
    scale = np.array(image.scale) * (1, -1, 1)
    translate = np.array(image.translate) + np.array(image.scale) * (0, data.shape[1] - 1, 0)
    layer = desk.viewer.add_labels(data[:, ::-1].copy(), scale=scale, translate=translate)
    desk.controller.imports.take_layer(layer)
    desk.worker.run()
    desk.view.names_chosen.emit({1: "spleen"})
    desk.worker.run()
    assert np.array_equal(desk.session.label_volume() == 1, data == 1)


def test_shapes_are_filled_on_their_planes_and_lines_are_not(desk):
    image = desk.viewer.layers[0]
    box = np.array([[3, 4, 5], [3, 4, 15], [3, 12, 15], [3, 12, 5]], float)
    line = np.array([[1, 2, 2], [1, 9, 9]], float)
    layer = Shapes([box, line], shape_type=["polygon", "line"], scale=image.scale, name="drawn")
    layer.features = {"name": ["liver", "line"]}
    desk.viewer.add_layer(layer)
    desk.controller.imports.take_layer(layer)
    desk.worker.run()
    volume = desk.session.label_volume()
    assert desk.session.label_names() == {1: "1 liver"}
    assert set(np.flatnonzero(volume.any((1, 2)))) == {3}
    assert 70 <= volume[3].astype(bool).sum() <= 99


def test_doors_say_what_is_missing(desk, tmp_path):
    assert "no such file" in give(desk, tmp_path / "no.nii.gz").text
    desk.viewer.layers.selection.clear()
    desk.view.layer_given.emit()
    assert "Select one" in desk.view.entries[-1].text
    empty = Desk()
    assert "Open the image first" in give(empty, tmp_path / "a.nii.gz").text


def test_the_own_masks_are_not_taken_again(desk, tmp_path):
    export(make_masks(make_volume()), tmp_path / "a.seg.nrrd")
    give(desk, tmp_path / "a.seg.nrrd")
    desk.controller.imports.take_layer(desk.mask_layer)
    desk.worker.run()
    last = desk.view.entries[-1]
    assert isinstance(last, Message)
    assert "masks of a conversation already" in last.text
    assert len([e for e in desk.view.entries if isinstance(e, Reply)]) == 2
