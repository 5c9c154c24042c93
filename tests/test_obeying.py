"""What is said in the dock is done there: in the record, and in the viewer."""

from __future__ import annotations

import numpy as np
import pytest
from desk import Desk

from napari_mediround.widget.chat.view import Message, Question


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def said(desk):
    """Return the last line of the chat, in words."""
    return desk.view.entries[-1].text


def test_an_edit_changes_the_layer_and_the_chat_says_how(desk):
    desk.ask("the liver")
    before = (desk.mask_layer.data == 1).sum()
    desk.ask("grow it 2 mm")
    assert [type(e) for e in desk.view.entries[-2:]] == [Question, Message]
    assert said(desk).startswith("1 liver: grown by 2 mm, on axial plane 2.")
    assert (desk.mask_layer.data == 1).sum() > before
    desk.press("U")
    assert (desk.mask_layer.data == 1).sum() == before


def test_accept_reject_undo_in_words(desk):
    desk.ask("the liver")
    desk.ask("accept it")
    assert desk.session.label(1).verdict == "accepted"
    desk.ask("undo")
    assert desk.session.label(1).verdict == ""
    desk.ask("reject [1]")
    assert (desk.mask_layer.data == 0).all()


def test_a_mask_that_is_not_in_view_is_shown_before_it_is_judged(desk):
    desk.ask("the liver")
    desk.view.plane_chosen.emit(0)
    desk.ask("accept the liver")
    assert "was not in view" in said(desk)
    assert (desk.session.label(1).verdict, desk.view.plane) == ("", 2)
    desk.ask("accept the liver")
    assert desk.session.label(1).verdict == "accepted"


def test_the_first_thing_said_can_be_a_move(desk):
    desk.ask("go to slice 4")
    assert (desk.view.plane, said(desk)) == (4, "Axial plane 4.")
    desk.ask("next slice")
    assert "There is no plane 5" in said(desk)


def test_steps_are_done_one_after_the_other(desk):
    desk.ask("go to slice 3 and segment the liver and tell me its volume")
    assert [r.plane for r in desk.session.conversation.rounds] == [3, 3]
    assert "1 liver:" in desk.replies[-1].text
    desk.ask("grow it by 1 mm, then accept it and go to slice 1")
    assert desk.session.label(1).verdict == "corrected"
    assert desk.view.plane == 1


def test_a_step_that_fails_stops_the_rest(desk):
    desk.ask("the liver")
    desk.ask("shrink it 50 mm and accept it")
    assert [e.is_error for e in desk.view.entries[-2:]] == [True, True]
    assert "Nothing would be left of 1 liver" in desk.view.entries[-2].text
    assert said(desk) == "What came after was not done: accept."
    assert desk.session.label(1).verdict == ""


def test_what_several_masks_could_be_is_asked_back_and_then_done(desk):
    desk.ask("the liver and the spleen")
    desk.ask("accept it")
    assert desk.session.label(2).verdict == ""
    message = desk.view.entries[-1]
    desk.view.action_chosen.emit(next(a.key for a in message.actions if "spleen" in a.label))
    desk.worker.run()
    assert [desk.session.label(v).verdict for v in (1, 2)] == ["", "accepted"]


def test_hide_and_show_only_leave_the_pixels(desk):
    desk.ask("the liver")
    desk.ask("the spleen")
    data = desk.mask_layer.data.copy()
    desk.ask("hide [2]")
    assert said(desk) == "Hidden: 2 spleen."
    alpha = [
        float(desk.mask_layer.get_color(v)[3]) if desk.mask_layer.get_color(v) is not None else 0
        for v in (1, 2)
    ]
    assert (alpha[0] > 0, alpha[1]) == (True, 0)
    desk.ask("show only the spleen")
    assert desk.controller._place.case.concealed == {1}
    desk.ask("show everything")
    assert desk.controller._place.case.concealed == frozenset()
    assert np.array_equal(desk.mask_layer.data, data)


def test_a_hidden_mask_is_not_judged_unseen(desk):
    desk.ask("the liver")
    desk.ask("hide the liver")
    desk.press("J")
    assert desk.session.label(1).verdict == ""
    assert desk.controller._place.case.concealed == frozenset()


def test_window_opacity_and_names(desk):
    desk.ask("the liver")
    desk.ask("lung window")
    assert said(desk) == "Window: lung."
    desk.ask("opacity 30%")
    assert desk.mask_layer.opacity == pytest.approx(0.3)
    desk.ask("rename [1] to segment IV")
    assert desk.replies[0].masks[0].structure == "segment IV"


def test_a_fix_begins_and_nothing_else_is_changed_meanwhile(desk):
    desk.ask("the liver")
    desk.ask("fix the liver")
    assert desk.view.fix is not None
    desk.ask("reject [1]")
    assert "is being fixed" in desk.view.entries[-1].text
    desk.ask("stop")
    assert desk.view.fix is None


def test_carrying_in_words_goes_on_with_what_comes_after(desk):
    desk.ask("the liver")
    desk.ask("propagate the liver through the stack and go to slice 0")
    assert len({label.plane for label in desk.session.state.shown}) > 1
    assert desk.view.plane == 0


def test_stop_is_heard_while_something_runs(desk):
    desk.view.question_asked.emit("the liver")
    desk.view.question_asked.emit("the spleen")
    assert desk.view.restored == "the spleen"
    desk.view.question_asked.emit("stop")
    desk.worker.run()
    assert said(desk) == "Cancelled. Nothing has changed."


def test_a_card_shows_the_recipe_and_what_changed_since(desk):
    desk.ask("the liver")
    desk.ask("the spleen")
    desk.ask("grow [1] by 6 mm but not into [2]")
    line = desk.replies[0].masks[0]
    assert (line.recipe, line.stale, line.again) == ("grown by 6 mm, not into [2]", "", None)
    desk.ask("grow [2] by 1 mm")
    line = desk.replies[0].masks[0]
    assert line.stale == "2 spleen changed after that."
    desk.view.action_chosen.emit(line.again.key)
    desk.worker.run()
    assert desk.replies[0].masks[0].stale == ""
    desk.press("U")
    assert desk.replies[0].masks[0].stale == "2 spleen changed after that."


def chips(desk):
    return [chip.current for chip in desk.view.chips]


def test_chips_show_structures_sides_scope_and_what_is_ruled_out(desk):
    desk.view.question_edited.emit("the left kidney and the spleen but not the liver")
    assert chips(desk) == ["the left kidney", "the spleen", "not the liver", "on this plane"]
    desk.view.question_edited.emit("segment both kidneys and tell me their volume")
    assert chips(desk) == ["the kidneys", "on this plane", "then", "volume"]
    desk.view.question_edited.emit("")
    assert chips(desk) == []


def choose(desk, current, label):
    chip = next(chip for chip in desk.view.chips if chip.current == current)
    action = next(action for action in chip.choices if action.label == label)
    desk.view.reference_chosen.emit(chip.phrase, action.key)


def test_what_a_chip_was_changed_to_is_what_is_drawn(desk):
    text = "the left kidney and the spleen"
    desk.view.question_edited.emit(text)
    choose(desk, "the left kidney", "The right kidney")
    choose(desk, "the spleen", "Leave it out")
    assert chips(desk) == ["the right kidney", "on this plane"]
    desk.view.question_asked.emit(text)
    desk.worker.run()
    assert [line.structure for line in desk.replies[0].masks] == ["right kidney"]
    desk.ask(text)
    assert [line.structure for line in desk.replies[1].masks] == ["left kidney", "spleen"]


def test_a_chip_moves_a_command_to_another_mask(desk):
    desk.ask("the liver")
    desk.ask("the spleen")
    desk.view.question_edited.emit("accept it")
    assert chips(desk) == ["accept", "2 spleen"]
    choose(desk, "2 spleen", "1 liver, plane 2")
    desk.ask("accept it")
    assert [desk.session.label(v).verdict for v in (1, 2)] == ["accepted", ""]


def test_free_text_is_off_until_it_is_switched_on_and_marked(desk):
    desk.ask("hello")
    assert desk.replies[0].notes == ()
    desk.view.free_text_chosen.emit(True)
    desk.ask("hello")
    assert desk.replies[1].text == "Hello."
    assert "Unverified" in desk.replies[1].notes[0]


def test_a_measured_axis_is_drawn_on_the_image_until_the_next_answer(desk):
    desk.ask("the liver")
    desk.ask("longest diameter of [1]")
    (layer,) = [layer for layer in desk.viewer.layers if layer.name == "measurement"]
    (line,) = layer.data
    length = float(np.linalg.norm((line[1] - line[0]) * desk.session.study.geometry.spacing_mm))
    assert f"longest axis {length:,.1f} mm" in desk.replies[-1].text
    assert (line[:, 0] == 2).all()
    desk.ask("the spleen")
    assert not [layer for layer in desk.viewer.layers if layer.name == "measurement"]
