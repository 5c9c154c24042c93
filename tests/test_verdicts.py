"""Verdicts without a window: each is in the session, the layer and the chat, and can be taken back."""

import numpy as np
import pytest
from desk import Desk

from napari_mediround.domain.mask import Mask
from napari_mediround.errors import JournalError
from napari_mediround.widget.chat.case import Again, GoTo
from napari_mediround.widget.chat.view import Message


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    desk.ask("segment the liver and the spleen")
    return desk


def shown(desk):
    """Return the verdicts that the chat shows."""
    return [mask.verdict for reply in desk.replies for mask in reply.masks]


def layer_is_the_session(desk):
    return np.array_equal(desk.mask_layer.data, desk.session.label_volume())


def test_the_keys_act_on_one_mask_after_the_other(desk):
    assert desk.view.current == 1
    desk.press("J")
    assert (shown(desk), desk.view.current) == (["accepted", ""], 2)
    desk.press("N")
    assert (shown(desk), desk.view.current) == (["accepted", "rejected"], 2)
    assert 2 not in desk.mask_layer.data
    assert layer_is_the_session(desk)


def test_a_new_round_takes_the_keys(desk):
    desk.press("J")
    desk.ask("segment the aorta")
    assert desk.view.current == 3


def test_a_mask_that_is_clicked_takes_the_keys(desk):
    desk.view.mask_chosen.emit(2)
    desk.press("J")
    assert shown(desk) == ["", "accepted"]


def test_every_step_can_be_undone_and_done_again(desk):
    states = [desk.mask_layer.data.copy()]
    desk.press("J", "N")
    desk.ask("what is next to [1]")
    after = desk.mask_layer.data.copy()
    assert desk.view.undo == "round 2"
    desk.press("U", "U", "U")
    assert (shown(desk), len(desk.replies)) == (["", ""], 1)
    assert np.array_equal(desk.mask_layer.data, states[0])
    desk.press("Shift+U", "Shift+U", "Shift+U")
    assert np.array_equal(desk.mask_layer.data, after)
    assert shown(desk) == ["accepted", "rejected", ""]
    assert desk.view.redo == ""


def test_undo_goes_back_to_an_empty_chat_and_no_further(desk):
    desk.press("U", "U", "U")
    assert desk.view.entries == []
    assert not desk.mask_layer.data.any()


def test_napari_s_undo_key_on_the_layer_is_ours(desk):
    desk.press("J")
    layer = desk.mask_layer
    (undo,) = [function for key, function in layer.keymap.items() if str(key) == "Ctrl+Z"]
    undo(layer)
    assert shown(desk) == ["", ""]
    assert layer_is_the_session(desk)


def overlapping():
    """Return a desk where mask 2 lies on mask 1 exactly."""
    desk = Desk()
    desk.open()
    desk.ask("segment the liver")
    desk.press("J")
    desk.ask("segment the liver")
    (both,) = [a.key for a in desk.view.entries[-1].actions if a.label == "Keep both"]
    desk.view.action_chosen.emit(both)
    desk.worker.run()
    return desk


def test_an_accepted_mask_keeps_its_pixels_and_the_chat_offers_other_choices():
    desk = overlapping()
    before = desk.mask_layer.data.copy()
    desk.press("J")
    assert np.array_equal(desk.mask_layer.data, before)
    message = desk.view.entries[-1]
    assert "2 liver gives way to 1 liver" in message.text
    desk.view.action_chosen.emit(message.actions[0].key)
    assert np.unique(desk.mask_layer.data).tolist() == [0, 2], "it takes them"
    assert layer_is_the_session(desk)
    desk.press("U")
    assert np.array_equal(desk.mask_layer.data, before)


def test_a_choice_comes_too_late_when_other_steps_followed():
    desk = overlapping()
    desk.press("J")
    key = desk.view.entries[-1].actions[0].key
    desk.ask("segment the aorta")
    desk.view.action_chosen.emit(key)
    assert "Undo" in desk.view.entries[-1].text


def test_a_choice_that_is_spent_shows_no_button_until_it_can_be_made_again():
    def offered():
        (entry,) = [e for e in desk.view.entries if "gives way" in getattr(e, "text", "")]
        return len(entry.actions)

    desk = overlapping()
    desk.press("J")
    assert offered() == 2
    desk.ask("segment the aorta")
    assert offered() == 0
    desk.press("U")
    assert offered() == 2


def test_a_verdict_that_cannot_be_saved_changes_nothing_and_says_so(desk, monkeypatch):
    def full(*args, **more):
        raise JournalError("The disk is full. Make room; nothing has changed.")

    monkeypatch.setattr(desk.session.journal, "append", full)
    desk.press("J")
    assert desk.view.entries[-1] == Message("The disk is full. Make room; nothing has changed.", True)
    assert shown(desk) == ["", ""]


def test_a_round_can_be_asked_again_about_another_mask(desk):
    desk.ask("what is next to [1]")
    (chip,) = desk.replies[1].references
    assert [choice.label for choice in chip.choices] == ["1 liver, plane 2", "2 spleen, plane 2"]
    desk.view.action_chosen.emit(chip.choices[1].key)
    desk.worker.run()
    assert [c.current for c in desk.replies[1].references] == ["2 spleen"]
    assert len(desk.replies) == 2


def test_the_other_branch_can_be_gone_back_to(desk):
    desk.ask("segment the aorta")
    desk.view.action_chosen.emit(Again(2, None))
    desk.worker.run()
    assert [m.value for m in desk.replies[1].masks] == [4]
    (other,) = [a for a in desk.replies[1].actions if "Other branch" in a.label]
    desk.view.action_chosen.emit(other.key)
    assert [m.value for m in desk.replies[1].masks] == [3]
    assert layer_is_the_session(desk)


def test_going_on_from_an_earlier_round_leaves_the_later_ones_aside(desk):
    desk.ask("segment the aorta")
    (action,) = [a for a in desk.replies[0].actions if isinstance(a.key, GoTo)]
    desk.view.action_chosen.emit(action.key)
    assert len(desk.replies) == 1
    assert 3 not in desk.mask_layer.data
    assert desk.ask("segment the pancreas").round == 2


def test_hovering_shows_one_mask_alone(desk):
    desk.view.mask_hovered.emit(2)
    assert desk.mask_layer.show_selected_label
    desk.view.mask_hovered.emit(0)
    assert not desk.mask_layer.show_selected_label


def test_keys_without_an_image_do_nothing():
    desk = Desk()
    desk.press("J", "K", "N", "U", "Shift+U", "G", "H")
    desk.press("Q")
    assert desk.view.focused == 1


def test_a_choice_of_an_earlier_step_with_the_same_words_comes_too_late():
    desk = overlapping()
    desk.press("K")
    desk.viewer.layers.selection.active.data_setitem((np.array([2]), np.array([0]), np.array([0])), 1)
    desk.press("J")
    (key, *_) = [a.key for e in desk.view.entries if "gives way" in getattr(e, "text", "") for a in e.actions]
    desk.press("K")
    desk.viewer.layers.selection.active.data_setitem((np.array([2]), np.array([0]), np.array([1])), 1)
    desk.press("J")
    desk.view.action_chosen.emit(key)
    assert "Undo" in desk.view.entries[-1].text
    assert desk.session.label(2).mask.to_array()[0, 1]


def test_after_a_verdict_the_keys_act_on_the_next_mask_of_its_round():
    desk = Desk()
    desk.open()
    desk.ask("segment the liver and the spleen")
    desk.ask("segment the aorta")
    desk.view.mask_chosen.emit(1)
    desk.press("J")
    assert desk.view.current == 2
    desk.press("J")
    assert desk.view.current == 3


def lacking(*names):
    """Return a desk whose model finds none of these."""
    desk = Desk()
    desk.open()
    desk.segmenter.load().absent.update(names)
    return desk


def act(desk, label):
    """Do what a line of something not found offers; return the line as it is then."""
    (line,) = desk.replies[-1].absent
    (action,) = [action for action in line.actions if action.label.startswith(label)]
    desk.view.action_chosen.emit(action.key)
    desk.worker.run()
    return desk.replies[-1].absent


def test_nothing_found_is_a_line_and_no_mask():
    desk = lacking("kidney")
    reply = desk.ask("segment the kidney")
    assert (reply.text, reply.masks) == ("", ())
    assert [line.text for line in reply.absent] == ["No kidney on this plane."]
    assert desk.view.current == 0
    desk.press("J", "N", "K", "Shift+C")
    assert desk.session.label(1).verdict == ""
    assert desk.view.fix is None


def test_an_empty_mask_of_the_model_is_such_a_line_too():
    desk = Desk()
    desk.open()
    desk.segmenter.load().disc = lambda name: Mask.from_array(np.zeros((24, 32), bool))
    reply = desk.ask("segment the liver")
    assert (len(reply.masks), len(reply.absent)) == (0, 1)


def test_the_keys_go_past_what_was_not_found():
    desk = lacking("kidney")
    desk.ask("segment the liver, the kidney and the spleen")
    assert [mask.number for mask in desk.replies[0].masks] == [1, 2]
    desk.press("J", "J")
    assert shown(desk) == ["accepted", "accepted"]


def test_absent_is_a_verdict_that_is_kept_and_can_be_undone():
    desk = lacking("kidney")
    desk.ask("segment the kidney")
    (line,) = act(desk, "It is absent")
    assert line.confirmed
    entry = list(desk.session.journal.events())[-1].entry
    assert (entry.verdict, entry.marks[0].label, entry.marks[0].after.area) == ("accepted", 1, 0)
    desk.press("U")
    assert not desk.replies[0].absent[0].confirmed


def test_what_is_there_all_the_same_is_clicked_and_then_a_mask():
    desk = lacking("kidney")
    desk.ask("segment the kidney")
    desk.viewer.dims.set_point(0, 0.0)
    act(desk, "It is there")
    assert (desk.view.fix.name, desk.view.fix.tool) == ("1 kidney", "inside")
    assert desk.view.plane == desk.replies[0].plane, "the plane it was asked about is in sight"
    desk.controller._fixing.click(3.5, 20.5, True)
    desk.worker.run()
    desk.press("Enter")
    (mask,) = desk.replies[0].masks
    assert (mask.structure, mask.number, mask.verdict, mask.quality) == ("kidney", 1, "corrected", 0.9)
    assert not desk.replies[0].absent
    assert layer_is_the_session(desk)


def test_a_fix_of_nothing_that_stays_nothing_is_no_verdict():
    desk = lacking("kidney")
    desk.ask("segment the kidney")
    act(desk, "It is there")
    desk.press("Enter")
    assert (desk.view.fix, desk.session.label(1).verdict) == (None, "")
