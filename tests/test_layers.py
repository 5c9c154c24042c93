"""Studies to napari layers and back, without Qt."""

import numpy as np
import pytest
from fakes import make_picture, make_volume
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image

from napari_mediround.domain.geometry import DisplayOrder, Geometry
from napari_mediround.errors import MediRoundError
from napari_mediround.widget import layers


def add(study):
    data, options, kind = layers.study_to_layer(study)
    assert kind == "image"
    return Image(data, **options)


def nifti_layer(shape=(4, 6, 8), spacing=(3.0, 0.5, 0.7), **changes):
    """Return a layer as napari-nifti 0.0.20 makes one: (S, A, R), negative scales, RAS affine apart."""
    affine = np.diag([*spacing[::-1], 1.0])
    affine[:3, 3] = (-10, -20, -30)
    far = [affine[2 - i, 3] + (n - 1) * s for i, (n, s) in enumerate(zip(shape, spacing, strict=True))]
    metadata = {"affine": affine, "coordinate_system": "RAS+"} | changes
    data = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    return Image(data, scale=[-s for s in spacing], translate=far, metadata=metadata)


def test_a_study_is_shown_in_mm_and_comes_back_as_itself():
    study = make_volume(spacing=(3.0, 0.5, 0.7))
    layer = add(study)
    assert layer.scale.tolist() == [3.0, 0.5, 0.7]
    assert str(layer.units[0]) == "millimeter"
    assert layers.study_from_layer(layer) is study
    assert layers.layer_grid(layer).order == DisplayOrder()


def test_a_ct_is_shown_in_the_soft_tissue_window():
    low, high = add(make_volume()).contrast_limits
    assert low < 0 < high
    assert high - low == pytest.approx(layers.WINDOWS["soft_tissue"].width)


def test_two_series_of_one_examination_lie_on_each_other():
    study = make_volume()
    affine = study.geometry.affine.copy()
    affine[:3, 3] += study.geometry.affine[:3, 0]
    later = Image(*[study.pixels], **layers.study_to_layer(
        layers.make_study(study.pixels, Geometry(study.geometry.shape, affine), "CT")
    )[1])  # fmt: skip
    assert np.allclose(later.data_to_world((0, 0, 0)), add(study).data_to_world((1, 0, 0)))


def test_a_changed_layer_keeps_its_geometry_and_loses_its_old_pixels():
    layer = add(make_volume())
    layer.data = layer.data + 1
    study = layers.study_from_layer(layer)
    assert np.array_equal(study.pixels, layer.data)
    assert study.modality == "CT"


def test_a_layer_of_napari_nifti_is_put_into_radiological_order():
    layer = nifti_layer()
    study = layers.study_from_layer(layer)
    assert study.geometry.oriented
    assert study.geometry.plane_name == "axial"
    # (S, A, R) upwards becomes inferior→superior, anterior→posterior, right→left.
    assert np.array_equal(study.pixels, layer.data[:, ::-1, ::-1])
    assert np.allclose(study.geometry.index_to_world([0, 5, 7]), [10, 20, -30])


@pytest.mark.parametrize("changes", [{"affine": np.eye(4)}, {"coordinate_system": None}, {"affine": [1, 2]}])
def test_an_affine_that_does_not_fit_is_not_believed(changes):
    study = layers.study_from_layer(nifti_layer(**changes))
    assert not study.geometry.oriented
    assert np.array_equal(study.pixels, nifti_layer().data[::-1, ::-1, ::-1]), "taken as it is shown"


def test_a_plain_layer_claims_no_side_and_no_millimetre():
    geometry = layers.study_from_layer(Image(np.zeros((3, 4, 5)), scale=(2, 0.5, 0.5))).geometry
    assert not geometry.oriented
    assert not geometry.calibrated
    assert geometry.pixel_area_mm2 == 1


def test_units_of_length_are_turned_into_mm():
    layer = Image(np.zeros((3, 4, 5)), scale=(200, 50, 50), units=("um",) * 3)
    assert layers.study_from_layer(layer).geometry.spacing_mm == pytest.approx((0.2, 0.05, 0.05))


@pytest.mark.parametrize(
    "data",
    [np.zeros((6, 7, 3), np.uint8), np.ones((6, 7, 4), np.float32), np.full((6, 7, 3), 2**16 - 1, "u2")],
)
def test_colour_pictures_become_uint8_rgb(data):
    study = layers.study_from_layer(Image(data, rgb=True))
    assert study.pixels.shape == (1, 6, 7, 3)
    assert study.pixels.dtype == np.uint8
    assert set(np.unique(study.pixels)) in ({0}, {255})


def test_a_film_is_refused_with_the_way_out():
    with pytest.raises(MediRoundError, match="Split Stack"):
        layers.layer_grid(Image(np.zeros((2, 3, 4, 5)), name="cine"))


@given(
    permutation=st.permutations(range(3)),
    flips=st.tuples(*[st.booleans()] * 3),
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    data=st.data(),
)
def test_indices_on_the_layer_are_those_of_the_display_order(permutation, flips, shape, data):
    order = DisplayOrder(tuple(permutation), flips)
    source = np.arange(np.prod(shape)).reshape(shape)
    shown = order.apply(source)
    grid = layers.Grid(Geometry(shown.shape, np.eye(4)), order, 3)
    index = tuple(np.array([data.draw(st.integers(0, n - 1))]) for n in shown.shape)
    assert source[grid.layer_index(index)] == shown[index]


@pytest.mark.parametrize("layer", [add(make_volume((4, 6, 8))), nifti_layer()], ids=["ours", "napari-nifti"])
def test_the_plane_follows_the_viewer_and_the_viewer_the_plane(layer):
    viewer = ViewerModel()
    viewer.add_layer(layer)
    grid = layers.layer_grid(layer)
    for plane in range(4):
        axis, point = layers.plane_point(layer, grid, plane)
        viewer.dims.set_point(axis + viewer.dims.ndim, point)
        assert layers.shown_plane(layer, grid, viewer.dims.point) == plane


def test_a_labels_layer_has_every_transform_of_its_image():
    layer = nifti_layer()
    layer.rotate = np.array([[1, 0, 0], [0, 0.8, -0.6], [0, 0.6, 0.8]])
    labels = layers.make_labels(layer, layers.layer_grid(layer), "masks")
    for corner in ((0, 0, 0), (3, 5, 7), (1, 5, 0)):
        assert np.allclose(labels.data_to_world(corner), layer.data_to_world(corner))
    assert labels.metadata == layer.metadata
    assert (labels.units, labels.axis_labels) == (layer.units, layer.axis_labels)


@pytest.mark.parametrize("layer", [add(make_volume((4, 6, 8))), nifti_layer()], ids=["ours", "napari-nifti"])
def test_masks_lie_where_they_were_seen_and_undo_is_one_step(layer):
    grid, study = layers.layer_grid(layer), layers.study_from_layer(layer)
    labels = layers.make_labels(layer, grid, "masks")
    masks = {1: study.pixels[2] > study.pixels[2].mean(), 2: study.pixels[2] <= study.pixels[2].min()}
    layers.write_masks(labels, grid, 2, masks)
    order = grid.order
    assert np.array_equal(order.apply(labels.data)[2] == 1, masks[1])
    assert np.array_equal(order.apply(labels.data)[2] == 2, masks[2])
    labels.undo()
    assert not labels.data.any()
    labels.redo()
    assert (labels.data == 1).sum() == masks[1].sum()


def test_pixels_that_have_a_label_keep_it():
    layer = add(make_picture())
    grid = layers.layer_grid(layer)
    labels = layers.make_labels(layer, grid, "masks")
    labels.data_setitem((np.array([0]), np.array([3]), np.array([4])), 9)
    layers.write_masks(labels, grid, 0, {1: np.ones((24, 32), bool)})
    layers.write_masks(labels, grid, 0, {2: np.ones((24, 32), bool)})
    assert labels.data[0, 3, 4] == 9
    assert np.bincount(labels.data.ravel()).tolist() == [0, 24 * 32 - 1, *[0] * 7, 1]


def test_a_two_dimensional_layer_gets_two_dimensional_labels():
    layer = Image(np.zeros((6, 7)))
    grid = layers.layer_grid(layer)
    labels = layers.make_labels(layer, grid, "masks")
    layers.write_masks(labels, grid, 0, {3: np.eye(6, 7, dtype=bool)})
    assert np.array_equal(labels.data == 3, np.eye(6, 7))
    assert layers.plane_point(layer, grid, 0) is None
    assert layers.shown_plane(layer, grid, (0, 0)) == 0


def test_labels_have_names_and_colours_of_their_own():
    layer = add(make_volume())
    labels = layers.make_labels(layer, layers.layer_grid(layer), "masks")
    layers.name_labels(labels, {1: "1 liver", 2: "2 spleen"})
    assert labels.features["name"].tolist() == ["background", "1 liver", "2 spleen"]
    for value in (1, 2, 12, 13):
        red = round(255 * float(labels.get_color(value)[0]))
        assert f"#{red:02x}" == layers.label_colour(value)[:3]
