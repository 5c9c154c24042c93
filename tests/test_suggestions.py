"""What might be asked next."""

import numpy as np
import pytest

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Round, Target
from napari_mediround.questions.suggestions import suggest_questions

ANATOMY = load_anatomy()
TRUNK = Geometry((20, 345, 512), np.diag([5, 0.8, 0.8, 1.0]))
HEAD = Geometry((20, 256, 256), np.diag([5, 0.9, 0.9, 1.0]))
PICTURE = Geometry((1, 256, 256), np.eye(4), oriented=False, calibrated=False)
MASK = Mask.from_array(np.eye(3))


def suggest(geometry, modality="", *found):
    conversation = Conversation()
    for index, name in enumerate(found, 1):
        answer = Answer(name, (Target(name, MASK, 0.9),))
        conversation = conversation.add(Round(index, 0, name, (), answer))
    return suggest_questions(ANATOMY, geometry, modality, conversation)


def regions(suggestions):
    return {ANATOMY[s.label].region for s in suggestions if ANATOMY.find(s.label)}


@pytest.mark.parametrize("modality", ["", "CT", "MR", "US", "CR", "XC"])
@pytest.mark.parametrize("geometry", [TRUNK, HEAD, PICTURE])
def test_before_anything_was_seen_no_region_is_guessed(geometry, modality):
    assert suggest(geometry, modality) == ()


def test_a_modality_that_shows_one_region_tells_what_fits():
    assert [s.label for s in suggest(PICTURE, "ES")] == ["polyp"]
    assert regions(suggest(PICTURE, "OP")) == {"eye"}


@pytest.mark.parametrize("name", [s.name for s in ANATOMY if s.region != "general"])
def test_what_is_suggested_lies_in_the_region_seen_or_beside_the_last_structure(name):
    for modality in ANATOMY[name].modalities:
        for s in suggest(TRUNK, modality, name):
            if found := ANATOMY.find(s.label):
                assert found.region == ANATOMY[name].region or found.name in ANATOMY[name].neighbours
                assert found.shows_in(modality)


def test_the_neighbours_of_the_last_structure_come_next():
    labels = [s.label for s in suggest(TRUNK, "CT", "liver")]
    assert labels
    assert set(labels) <= set(ANATOMY["liver"].neighbours)


def test_the_counterpart_comes_first_and_points_at_the_round():
    first = suggest(TRUNK, "CT", "liver", "left kidney")[0]
    assert first.text == "Segment the counterpart of [2]"


def test_no_side_is_suggested_where_left_and_right_are_not_known():
    texts = " ".join(s.text for s in suggest(PICTURE, "", "left kidney"))
    assert "left" not in texts
    assert "right" not in texts
    assert "counterpart" not in texts


@pytest.mark.parametrize("found", [("liver",), ("liver", "spleen"), ("brain", "something unheard of")])
def test_what_has_a_mask_is_not_suggested_again(found):
    suggestions = suggest(TRUNK, "CT", *found)
    assert suggestions
    assert not {s.label for s in suggestions} & set(found)
