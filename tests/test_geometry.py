"""Geometry is sacred: order and way back are exact, and the patient's left is the image's right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.domain.geometry import DisplayOrder, Geometry, display_order, plane_of_normal

VIEWS = ("axial", "coronal", "sagittal")


@st.composite
def geometries(draw, max_tilt: float = 1.0) -> Geometry:
    """Any grid: axes permuted and flipped, spacings unequal, turned by up to `max_tilt` radians."""
    shape = draw(st.tuples(*[st.integers(1, 6)] * 3))
    axes = draw(st.permutations(range(3)))
    matrix = np.zeros((3, 3))
    for column, row in enumerate(axes):
        matrix[row, column] = draw(st.sampled_from((-1, 1))) * draw(st.floats(0.3, 8))
    for i, j in ((0, 1), (0, 2), (1, 2)):
        angle = draw(st.floats(-max_tilt, max_tilt))
        turn = np.eye(3)
        turn[[i, i, j, j], [i, j, i, j]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = turn @ matrix
    affine = np.eye(4)
    affine[:3, :3] = matrix
    affine[:3, 3] = draw(st.tuples(*[st.floats(-500, 500)] * 3))
    return Geometry(shape, affine)


@given(geometries(), st.sampled_from((None, 0, 1, 2, *VIEWS)))
def test_undo_is_exact_for_pixels_and_geometry(geometry: Geometry, axis):
    order = display_order(geometry, axis)
    array = np.arange(np.prod(geometry.shape)).reshape(geometry.shape)
    assert np.array_equal(order.undo(order.apply(array)), array)
    back = order.undo_geometry(order.apply_geometry(geometry))
    assert back.shape == geometry.shape
    assert np.allclose(back.affine, geometry.affine, atol=1e-9)


@given(geometries(), st.sampled_from((None, *VIEWS)), st.data())
def test_a_voxel_keeps_its_place_in_the_patient(geometry: Geometry, axis, data):
    index = tuple(data.draw(st.integers(0, n - 1)) for n in geometry.shape)
    marked = np.zeros(geometry.shape, bool)
    marked[index] = True
    order = display_order(geometry, axis)
    shown = np.argwhere(order.apply(marked))[0]
    there = order.apply_geometry(geometry).index_to_world(shown)
    assert np.allclose(there, geometry.index_to_world(np.array(index)), atol=1e-9)


@given(geometries(max_tilt=0.3))
def test_axes_of_every_view_run_as_a_radiologist_expects(geometry: Geometry):
    ways = {"axial": "+z+y+x", "coronal": "+y-z+x", "sagittal": "+x-z+y"}
    for view, way in ways.items():
        shown = display_order(geometry, view).apply_geometry(geometry)
        assert shown.plane_name.endswith(view)
        for axis in range(3):
            sign, world = way[2 * axis], "xyz".index(way[2 * axis + 1])
            assert (shown.affine[world, axis] > 0) == (sign == "+")


@given(geometries(max_tilt=0.2), st.sampled_from(("axial", "coronal")))
def test_the_patients_left_is_on_the_right_of_the_image(geometry: Geometry, view: str):
    geometry = Geometry((9, 9, 9), geometry.affine)
    index = np.stack(np.meshgrid(*[np.arange(9)] * 3, indexing="ij"), -1)
    x = geometry.index_to_world(index)[..., 0]
    marked = x == x.max()
    _, _, column = np.argwhere(display_order(geometry, view).apply(marked))[0]
    assert column > 4


def test_rgb_channels_stay_last():
    order = DisplayOrder((2, 0, 1), (True, False, True))
    array = np.arange(2 * 3 * 4 * 3).reshape(2, 3, 4, 3)
    assert order.apply(array).shape == (4, 2, 3, 3)
    assert np.array_equal(order.undo(order.apply(array)), array)


def test_slice_axis_is_the_largest_spacing_else_axial():
    sagittal = Geometry((10, 10, 10), np.diag([4.0, 1.0, 1.0, 1.0]))
    assert display_order(sagittal).permutation[0] == 0
    isotropic = Geometry((10, 10, 10), np.eye(4))
    assert display_order(isotropic).apply_geometry(isotropic).plane_name == "axial"
    flat = Geometry((10, 1, 10), np.eye(4))
    assert display_order(flat).permutation[0] == 1


def test_areas_and_volumes_are_in_millimetres():
    geometry = Geometry((1, 2, 3), np.diag([5.0, 2.0, 0.5, 1.0]))
    assert geometry.spacing_mm == (5.0, 2.0, 0.5)
    assert geometry.pixel_area_mm2 == pytest.approx(1.0)
    assert geometry.voxel_mm3 == pytest.approx(5.0)
    assert geometry.shear_degrees == pytest.approx(0.0)


def test_shear_is_measured():
    affine = np.eye(4)
    affine[1, 0] = np.tan(np.radians(14))
    assert Geometry((3, 3, 3), affine).shear_degrees == pytest.approx(14.0, abs=0.01)


@pytest.mark.parametrize("bad", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.ones((4, 4)), np.eye(3)])
def test_a_grid_that_cannot_be_is_refused(bad):
    with pytest.raises(ValueError, match=r"affine"):
        Geometry((2, 2, 2), bad)
    with pytest.raises(ValueError, match="three axes"):
        Geometry((0, 2, 2), np.eye(4))


def test_geometries_are_values():
    one, same = Geometry((1, 2, 3), np.eye(4)), Geometry((1, 2, 3), np.eye(4))
    assert one == same
    assert hash(one) == hash(same)
    assert one != Geometry((1, 2, 3), np.eye(4), oriented=False)
    with pytest.raises(ValueError, match="read-only"):
        one.affine[0, 0] = 2


def test_planes_are_named_by_their_normal():
    assert plane_of_normal(np.array([0, 0, -2.0])) == "axial"
    assert plane_of_normal(np.array([0, 1.0, 0.3])) == "oblique coronal"
    with pytest.raises(ValueError, match="choose one of"):
        display_order(Geometry((2, 2, 2), np.eye(4)), "transverse")
