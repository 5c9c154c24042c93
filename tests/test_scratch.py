"""The layer of a fix: where clicks and boxes fall, without Qt."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.components import ViewerModel
from test_mask_layer import IMAGES

from napari_mediround.widget.layers import layer_geometry
from napari_mediround.widget.layers.fix_layer import Scratch


@pytest.fixture(params=IMAGES.values(), ids=IMAGES)
def scratch(request):
    layer, viewer, heard = request.param, ViewerModel(), []
    viewer.add_layer(layer)
    volume = (2,) if layer.ndim == 4 else None
    grid = layer_geometry.layer_grid(layer, volume)
    plane = grid.geometry.shape[0] - 1
    scratch = Scratch(
        viewer, layer, grid, plane, np.eye(6, 8, dtype=bool), "1 liver", "#ff5a5f",
        lambda *click: heard.append(click), lambda box: heard.append(box), lambda: None,
    )  # fmt: skip
    yield scratch, heard
    scratch.remove()
    assert list(viewer.layers) == [layer]


def drag(scratch, start, *way, alt=False, zoom=8):
    """Press at (row, column) of the plane, `zoom` screen pixels each, move, and let go at the last place."""
    layer, grid = scratch.layer, scratch._grid

    def world(row, column):
        index = grid.layer_index(tuple(np.array([float(n)]) for n in (scratch._plane, row, column)))
        return layer.data_to_world([float(n[0]) for n in index])

    event = SimpleNamespace(type="mouse_press", position=world(*start), modifiers=("Alt",) if alt else ())
    event.pos = np.multiply(start, zoom)
    gesture = scratch._on_drag(layer, event)
    steps = [("mouse_move", at) for at in way] + [("mouse_release", (way or (start,))[-1])]
    for kind, at in [("mouse_press", start), *steps]:
        event.type, event.position, event.pos = kind, world(*at), np.multiply(at, zoom)
        next(gesture, None)


def test_a_click_is_told_in_pixels_of_the_plane_as_it_is_seen(scratch):
    scratch, heard = scratch
    scratch.take("inside")
    drag(scratch, (2, 5))
    scratch.take("outside")
    drag(scratch, (4, 1))
    drag(scratch, (4, 1), alt=True)
    assert np.allclose([click[:2] for click in heard], [(5.5, 2.5), (1.5, 4.5), (1.5, 4.5)])
    assert [click[2] for click in heard] == [True, False, True]


def test_a_drag_moves_the_image_or_draws_a_box(scratch):
    scratch, heard = scratch
    scratch.take("inside")
    drag(scratch, (2, 5), (3, 5))
    assert heard == []
    drag(scratch, (2, 5), (2.3, 5), (2.1, 5.1))
    assert np.allclose(heard.pop()[:2], (5.5, 2.5)), "a hand is never quite still"
    scratch.take("box")
    assert not scratch.layer.mouse_pan
    drag(scratch, (4, 6), (3, 3), (1, 2))
    assert np.allclose(heard, [(2.5, 1.5, 6.5, 4.5)])


def test_painting_tools_are_left_to_napari(scratch):
    scratch, heard = scratch
    scratch.take("erase")
    drag(scratch, (2, 5))
    assert (heard, str(scratch.layer.mode), scratch.tool) == ([], "erase", "erase")
    scratch.next_answered()
    assert (str(scratch.layer.mode), scratch.tool) == ("pan_zoom", "inside")


def test_the_mask_that_is_put_is_the_mask_that_is_read(scratch):
    scratch, _ = scratch
    mask = np.arange(48).reshape(6, 8) % 5 == 0
    scratch.put(mask)
    assert np.array_equal(scratch.mask(), mask)
    assert scratch.elsewhere() == 0
    scratch.layer.undo()
    assert np.array_equal(scratch.mask(), np.eye(6, 8))
