"""How fast corrections are learned: a step from kept embeddings against one with the encoder in the loop.

Both steps learn one mask, on the grid that the recipe learns on; the full grid is printed beside it. In the
loop, image encoder, context and language model run for the mask each time; ours reads the plane as the
decoder sees it and the hidden state, both kept. Then 20 corrections are learned with the recipe as it is,
bundled planes rehearsed. Prints ``ratio=`` and ``seconds=`` and exits non-zero when the ratio is under 10 or
the time over 60 s. Random heads where the trained ones are missing: the same
arithmetic. ``python tests/bench/lora_step.py``
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
import torch

import napari_mediround.resources
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation
from napari_mediround.domain.windows import render_plane
from napari_mediround.inference.cache import FeatureStore, hash_image
from napari_mediround.io import read_study
from napari_mediround.model.adapter import Adapter
from napari_mediround.model.build import build_mediround
from napari_mediround.model.features import ImageFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.training.learning.recipe import LearningSettings
from napari_mediround.training.learning.rehearsal import load_rehearsal
from napari_mediround.training.learning.routine import Learner, Samples
from napari_mediround.training.learning.samples import JudgedMask, JudgedRound, Sample, write_sample
from napari_mediround.training.learning.steps import Item, Stage
from napari_mediround.weights import check

LEAST_RATIO, MOST_SECONDS = 10.0, 60.0
REPEATS = 5


def make_corrections(count: int = 20) -> list[JudgedRound]:
    """Return corrections on planes of the bundled case: the model drew a box, the person the label."""
    sample = Path(napari_mediround.resources.__file__).parent / "sample/ct_abdomen"
    study, labels = read_study(sample / "image.nii.gz"), read_study(sample / "labels.nii.gz").pixels
    value = max(np.unique(labels[labels > 0]), key=lambda v: (labels == v).any((1, 2)).sum())
    planes = np.flatnonzero((labels == value).sum((1, 2)) > 100)
    rounds = []
    for plane in planes[np.linspace(0, len(planes) - 1, count).astype(int)]:
        image, truth = render_plane(study, int(plane)), labels[plane] == value
        box = np.zeros_like(truth)
        rows, columns = np.where(truth)
        box[rows.min() : rows.max(), columns.min() : columns.max()] = True
        mask = JudgedMask("liver", Mask.from_array(box), Mask.from_array(truth), "corrected", "leak")
        key, text = hash_image(image), "Segment the liver."
        rounds.append(
            JudgedRound(int(plane), "c", str(plane), key, {key: image}, Conversation(), text, (), (mask,))
        )
    return rounds


def seconds_of(work) -> float:
    """Return the median of a few runs, after one to warm up."""
    work()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        work()
        taken.append(time.perf_counter() - began)
    return median(taken)


def time_steps(model: MediRound, lesson: Sample, image: np.ndarray, coarse: bool) -> tuple[float, float]:
    """Return the seconds of a step from kept features and of one with everything in the loop."""
    adapter, stage = Adapter(model), Stage(model)
    model.requires_grad_(False)
    parameters = [*adapter.language_parameters(), *adapter.head_parameters()]
    for parameter in parameters:
        parameter.requires_grad_(True)
    optimiser = torch.optim.AdamW(parameters)
    with torch.no_grad():
        state = stage.read(lesson).states[0]

    def step(item: Item, more: torch.Tensor | float = 0.0) -> None:
        loss = stage.masks([item])[0].mean() + more
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    def in_the_loop() -> None:
        with torch.no_grad():
            model.encode_image(image)
        stage._seen.clear()
        read = stage.read(lesson)
        step(Item(lesson, 0, read.states[0], coarse), read.loss)

    kept = seconds_of(lambda: step(Item(lesson, 0, state, coarse)))
    loop = seconds_of(in_the_loop)
    adapter.detach()
    return kept, loop


def main() -> int:
    """Time the steps, then learn 20 corrections."""
    model = build_mediround("lite", untrained=check("mediround_lite").word != "ok")
    rounds = make_corrections()
    store = FeatureStore("bench", most=99)

    @torch.no_grad()
    def encode(image: np.ndarray) -> ImageFeatures:
        key = hash_image(image)
        if store.get(key) is None:
            store.put(key, model.encode_image(image))
        return store.get(key)

    lessons = [write_sample(model, round_, encode) for round_ in rounds]
    rehearsed = [write_sample(model, round_, encode) for round_ in load_rehearsal()[0]]
    image, ratios = next(iter(rounds[0].images.values())), {}
    for coarse in (False, True):
        kept, loop = time_steps(model, lessons[0], image, coarse)
        ratios[coarse] = loop / kept
        grid = "half" if coarse else "full"
        print(f"a step of one mask, {grid} grid: kept {1000 * kept:.0f} ms, in the loop {1000 * loop:.0f} ms")
    settings = LearningSettings()
    ratio = ratios[settings.coarse == settings.steps]
    print(f"on the full grid {ratios[False]:.1f} times\nratio={ratio:.1f}")
    with tempfile.TemporaryDirectory() as folder:
        learned = Learner(model, Samples(lessons[:16], lessons[16:], rehearsed), settings, Path(folder)).run()
    steps = {phase: sum(line["phase"] == phase for line in learned.log) for phase in ("words", "masks")}
    print(f"20 corrections: {steps['words']} steps of words, {steps['masks']} of masks, best {learned.step}")
    print(f"seconds={learned.seconds:.1f}")
    return 0 if ratio >= LEAST_RATIO and learned.seconds <= MOST_SECONDS else 1


if __name__ == "__main__":
    sys.exit(main())
