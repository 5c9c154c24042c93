"""The words around turns, and what an answer is read as."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.model.prompt import (
    PromptTemplate,
    ReferenceSlot,
    Slot,
    common_prefix,
    compose_answer,
    parse_answer,
    readable,
)

TEMPLATE = PromptTemplate("S ", "<u>", "</u>", "<a>", "</a>", 3)
NAMES = st.sampled_from(["liver", "right kidney", "aorta", "T11 vertebra", "portal and splenic vein"])


def encode(text: str) -> list[int]:
    """Return one id a character."""
    return [ord(c) for c in text]


def spell(pieces) -> str:
    """Return a sequence as text, slots in braces."""
    return "".join(chr(p) if isinstance(p, int) else f"{{{p.kind}{p.index}}}" for p in pieces)


def test_a_dialogue_reads_as_the_template_says():
    opening = TEMPLATE.opening(encode, "k")
    question = TEMPLATE.question(encode, 2, " beside [1] ", [ReferenceSlot("[1] liver", "m")])
    assert spell(opening) == "S {image0}{image1}{image2}"
    assert spell(question) == "<u>Round 2. [1] liver{crop0}{box0} beside [1]</u><a>"
    assert spell(TEMPLATE.answer(encode, "Yes.")) == "Yes.</a>"


def test_without_pixels_there_are_no_slots():
    pieces = TEMPLATE.opening(encode, "") + TEMPLATE.question(
        encode, 1, "x", [ReferenceSlot("[1] liver", "")]
    )
    assert not [p for p in pieces if isinstance(p, Slot)]


@given(st.lists(NAMES, min_size=1, max_size=4), st.lists(NAMES, max_size=3))
def test_an_answer_is_read_as_it_was_composed(shown, absent):
    assert parse_answer(compose_answer(shown, absent)) == (shown, absent)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[SEG]", (["structure"], [])),
        ("[SEG] [SEG]", (["structure", "structure"], [])),
        ("The liver [SEG] and [SEG].", (["liver", "structure"], [])),
        ("the liver[SEG]", (["liver"], [])),
        ("The spleen [ABSENT].", ([], ["spleen"])),
        ("Hello.", ([], [])),
    ],
)
def test_odd_answers_give_one_name_for_each_token(text, expected):
    assert parse_answer(text) == expected


@given(st.text(alphabet="ab. [],", max_size=20), st.integers(0, 4))
def test_there_is_a_name_for_every_mask_whatever_the_model_says(text, count):
    names, _ = parse_answer(text + " x [SEG]" * count)
    assert len(names) == count
    assert all(names)


def test_people_read_no_tokens():
    text = compose_answer(["liver", "aorta"], ["spleen"])
    assert readable(text) == "The liver and the aorta, but the spleen is not visible here."
    assert compose_answer([]) == ""


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_a_common_prefix_is_common_and_the_longest(first, second):
    count = common_prefix(first, second)
    assert first[:count] == second[:count]
    assert count == min(len(first), len(second)) or first[count] != second[count]
    assert common_prefix([Slot("crop", "a")], [Slot("crop", "b")]) == 0
