"""Studies to napari layers and back, without Qt."""

from types import SimpleNamespace

import numpy as np
import pytest
from fakes import make_volume
from hypothesis import given
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image

from napari_mediround.domain.geometry import DisplayOrder, Geometry
from napari_mediround.errors import MediRoundError
from napari_mediround.widget.layers import layer_geometry


def add(study):
    data, options, kind = layer_geometry.study_to_layer(study)
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
    assert layer_geometry.study_from_layer(layer) is study
    assert layer_geometry.layer_grid(layer).order == DisplayOrder()


def test_a_ct_is_shown_in_the_soft_tissue_window():
    low, high = add(make_volume()).contrast_limits
    assert low < 0 < high
    assert high - low == pytest.approx(layer_geometry.WINDOWS["soft_tissue"].width)


def test_two_series_of_one_examination_lie_on_each_other():
    study = make_volume()
    affine = study.geometry.affine.copy()
    affine[:3, 3] += study.geometry.affine[:3, 0]
    later = Image(*[study.pixels], **layer_geometry.study_to_layer(
        layer_geometry.make_study(study.pixels, Geometry(study.geometry.shape, affine), "CT")
    )[1])  # fmt: skip
    assert np.allclose(later.data_to_world((0, 0, 0)), add(study).data_to_world((1, 0, 0)))


def test_a_changed_layer_keeps_its_geometry_and_loses_its_old_pixels():
    layer = add(make_volume())
    layer.data = layer.data + 1
    study = layer_geometry.study_from_layer(layer)
    assert np.array_equal(study.pixels, layer.data)
    assert study.modality == "CT"


def test_a_layer_of_napari_nifti_is_put_into_radiological_order():
    layer = nifti_layer()
    study = layer_geometry.study_from_layer(layer)
    assert study.geometry.oriented
    assert study.geometry.plane_name == "axial"
    # (S, A, R) upwards becomes inferior→superior, anterior→posterior, right→left.
    assert np.array_equal(study.pixels, layer.data[:, ::-1, ::-1])
    assert np.allclose(study.geometry.index_to_world([0, 5, 7]), [10, 20, -30])


@pytest.mark.parametrize("changes", [{"affine": np.eye(4)}, {"coordinate_system": None}, {"affine": [1, 2]}])
def test_an_affine_that_does_not_fit_is_not_believed(changes):
    study = layer_geometry.study_from_layer(nifti_layer(**changes))
    assert not study.geometry.oriented
    assert np.array_equal(study.pixels, nifti_layer().data[::-1, ::-1, ::-1]), "taken as it is shown"


def test_a_plain_layer_claims_no_side_and_no_millimetre():
    geometry = layer_geometry.study_from_layer(Image(np.zeros((3, 4, 5)), scale=(2, 0.5, 0.5))).geometry
    assert not geometry.oriented
    assert not geometry.calibrated
    assert geometry.pixel_area_mm2 == 1


def test_units_of_length_are_turned_into_mm():
    layer = Image(np.zeros((3, 4, 5)), scale=(200, 50, 50), units=("um",) * 3)
    assert layer_geometry.study_from_layer(layer).geometry.spacing_mm == pytest.approx((0.2, 0.05, 0.05))


@pytest.mark.parametrize(
    "data",
    [np.zeros((6, 7, 3), np.uint8), np.ones((6, 7, 4), np.float32), np.full((6, 7, 3), 2**16 - 1, "u2")],
)
def test_colour_pictures_become_uint8_rgb(data):
    study = layer_geometry.study_from_layer(Image(data, rgb=True))
    assert study.pixels.shape == (1, 6, 7, 3)
    assert study.pixels.dtype == np.uint8
    assert set(np.unique(study.pixels)) in ({0}, {255})


def test_one_volume_of_a_film_is_taken_and_the_viewer_says_which():
    film = np.arange(2 * 3 * 4 * 5 * 6).reshape(2, 3, 4, 5, 6)
    layer = Image(
        film, scale=(1, 2, 3, 0.5, 0.5), translate=(0, 10, 0, 0, 0), units=("s", "s", "mm", "mm", "mm")
    )
    assert layer_geometry.leading_shape(layer) == (2, 3)
    viewer = ViewerModel()
    viewer.add_layer(layer)
    viewer.dims.point = (1, 14, 9, 0, 0)
    assert layer_geometry.shown_volume(layer, viewer.dims) == (1, 2)
    assert layer_geometry.volume_point(layer, viewer.dims, (1, 2)) == (1, 14)
    study, grid = layer_geometry.study_from_layer(layer, (1, 2)), layer_geometry.layer_grid(layer, (1, 2))
    assert np.array_equal(study.pixels, film[1, 2])
    assert study.geometry.spacing_mm == (3, 0.5, 0.5)
    assert layer_geometry.plane_point(layer, grid, viewer.dims, 3) == (-3, 9.0)
    assert layer_geometry.shown_plane(layer, grid, viewer.dims) == 3


def test_a_layer_with_one_axis_is_refused_in_words():
    with pytest.raises(MediRoundError, match="one axis"):
        layer_geometry.layer_grid(SimpleNamespace(name="line", ndim=1, multiscale=False, data=np.zeros(3)))


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
    grid = layer_geometry.Grid(Geometry(shown.shape, np.eye(4)), order, 3)
    index = tuple(np.array([data.draw(st.integers(0, n - 1))]) for n in shown.shape)
    assert source[grid.layer_index(index)] == shown[index]


@pytest.mark.parametrize("layer", [add(make_volume((4, 6, 8))), nifti_layer()], ids=["ours", "napari-nifti"])
def test_the_plane_follows_the_viewer_and_the_viewer_the_plane(layer):
    viewer = ViewerModel()
    viewer.add_layer(layer)
    grid = layer_geometry.layer_grid(layer)
    for plane in range(4):
        axis, point = layer_geometry.plane_point(layer, grid, viewer.dims, plane)
        viewer.dims.set_point(axis + viewer.dims.ndim, point)
        assert layer_geometry.shown_plane(layer, grid, viewer.dims) == plane
