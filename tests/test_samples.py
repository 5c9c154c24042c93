"""A judged round as a lesson: the words it should hear, the masks it should draw, what counts how much."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from lessons import SHAPE, carry, make_disc, make_rounds

from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.model.build import build_mediround
from napari_mediround.model.prompt import SEG, Slot
from napari_mediround.training.learning.samples import JudgedMask, bend_sample, fit_mask, write_sample


@pytest.fixture(scope="module")
def model():
    return build_mediround("tiny")


def encode_with(model):
    return torch.no_grad()(model.encode_image)


def test_the_answer_is_supervised_and_seg_is_predicted(model):
    lesson = write_sample(model, make_rounds(1)[0], encode_with(model))
    said = [lesson.pieces[p + 1] for p in lesson.supervised]
    assert model.language.tokenizer.decode(said).startswith("The liver [SEG].")
    assert [lesson.pieces[p + 1] for p in lesson.segs] == [model.language.new_ids[SEG]]
    assert lesson.masks.shape == (1, 64, 64)
    assert lesson.embedding.dtype == torch.float16


def test_pixels_that_the_person_changed_count_more(model):
    lesson = write_sample(model, make_rounds(1)[0], encode_with(model))
    assert set(np.unique(lesson.emphasis)) == {1.0, 3.0}
    assert (lesson.emphasis[lesson.masks] == 3.0).all()


def test_clicks_and_reasons_weigh_a_correction():
    disc, other = make_disc(20, 20), make_disc(30, 30)

    def weigh(**fields) -> float:
        return JudgedMask("liver", disc, other, **fields).weight

    clicks = Prompts(((1, 1), (2, 2)), (True, False))
    assert (
        weigh(verdict="corrected", prompts=clicks)
        > weigh(verdict="corrected")
        > weigh(verdict="accepted")
        > 0
    )
    assert weigh(verdict="corrected", reason="leak") > weigh(verdict="corrected", reason="boundary")
    assert weigh(verdict="rejected") == weigh() == weigh(verdict="corrected", reason="wrong reference") == 0


def test_a_wrong_side_is_learned_by_its_right_name(model):
    round_ = make_rounds(1, "left kidney")[0]
    mask = dataclasses.replace(round_.masks[0], reason="wrong side")
    lesson = write_sample(model, dataclasses.replace(round_, masks=(mask,)), encode_with(model))
    said = model.language.tokenizer.decode([lesson.pieces[p + 1] for p in lesson.supervised])
    assert lesson.names == ["right kidney"]
    assert "right kidney [SEG]" in said


def test_a_rejected_round_teaches_no_words_but_what_was_refused(model):
    lesson = write_sample(model, make_rounds(1, verdict="rejected")[0], encode_with(model))
    assert lesson.supervised == []
    assert lesson.refused.any()
    assert lesson.weights.tolist() == [0.0]


def test_references_are_read_with_their_masks(model):
    first = make_rounds(1)[0]
    target = Target("spleen", make_disc(20, 20), 0.9, verdict="accepted")
    earlier = Round(1, 0, "Segment the spleen.", (), Answer("The spleen.", (target,), image=first.image))
    later = dataclasses.replace(
        first,
        conversation=Conversation((earlier,)),
        references=(Reference(1, 1, "[1]"),),
        text="The one near [1].",
    )
    lesson = write_sample(model, later, encode_with(model))
    kinds = {piece.kind for piece in lesson.pieces if isinstance(piece, Slot)}
    assert kinds == {"image", "crop", "box"}
    assert {kind for kind, _ in lesson.raw} == kinds


def test_of_a_carried_mask_the_name_is_read_and_no_words_are_learned(model):
    asked = make_rounds(1)[0]
    lesson, as_asked = (write_sample(model, r, encode_with(model)) for r in (carry(asked), asked))
    assert lesson.pieces == as_asked.pieces  # which ask for the liver
    assert lesson.supervised == []
    assert np.array_equal(lesson.masks, as_asked.masks)
    assert lesson.weights.tolist() == as_asked.weights.tolist()


def test_a_carried_mask_is_not_learned_by_words_alone(model):
    asked = make_rounds(1)[0]
    for round_, by_words in ((carry(asked), 0.0), (asked, 0.35)):
        prompts = write_sample(model, round_, encode_with(model)).prompts
        prompted = prompts.click_share + prompts.box_share + prompts.correction_share
        assert 1 - prompted == pytest.approx(by_words)


def test_a_mask_is_fitted_to_the_square_as_the_image_is():
    square = fit_mask(np.ones(SHAPE, bool), 64)
    assert square[:48].all()
    assert not square[48:].any()


def test_a_bent_lesson_has_its_masks_and_wrong_pixels_bent_alike(model):
    lesson = write_sample(model, make_rounds(1)[0], encode_with(model))
    bent = bend_sample(lesson, np.random.default_rng(2))
    again = bend_sample(lesson, np.random.default_rng(2))
    assert torch.equal(bent.embedding, again.embedding)
    assert (bent.embedding.dtype, bent.masks.dtype) == (torch.float16, bool)
    assert bent.masks.shape == lesson.masks.shape
    assert (bent.masks != lesson.masks).any()
    assert set(np.unique(bent.emphasis)) == {1.0, 3.0}
    assert (bent.emphasis[bent.masks] == 3.0).all()  # as in the lesson
    assert bent.pieces is lesson.pieces
