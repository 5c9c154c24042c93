"""Drafts follow the form of answers and name what the question names."""

from __future__ import annotations

import pytest

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.inference.drafts import Drafts
from napari_mediround.model.build import build_mediround


@pytest.fixture(scope="module")
def model():
    return build_mediround("tiny")


@pytest.mark.parametrize(
    ("text", "pointed_at", "said", "follows"),
    [
        ("Segment the liver.", [], "", "The liver [SEG]."),
        ("Show me the lienal organ", [], "The", " spleen [SEG]."),
        ("Segment the liver and the spleen", [], "The liver", " [SEG] and the spleen [SEG]."),
        ("Its mirror on the other side", ["right kidney"], "", "The left kidney [SEG]."),
        ("[1] again", ["aorta"], "", "The aorta [SEG]."),
        ("The organ that makes bile", [], "The gallb", "ladder [SEG]."),
    ],
)
def test_an_answer_is_foreseen(model, text, pointed_at, said, follows):
    encode = model.language.encode
    drafts = Drafts(encode, model.template, load_anatomy())
    ids = drafts.about(text, pointed_at)(encode(said))
    assert model.language.tokenizer.decode(ids) == follows + model.language.tokenizer.eos_token


def test_nothing_is_foreseen_of_what_no_answer_says(model):
    drafts = Drafts(model.language.encode, model.template, load_anatomy())
    assert drafts.about("Hello")(model.language.encode("Hello, how")) == []
