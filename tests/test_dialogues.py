"""Dialogues: same chance same words, references that exist, places that the pixels show."""

import re
import tomllib
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mediround import resources
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.model.prompt import compose_answer
from napari_mediround.training.dialogues.draw import (
    Dialogue,
    DialogueSettings,
    Turn,
    make_dialogue,
    make_text_dialogue,
)

ANATOMY = load_anatomy()
NAMES = {
    1: "liver",
    2: "aorta",
    3: "spleen",
    4: "kidney_right",
    5: "kidney_left",
    6: "stomach",
    7: "pancreas",
}
PHRASINGS = tomllib.loads((Path(resources.__file__).parent / "phrasings.toml").read_text(encoding="utf-8"))
SEEDS = st.integers(0, 2**32 - 1)


def abdomen() -> np.ndarray:
    """Return an axial plane in display order: liver on the image's left, spleen on its right."""
    plane = np.zeros((120, 120), np.uint8)
    for value, rows, columns in (
        (1, (30, 80), (10, 48)),
        (2, (45, 65), (52, 66)),
        (3, (35, 75), (90, 110)),
        (4, (82, 100), (20, 42)),
        (5, (82, 100), (78, 100)),
        (6, (32, 70), (70, 88)),
    ):
        plane[slice(*rows), slice(*columns)] = value
    return plane


def tell(seed: int, **options) -> Dialogue:
    options = {"oriented": True, "known": frozenset(NAMES.values()), "rounds": (4, 6)} | options
    oriented, rng = options.pop("oriented"), np.random.default_rng(seed)
    return make_dialogue(abdomen(), NAMES, oriented, rng, ANATOMY, DialogueSettings(**options))


def turns(count: int = 300, **options) -> list[Turn]:
    return [turn for seed in range(count) for turn in tell(seed, **options).turns]


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.booleans())
def test_the_same_chance_gives_the_same_dialogue(seed, held_out):
    assert tell(seed, held_out=held_out) == tell(seed, held_out=held_out)
    text = [make_text_dialogue(np.random.default_rng(seed), ANATOMY, held_out=held_out) for _ in range(2)]
    assert text[0] == text[1]


@settings(max_examples=100, deadline=None)
@given(SEEDS)
def test_brackets_and_references_agree_and_answers_name_their_targets(seed):
    dialogue = tell(seed)
    for turn in dialogue.turns:
        written = [(int(k), int(j or 1)) for k, j in re.findall(r"\[(\d+)(?:\.(\d+))?\]", turn.question)]
        assert set(written) <= set(turn.references)
        assert all(r > 0 and 0 < j <= len(dialogue.turns[r - 1].targets) for r, j in turn.references)
        assert turn.target_names == tuple(ANATOMY.normalise(NAMES[v]) for v in turn.targets)
        assert turn.answer == compose_answer(turn.target_names, turn.absent)


def test_every_kind_of_turn_occurs():
    kinds = Counter(turn.kind for turn in turns())
    expected = {"name", "synonym", "function", "place", "mirror", "neighbour", "again", "several"}
    assert all(kinds[kind] >= 5 for kind in expected | {"absent", "chat"}), kinds


def test_neighbours_lie_on_the_patients_side_that_is_named():
    sides = {
        (1, "left"): 2,
        (2, "right"): 1,
        (2, "left"): 6,
        (6, "right"): 2,
        (6, "left"): 3,
        (3, "right"): 6,
    }
    sides |= {(4, "left"): 5, (5, "right"): 4}
    found = 0
    for seed in range(300):
        dialogue = tell(seed)
        for turn in dialogue.turns:
            side = re.search(r"patient's (left|right)", turn.question)
            if turn.kind == "neighbour" and side:
                round_, target = turn.references[0]
                source = dialogue.turns[round_ - 1].targets[target - 1]
                assert turn.targets == (sides[source, side[1]],)
                found += 1
    assert found > 20


def test_without_orientation_nothing_is_said_of_sides():
    said = turns(oriented=False)
    assert not [t for t in said if t.kind == "mirror" or "patient's" in t.question]
    assert {t.kind for t in said} >= {"neighbour", "name", "function"}


def test_only_what_is_surely_missing_is_called_absent():
    missing = {name for turn in turns(absent_rate=0.5) for name in turn.absent}
    assert "pancreas" in missing
    assert not missing & {ANATOMY.normalise(n) for n in NAMES.values() if n != "pancreas"}
    others = missing - {"pancreas"}
    assert others
    assert all(ANATOMY.apart("abdomen", ANATOMY[name].region) for name in others)


def test_a_structure_of_a_few_pixels_is_neither_asked_for_nor_absent():
    plane = abdomen()
    plane[0, :5] = 7
    for seed in range(100):
        like = DialogueSettings(known=frozenset(NAMES.values()))
        dialogue = make_dialogue(plane, NAMES, True, np.random.default_rng(seed), ANATOMY, like)
        assert not any("pancreas" in t.answer for t in dialogue.turns)


def test_chat_asks_for_no_mask():
    chats = [t for t in turns(chat_rate=0.5) if t.kind == "chat"]
    assert len(chats) > 100
    assert {(t.answer, t.targets, t.references) for t in chats} == {("", (), ())}


def test_training_never_uses_a_held_out_wording():
    for kind, split in PHRASINGS.items():
        assert not set(split["train"]) & set(split["held_out"])
        assert len(split["held_out"]) >= 2
        assert len(split["train"]) >= (12 if kind in ("wrap", "name") else 6)
    openings = {p.split("{")[0] for p in PHRASINGS["wrap"]["held_out"]}
    assert not [t for t in turns() if t.question.startswith(tuple(openings))]


def test_an_empty_plane_still_gives_a_dialogue():
    dialogue = make_dialogue(np.zeros((9, 9), int), NAMES, True, np.random.default_rng(0), ANATOMY)
    assert {t.kind for t in dialogue.turns} <= {"absent", "chat"}
    assert len(dialogue.turns) >= 2


def test_two_labels_of_one_name_are_refused():
    with pytest.raises(ValueError, match="one name"):
        make_dialogue(abdomen(), {1: "liver", 2: "hepar"}, True, np.random.default_rng(0), ANATOMY)


def test_a_reference_to_a_missing_mask_is_refused():
    turn = Turn("the mirror of [1.2]", ((1, 2),), "The liver [SEG].", (1,), ("liver",), "mirror")
    first = Turn("liver", (), "The liver [SEG].", (1,), ("liver",), "name")
    with pytest.raises(ValueError, match=r"\[1\.2\]"):
        Dialogue((first, turn))


def test_a_turn_that_names_what_it_points_at_or_describes_what_it_wants_needs_no_mask():
    first = Turn("Liver?", (), "The liver [SEG].", (1,), ("liver",), "name")
    words = {"the organ beside [1]": "place", "what lies beside the Liver": "place", "[1] once more": "again"}
    words["the purple neighbour of [1]"] = "function"
    turns = [Turn(w, ((1, 1),), "The spleen [SEG].", (2,), ("spleen",), kind) for w, kind in words.items()]
    dialogue = Dialogue((first, *turns))
    assert [dialogue.needs_mask(turn) for turn in dialogue.turns] == [False, True, False, False, False]


def test_answers_have_one_format():
    assert compose_answer(("liver",)) == "The liver [SEG]."
    three = "The liver [SEG], the spleen [SEG] and the aorta [SEG]."
    assert compose_answer(("liver", "spleen", "aorta")) == three
    assert compose_answer(("liver",), ("spleen",)) == "The liver [SEG], but the spleen [ABSENT]."
    assert compose_answer((), ("spleen",)) == "The spleen [ABSENT]."
    assert compose_answer(()) == ""
