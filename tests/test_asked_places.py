"""Which place a question asks for: every wording of the dialogues, and what is no place."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from napari_mediround import resources
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.relations import DIRECTIONS
from napari_mediround.questions.spatial import asked_kind, asked_place

PHRASINGS = tomllib.loads((Path(resources.__file__).parent / "phrasings.toml").read_text("utf-8"))
WRAPS = [text for split in PHRASINGS["wrap"].values() for text in split]
FIELDS = {"ref": "the right kidney", "one": "[1]", "other": "the superior vena cava", "the": "the liver"}
BESIDE = {
    "front": 1,
    "behind": 1,
    "above": 1,
    "below": 1,
    "image_above": 1,
    "image_below": 1,
    "left_right": 1,
}
MASKS = BESIDE | {"between": 2, "larger": 2, "smaller": 2}


@pytest.mark.parametrize("view", DIRECTIONS)
@pytest.mark.parametrize("kind", MASKS)
def test_every_wording_of_a_place_is_understood_where_the_plane_has_it(kind: str, view: str) -> None:
    directions, texts = {*DIRECTIONS[view].values()}, [t for s in PHRASINGS[kind].values() for t in s]
    for phrase, wrap, side in itertools.product(texts, WRAPS, ("left", "right")):
        text = wrap.format(what=phrase.format(**FIELDS, side=side))
        wanted = side if kind == "left_right" else kind.removeprefix("image_")
        names = (wanted, f"image_{wanted}") if kind in BESIDE else (wanted,)
        expected = next((n for n in names if n in directions or kind not in BESIDE), "")
        assert asked_place(text, MASKS[kind], load_anatomy(), directions) == expected, text


@pytest.mark.parametrize("kind", PHRASINGS.keys() - MASKS.keys() - {"wrap", "later"})
def test_other_questions_ask_for_no_place(kind: str) -> None:
    for text, masks in itertools.product([t for s in PHRASINGS[kind].values() for t in s], (0, 1)):
        fields = FIELDS | {"bare": "left kidney", "whole": "[1]", "plural": "kidneys", "side": "left"}
        found = asked_place(text.format(**fields), masks, load_anatomy(), {*DIRECTIONS["axial"].values()})
        assert found == "", text


@pytest.mark.parametrize(
    "text",
    [
        "the left kidney",
        "the kidney behind [1]",  # named: not whatever lies there
        "the shadow behind [1]",
        "what lies behind and to the left of [1]",  # two at once
        "the structure next to [1]",  # on which side?
    ],
)
def test_what_names_a_structure_or_no_single_direction_is_left_to_the_model(text: str) -> None:
    for view in DIRECTIONS:
        assert asked_place(text, 1, load_anatomy(), {*DIRECTIONS[view].values()}) == ""


@pytest.mark.parametrize(
    ("text", "place", "some", "none"),
    [
        ("The vertebra directly behind [1]", "behind", {"L1 vertebra", "T12 vertebra"}, {"sacrum", "aorta"}),
        ("the rib on the right of the liver", "right", {"right rib 8"}, {"liver"}),
        ("the vessel in front of [1]", "front", {"aorta", "pulmonary vein"}, {"liver"}),
        ("the blood vessel in front of [1]", "front", {"blood vessel", "aorta"}, {"nerve"}),
        ("the artery behind the portal vein", "behind", {"aorta"}, {"inferior vena cava"}),
        ("the bone behind [1]", "behind", {"bone", "left scapula", "T3 vertebra"}, {"spinal cord"}),
        (
            "the part of the hippocampus behind [1]",
            "behind",
            {"posterior hippocampus", "anterior hippocampus"},
            {"hippocampus", "amygdala"},
        ),
        ("which piece of the right lung is behind [1]?", "behind", {"right lower lung lobe"}, {"right lung"}),
        ("the gland behind the stomach", "behind", {"pancreas", "left adrenal gland"}, {"stomach"}),
    ],
)
def test_a_kind_of_structure_is_asked_for_at_a_place(text: str, place: str, some: set, none: set) -> None:
    anatomy = load_anatomy()
    assert asked_place(text, 1, anatomy, {*DIRECTIONS["axial"].values()}) == place
    kind = asked_kind(text, anatomy)
    assert {anatomy[name].name for name in some} <= kind
    assert not none & kind


def test_what_is_left_open_is_of_any_kind() -> None:
    anatomy = load_anatomy()
    assert asked_kind("the structure behind the adrenal gland", anatomy) == frozenset()
    assert asked_kind("the hollow organ between [1] and [2]", anatomy) >= {"stomach", "colon", "duodenum"}
    assert asked_place("The hollow organ between [1] and [2].", 2, anatomy, set()) == "between"
    assert asked_place("The vertebra below [1]", 1, anatomy, {*DIRECTIONS["axial"].values()}) == ""
