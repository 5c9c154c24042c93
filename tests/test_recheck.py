"""A proposal pointed at that lies elsewhere gives way to what is seen; what a person settled never does."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scripted import make_plane

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.inference.question import Question
from napari_mediround.inference.recheck import recheck_references
from napari_mediround.model.build import build_mediround
from napari_mediround.model.crop import whole_plane
from napari_mediround.model.mediround import CorrectionSettings
from napari_mediround.model.prototypes import Prototypes

NAMES = ("liver", "lung tumour")
SIDE = 32


def block(left: int, right: int) -> Mask:
    """Return a mask (32, 32) of columns, rows 8 to 24."""
    array = np.zeros((SIDE, SIDE), bool)
    array[8:24, left:right] = True
    return Mask.from_array(array)


class Sure:
    """A model that sees every structure in the same columns, with a judged IoU."""

    def __init__(self, quality: float = 0.9, columns: tuple[int, int] = (2, 12), **correction) -> None:
        self.columns, self.landmarks, self.quality = columns, Prototypes(NAMES, torch.eye(2)), quality
        self.correction = CorrectionSettings(**correction)

    def segment(self, features, vectors) -> SimpleNamespace:
        """Return one mask's logits and quality."""
        return SimpleNamespace(logits=torch.zeros(1), quality=torch.tensor([self.quality]))

    def masks_on_plane(self, logits, frame) -> np.ndarray:
        """Return bool (1, 32, 32)."""
        return block(*self.columns).to_array()[None]


def look() -> SimpleNamespace:
    """Return a plane as seen."""
    return SimpleNamespace(embedding=torch.zeros(1), frame=whole_plane((SIDE, SIDE)))


def settle(target: Target, model: Sure | None = None, image: str = "x") -> tuple[Target, list[str]]:
    """Return what a question about image "x" that points at a target reads in its place, and the notes."""
    liver = Round(1, 0, "a", (), Answer("", (Target("spleen", block(0, 3), 0.5), target), image=image))
    talk = Conversation((liver,))
    read, notes = recheck_references(model or Sure(), look, Question("b", talk, (Reference(1, 2),), "x"))
    assert read.rounds[0].targets[0] is liver.targets[0]
    return read.target(Reference(1, 2)), [*notes]


AWAY = Target("liver", block(20, 30), 0.8)


@pytest.mark.parametrize(
    "proposal", [AWAY, Target("liver", block(2, 10), 0.9), Target("liver", block(0, 0), 0.1)]
)
def test_a_mask_that_agrees_little_is_read_as_its_structure_is_seen(proposal: Target) -> None:
    found, notes = settle(proposal)
    assert found == replace(proposal, mask=block(2, 12))
    assert notes == [
        "[1.2] does not match where the liver appears on this plane, so the question was answered from its "
        "current outline."
    ]


@pytest.mark.parametrize("verdict", ["accepted", "corrected", "rejected"])
def test_what_a_person_said_something_of_stays(verdict: str) -> None:
    settled = replace(AWAY, verdict=verdict)
    assert settle(settled) == (settled, [])


@pytest.mark.parametrize(
    ("target", "model", "image"),
    [
        (Target("liver", block(2, 11), 0.8), Sure(), "x"),  # as close as what is seen is judged to be
        (Target("liver", block(2, 7), 0.8), Sure(quality=0.4), "x"),
        (Target("lung tumour", block(20, 30), 0.8), Sure(), "x"),  # there may be two
        (Target("spleen", block(20, 30), 0.8), Sure(), "x"),  # no landmark
        (AWAY, Sure(columns=(0, 0)), "x"),  # nothing is seen
        (AWAY, Sure(enabled=False), "x"),
        (AWAY, Sure(), "y"),  # on another plane
    ],
)
def test_otherwise_a_mask_stays_as_it_is(target: Target, model: Sure, image: str) -> None:
    assert settle(target, model, image) == (target, [])


@torch.no_grad()
def test_a_whole_model_sees_the_structure_by_its_landmark(monkeypatch) -> None:
    model = build_mediround("tiny", seed=1)
    model.landmarks = Prototypes(
        NAMES, torch.randn(2, model.channels, generator=torch.Generator().manual_seed(0))
    )
    monkeypatch.setattr(model, "judge_masks", lambda vectors, *_: torch.ones(len(vectors)))
    features = model.encode_image(make_plane())
    target = Target("liver", Mask.from_array(np.zeros(features.shape, bool)), 0.5)
    talk = Conversation((Round(1, 0, "a", (), Answer("", (target,), image="x")),))
    read, notes = recheck_references(model, lambda: features, Question("b", talk, (Reference(1, 1),), "x"))
    seen = model.segment(features, model.landmarks.vector("liver")[None])
    expected = model.masks_on_plane(seen.logits, features.frame)[0]
    assert expected.any()
    assert np.array_equal(read.target(Reference(1, 1)).mask.to_array(), expected)
    assert len(notes) == 1
