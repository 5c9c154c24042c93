"""What every stage of training does beside learning: rates, a log of means, checkpoints. Knows no model."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from napari_mediround.files import write_whole
from napari_mediround.training.stages.losses import cosine_schedule

LOG_EVERY = 20
"""Steps from line to line of a log."""


def set_rates(
    optimiser: torch.optim.Optimizer, rates: Sequence[float], step: int, steps: int, warmup: int
) -> None:
    """Give each parameter group its learning rate at a step of the cosine schedule."""
    for group, rate in zip(optimiser.param_groups, rates, strict=True):
        group["lr"] = rate * cosine_schedule(step, steps, warmup)


def half_precision(device: torch.device, wanted: bool) -> torch.autocast:
    """Return a context in which products are made in bfloat16, where wanted."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


class MeanLog:
    """Loss and Dice as JSON lines, means of `LOG_EVERY` steps.

    Parameters
    ----------
    path : Path
        Grows by a line each time.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._began = path, time.monotonic()
        self._steps: list[tuple[float, float]] = []

    def add(self, step: int, loss: float, ious: torch.Tensor) -> None:
        """Take in a step (from 0): its loss and the IoU of its masks."""
        self._steps.append((loss, float((2 * ious / (1 + ious)).mean())))
        if step % LOG_EVERY == LOG_EVERY - 1:
            loss, dice = np.mean(self._steps, 0).round(4).tolist()
            seconds = round(time.monotonic() - self._began, 1)
            line = {"step": step + 1, "loss": loss, "dice": dice, "seconds": seconds}
            with open(self._path, "a") as file:
                file.write(json.dumps(line) + "\n")
            self._steps = []


def save_checkpoint(path: Path, state: dict) -> None:
    """Save a checkpoint whole or not at all."""
    write_whole(path, lambda part: torch.save(state, part))
