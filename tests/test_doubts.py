"""A proposal pointed at that lies elsewhere gives way to what is seen; what a person settled never does."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.model.doubts import settle_references
from napari_mediround.model.framing import whole_plane
from napari_mediround.model.landmarks import Landmarks
from napari_mediround.model.mediround import CorrectionSettings

NAMES = ("liver", "lung tumour")
SIDE = 32


def block(left: int, right: int) -> Mask:
    """Return a mask (32, 32) of columns, rows 8 to 24."""
    array = np.zeros((SIDE, SIDE), bool)
    array[8:24, left:right] = True
    return Mask.from_array(array)


class Sure:
    """A model that sees every structure in columns 2 to 12, with a judged IoU."""

    def __init__(self, quality: float = 0.9, **correction) -> None:
        self.landmarks, self.quality = Landmarks(NAMES, torch.eye(2)), quality
        self.correction = CorrectionSettings(**correction)

    def segment(self, features, vectors) -> SimpleNamespace:
        """Return one mask's logits and quality."""
        return SimpleNamespace(logits=torch.zeros(1), quality=torch.tensor([self.quality]))

    def masks_on_plane(self, logits, frame) -> np.ndarray:
        """Return bool (1, 32, 32)."""
        return block(2, 12).to_array()[None]


def look() -> SimpleNamespace:
    """Return a plane as seen."""
    return SimpleNamespace(embedding=torch.zeros(1), frame=whole_plane((SIDE, SIDE)))


def settle(target: Target, model: Sure | None = None, image: str = "x") -> tuple[Target, list[str]]:
    """Return what a question about image "x" that points at a target reads in its place, and the notes."""
    liver = Round(1, 0, "a", (), Answer("", (Target("spleen", block(0, 3), 0.5), target), image=image))
    talk = Conversation((liver,))
    read, notes = settle_references(model or Sure(), look, talk, (Reference(1, 2),), "x")
    assert read.rounds[0].targets[0] is liver.targets[0]
    return read.target(Reference(1, 2)), notes


AWAY = Target("liver", block(20, 30), 0.8)


def test_a_mask_that_lies_elsewhere_is_read_where_its_structure_is_seen() -> None:
    found, notes = settle(AWAY)
    assert found == replace(AWAY, mask=block(2, 12))
    assert notes == ["[1.2] does not lie where the liver is seen; the question was read as if it did."]


@pytest.mark.parametrize("verdict", ["accepted", "corrected", "rejected"])
def test_what_a_person_said_something_of_stays(verdict: str) -> None:
    settled = replace(AWAY, verdict=verdict)
    assert settle(settled) == (settled, [])


@pytest.mark.parametrize(
    ("target", "model", "image"),
    [
        (Target("liver", block(8, 18), 0.8), Sure(), "x"),  # part of it is right
        (Target("lung tumour", block(20, 30), 0.8), Sure(), "x"),  # there may be two
        (Target("spleen", block(20, 30), 0.8), Sure(), "x"),  # no landmark
        (AWAY, Sure(quality=0.5), "x"),
        (AWAY, Sure(enabled=False), "x"),
        (AWAY, Sure(), "y"),  # on another plane
    ],
)
def test_otherwise_a_mask_stays_as_it_is(target: Target, model: Sure, image: str) -> None:
    assert settle(target, model, image) == (target, [])
