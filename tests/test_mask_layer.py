"""The Labels layer of a session, without Qt."""

import numpy as np
import pytest
from fakes import make_picture, make_volume
from napari.layers import Image
from test_layers import add, nifti_layer

from napari_mediround.widget.layers import layer_geometry, mask_layer


def oblique(layer):
    layer.rotate = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    layer.affine = np.array([[1, 0.1, 0, 5], [0, 1, 0.2, 0], [0, 0, 1, -3], [0, 0, 0, 1.0]])
    return layer


def rgb_layer():
    return Image(np.zeros((4, 6, 8, 3), np.uint8), rgb=True)


IMAGES = {
    "ours": add(make_volume((4, 6, 8))),
    "napari-nifti": nifti_layer(),
    "oblique": oblique(nifti_layer()),
    "colours": rgb_layer(),
    "picture": Image(np.zeros((6, 8)), scale=(-0.5, 0.5)),
    "with time": Image(np.zeros((3, 4, 6, 8)), scale=(1, -2, 0.5, 0.5), translate=(0, 9, 0, 0)),
}
on_every_image = pytest.mark.parametrize("layer", IMAGES.values(), ids=IMAGES)


@on_every_image
def test_a_labels_layer_has_every_transform_of_its_image(layer):
    labels = mask_layer.make_labels(layer)
    for corner in (np.zeros(layer.ndim), np.arange(layer.ndim) + 1.5):
        assert np.allclose(labels.data_to_world(corner), layer.data_to_world(corner))
    assert labels.data.shape == layer.data.shape[: layer.ndim]
    assert labels.metadata == {**layer.metadata, layer_geometry.IMAGE_KEY: layer.unique_id}
    assert (labels.units, labels.axis_labels) == (layer.units, layer.axis_labels)


@on_every_image
def test_masks_lie_where_they_were_seen_and_napari_has_nothing_to_undo(layer):
    volume = (2,) if layer.ndim == 4 else None
    grid, study = layer_geometry.layer_grid(layer, volume), layer_geometry.study_from_layer(layer, volume)
    labels = mask_layer.make_labels(layer)
    plane = study.planes - 1
    values = np.arange(48).reshape(6, 8).astype(np.uint16) % 3
    mask_layer.show_plane(labels, grid, plane, values)
    assert np.array_equal(grid.plane_of(labels.data, plane), values)
    assert np.count_nonzero(labels.data) == np.count_nonzero(values), "nothing elsewhere"
    # The voxel that the mask names is the pixel of the study that the model saw.
    row, column = 4, 1
    index = grid.layer_index(tuple(np.array([n]) for n in (plane, row, column)))
    assert np.array_equal(layer.data[index][0], study.pixels[plane, row, column])
    before = labels.data.copy()
    labels.undo()
    labels.redo()
    assert np.array_equal(labels.data, before), "a stale history would write voxels of its own"


def test_a_plane_that_is_as_it_should_be_is_not_drawn_again():
    layer = add(make_picture())
    labels, grid = mask_layer.make_labels(layer), layer_geometry.layer_grid(layer)
    values = np.zeros((24, 32), np.uint16)
    drawn = []
    labels.events.set_data.connect(lambda event: drawn.append(event))
    mask_layer.show_plane(labels, grid, 0, values)
    assert drawn == []
    values[3, 4] = 9
    mask_layer.show_plane(labels, grid, 0, values)
    assert len(drawn) == 1


def test_nothing_can_be_drawn_that_the_record_does_not_know():
    labels = mask_layer.make_labels(add(make_volume()))
    labels.mode = "paint"
    assert str(labels.mode) == "pan_zoom"


def test_labels_have_names_and_colours_of_their_own():
    labels = mask_layer.make_labels(add(make_volume()))
    mask_layer.name_labels(labels, {1: "1 liver", 2: "2 spleen"})
    assert labels.features["name"].tolist() == ["background", "1 liver", "2 spleen"]
    for value in (1, 2, 12, 13):
        red = round(255 * float(labels.get_color(value)[0]))
        assert f"#{red:02x}" == mask_layer.label_colour(value)[:3]
    assert labels.features["color"].tolist()[1] == mask_layer.label_colour(1)


def test_one_mask_can_be_shown_alone():
    labels = mask_layer.make_labels(add(make_volume()))
    mask_layer.highlight(labels, 2)
    assert (labels.selected_label, labels.show_selected_label) == (2, True)
    mask_layer.highlight(labels, 0)
    assert not labels.show_selected_label
