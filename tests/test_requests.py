"""What is no question for a mask: sizes, changes, diagnoses, sides that there are not."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from napari_mediround import resources
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.questions.requests import (
    NO_CHANGE,
    NO_DIAGNOSIS,
    NO_LIST,
    NO_SIDE,
    asked_size,
    points,
    reply_plainly,
)

ANATOMY = load_anatomy()


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("How large is [1]?", "[1]"), ("how big is it in mm2", "it"), ("what's its area?", "it"),
        ("What is the volume of the liver?", "the liver"), ("And how large are they?", "they"),
        ("measure [1.2] and [2]", "[1.2] and [2]"), ("Give me the size of the last mask.", "the last mask"),
        ("What is the area behind the liver?", ""), ("What is the area of the brain?", "the brain"),
        ("Segment the area of consolidation", ""), ("How do radiologists measure the liver?", ""),
    ],
)  # fmt: skip
def test_the_size_of_a_mask_is_asked_for(text, what):
    assert asked_size(text) == what
    assert points(what) == (what.startswith("[") or what in ("it", "they", "the last mask"))


@pytest.mark.parametrize(
    "text",
    [
        "Where does the patient have a pleural effusion?", "Does the patient have a pleural effusion?",
        "Where is this cancer located?", "Where is that cancerous lesion?",
        "Outline the organ that has the patient's tumour", "Which organ is this abnormal tissue in?",
        "Segment the lesion suspicious for a diagnosis of cancer", "Segment the diagnostic lesion",
        "Show the organ on the other side of the liver", "the contralateral kidney, next to the liver",
        "Which lung lies on the opposite side of [1]?", "Smooth-walled cyst next to the liver",
        "Smooth muscle around [1]", "Expand on the structure behind it",
        "Remove the table and segment the liver next to it", "Mark everything behind the liver",
    ],
)  # fmt: skip
def test_questions_for_structures_reach_the_model(text):
    assert reply_plainly(text, ["liver"], ANATOMY) == ""
    assert asked_size(text) == ""


@pytest.mark.parametrize(
    ("text", "pointed_at", "reply"),
    [
        ("remove [1]", ["liver"], NO_CHANGE),
        ("Please delete the last mask.", ["liver"], NO_CHANGE),
        ("grow [1] by 5 mm", ["liver"], NO_CHANGE),
        ("malignant or benign?", [], NO_DIAGNOSIS),
        ("Does the patient have cancer?", [], NO_DIAGNOSIS),
        ("delete the liver", ["liver"], NO_CHANGE),
        ("is [1] a tumour?", ["liver"], NO_DIAGNOSIS),
        ("Segment everything.", [], NO_LIST),
        ("what organs can you see?", [], NO_LIST),
        ("describe this image", [], NO_LIST),
        ("its mirror", ["liver"], NO_SIDE.format("liver")),
        ("the same on the other side", ["Hepar"], NO_SIDE.format("liver")),
        ("its mirror", ["left kidney"], ""),
        ("the lesion on the other side of [1]", ["lung nodule"], ""),
        ("remove the table", [], ""),
    ],
)
def test_what_no_mask_answers_is_said_so(text, pointed_at, reply):
    assert reply_plainly(text, pointed_at, ANATOMY) == reply


def test_no_wording_of_the_training_is_taken_for_one_of_these():
    path = Path(resources.__file__).parent / "phrasings.toml"
    kinds = tomllib.loads(path.read_text(encoding="utf-8")).values()
    fields = ("what", "bare", "the", "ref", "one", "other", "side", "plural", "whole")
    phrases = [phrase for kind in kinds for phrase in (*kind["train"], *kind["held_out"])]
    said = [phrase.format(**dict.fromkeys(fields, "the left kidney")) for phrase in phrases]
    assert len(said) > 150
    assert [text for text in said if reply_plainly(text, ["left kidney"], ANATOMY)] == []
    assert [text for text in said if asked_size(text)] == ["How large is the left kidney normally?"]


def test_no_description_is_taken_for_one_of_these():
    told = [f"Segment {phrase}." for structure in ANATOMY for phrase in structure.functions]
    assert [text for text in told if reply_plainly(text, ["liver"], ANATOMY) or asked_size(text)] == []
