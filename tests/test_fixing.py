"""Fixing a mask in place, without a window: by hand, by clicks, by a box."""

import numpy as np
import pytest
from desk import Desk
from fakes import FakeSegmenter
from napari.layers import Shapes

from napari_mediround.domain.mask import Mask
from napari_mediround.errors import JournalError
from napari_mediround.widget.chat.asking import CLOSED
from napari_mediround.widget.chat.keys import QUESTION_KEY
from napari_mediround.widget.chat.view import DONE_KEY, DROP_KEY, KEYS, REASON_KEYS
from napari_mediround.widget.layers.layer_geometry import FIXED_KEY


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    desk.ask("segment the liver and the spleen")
    return desk


def begin(desk):
    """Press K; return the layer of the fix."""
    desk.press("K")
    return desk.viewer.layers.selection.active


def paint(layer, plane=2, rows=slice(0, 3), columns=slice(0, 4)):
    """Paint a corner by hand, as one stroke."""
    index = np.mgrid[plane : plane + 1, rows, columns].reshape(3, -1)
    layer.data_setitem(tuple(index), 1)


def layer_is_the_session(desk):
    return np.array_equal(desk.mask_layer.data, desk.session.label_volume())


def test_the_mask_is_painted_alone_and_the_reason_ends_it(desk):
    before = desk.session.label(1).mask
    layer = begin(desk)
    assert (desk.view.fix.name, desk.view.fix.tool, str(layer.mode)) == ("1 liver", "inside", "pan_zoom")
    assert np.array_equal(layer.data[2] == 1, before.to_array())
    assert 1 not in desk.mask_layer.data, "or what is erased would still be seen"
    paint(layer)
    desk.press("G")
    after = desk.session.label(1)
    assert (after.verdict, after.mask.area) == ("corrected", before.area + 12)
    assert desk.view.fix is None
    assert layer not in desk.viewer.layers
    assert layer_is_the_session(desk)
    entry = list(desk.session.journal.events())[-1].entry
    assert (entry.verdict, entry.reason, entry.prompts.painted) == ("corrected", "leak", 12)
    assert (entry.marks[0].before, entry.marks[0].changed) == (before, 12)
    assert entry.seconds > 0


def test_a_fix_is_one_step_of_undo(desk):
    states = desk.mask_layer.data.copy()
    paint(begin(desk))
    desk.press("J", "U")
    assert np.array_equal(desk.mask_layer.data, states)
    assert desk.session.label(1).verdict == ""


def test_a_dropped_fix_leaves_everything_as_it_was(desk):
    states = desk.mask_layer.data.copy()
    paint(begin(desk))
    desk.press("N")
    assert "Esc" in desk.view.fix.hint, "N rejects a mask, and does not drop a fix"
    desk.press("Escape")
    assert np.array_equal(desk.mask_layer.data, states)
    assert (desk.view.fix, len(desk.labels)) == (None, 1)


def test_undo_takes_back_strokes_while_the_mask_is_fixed(desk):
    layer = begin(desk)
    before = layer.data.copy()
    paint(layer)
    desk.press("U")
    assert np.array_equal(layer.data, before)
    desk.press("U")
    assert np.array_equal(layer.data, before), "not beyond where the fix began"
    desk.press("Shift+U")
    assert layer.data.sum() == before.sum() + 12
    assert len(desk.replies) == 1


def test_clicks_are_answered_by_the_model_from_where_they_are_seen(desk):
    fake = desk.segmenter.load()
    begin(desk)
    assert desk.view.fix.tool == "inside"
    desk.press("K")
    assert desk.view.fix.tool == "outside"
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.controller._fixing.click(16.5, 12.5, False)
    desk.worker.run()
    points, positive, box, previous = fake.refined[-1]
    assert (points.tolist(), positive.tolist(), box) == ([[3.5, 20.5], [16.5, 12.5]], [True, False], None)
    assert previous == desk.session.label(1).mask
    assert len(fake.refined) == 1, "the earlier click is answered with the later one"
    assert len(fake.images) == 2
    assert np.array_equal(fake.images[0], fake.images[1]), "so its embedding is kept"
    desk.press("H")
    mask = desk.session.label(1).mask.to_array()
    assert mask[20, 3]
    assert not mask[12, 16]


def test_a_box_is_answered_too_and_marked(desk):
    begin(desk)
    desk.view.tool_chosen.emit("box")
    desk.controller._fixing.box((2.0, 3.0, 6.0, 7.0))
    desk.worker.run()
    (marks,) = [layer for layer in desk.viewer.layers if isinstance(layer, Shapes)]
    assert marks.data[0][:, 1:].tolist() == [[2.5, 1.5], [2.5, 5.5], [6.5, 5.5], [6.5, 1.5]]
    desk.press("W")
    assert desk.session.label(1).mask.to_array()[3:7, 2:6].all()
    assert marks not in desk.viewer.layers


def test_the_model_can_be_cancelled_and_the_fix_goes_on(desk):
    begin(desk)
    desk.controller._fixing.click(3.5, 20.5, True)
    assert desk.view.busy
    desk.view.cancel_asked.emit()
    assert not desk.view.busy
    desk.worker.run()
    assert desk.view.fix is not None


def test_a_model_that_fails_says_so_and_the_fix_goes_on():
    fake = FakeSegmenter()
    desk = Desk(lambda: fake)
    desk.open()
    desk.ask("segment the liver")
    fake.refine = lambda *args: 1 / 0
    layer = begin(desk)
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.worker.run()
    assert "ZeroDivisionError" in desk.view.entries[-1].text
    assert layer in desk.viewer.layers


def test_a_mask_is_drawn_on_its_own_plane_only(desk):
    layer = begin(desk)
    desk.viewer.dims.set_point(0, 0.0)
    assert not layer.editable
    assert "plane 2" in desk.view.fix.hint
    desk.viewer.dims.set_point(0, 6.0)
    assert layer.editable
    assert desk.view.fix.tool == "inside"
    desk.viewer.dims.order = (1, 0, 2)
    assert not layer.editable


def test_what_was_drawn_on_other_planes_is_said_and_not_taken(desk):
    paint(begin(desk), plane=0)
    desk.press("J")
    assert "12 voxels on other planes" in desk.view.entries[-1].text
    assert not desk.mask_layer.data[0].any()


def test_removing_the_layer_of_a_fix_drops_it(desk):
    states = desk.mask_layer.data.copy()
    desk.viewer.layers.remove(begin(desk))
    assert desk.view.fix is None
    assert "dropped" in desk.view.entries[-1].text
    assert np.array_equal(desk.mask_layer.data, states)


def test_an_image_closed_during_a_fix_loses_nothing(desk):
    layer = begin(desk)
    session = desk.session
    paint(layer)
    desk.viewer.layers.remove(desk.viewer.layers[0])
    desk.press("J")
    assert session.label(1).verdict == "corrected"
    assert desk.view.fix is None


def test_a_fix_that_cannot_be_saved_stays_open(desk, monkeypatch):
    def full(*args, **more):
        raise JournalError("The disk is full.")

    layer = begin(desk)
    paint(layer)
    with monkeypatch.context() as context:
        context.setattr(desk.session.journal, "append", full)
        desk.press("J")
    assert "still open" in desk.view.entries[-1].text
    assert layer in desk.viewer.layers
    desk.press("J")
    assert desk.session.label(1).verdict == "corrected"


def test_a_question_during_a_fix_leaves_the_mask_hidden(desk):
    begin(desk)
    desk.ask("segment the aorta")
    assert 1 not in desk.mask_layer.data
    desk.press("Escape")
    assert layer_is_the_session(desk)


def test_a_fix_over_an_accepted_mask_keeps_off_it_unless_told_otherwise(desk):
    desk.press("J")
    layer = begin(desk)
    assert desk.view.fix.name == "2 spleen"
    locked = desk.session.label(1).mask
    rows, columns = np.nonzero(locked.to_array())
    layer.data_setitem((np.full_like(rows, 2), rows, columns), 1)
    desk.press("J")
    message = desk.view.entries[-1]
    assert "gives way to 1 liver" in message.text
    assert desk.session.label(1).mask == locked
    desk.view.action_chosen.emit(message.actions[0].key)
    assert desk.session.label(1).mask.area == 0
    assert layer_is_the_session(desk)


def test_a_stopped_dock_takes_the_layers_of_a_fix_away(desk):
    begin(desk)
    desk.controller.stop()
    assert [layer.name for layer in desk.labels] == ["CT axial 32x24x5 masks"]


def test_an_answer_for_a_closed_image_is_kept_and_said(desk):
    desk.view.question_asked.emit("segment the aorta")
    desk.viewer.layers.remove(desk.viewer.layers[0])
    desk.worker.run()
    assert desk.view.entries[-1].text == CLOSED
    assert isinstance(desk.session.label(3).mask, Mask)


def test_undo_takes_a_click_back_with_its_answer_and_redo_brings_both(desk):
    fake, click = desk.segmenter.load(), desk.controller._fixing.click
    layer = begin(desk)
    click(3.5, 20.5, True)
    desk.worker.run()
    paint(layer)
    desk.press("U", "U")
    assert not layer.data[2, 20, 3]
    click(28.5, 3.5, True)
    desk.worker.run()
    assert fake.refined[-1][0].tolist() == [[28.5, 3.5]]
    assert not layer.data[2, 20, 3]
    desk.press("U", "Shift+U")
    click(3.5, 20.5, True)
    desk.worker.run()
    assert fake.refined[-1][0].tolist() == [[28.5, 3.5], [3.5, 20.5]]
    desk.press("U", "U", "U", "J")
    entry = list(desk.session.journal.events())[-1].entry
    assert (entry.verdict, entry.prompts.points_xy, entry.prompts.painted) == ("accepted", (), 0)


def test_napari_s_own_keys_undo_a_click_too(desk):
    layer = begin(desk)
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.worker.run()
    (undo,) = [action for key, action in layer.keymap.items() if str(key) == "Ctrl+Z"]
    undo(layer)
    assert desk.controller._fixing._fix.told.points_xy == ()
    (undo,) = [action for key, action in desk.mask_layer.keymap.items() if str(key) == "Ctrl+Z"]
    undo(desk.mask_layer)
    assert len(desk.replies) == 1, "the round of the mask that is being fixed is not undone under it"
    desk.press("Escape")
    undo(desk.mask_layer)
    assert not desk.replies


def test_a_click_that_is_not_answered_yet_is_no_verdict_and_undo_takes_it_back(desk):
    layer = begin(desk)
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.view.reason_chosen.emit("miss")
    assert "still processing" in desk.view.entries[-1].text
    desk.view.step_chosen.emit("undo")
    desk.worker.run()
    assert not layer.data[2, 20, 3]
    desk.press("J")
    entry = list(desk.session.journal.events())[-1].entry
    assert (entry.verdict, entry.prompts.points_xy) == ("accepted", ())


def test_the_layer_says_which_mask_it_does_not_show(desk):
    begin(desk)
    assert desk.mask_layer.metadata[FIXED_KEY] == "1 liver"
    desk.press("Escape")
    assert not desk.mask_layer.metadata[FIXED_KEY]


def test_a_click_that_changes_nothing_is_undone_too(desk):
    fake, click = desk.segmenter.load(), desk.controller._fixing.click
    refine = fake.refine
    layer = begin(desk)
    fake.refine = lambda points, positive, box, previous: (previous, 0.9)
    click(18.5, 12.5, True)
    desk.worker.run()
    paint(layer)
    desk.press("U", "U")
    fake.refine = refine
    click(28.5, 3.5, True)
    desk.worker.run()
    assert fake.refined[-1][0].tolist() == [[28.5, 3.5]]
    assert layer.data[2, 3, 28]


def reasons(desk):
    return [e.entry.reason for e in desk.session.journal.events() if hasattr(e.entry, "reason")]


@pytest.mark.parametrize("key", ["Enter", "J"])
def test_a_fix_ends_without_a_reason(desk, key):
    paint(begin(desk))
    desk.press(key)
    assert (desk.view.fix, desk.session.label(1).verdict, reasons(desk)) == (None, "corrected", [""])


def test_no_key_of_a_step_is_that_of_a_reason():
    keys = [*KEYS.values(), *REASON_KEYS.values(), QUESTION_KEY, DONE_KEY, DROP_KEY]
    assert len(set(keys)) == len(keys)


def test_the_question_key_is_the_question_s_during_a_fix_too(desk):
    paint(begin(desk))
    desk.press("Q")
    assert desk.view.focused == 1
    assert desk.view.fix is not None


def test_esc_takes_back_a_click_that_waits_and_then_drops_the_fix(desk):
    begin(desk)
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.press("Escape")
    assert desk.view.fix is not None
    desk.press("Escape")
    assert desk.view.fix is None


def test_enter_on_the_layer_of_a_fix_ends_it(desk):
    layer = begin(desk)
    paint(layer)
    (end,) = [action for key, action in layer.keymap.items() if str(key) == "Enter"]
    end(layer)
    assert desk.session.label(1).verdict == "corrected"


def test_the_quality_is_that_of_the_model_s_new_mask(desk):
    begin(desk)
    desk.segmenter.load().quality = 0.55
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.worker.run()
    desk.press("Enter")
    assert desk.replies[0].masks[0].quality == 0.55
    assert desk.session.conversation.rounds[0].targets[0].quality == 0.55
    desk.press("U")
    assert desk.replies[0].masks[0].quality == 0.9


def test_a_mask_that_was_painted_has_no_quality_and_is_not_corrected_by_the_model(desk):
    paint(begin(desk))
    desk.press("Enter")
    mask = desk.replies[0].masks[0]
    assert (mask.quality, mask.corrected, mask.verdict) == (None, False, "corrected")
