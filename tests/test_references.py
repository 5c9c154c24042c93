"""What a question points at, decided by its words."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Round, Target
from napari_mediround.errors import DanglingReferenceError
from napari_mediround.questions.references import resolve_references


def talk(*rounds: tuple[str, ...], planes: tuple[int, ...] = ()) -> Conversation:
    """Return a conversation whose rounds have masks of these names, each mask another."""
    conversation, area = Conversation(), 0
    for index, names in enumerate(rounds, 1):
        targets = []
        for name in names:
            area += 1
            targets.append(Target(name, Mask((8, 8), (area, 64 - area)), 0.9))
        plane = planes[index - 1] if planes else 0
        conversation = conversation.add(Round(index, plane, "", (), Answer("", tuple(targets))))
    return conversation


TALK = talk(("liver",), (), ("left kidney", "spleen"), ("aorta",))


def point(text: str, conversation: Conversation = TALK, plane: int | None = None) -> list[str]:
    references = resolve_references(text, conversation, load_anatomy(), plane)
    return [f"{r.round}.{r.target}" for r in references]


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("the vessel behind [1]", ["1.1"]),
        ("between [3] and [1]", ["3.2", "1.1"]),
        ("between [4], [2] and [3]", ["4.1", "3.1", "3.2"]),
        ("between [3.2] and [1.1]", ["3.2", "1.1"]),
        ("[1] and again [1]", ["1.1"]),
        ("the other atrium, from round 1", ["1.1"]),
        ("Segment it", ["4.1"]),
        ("its mirror", ["4.1"]),
        ("what is next to this?", ["4.1"]),
        ("the structure behind that one", ["4.1"]),
        ("grow the previous one", ["4.1"]),
        ("smooth the last mask", ["4.1"]),
        ("And on the other side?", ["4.1"]),
        ("the same on the other side", ["4.1"]),
    ],
)
def test_numbers_and_pronouns_point_at_rounds(text, meant):
    assert point(text) == meant


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("the vessel that supplies the liver", ["1.1"]),
        ("the vessel that supplies hepar", ["1.1"]),
        ("the liver's neighbour", ["1.1"]),
        ("the organ between the liver and the spleen", ["1.1", "3.2"]),
        ("between [1] and the left kidney", ["1.1", "3.1"]),
        ("the mirror of the left kidney", ["3.1"]),
        ("the other kidney", ["3.1"]),
        ("the gland above the kidney", ["3.1"]),
        ("the structure that the aorta is part of", ["4.1"]),
    ],
)
def test_a_name_that_says_where_points_at_its_mask(text, meant):
    assert point(text) == meant


@pytest.mark.parametrize(
    "text",
    [
        "Segment the liver",
        "liver, please",
        "a mask of the liver",
        "what about the liver?",
        "the spleen as well as the liver",
        "Where is the aorta?",
        "the gland above the right kidney",
        "Segment the lesion in this image",
        "a round 5 mm lesion",
        "Is it possible to segment the heart?",
        "Find the pancreas and outline it",
        "the pancreas and its duct",
        "Hello",
    ],
)
def test_asking_for_a_name_points_at_nothing(text):
    assert point(text) == []


@pytest.mark.parametrize(
    ("text", "choices"),
    [
        ("the vessel behind [7]", "[1] liver, [2] left kidney, [3] spleen, [4] aorta"),
        ("[0]", "[4] aorta"),
        ("[5]", "there is no mask 5"),
        ("next to round 2", "round 2 has no mask"),
        ("next to round 3", "[2] left kidney, [3] spleen"),
        ("[3.5]", "[2] left kidney, [3] spleen"),
    ],
)
def test_dangling_and_ambiguous_numbers_list_the_choices(text, choices):
    with pytest.raises(DanglingReferenceError) as caught:
        point(text)
    assert choices in str(caught.value)
    assert len(caught.value.choices) in (2, 4)


@pytest.mark.parametrize("text", ["segment it", "[1]", "its wall", "the previous one", "next to that"])
def test_without_any_mask_the_remedy_is_to_name_the_structure(text):
    with pytest.raises(DanglingReferenceError, match="name the structure itself"):
        point(text, talk())


def test_it_is_ambiguous_after_several_masks_and_them_is_not():
    conversation = talk(("left kidney", "right kidney"))
    with pytest.raises(DanglingReferenceError, match=r"\[1\] left kidney, \[2\] right kidney"):
        point("the vein of it", conversation)
    assert point("segment the vessel between them", conversation) == ["1.1", "1.2"]
    assert point("the vessel between the kidneys", conversation) == ["1.1", "1.2"]
    with pytest.raises(DanglingReferenceError, match="kidney"):
        point("the vessel entering the kidney", conversation)


def test_of_equal_names_the_asked_plane_decides():
    conversation = talk(("liver",), ("liver",), planes=(3, 9))
    assert point("behind the liver", conversation, plane=3) == ["1.1"]
    assert point("behind the liver", conversation, plane=9) == ["2.1"]
    with pytest.raises(DanglingReferenceError, match=r"\[1\] liver, \[2\] liver"):
        point("behind the liver", conversation)


def test_a_pronoun_after_a_number_means_that_number():
    assert point("the artery of [1] and the vein that drains it") == ["1.1"]


def test_references_carry_the_words_that_mean_them():
    (reference,) = resolve_references("the vessel near the Liver", TALK)
    assert (reference.round, reference.target, reference.phrase) == (1, 1, "Liver")


@given(st.integers(1, 6), st.integers(-1, 9), st.text(alphabet="abc ,.", max_size=8))
def test_a_number_is_resolved_exactly_or_refused(rounds, number, noise):
    conversation = talk(*[("liver",)] * rounds)
    text = f"{noise} [{number}] {noise}"
    if 1 <= number <= rounds:
        assert point(text, conversation) == [f"{number}.1"]
    elif number >= 0:
        with pytest.raises(DanglingReferenceError):
            point(text, conversation)


@given(st.text(max_size=60))
def test_no_text_crashes(text):
    try:
        references = resolve_references(text, TALK, load_anatomy())
    except DanglingReferenceError:
        return
    assert all(TALK.target(reference) for reference in references)
