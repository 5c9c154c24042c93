"""How much faster a turn is with the caches than on the published schedule, on the same weights.

Published: the image encoder and the whole dialogue run again each round, the answer token by token. Ours:
`set_image` once, the key-value prefix kept, the answer foreseen (`model.drafts`). Prints ``ratio=`` of the
mean turn from round 2 on and exits non-zero when it is under 4 or a mask differs.
``python tests/bench/warm_turn.py``
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

import napari_mediround.resources
from napari_mediround.domain.rounds import Conversation, Round
from napari_mediround.domain.windows import render_plane
from napari_mediround.inference.predictor import Predictor
from napari_mediround.io import read_study
from napari_mediround.questions.references import resolve_references

QUESTIONS = (
    "Segment the liver.",
    "Segment the right kidney.",
    "Its mirror on the other side.",
    "Segment the spleen.",
    "Segment the aorta.",
    "The vertebra behind [5].",
    "Segment the stomach.",
    "Segment [4] again.",
)
LINE = 4.0


def run_dialogue(
    predictor: Predictor, image: np.ndarray, published: bool
) -> tuple[Conversation, list[float]]:
    """Return the rounds and the seconds of each; `published` drops every cache before each round."""
    conversation, seconds = Conversation(), []
    predictor.forget()
    predictor.reader.drafting = not published
    for index, text in enumerate(QUESTIONS, 1):
        began = time.perf_counter()
        if published:
            predictor.forget()
        predictor.set_image(image)
        named = [r for r in conversation.rounds if r.targets]
        references = resolve_references(text, conversation) if named else ()
        answer = predictor.ask(text, conversation, references)
        seconds.append(time.perf_counter() - began)
        conversation = conversation.add(Round(index, 0, text, references, answer))
    return conversation, seconds


def dice(first: np.ndarray, second: np.ndarray) -> float:
    """Return the Dice overlap; two empty masks agree."""
    total = first.sum() + second.sum()
    return 2 * (first & second).sum() / total if total else 1.0


def main() -> int:
    """Run both ways and compare."""
    sample = Path(napari_mediround.resources.__file__).parent / "sample/ct_abdomen/image.nii.gz"
    study = read_study(sample)
    image = render_plane(study, study.planes // 2)
    predictor = Predictor.from_preset("lite")
    run_dialogue(predictor, image, False)
    ours, fast = run_dialogue(predictor, image, False)
    theirs, slow = run_dialogue(predictor, image, True)
    masks = [
        [t.mask.to_array() for r in conversation.rounds for t in r.targets] for conversation in (ours, theirs)
    ]
    texts = [[r.answer.text for r in conversation.rounds] for conversation in (ours, theirs)]
    overlap = [dice(a, b) for a, b in zip(*masks, strict=True)] if texts[0] == texts[1] else [0.0]
    ratio = sum(slow[1:]) / sum(fast[1:])
    for k, (a, b) in enumerate(zip(fast, slow, strict=True), 1):
        print(f"round {k}: ours {a:.2f} s, published schedule {b:.2f} s  {texts[0][k - 1]}")
    print(f"masks={len(masks[0])} lowest_dice={min(overlap):.4f}")
    print(f"ratio={ratio:.2f}")
    return 0 if ratio >= LINE and min(overlap) >= 0.999 else 1


if __name__ == "__main__":
    sys.exit(main())
