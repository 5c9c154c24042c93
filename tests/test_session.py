"""One conversation about one study, on a fake segmenter."""

import threading

import numpy as np
import pytest
from fakes import FakeSegmenter, make_picture, make_volume

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Reference
from napari_mediround.domain.units import area_in_words, volume_in_words
from napari_mediround.errors import CancelledError, DanglingReferenceError, MediRoundError
from napari_mediround.session import Session


@pytest.fixture
def session():
    return Session(FakeSegmenter(), make_volume())


def test_a_question_adds_a_round_with_its_mask(session):
    round_ = session.ask("segment the liver", 2)
    assert session.conversation.rounds == (round_,)
    assert (round_.index, round_.plane, round_.targets[0].structure) == (1, 2, "liver")
    assert round_.seconds > 0


def test_thesegmenter_sees_the_plane_that_was_asked_about(session):
    session.ask("segment the liver", 3, window=(0, 1000))
    expected = (session.study.pixels[3] + 500) * 0.255
    image = session.segmenter.images[-1]
    assert image.shape == (24, 32, 3)
    assert np.abs(image[..., 0] - expected).max() <= 1
    assert session.segmenter.views[-1] == ("axial", "CT")
    assert session.segmenter.spacings[-1] == session.study.geometry.spacing_mm[1:]


def test_the_question_chooses_the_window_unless_one_is_given(session):
    session.ask("segment the left lung", 0)
    session.ask("segment the left lung", 0, window="lung")
    session.ask("segment the liver", 0)
    lung, same, soft = session.segmenter.images
    assert np.array_equal(lung, same)
    assert not np.array_equal(lung, soft)


def test_references_are_resolved_before_the_model_runs(session):
    session.ask("segment the liver", 2)
    with pytest.raises(DanglingReferenceError, match="7"):
        session.ask("what is next to [7]?", 2)
    assert len(session.segmenter.asked) == 1
    round_ = session.ask("what is next to [1]?", 2)
    assert [(r.round, r.target) for r in round_.references] == [(1, 1)]
    assert session.segmenter.asked[-1][1] == round_.references


def test_a_given_reference_to_nothing_lists_what_there_is(session):
    session.ask("segment the liver and the spleen", 2)
    with pytest.raises(DanglingReferenceError) as caught:
        session.ask("its mirror", 2, references=(Reference(1, 3),))
    assert caught.value.choices == (Reference(1, 1), Reference(1, 2))


def test_a_failed_question_leaves_the_conversation_unchanged():
    session = Session(FakeSegmenter(error=RuntimeError("out of memory")), make_volume())
    with pytest.raises(RuntimeError):
        session.ask("segment the liver", 2)
    assert len(session.conversation) == 0


def test_a_cancelled_question_leaves_the_conversation_unchanged():
    session = Session(FakeSegmenter(gate=threading.Event()), make_volume())
    with pytest.raises(CancelledError):
        session.ask("segment the liver", 2, cancelled=session.segmenter.started.is_set)
    assert len(session.conversation) == 0


def test_answering_alone_changes_nothing(session):
    round_ = session.answer("segment the liver", 2)
    assert len(session.conversation) == 0
    session.add(round_)
    with pytest.raises(ValueError, match="without gaps"):
        session.add(round_)


def test_labels_are_numbered_over_all_rounds(session):
    session.ask("segment the liver and the spleen", 1)
    session.ask("hello there", 1)
    session.ask("segment the left kidney", 3)
    assert session.label_names() == {1: "1 liver", 2: "2 spleen", 3: "3 left kidney"}
    volume = session.label_volume()
    assert volume.dtype == np.uint16
    assert volume.shape == session.study.geometry.shape
    assert set(np.unique(volume[1])) <= {0, 1, 2}
    assert set(np.unique(volume[3])) == {0, 3}
    assert not volume[[0, 2, 4]].any()


def test_an_earlier_mask_is_never_overwritten_by_a_later_one(session):
    session.ask("segment the liver", 1)
    session.ask("segment the liver", 1)
    assert set(np.unique(session.labels(1))) == {0, 1}
    first, second = (r.targets[0].mask for r in session.conversation.rounds)
    assert first == second


def test_areas_are_mm2_only_where_the_image_states_its_spacing(session):
    mask = session.ask("segment the liver", 1).targets[0].mask
    assert session.area(mask) == (pytest.approx(mask.area * 0.25), "mm²")
    assert Session(FakeSegmenter(), make_picture()).area(mask) == (mask.area, "px")


@pytest.mark.parametrize(("text", "plane"), [("  ", 0), ("segment the liver", 5), ("segment the liver", -1)])
def test_an_empty_question_or_a_plane_that_is_not_there_is_refused(session, text, plane):
    with pytest.raises(MediRoundError):
        session.ask(text, plane)
    assert not session.segmenter.asked


def test_among_masks_of_one_name_that_on_the_plane_is_meant(session):
    session.ask("segment the liver", 1)
    session.ask("segment the liver", 3)
    assert session.resolve("the vessel behind the liver", 3)[0].round == 2
    assert session.ask("the vessel behind the liver", 1).references[0].round == 1
    assert session.resolve("the vessel behind the liver", 2)[0].round == 2, "planes of one structure"


def test_sizes_are_measured_and_not_asked_of_the_model(session):
    session.ask("segment the liver and the spleen", 2)
    asked = len(session.segmenter.asked)
    area = [session.label(value).mask.area * session.study.geometry.pixel_area_mm2 for value in (1, 2)]
    spleen = session.ask("How large is [2]?", 2).answer.text
    assert spleen == f"2 spleen: {area_in_words(area[1])} on axial plane 2."
    both = session.ask("what is the area of the liver and the spleen?", 2).answer.text
    assert both.splitlines()[0] == f"1 liver: {area_in_words(area[0])} on axial plane 2."
    assert len(both.splitlines()) == 2
    assert "Nothing was changed" in session.ask("remove [1.1]", 2).answer.text
    assert len(session.segmenter.asked) == asked
    assert len(session.conversation) == 4
    session.ask("the vessel behind [1.1]", 2)
    assert len(session.segmenter.asked) == asked + 1


def test_the_size_of_what_was_carried_is_a_volume_too(session):
    session.ask("segment the liver", 2)
    carried = session.carry(Reference(1), 1)
    session.add(carried)
    geometry = session.study.geometry
    ml = sum(session.label(value).mask.area for value in (1, 2)) * geometry.voxel_mm3 / 1000
    assert f"{volume_in_words(ml)} in the 2 planes" in session.ask("how large is [1]", 2).answer.text


def test_a_question_that_is_far_too_long_is_refused(session):
    with pytest.raises(MediRoundError, match="2,001 characters"):
        session.ask("x" * 2001, 2)
    assert not session.segmenter.asked


@pytest.mark.parametrize(
    "text",
    [
        "How large is the tumour in the liver?",
        "Measure the vessel next to it",
        "how large is the liver vessel?",
    ],
)
def test_the_size_of_what_has_no_mask_is_not_that_of_what_lies_beside_it(text):
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    session.ask("segment the liver", 2)
    assert "mm²" not in session.ask(text, 2).answer.text


def test_sizes_know_synonyms_verdicts_and_planes():
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    session.ask("segment the liver", 1)
    session.ask("segment the liver", 3)
    assert "on axial plane 1; " in session.ask("How large is the hepar?", 1).answer.text
    assert "on axial plane 3; " in session.ask("How large is the liver?", 2).answer.text
    session.reject(1, 2)
    assert "Segment it first" in session.ask("How large is the liver?", 1).answer.text


def test_a_first_class_request_is_read_the_same_after_forty_rounds():
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    questions = (
        "Lt kidney",
        "not the liver",
        "segmant the splen",
        "die Leber",
        "is there a tumour?",
        "ribs 3-5 left",
    )
    first = [session.understand(text, 2) for text in questions]
    for number in range(40):
        session.ask("the liver" if number % 2 else "the spleen", number % 3)
    assert [session.understand(text, 2) for text in questions] == first


@pytest.mark.parametrize(
    "text",
    [
        "is there a tumour?",
        "is the liver enlarged?",
        "qwertz",
        "not the liver",
        "SMA",
    ],
)
def test_what_is_not_understood_or_not_possible_is_not_drawn(text):
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    round_ = session.ask(text, 2)
    assert (round_.targets, session.segmenter.asked) == ((), [])
    assert round_.answer.text


def test_another_plane_is_asked_about_where_the_words_say_so():
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    assert session.ask("the spleen on plane 3", 1).plane == 3
    with pytest.raises(MediRoundError, match="plane"):
        session.ask("the spleen on plane 300", 1)


def test_what_is_not_known_of_a_list_is_said():
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    round_ = session.ask("spleen and ureter", 2)
    assert [t.structure for t in round_.targets] == ["spleen"]
    assert "ureter" in round_.answer.note


def test_free_text_is_marked_and_off_by_default():
    quiet = Session(FakeSegmenter(), make_volume(), load_anatomy())
    assert quiet.ask("hello there", 2).answer.text != "Hello."
    loud = Session(FakeSegmenter(), make_volume(), load_anatomy(), free_text=True)
    answer = loud.ask("hello there", 2).answer
    assert answer.text == "Hello."
    assert "Unverified" in answer.note


def test_measurements_name_unit_plane_and_mask():
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    session.ask("the liver and the spleen", 2)
    for text, unit in (
        ("diameter of [1.1]", "mm"),
        ("mean of [1.1]", "HU"),
        ("distance from [1.1] to [1.2]", "mm"),
    ):
        said = session.ask(text, 2).answer.text
        assert unit in said
        assert "1 liver" in said
        assert "plane 2" in said


def test_what_is_not_found_has_an_empty_mask_that_a_person_can_judge_or_draw(session):
    session.segmenter.absent.add("kidney")
    round_ = session.ask("segment the liver and the kidney", 1)
    assert [(t.structure, bool(t.mask.area)) for t in round_.targets] == [("liver", True), ("kidney", False)]
    session.accept(2)
    assert session.label_names() == {1: "1 liver"}
    session.undo()
    session.fix(2, session.label(1).mask, quality=0.7)
    assert session.label_names() == {1: "1 liver", 2: "2 kidney"}


def test_what_was_not_found_cannot_be_pointed_at(session):
    session.segmenter.absent.add("kidney")
    session.ask("segment the kidney", 1)
    with pytest.raises(DanglingReferenceError, match="no kidney was found"):
        session.ask("outline the vessel of [1]", 1)
