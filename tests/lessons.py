"""Rounds with verdicts for the tests of learning: discs on noise, one patient each."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.inference.cache import hash_image
from napari_mediround.training.learning.samples import JudgedMask, JudgedRound

SHAPE = (48, 64)


def make_disc(row: float, column: float, radius: float = 9.0) -> Mask:
    """Return a disc on a plane of `SHAPE`."""
    y, x = np.indices(SHAPE)
    return Mask.from_array((y - row) ** 2 + (x - column) ** 2 < radius**2)


def make_rounds(count: int = 6, structure: str = "liver", verdict: str = "corrected") -> list[JudgedRound]:
    """Return rounds about a bright disc that the model drew in the corner; patients "p0", "p1" …."""
    rounds = []
    for number in range(count):
        rng = np.random.default_rng(number)
        row, column = rng.uniform(16, 30), rng.uniform(20, 44)
        truth, wrong = make_disc(row, column), make_disc(8, 8, 5)
        grey = np.where(truth.to_array(), 200, rng.integers(0, 60, SHAPE)).astype(np.uint8)
        image = np.repeat(grey[..., None], 3, 2)
        after = truth if verdict == "corrected" else wrong
        prompts = Prompts(((column, row),), (True,)) if verdict == "corrected" else Prompts()
        reason = "leak" if verdict == "corrected" else ""
        mask = JudgedMask(structure, wrong, after, verdict, reason, prompts, 12.0)
        key = hash_image(image)
        rounds.append(
            JudgedRound(
                10 * number + 1,
                f"case{number}",
                f"p{number}",
                key,
                {key: image},
                Conversation(),
                f"Segment the {structure}.",
                (),
                (mask,),
                utc=f"2026-11-24T03:{number:02d}:00Z",
            )
        )
    return rounds


def carry(round_: JudgedRound) -> JudgedRound:
    """Return a round whose mask was carried from the one of another round."""
    (mask,) = round_.masks
    answer = Answer("", (Target(mask.structure, mask.after, 0.9),), image=round_.image)
    earlier = Conversation((Round(1, 2, round_.text, (), answer),))
    text, references = "Carry [1] to plane 3.", (Reference(1),)
    return replace(round_, conversation=earlier, text=text, references=references, carried=True)
