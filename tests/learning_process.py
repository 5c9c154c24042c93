"""A process that learns: killed, started again, or one of several. ``learning_process.py OUT [KILL_AT]``."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import torch
from lessons import make_rounds

from napari_mediround.model.build import build_mediround
from napari_mediround.training.learning.recipe import LearningSettings
from napari_mediround.training.learning.routine import Learner, Samples
from napari_mediround.training.learning.samples import write_sample

SETTINGS = LearningSettings(
    words_steps=3, words_lessons=2, steps=6, coarse=4, masks=3, rehearsed=1, check_every=2, patience=9
)


def make_learner(folder: Path, settings: LearningSettings = SETTINGS, **calls) -> Learner:
    """Return a learner on the random model: four corrections, two to stop by, one to rehearse."""
    model = build_mediround("tiny")

    def lessons(rounds):
        return [write_sample(model, round_, torch.no_grad()(model.encode_image)) for round_ in rounds]

    rounds = make_rounds(6)
    rehearsed = lessons(make_rounds(1, "spleen", "accepted"))
    return Learner(
        model, Samples(lessons(rounds[:4]), lessons(rounds[4:]), rehearsed), settings, folder, **calls
    )


def main(out: Path, kill_at: int = 0) -> None:
    """Learn; write what came out, or die at a step of the masks."""

    def watch(progress) -> None:
        if kill_at and (progress.phase, progress.step) == ("masks", kill_at):
            os.kill(os.getpid(), signal.SIGKILL)

    learner = make_learner(out, progress=watch)
    learned = learner.run()
    if learner.accelerator.is_main_process:
        torch.save(learned.state, out / "state.pt")
        (out / "log.json").write_text(json.dumps(learned.log))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
