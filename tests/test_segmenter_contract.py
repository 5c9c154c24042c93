"""What every `Segmenter` keeps: the stand-in of the tests and the real predictor alike."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from fakes import FakeSegmenter
from scripted import make_plane, script_answers

from napari_mediround.domain.rounds import Conversation, Round
from napari_mediround.errors import CancelledError, MediRoundError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.prompt import compose_answer


@pytest.fixture(params=["fake", "real"])
def segmenter(request):
    if request.param == "fake":
        return FakeSegmenter()
    predictor = Predictor.from_preset("tiny", "cpu")
    script_answers(predictor, *[compose_answer(["liver"], [])] * 3)
    return predictor


def test_the_key_of_an_image_is_that_of_its_content(segmenter) -> None:
    first, second = make_plane(0), make_plane(1)
    key = segmenter.set_image(first, "axial", "CT")
    assert isinstance(key, str)
    assert segmenter.set_image(second) != key
    assert segmenter.set_image(first.copy()) == key


def test_an_answer_has_masks_on_the_grid_of_the_plane(segmenter) -> None:
    segmenter.set_image(make_plane())
    answer = segmenter.ask("the liver", Conversation(), ())
    (target,) = answer.targets
    assert target.structure == "liver"
    assert target.mask.shape == (48, 64)
    assert 0 <= target.quality <= 1
    assert answer.text


def test_a_question_can_be_cancelled(segmenter) -> None:
    segmenter.set_image(make_plane())
    if isinstance(segmenter, FakeSegmenter):
        segmenter.gate = threading.Event()
    with pytest.raises(CancelledError):
        segmenter.ask("the liver", Conversation(), (), lambda: True)


def test_a_click_inside_gives_a_mask_with_a_quality(segmenter) -> None:
    segmenter.set_image(make_plane())
    mask, quality = segmenter.refine(np.array([[30.5, 20.5]]), np.array([True]))
    assert mask.shape == (48, 64)
    assert mask.to_array()[20, 30]
    assert 0 <= quality <= 1


def test_a_mask_goes_to_the_next_plane(segmenter) -> None:
    before = segmenter.set_image(make_plane(0))
    answer = segmenter.ask("the liver", Conversation(), ())
    segmenter.set_image(make_plane(1))
    mask, quality = segmenter.propagate(answer.targets[0].mask, before)
    assert mask.shape == (48, 64)
    assert 0 <= quality <= 1


def test_earlier_rounds_stay_as_they_were(segmenter) -> None:
    segmenter.set_image(make_plane())
    first = segmenter.ask("the liver", Conversation(), ())
    conversation = Conversation((Round(1, 0, "the liver", (), first),))
    segmenter.ask("the liver", conversation, ())
    assert conversation.rounds[0].answer == first


def test_a_segmenter_says_what_it_is(segmenter) -> None:
    assert all(isinstance(value, str) for value in segmenter.describe().values())


def test_nothing_is_answered_before_an_image_is_set() -> None:
    fresh = Predictor.from_preset("tiny", "cpu")
    with pytest.raises(MediRoundError, match="No image is open"):
        fresh.ask("the liver", Conversation(), ())
    with pytest.raises(MediRoundError, match="No image is open"):
        fresh.refine(np.array([[1.5, 1.5]]), np.array([True]))
