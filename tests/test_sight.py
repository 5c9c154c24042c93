"""What the viewer shows of masks: seen before a key judges them, outlined, and where their image is."""

import numpy as np
import pytest
from desk import Desk
from fakes import make_volume
from napari.layers import Shapes
from test_turned_layers import SAGITTAL, affine, look, turned

from napari_mediround.widget.layers import layer_geometry
from napari_mediround.widget.layers.layer_geometry import visible_plane


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def outlines(desk):
    return [layer for layer in desk.viewer.layers if isinstance(layer, Shapes)]


def shown(desk):
    case = desk.controller._place.case
    return visible_plane(case.layer(), case.grid, desk.viewer.dims)


def verdicts(desk):
    return [line.verdict for reply in desk.replies for line in reply.masks]


@pytest.mark.parametrize(("key", "verdict"), [("J", "accepted"), ("N", "rejected")])
@pytest.mark.parametrize("view", [((0, 1, 2), 2), ((1, 0, 2), 2), ((2, 0, 1), 2), ((0, 1, 2), 3)])
def test_a_key_judges_no_mask_that_is_out_of_view_but_shows_it(desk, key, verdict, view):
    desk.ask("segment the liver")
    desk.view.plane_chosen.emit(0)
    look(desk, view)
    asked = desk.replies[0].plane
    assert shown(desk) != asked
    desk.press(key)
    assert verdicts(desk) == [""]
    assert shown(desk) == asked
    assert "not in view" in desk.view.entries[-1].text
    desk.press(key)
    assert verdicts(desk) == [verdict]


def test_a_hidden_layer_is_not_seen_either(desk):
    desk.ask("segment the liver")
    desk.mask_layer.visible = False
    desk.press("J")
    assert verdicts(desk) == [""]
    assert desk.mask_layer.visible
    desk.press("J")
    assert verdicts(desk) == ["accepted"]


def test_a_transparent_layer_is_not_seen_either(desk):
    desk.ask("segment the liver")
    desk.mask_layer.opacity = 0
    desk.press("J")
    assert verdicts(desk) == [""]
    assert desk.mask_layer.opacity > 0
    desk.press("J")
    assert verdicts(desk) == ["accepted"]


@pytest.mark.parametrize(("key", "verdict"), [("J", "accepted"), ("N", "rejected")])
@pytest.mark.parametrize("move", [(0, 5000), (-5000, 0), (3000, -3000)])
@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1)])
def test_a_key_judges_no_mask_beside_the_canvas_but_moves_there(desk, key, verdict, move, order):
    desk.viewer.dims.order = order
    desk.ask("segment the liver")
    camera = desk.viewer.scene.camera
    camera.center = (0, *np.add(camera.center[-2:], move))
    desk.press(key)
    assert verdicts(desk) == [""]
    mask = desk.session.label(desk.replies[0].masks[0].value).mask.to_array()
    rows, columns = np.nonzero(mask)
    middle = [(axis.min() + axis.max()) / 2 for axis in (rows, columns)]
    spacing = desk.controller._place.case.grid.geometry.spacing_mm[1:]
    expected = np.multiply(middle, spacing)[list(np.argsort(order[1:]))]
    assert camera.center[-2:] == pytest.approx(expected, abs=1e-6)
    desk.press(key)
    assert verdicts(desk) == [verdict]


def test_a_mask_is_seen_while_a_pixel_of_it_is_on_the_canvas(desk):
    desk.ask("segment the liver")
    mask = desk.session.label(desk.replies[0].masks[0].value).mask.to_array()
    row, column = np.argwhere(mask)[0]
    spacing = desk.controller._place.case.grid.geometry.spacing_mm[1:]
    height, width = desk.viewer.canvas.size
    camera = desk.viewer.scene.camera
    camera.zoom = 50
    corner = np.multiply((row, column), spacing)
    camera.center = (0, *(corner - np.array((height, width)) / 2 / 50 - 0.01))
    desk.press("J")
    assert verdicts(desk) == [""]
    camera.center = (0, *(corner - np.array((height, width)) / 2 / 50 + 0.01))
    desk.press("J")
    assert verdicts(desk) == ["accepted"]


def test_a_mask_that_is_chosen_is_gone_to_and_outlined(desk):
    desk.ask("segment the liver")
    first, value = shown(desk), desk.replies[0].masks[0].value
    desk.view.plane_chosen.emit(2)
    desk.ask("segment the spleen")
    desk.view.mask_chosen.emit(value)
    assert shown(desk) == first
    (outline,) = outlines(desk)
    rows, columns = np.nonzero(desk.session.label(value).mask.to_array())
    points = np.concatenate(outline.data)
    assert set(points[:, 0]) == {first}
    assert points[:, 1].min() == pytest.approx(rows.min() - 0.5)
    assert points[:, 2].max() == pytest.approx(columns.max() + 0.5)


def test_the_next_mask_after_a_verdict_is_gone_to(desk):
    desk.ask("segment the liver and the spleen")
    desk.press("J")
    assert verdicts(desk) == ["accepted", ""]
    (outline,) = outlines(desk)
    spleen = desk.session.label(desk.replies[0].masks[1].value).mask.to_array()
    rows = np.concatenate(outline.data)[:, 1]
    assert rows.min() == pytest.approx(np.nonzero(spleen)[0].min() - 0.5)


def test_the_outline_goes_with_the_fix_the_undo_and_the_dock(desk):
    desk.ask("segment the liver")
    assert len(outlines(desk)) == 1
    desk.press("K")
    assert outlines(desk) == []
    desk.press("Escape")
    assert len(outlines(desk)) == 1
    desk.press("U")
    assert outlines(desk) == []
    desk.press("Shift+U")
    desk.controller.disconnect()
    assert outlines(desk) == []


@pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
def test_what_napari_cannot_show_is_not_judged_and_why_is_said():
    desk = Desk()
    desk.viewer.add_layer(turned(SAGITTAL))
    desk.worker.run()
    desk.view.plane_chosen.emit(3)
    desk.ask("segment the liver")
    assert desk.replies[0].plane == 3, "asked about all the same"
    desk.press("J", "J")
    assert verdicts(desk) == [""]
    assert "napari cannot show plane 3" in desk.view.entries[-1].text


def test_masks_and_outline_follow_an_image_that_is_moved_turned_and_renamed(desk):
    layer = desk.viewer.layers[0]
    desk.ask("segment the liver")
    layer.translate = (7, 8, 9)
    layer.rotate = (0, 0, 20)
    layer.name = "another"
    for other in (desk.mask_layer, *outlines(desk)):
        assert np.allclose(other.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))
    assert desk.mask_layer.name == "another masks"
    assert desk.ask("segment the spleen").masks, "the conversation goes on"
    assert len(desk.replies) == 2


def test_a_layer_without_sides_may_be_turned_too():
    desk = Desk()
    layer = desk.viewer.add_layer(turned())
    desk.worker.run()
    desk.ask("segment the liver")
    layer.rotate = (0, 0, 10)
    layer.translate = (5, 5, 5)
    assert desk.ask("segment the spleen").masks
    assert len(desk.replies) == 2
    assert np.allclose(desk.mask_layer.data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))


def test_new_millimetres_begin_another_conversation_and_say_so():
    desk = Desk()
    layer = desk.viewer.add_layer(turned())
    desk.worker.run()
    before = desk.ask("segment the liver").masks[0].area
    layer.scale = (2, 2, 2)
    assert "millimetres" in desk.view.entries[-1].text
    assert np.allclose(desk.labels[0].data_to_world((1, 2, 3)), layer.data_to_world((1, 2, 3)))
    assert desk.ask("segment the liver").masks[0].area != before


def test_a_sheared_layer_claims_no_millimetre():
    layer = turned(np.eye(3) + np.diag([0.3, 0.2], 1))
    assert not layer_geometry.layer_grid(layer).geometry.calibrated
    layer.affine = affine(np.eye(3), (0, 0, 0))
    assert layer_geometry.layer_grid(layer).geometry.calibrated


def test_two_images_of_one_size_can_be_told_apart():
    study = make_volume()
    assert layer_geometry.layer_name(study, "/x/thorax before.nii.gz") == f"thorax before · {study.name}"
    assert layer_geometry.layer_name(study) == study.name
    long = layer_geometry.layer_name(study, f"/x/{'a' * 99}.nrrd")
    assert len(long.split(" · ")[0]) == layer_geometry.LONGEST_TITLE


def test_what_was_no_number_is_said_once_with_the_first_answer():
    desk = Desk()
    pixels = np.full((4, 30, 40), -1000, np.float32)
    pixels[0, 0, 0], pixels[0, 1, 1], pixels[1] = np.nan, np.inf, 50
    layer = desk.viewer.add_image(pixels)
    desk.worker.run()
    desk.ask("segment the liver")
    desk.ask("segment the spleen")
    said = [entry.text for entry in desk.view.entries if "not finite" in getattr(entry, "text", "")]
    assert said == ["Noted while the image was read: 2 voxels were not finite numbers."]
    study = layer_geometry.study_from_layer(layer)
    assert (study.pixels[0, 0, 0], study.pixels[0, 1, 1]) == (-1000, 50)


def test_a_layer_without_one_number_is_refused_in_words():
    desk = Desk()
    desk.viewer.add_image(np.full((3, 30, 40), np.nan), contrast_limits=(0, 1))
    desk.worker.run()
    assert "not one of its voxels is a finite number" in desk.ask("segment the liver").text
