"""What lies where a question asks: first looks, anatomy, the masks that are there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.inference.places import _likely, find_asked, see_structures
from napari_mediround.inference.question import Question
from napari_mediround.model.crop import whole_plane
from napari_mediround.model.prototypes import Prototypes

SIDE = 64
NAMES = ("liver", "stomach", "spleen", "left kidney", "brainstem", "skin lesion")


def block(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """Return a mask (64, 64) that is a rectangle."""
    mask = np.zeros((SIDE, SIDE), bool)
    mask[top:bottom, left:right] = True
    return mask


SHOWN = {
    "liver": block(10, 40, 2, 24),
    "stomach": block(10, 30, 28, 44),
    "spleen": block(15, 40, 48, 62),
    "brainstem": block(5, 45, 26, 46),  # the first look of another set's structure, surer than the right one
    "skin lesion": block(0, 64, 0, 64),
}


class Looking:
    """A model whose first look of row k of the table is what is shown of the k-th name."""

    def __init__(self) -> None:
        self.landmarks = Prototypes(NAMES, torch.eye(len(NAMES)))

    def glance(self, seen, vectors: torch.Tensor) -> torch.Tensor:
        """Return logits (N, 1, 64, 64)."""
        shown = [SHOWN.get(NAMES[int(v.argmax())], np.zeros((SIDE, SIDE), bool)) for v in vectors]
        sure = [4.0 if NAMES[int(v.argmax())] in ("brainstem", "skin lesion") else 2.0 for v in vectors]
        logits = [np.where(mask, s, -9.0) for mask, s in zip(shown, sure, strict=True)]
        return torch.tensor(np.stack(logits)[:, None], dtype=torch.float32)


def look() -> SimpleNamespace:
    """Return a plane as seen."""
    return SimpleNamespace(seen=SimpleNamespace(embedding=torch.zeros(1)), frame=whole_plane((SIDE, SIDE)))


def talk(*targets: tuple[str, np.ndarray], image: str = "x") -> Conversation:
    """Return one round for each mask."""
    rounds = [
        Round(n, 0, "a", (), Answer("", (Target(name, Mask.from_array(mask), 0.9),), image=image))
        for n, (name, mask) in enumerate(targets, 1)
    ]
    return Conversation(tuple(rounds))


def find(text: str, conversation: Conversation, *rounds: int, view: str = "axial") -> str:
    """Return what `find_asked` finds on image "x"."""
    references = tuple(Reference(number, 1, f"[{number}]") for number in rounds)
    return find_asked(Looking(), look, Question(text, conversation, references, "x", view))


LIVER, SPLEEN = ("liver", SHOWN["liver"]), ("spleen", SHOWN["spleen"])


def test_the_structure_that_one_meets_first_and_that_can_lie_there() -> None:
    assert find("the structure on the patient's left of [1]", talk(LIVER), 1) == "stomach"
    assert find("the structure on the patient's right of [1]", talk(SPLEEN), 1) == "stomach"
    assert find("the structure on the patient's right of [1]", talk(LIVER), 1) == ""
    assert find("what lies between [1] and [2]?", talk(LIVER, SPLEEN), 1, 2) == "stomach"


def test_a_mask_that_is_there_is_surer_than_any_first_look() -> None:
    drawn = ("gallbladder", block(10, 30, 26, 44))
    assert find("the structure on the patient's left of [1]", talk(LIVER, drawn), 1) == "gallbladder"


@pytest.mark.parametrize(
    ("name", "found"), [("liver", "stomach"), ("hepatic vessel", "stomach"), ("left kidney", "left kidney")]
)
def test_what_is_asked_about_its_parts_and_wholes_do_not_lie_beside_it(name: str, found: str) -> None:
    drawn = (name, block(10, 30, 25, 27))
    assert find("the structure on the patient's left of [1]", talk(LIVER, drawn), 1) == found


def test_a_second_lesion_may_lie_beside_the_first() -> None:
    first, second = ("liver tumour", block(10, 30, 10, 20)), ("liver tumour", block(10, 30, 22, 26))
    assert find("the structure on the patient's left of [1]", talk(first, second), 1) == "liver tumour"


def test_a_kind_leaves_out_what_is_of_another() -> None:
    drawn = ("left kidney", block(10, 30, 25, 27))  # between liver and stomach, no hollow organ
    assert find("the structure on the patient's left of [1]", talk(LIVER, drawn), 1) == "left kidney"
    assert find("the hollow organ on the patient's left of [1]", talk(LIVER, drawn), 1) == "stomach"
    assert find("the vessel on the patient's left of [1]", talk(LIVER, drawn), 1) == ""


def test_one_of_a_pair_and_the_next_of_a_row_may_lie_there() -> None:
    anatomy = load_anatomy()
    names = ("left kidney", "kidney", "right kidney", "L2 vertebra", "L3 vertebra", "vertebra")
    assert _likely(names, [anatomy["spleen"]], anatomy).keys() >= {"left kidney", "right kidney"}
    assert "kidney" not in _likely(names, [anatomy["spleen"]], anatomy)
    found = _likely(names, [anatomy["L2 vertebra"]], anatomy)
    assert "L3 vertebra" in found
    assert not {"L2 vertebra", "vertebra"} & found.keys()
    assert not _likely(("L2 vertebra",), [anatomy["vertebra"]], anatomy)


def test_the_larger_of_two_is_counted() -> None:
    conversation = talk(LIVER, SPLEEN)
    assert find("the larger of [1] and [2]", conversation, 1, 2) == "liver"
    assert find("whichever is smaller of [1] and [2]", conversation, 1, 2) == "spleen"


@pytest.mark.parametrize(
    ("text", "conversation", "view"),
    [
        ("the structure on the patient's left of [1]", talk(LIVER, image="another"), "axial"),
        (
            "the structure on the patient's left of [1]",
            talk(("liver", np.zeros_like(SHOWN["liver"]))),
            "axial",
        ),
        ("the structure on the patient's left of [1]", talk(LIVER), ""),  # whose left nobody knows
        ("the vessel on the patient's left of [1]", talk(LIVER), "axial"),
        ("Segment [1] again", talk(LIVER), "axial"),
    ],
)
def test_otherwise_the_language_model_has_to_say_it(text, conversation, view) -> None:
    assert find(text, conversation, 1, view=view) == ""


def test_without_landmarks_nothing_is_found() -> None:
    model = Looking()
    model.landmarks = None
    text, references = "the structure on the patient's left of [1]", (Reference(1, 1, "[1]"),)
    assert find_asked(model, look, Question(text, talk(LIVER), references, "x", "axial")) == ""


def test_the_names_are_the_anatomys() -> None:
    assert all(load_anatomy().find(name) for name in NAMES)


def test_only_what_images_of_the_modality_show_can_be_seen():
    assert see_structures(Looking(), look)["skin lesion"] == 4.0
    assert see_structures(Looking(), look)["left kidney"] == -8.0
    seen = {m: see_structures(Looking(), look, m) for m in ("", "US", "CT", "XC", "PT")}
    assert {m: {name for name, logit in looks.items() if logit > -8} for m, looks in seen.items()} == {
        "": {"liver", "stomach", "spleen", "brainstem", "skin lesion"},
        "US": {"liver", "stomach", "spleen"},
        "CT": {"liver", "stomach", "spleen", "brainstem"},
        "XC": {"skin lesion"},
        "PT": {"liver", "stomach", "spleen", "brainstem", "skin lesion"},
    }
