"""The dock without a window: fake view, fake worker, a viewer model."""

from dataclasses import replace

import numpy as np
import pytest
from desk import Desk
from fakes import FakeSegmenter, make_volume

from napari_mediround.domain.hounsfield import judge_modality
from napari_mediround.domain.rounds import Reference
from napari_mediround.domain.units import area_in_words
from napari_mediround.errors import MissingWeightsError
from napari_mediround.journal.entries import RoundAsked
from napari_mediround.widget.chat import asking, turn
from napari_mediround.widget.chat.turn import Fetch
from napari_mediround.widget.chat.view import Message, Question, Reply
from napari_mediround.widget.chat.window_choice import AS_SHOWN, AUTOMATIC


@pytest.fixture
def desk():
    desk = Desk()
    desk.open()
    return desk


def test_without_an_image_the_chat_says_how_to_open_one():
    desk = Desk()
    assert "Open" in desk.ask("segment the liver").text
    assert desk.view.restored == "segment the liver"
    assert not desk.segmenter.loaded


def test_a_question_gives_a_reply_and_a_labels_layer(desk):
    reply = desk.ask("segment the liver and the spleen")
    assert isinstance(reply, Reply)
    assert [(m.value, m.structure) for m in reply.masks] == [(1, "liver"), (2, "spleen")]
    assert reply.plane_name == "axial plane 2"
    (labels,) = desk.labels
    assert np.array_equal(labels.data, desk.session.label_volume())
    assert labels.features["name"].tolist() == ["background", "1 liver", "2 spleen"]
    assert reply.masks[0].area == area_in_words((labels.data == 1).sum() * 0.25)


def test_later_rounds_go_to_the_same_layer_and_overwrite_nothing(desk):
    desk.ask("segment the liver")
    before = desk.labels[0].data.copy()
    desk.ask("segment the liver")
    offers = {a.label: a.key for e in desk.view.entries if isinstance(e, Message) for a in e.actions}
    desk.view.action_chosen.emit(offers["Keep both"])
    desk.worker.run()
    desk.ask("segment the spleen")
    (labels,) = desk.labels
    assert (labels.data[before > 0] == before[before > 0]).all()
    assert desk.replies[1].notes == (
        "100% of 2 liver is hidden under earlier masks, which keep their pixels.",
    )
    assert 3 in labels.data


def test_the_plane_and_the_selection_stay_where_they_were(desk):
    desk.viewer.dims.set_point(0, 3.0)
    active, point = desk.viewer.layers.selection.active, desk.viewer.dims.point
    assert desk.ask("segment the liver").plane == 1
    assert desk.viewer.dims.point == point
    assert desk.viewer.layers.selection.active is active


def test_the_plane_follows_the_viewer_and_back_unless_switched_off(desk):
    desk.viewer.dims.set_point(0, 12.0)
    assert desk.view.plane == 4
    desk.view.plane_chosen.emit(1)
    assert desk.viewer.dims.point[0] == 3.0
    desk.view.follow_chosen.emit(False)
    desk.viewer.dims.set_point(0, 12.0)
    assert desk.ask("segment the liver").plane == 1


def test_a_turned_viewer_is_said(desk):
    assert not desk.view.hint
    desk.viewer.dims.order = (1, 0, 2)
    desk.viewer.dims.set_point(1, 3.0)
    assert "turned" in desk.view.hint


def test_what_a_question_points_at_is_shown_and_can_be_changed(desk):
    desk.ask("segment the liver and the spleen")
    desk.view.question_edited.emit("what is next to [2]")
    (chip,) = [chip for chip in desk.view.chips if chip.value]
    assert chip.current == "2 spleen"
    assert [choice.label for choice in chip.choices] == ["1 liver, plane 2", "2 spleen, plane 2"]
    desk.view.reference_chosen.emit(chip.phrase, chip.choices[0].key)
    reply = desk.ask("what is next to [2]")
    assert [(c.phrase, c.current, c.value) for c in reply.references] == [("[2]", "1 liver", 1)]
    assert desk.view.chips == []


def test_a_reference_to_nothing_offers_what_there_is(desk):
    desk.ask("segment the liver")
    desk.view.question_edited.emit("what is next to [7]")
    assert "7" in desk.view.problem
    message = desk.ask("what is next to [7]")
    assert message.is_error
    assert desk.view.restored == "what is next to [7]"
    if message.actions:
        desk.view.action_chosen.emit(message.actions[0].key)
        desk.worker.run()
        assert desk.view.entries[-1].references


def test_a_cancelled_question_changes_nothing(desk):
    desk.view.question_asked.emit("segment the liver")
    assert desk.view.busy
    desk.view.cancel_asked.emit()
    assert not desk.view.busy
    desk.worker.run()
    assert isinstance(desk.view.entries[-1], Message)
    assert (desk.mask_layer.data.any(), desk.view.restored) == (False, "segment the liver")
    assert desk.ask("segment the spleen").round == 1


def test_the_masks_layer_is_there_before_the_first_question_and_goes_when_it_was_not_needed(desk):
    other = desk.open(make_volume((3, 8, 8)))
    first, before = desk.viewer.layers[0], desk.mask_layer
    assert not before.data.any()
    desk.view.image_chosen.emit(1)
    desk.worker.run()
    assert desk.mask_layer is not before
    desk.ask("segment the liver")
    after = desk.mask_layer
    assert after.data.any()
    desk.view.image_chosen.emit(0)
    desk.worker.run()
    assert [layer.data.any() for layer in desk.labels] == [True, False]
    desk.viewer.layers.remove(desk.labels[1])
    desk.ask("segment the spleen")
    assert all(layer.data.any() for layer in desk.labels), "removed by hand, it comes back"
    assert {layer.name for layer in desk.labels} == {f"{layer.name} masks" for layer in (first, other)}


def test_closing_the_dock_takes_the_unused_masks_layer_away(desk):
    assert len(desk.labels) == 1
    desk.controller.stop()
    assert desk.labels == []
    desk.controller.start()
    desk.ask("segment the liver")
    desk.controller.stop()
    assert desk.mask_layer.data.any()


def test_a_failure_is_told_in_words_and_the_next_question_works():
    desk = Desk(lambda: fake)
    fake = FakeSegmenter(error=ZeroDivisionError("oops"))
    desk.open()
    message = desk.ask("segment the liver")
    assert message.is_error
    assert "ZeroDivisionError" in message.text
    fake.error = None
    assert desk.ask("segment the liver").round == 1


def test_missing_weights_are_named_with_their_size_and_fetched_on_a_click(home, monkeypatch):
    there = []

    def build():
        if not there:
            raise MissingWeightsError("lite_medsam is missing")
        return FakeSegmenter()

    desk = Desk(build)
    desk.open()
    message = desk.ask("segment the liver")
    (action,) = message.actions
    assert action.label == "Fetch weights (129 MB download)"
    assert isinstance(action.key, Fetch)
    monkeypatch.setattr(turn, "missing_weights", tuple)
    monkeypatch.setattr(
        "napari_mediround.widget.chat.asking.fetch_weights", lambda job: there.append(1) or "Here."
    )
    desk.view.action_chosen.emit(action.key)
    desk.worker.run()
    assert isinstance(desk.view.entries[-1], Reply), "the question is asked again"


def test_an_image_closed_during_a_turn_keeps_its_round_in_the_chat(desk):
    other = desk.open(make_volume((3, 8, 8)))
    desk.view.image_chosen.emit(0)
    desk.view.question_asked.emit("segment the liver")
    desk.viewer.layers.remove(desk.viewer.layers[0])
    desk.worker.run()
    question, reply, message = desk.view.entries
    assert (question, reply.round) == (Question("segment the liver"), 1)
    assert "closed" in message.text
    assert desk.labels == []
    assert (desk.view.images, desk.view.image) == ([other.name], -1)


def test_an_image_renamed_during_a_turn_is_still_the_same(desk):
    desk.view.question_asked.emit("segment the liver")
    desk.viewer.layers[0].name = "something else"
    desk.worker.run()
    assert desk.view.images == ["something else"]
    assert desk.labels[0].name == "something else masks"


def test_pixels_swapped_in_mid_turn_lose_no_round_and_count_from_the_next(desk):
    desk.ask("segment the liver")
    image = desk.viewer.layers[0]
    desk.view.question_asked.emit("segment the spleen")
    image.data = image.data + 100
    desk.worker.run()
    assert [reply.round for reply in desk.replies] == [1, 2]
    seen = desk.segmenter.load().images
    desk.ask("segment the aorta")
    assert not np.array_equal(seen[-1], seen[0])
    assert len(desk.replies) == 3


def test_an_image_swapped_for_one_of_another_size_gets_a_chat_of_its_own(desk):
    desk.ask("segment the liver")
    old, image = desk.session, desk.viewer.layers[0]
    desk.view.question_asked.emit("segment the spleen")
    image.data = np.zeros((3, 8, 8), np.int16)
    desk.worker.run()
    assert desk.replies == []
    assert desk.view.planes == 3
    desk.ask("segment the aorta")
    assert len(desk.replies) == 1
    assert len(old.conversation) <= 2


def test_each_volume_of_a_film_has_its_own_conversation():
    desk = Desk()
    desk.viewer.add_image(np.random.default_rng(0).random((3, 4, 24, 32)))
    desk.viewer.dims.set_point(0, 2)
    assert (desk.view.volume, desk.view.volumes, desk.view.volume_hint) == (1, 3, "the viewer shows another")
    desk.view.volume_chosen.emit(2)
    desk.ask("segment the liver")
    (labels,) = desk.labels
    assert np.flatnonzero(labels.data.any((1, 2, 3))).tolist() == [2]
    desk.view.volume_chosen.emit(1)
    assert desk.viewer.dims.point[0] == 1
    assert desk.view.entries == []
    desk.view.volume_chosen.emit(2)
    assert len(desk.replies) == 1


def test_a_deleted_labels_layer_comes_back_with_all_rounds(desk):
    desk.ask("segment the liver")
    desk.viewer.layers.remove(desk.labels[0])
    desk.ask("segment the spleen")
    assert set(np.unique(desk.labels[0].data)) >= {1, 2}


def test_each_image_has_its_own_conversation(desk):
    desk.ask("segment the liver")
    desk.open(make_volume((3, 8, 8)))
    desk.view.image_chosen.emit(1)
    assert desk.view.entries == []
    assert desk.ask("segment the spleen").round == 1
    desk.view.image_chosen.emit(0)
    assert desk.ask("segment the spleen").round == 2
    assert len(desk.labels) == 2


def test_windows_are_offered_for_ct_and_set_the_display(desk):
    assert desk.view.windows[:2] == [AUTOMATIC, AS_SHOWN]
    desk.view.window_chosen.emit(desk.view.windows.index("lung"))
    low, high = desk.viewer.layers[0].contrast_limits
    assert (low + high) / 2 < -300
    desk.ask("segment the liver")
    lung = desk.segmenter.load().images[-1]
    desk.view.window_chosen.emit(1)
    desk.ask("segment the liver")
    assert np.array_equal(desk.segmenter.load().images[-1], lung), "as shown is what was set before"


def test_the_plane_is_encoded_while_the_question_is_typed(desk):
    desk.view.question_edited.emit("seg")
    assert not desk.worker.jobs, "the model is not loaded for a warm-up"
    desk.ask("segment the liver")
    desk.view.plane_chosen.emit(4)
    for text in ("a", "an", "and"):
        desk.view.question_edited.emit(text)
    assert len(desk.worker.jobs) == 1
    desk.worker.run()
    assert len(desk.segmenter.load().images) == 2


def test_stopping_lets_go_of_the_model_and_a_question_loads_it_again(desk):
    desk.ask("segment the liver")
    assert desk.view.status == "fake · cpu"
    desk.controller.stop()
    assert not desk.segmenter.loaded
    assert desk.worker.stopped
    reply = desk.ask("what is next to [1]")
    assert reply.round == 2
    assert desk.session.conversation.rounds[1].references == (Reference(1, 1, "[1]"),)


def test_the_device_can_be_changed_and_one_that_is_not_there_is_an_error_in_the_chat(desk):
    desk.ask("segment the liver")
    desk.view.device_chosen.emit("mps")
    desk.worker.run()
    assert "mps" in desk.view.status
    desk.view.device_chosen.emit("cuda")
    desk.worker.run()
    assert desk.view.entries[-1].is_error
    assert "mps" in desk.view.status


def test_a_device_chosen_before_the_model_is_loaded_is_where_it_is_loaded_to(desk):
    desk.view.device_chosen.emit("mps")
    desk.worker.run()
    assert not desk.segmenter.loaded
    desk.ask("segment the liver")
    assert "mps" in desk.view.status


def test_what_a_phrase_was_swapped_for_holds_for_that_question_alone(desk):
    desk.ask("segment the liver")
    desk.ask("segment the spleen")
    question = "what is next to it"
    desk.view.question_edited.emit(question)
    desk.view.reference_chosen.emit("it", Reference(1, 1))
    desk.view.question_edited.emit(question)
    assert desk.view.chips[-1].current == "1 liver"
    desk.press("U")
    desk.view.question_edited.emit(question)
    desk.press("Shift+U")
    desk.view.question_edited.emit(question)
    assert desk.view.chips[-1].current == "2 spleen"
    desk.view.reference_chosen.emit("it", Reference(1, 1))
    desk.view.question_edited.emit("something else")
    desk.view.question_edited.emit(question)
    assert desk.view.chips[-1].current == "2 spleen"
    desk.view.reference_chosen.emit("it", Reference(1, 1))
    reply = desk.ask(question)
    assert reply.references[0].current == "1 liver"


def test_the_journal_names_the_adapter_that_answered(desk):
    fake = desk.segmenter.load()
    about = fake.describe()
    fake.describe = lambda: about | {"adapter": fake.adapter}
    fake.adapter = "a001"
    desk.view.question_asked.emit("segment the liver")
    desk.controller.workplace.submit(
        lambda job: setattr(fake, "adapter", "a002"), lambda done: None, lambda error: None
    )
    jobs, desk.worker.jobs = desk.worker.jobs, []
    for job, result in [(job, job.work(job)) for job in jobs]:
        desk.worker.finished.emit(job, result)
    (asked,) = [e.entry for e in desk.session.journal.events() if isinstance(e.entry, RoundAsked)]
    assert dict(asked.model)["adapter"] == "a001"


def test_a_dock_that_is_put_back_shows_no_cards_of_a_session_that_is_gone(desk):
    desk.ask("segment the liver")
    desk.controller.stop()
    desk.controller.start()
    assert not desk.replies
    desk.view.mask_hovered.emit(0)
    desk.worker.run()
    assert len(desk.replies) == 1


def test_a_question_that_comes_while_one_is_answered_is_given_back(desk):
    desk.view.question_asked.emit("segment the liver")
    desk.view.question_asked.emit("segment the spleen")
    assert desk.view.restored == "segment the spleen"


def far_volume():
    """Return a volume that lies half a metre above the other one."""
    study = make_volume()
    affine = study.geometry.affine.copy()
    affine[2, 3] += 500
    geometry = replace(study.geometry, affine=affine)
    return replace(study, geometry=geometry, source_geometry=geometry)


def test_what_is_opened_is_asked_about_and_in_view(desk):
    desk.ask("segment the liver")
    layer = desk.open(far_volume())
    assert desk.view.image == 1
    assert desk.controller._place.layer() is layer
    desk.ask("segment the spleen")
    assert desk.replies[-1].plane == 2
    assert layer.world_to_data(desk.viewer.dims.point)[0] == pytest.approx(2)
    desk.view.image_chosen.emit(0)
    assert desk.viewer.dims.point[0] < 100


def test_an_answer_about_what_is_out_of_view_is_shown_all_the_same(desk):
    desk.open(far_volume())
    desk.viewer.dims.set_point(0, 0.0)
    desk.ask("segment the liver")
    assert len(desk.replies) == 1
    assert (desk.mask_layer.data != 0).any() or len(desk.labels) == 2


def test_an_image_closed_with_its_chat_gives_way_to_the_one_that_is_there(desk):
    desk.ask("segment the liver")
    desk.open(make_volume((3, 8, 8)))
    desk.view.image_chosen.emit(0)
    desk.viewer.layers.remove(desk.viewer.layers[0])
    assert desk.view.image == 0
    desk.ask("segment the spleen")
    assert desk.replies[-1].text.startswith("Here")


def test_an_image_of_no_stated_modality_can_be_taken_for_another(desk):
    assert desk.view.modalities == []
    study = make_volume((3, 8, 8))
    unsaid = judge_modality(replace(study, modality="", notes=("3 voxels were not finite numbers",)))
    desk.open(unsaid)
    desk.view.image_chosen.emit(1)
    assert [e.text for e in desk.view.entries] == ["About this image: 3 voxels were not finite numbers."]
    assert desk.view.modalities[desk.view.modality] == "not known"
    assert desk.view.windows == [AUTOMATIC, AS_SHOWN]
    desk.ask("segment the liver")
    grey = desk.segmenter.load().images[-1]
    desk.view.modality_chosen.emit(desk.view.modalities.index("CT"))
    assert desk.view.modalities[desk.view.modality] == "CT"
    assert "lung" in desk.view.windows
    assert desk.ask("segment the spleen").round == 2
    assert not np.array_equal(desk.segmenter.load().images[-1], grey), "seen through the CT window"
    desk.view.modality_chosen.emit(0)
    desk.ask("segment the aorta")
    assert np.array_equal(desk.segmenter.load().images[-1], grey)
    assert len([e for e in desk.view.entries if "About this image" in getattr(e, "text", "")]) == 1


def test_the_seconds_of_a_reply_count_from_enter(desk, monkeypatch):
    monkeypatch.setattr(asking, "perf_counter", lambda: 100.0)
    monkeypatch.setattr(turn, "perf_counter", lambda: 112.5)
    assert desk.ask("segment the liver").seconds == 12.5


def test_accept_all_goes_once_it_is_used_and_comes_back_when_it_is_undone(desk):
    def offered():
        return [a.label for e in desk.view.entries if isinstance(e, Message) for a in e.actions]

    desk.ask("segment the liver")
    desk.press("Shift+C")
    (label,) = offered()
    assert label.startswith("Accept all")
    (key,) = [a.key for e in desk.view.entries if isinstance(e, Message) for a in e.actions]
    desk.view.action_chosen.emit(key)
    assert offered() == []
    desk.press("U")
    assert offered() == [label]
