"""Layers that other readers turned, tilted, mirrored, sheared: the masks equal the record in every view."""

from itertools import count, permutations, product

import dask.array
import numpy as np
import pytest
from desk import Desk
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image, Labels
from scipy.spatial.transform import Rotation

from napari_mediround.widget.layers import layer_geometry, slicing
from napari_mediround.widget.layers.fix_layer import Scratch

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")

NUMBERS = count()
SHAPE = (5, 20, 24)
UPRIGHT = np.eye(3)
SIGNS = list(product((1, -1), repeat=3))
AXES = [UPRIGHT[list(order)] * signs for order in permutations(range(3)) for signs in SIGNS]
SAGITTAL = np.array([[0.0, 1, 0], [0, 0, 1], [-1, 0, 0]])
SHEAR = UPRIGHT + np.diag([0.3, 0.2], 1)


def rotation(axes, angles):
    return Rotation.from_euler(axes, angles, degrees=True).as_matrix()


TILTS = [rotation(axis, 10) for axis in "xyz"]
turns = st.one_of(
    st.sampled_from([UPRIGHT, SAGITTAL, SHEAR, *TILTS]),
    st.sampled_from(AXES),
    st.tuples(*[st.floats(-180, 180)] * 3).map(lambda angles: rotation("xyz", angles)),
    st.floats(-40, 40).map(lambda angle: TILTS[0] @ rotation("z", angle) @ SHEAR),
)
scales = st.tuples(*[st.sampled_from([0.5, 1.0, 3.0, -1.0, -0.7])] * 3)
shifts = st.tuples(*[st.floats(-50, 50)] * 3)
views = st.tuples(st.permutations(range(3)), st.sampled_from([2, 2, 3]))
units = st.sampled_from(["mm", "um", "pixel"])


def affine(turn, shift):
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = turn, shift
    return matrix


def turned(turn=UPRIGHT, shift=(0, 0, 0), scale=(1.0, 1.0, 1.0), unit="mm", seed=0):
    pixels = np.random.default_rng(seed).normal(0, 100, SHAPE).astype(np.float32)
    return Image(pixels, affine=affine(turn, shift), scale=scale, units=(unit,) * 3)


def look(desk, view):
    order, ndisplay = view
    desk.viewer.dims.order = tuple(order)
    desk.viewer.dims.ndisplay = ndisplay


def record(desk):
    """Return what the session says, on the layer's own axes."""
    session, case = desk.session, desk.controller._place.case
    volume = np.zeros(SHAPE, np.uint16)
    for plane in range(session.study.planes):
        case.grid.plane_of(volume, plane)[:] = session.labels(plane)
    return volume


def check(desk):
    got, expected = desk.mask_layer.data, record(desk)
    assert np.array_equal(got, expected), f"planes {np.unique(np.nonzero(got != expected)[0])} differ"


@settings(max_examples=20, deadline=None)
@given(turns, scales, shifts, units, st.lists(views, min_size=6, max_size=6), st.integers(0, 4))
def test_the_layer_equals_the_record_after_every_step(turn, scale, shift, unit, looks, plane):
    desk, ways = Desk(), iter(looks)
    # Other pixels, another image: the project would go on with the conversation of the example before.
    desk.viewer.add_layer(turned(turn, shift, scale, unit, seed=next(NUMBERS)))
    desk.worker.run()
    desk.view.plane_chosen.emit(plane)
    for question in ("segment the liver", "segment the spleen and the liver"):
        desk.ask(question)
        check(desk)
        look(desk, next(ways))
    desk.press("Shift+C")
    check(desk)
    look(desk, next(ways))
    desk.press("U", "U")
    check(desk)
    look(desk, next(ways))
    desk.press("Shift+U")
    check(desk)
    look(desk, next(ways))
    desk.mask_layer.undo()
    check(desk)
    desk.press("J", "J")
    check(desk)
    desk.controller.stop()
    desk.controller.disconnect()


@settings(max_examples=40, deadline=None)
@given(turns, scales, shifts, units, views, st.integers(0, 4), st.integers(0, 8))
def test_a_fix_writes_its_plane_and_no_other(turn, scale, shift, unit, view, plane, row):
    desk = Desk()
    layer = desk.viewer.add_layer(turned(turn, shift, scale, unit))
    look(desk, view)
    grid = layer_geometry.layer_grid(layer)
    before = np.zeros(SHAPE[1:], bool)
    before[4:9, 5:11] = True
    scratch = Scratch(desk.viewer, layer, grid, plane, before, "1 liver", "#ff5a5f", *[lambda *_: None] * 3)
    scratch.guard()
    after = before.copy()
    after[row:, :7] ^= True
    scratch.put(after)
    assert np.array_equal(scratch.mask(), after)
    assert scratch.elsewhere() == 0
    scratch.layer.undo()
    assert np.array_equal(scratch.mask(), before if (after != before).any() else after)
    assert scratch.elsewhere() == 0
    scratch.layer.redo()
    assert np.array_equal(scratch.mask(), after)
    scratch.remove()


@settings(max_examples=40, deadline=None)
@given(turn=turns, scale=scales, shift=shifts, unit=units, other=units, plane=st.integers(0, 4))
def test_the_plane_that_is_named_is_the_plane_on_the_screen(turn, scale, shift, unit, other, plane):
    viewer = ViewerModel()
    layer = turned(turn, shift, scale, unit)
    layer.data = np.broadcast_to(np.arange(5.0)[:, None, None], SHAPE).copy()
    viewer.add_layer(layer)
    if "pixel" not in (unit, other):
        viewer.add_layer(turned(unit=other))
    grid = layer_geometry.layer_grid(layer)
    point = layer_geometry.plane_point(layer, grid, viewer.dims, plane)
    if point is None:
        return  # turned so far that napari's slider does not move through it
    viewer.dims.set_point(point[0] + 3, point[1])
    shown = layer_geometry.visible_plane(layer, grid, viewer.dims)
    if shown is None:
        return  # the slider does not go as far as the layer
    own = np.unique(np.asarray(layer._slice.image.raw))
    assert len(own) == 1, "napari cuts along the layer's own axes"
    assert shown == (4 - own[0] if grid.order.flips[0] else own[0])
    if np.isclose(viewer.dims.point[0], point[1]):  # the slider goes so far
        assert shown == plane


@settings(max_examples=40, deadline=None)
@given(turn=turns, scale=scales, shift=shifts, unit=units, view=views)
def test_what_lies_flat_lies_on_the_screen_where_the_turned_layer_does(turn, scale, shift, unit, view):
    viewer = ViewerModel()
    layer = viewer.add_layer(turned(turn, shift, scale, unit))
    viewer.dims.order, viewer.dims.ndisplay = tuple(view[0]), view[1]
    flat = slicing.flat_matrix(layer, viewer.dims)
    if flat is None:
        return
    copy = Labels(np.zeros(SHAPE, np.uint8), affine=flat, units=layer.units)
    viewer.add_layer(copy)
    displayed = slicing.axes_displayed(layer, viewer.dims)
    one, two = (own._transforms.simplified.set_slice(displayed) for own in (layer, copy))
    for corner in product((0.0, 7.0), repeat=len(displayed)):
        assert np.allclose(one(corner), two(corner), atol=1e-6)
    here = np.array(layer._data_slice.point)[list(set(range(3)) - set(displayed))]
    there = np.array(copy._data_slice.point)[list(set(range(3)) - set(displayed))]
    assert np.allclose(here, there, atol=1e-6)
    assert copy._slice_input.is_orthogonal(copy._data_to_world.inverse)


def volume(shape, dtype=np.float32):
    return np.random.default_rng(1).integers(0, 255, shape).astype(dtype)


KINDS = {
    "TIFF with odd steps": lambda: Image(volume((3, 40, 50)), scale=(7.3, 0.31, 0.62), translate=(3, -4, 5)),
    "mirrored": lambda: Image(volume((3, 40, 50)), scale=(-1, -0.5, 0.5), translate=(9, 9, 9)),
    "colours": lambda: Image(volume((3, 40, 50, 3), np.uint8), rgb=True),
    "picture": lambda: Image(volume((40, 50)), scale=(-0.2, 0.2)),
    "channels": lambda: Image(volume((2, 3, 40, 50)), scale=(1, 3, -1, 1)),
    "multiscale": lambda: Image([volume((3, 40, 50)), volume((3, 20, 25))], multiscale=True),
    "multiscale colours": lambda: Image(
        [volume((40, 50, 3), np.uint8), volume((20, 25, 3), np.uint8)], multiscale=True, rgb=True
    ),
    "dask": lambda: Image(dask.array.from_array(volume((3, 40, 50)), chunks=(1, 40, 50))),
    "64 bit": lambda: Image(volume((3, 40, 50), np.int64) * 10**6),
    "yes or no": lambda: Image(volume((3, 40, 50)) > 100),
}


@pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)
def test_every_kind_of_layer_has_the_masks_of_its_record(make):
    desk = Desk()
    layer = desk.viewer.add_layer(make())
    desk.worker.run()
    desk.ask("segment the liver")
    desk.ask("segment the spleen")
    desk.press("J", "K", "Escape", "N", "U", "Shift+U")
    case, labels = desk.controller._place.case, desk.mask_layer
    expected = np.zeros(labels.data.shape, labels.data.dtype)
    for plane in range(desk.session.study.planes):
        case.grid.plane_of(expected, plane)[:] = desk.session.labels(plane)
    assert expected.any()
    assert np.array_equal(labels.data, expected)
    corner = np.arange(layer.ndim) + 1.0
    assert np.allclose(labels.data_to_world(corner), layer.data_to_world(corner))


def test_a_lazy_volume_is_read_once_for_many_questions():
    read = []

    def plane(block, block_info=None):
        if block_info:
            read.append(block_info[0]["chunk-location"][0])
        return block

    lazy = dask.array.from_array(volume((3, 40, 50)), chunks=(1, 40, 50)).map_blocks(plane, dtype=np.float32)
    desk = Desk()
    desk.viewer.add_image(lazy, contrast_limits=(0, 255), cache=False)
    desk.worker.run()
    desk.ask("segment the liver")
    before = len(read)
    desk.ask("segment the spleen")
    desk.ask("segment the left kidney")
    assert len(read) == before
