"""The training loop of all stages: steps, learning rates, a log, checkpoints. Knows no model."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from transformers import get_cosine_schedule_with_warmup

from napari_mediround.files import write_whole


def half_precision(device: torch.device, wanted: bool) -> torch.autocast:
    """Return a context in which torch multiplies in bfloat16 if wanted."""
    return torch.autocast(device.type, torch.bfloat16, enabled=wanted)


def save_checkpoint(path: Path, state: dict) -> None:
    """Save a checkpoint; the file gets its name only when it is whole."""
    write_whole(path, lambda part: torch.save(state, part))


@dataclass(frozen=True)
class Schedule:
    """How long a stage learns, and how its learning rates change.

    Parameters
    ----------
    steps, warmup : int
        Number of steps, and of those in which the rates rise.
    weight_decay : float
        Weight decay of groups without their own.
    """

    steps: int
    warmup: int
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Memory:
    """What the checkpoints of a stage hold.

    Parameters
    ----------
    keep : callable
        Returns the content of a checkpoint, apart from optimiser and step.
    recall : callable
        Loads a checkpoint; returns False if the checkpoint does not fit, and the stage begins anew.
    every : int
        Steps from one checkpoint to the next.
    """

    keep: Callable[[], dict]
    recall: Callable[[dict], bool]
    every: int = 100


class Descent:
    """AdamW with a linear warm-up, then half a cosine to 0; gradients clipped to norm 1.

    Parameters
    ----------
    groups : sequence of dict
        Parameter groups as torch takes them: "params", "lr" and others.
    schedule : Schedule
    """

    def __init__(self, groups: Sequence[dict], schedule: Schedule) -> None:
        self.optimiser = torch.optim.AdamW(groups, weight_decay=schedule.weight_decay)
        self.schedule = get_cosine_schedule_with_warmup(self.optimiser, schedule.warmup, schedule.steps)

    def learn(self, loss: Tensor) -> None:
        """Take one optimiser step down the gradient of a loss."""
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimiser.param_groups for p in g["params"]], 1.0)
        self.optimiser.step()
        self.schedule.step()


class Loop(Descent):
    """The steps of a stage. A new loop on the same path goes on from the last checkpoint.

    The loop yields each remaining step with a random generator for that step; its body calls `learn` once.
    ``<path>.jsonl`` gets the means of every `log_every` steps. ``<path>.pt`` is saved as `memory` says, and
    at the end.

    Parameters
    ----------
    path : Path
        Folder and name of the stage, without an ending.
    groups, schedule
        As in `Descent`.
    seed : sequence of int
        Together with the number of the step, the seed of its generator.
    memory : Memory
        What the checkpoints hold.
    log_every : int
        Steps.
    """

    def __init__(
        self,
        path: Path,
        groups: Sequence[dict],
        schedule: Schedule,
        seed: Sequence[int],
        memory: Memory,
        log_every: int = 20,
    ) -> None:
        super().__init__(groups, schedule)
        self.start, self.steps, self._seed, self._memory = 0, schedule.steps, seed, memory
        self._log, self._checkpoint = path.with_suffix(".jsonl"), path.with_suffix(".pt")
        self._log_every = log_every
        self._measured: list[dict[str, float]] = []
        self._began = time.monotonic()
        if self._checkpoint.exists():
            device = self.optimiser.param_groups[0]["params"][0].device
            saved = torch.load(self._checkpoint, map_location=device, weights_only=True)
            if memory.recall(saved):
                self.optimiser.load_state_dict(saved["optimiser"])
                self.start = saved["step"]
                self.schedule.last_epoch = self.start

    def __iter__(self) -> Iterator[tuple[int, np.random.Generator]]:
        """Yield each step, from 0, and its random generator."""
        for step in range(self.start, self.steps):
            yield step, np.random.default_rng([*self._seed, step])
            if (step + 1) % self._log_every == 0:
                self._write_log(step + 1)
            if (step + 1) % self._memory.every == 0 or step + 1 == self.steps:
                state = {**self._memory.keep(), "optimiser": self.optimiser.state_dict(), "step": step + 1}
                save_checkpoint(self._checkpoint, state)

    def learn(self, loss: Tensor, **measures: float) -> None:
        """Take one step; the log gets the loss and `measures`."""
        super().learn(loss)
        self._measured.append({"loss": loss.item(), **measures})

    def _write_log(self, step: int) -> None:
        keys = dict.fromkeys(key for row in self._measured for key in row)
        means = {k: round(float(np.mean([r[k] for r in self._measured if k in r])), 4) for k in keys}
        line = {"step": step, **means, "seconds": round(time.monotonic() - self._began, 1)}
        with open(self._log, "a") as file:
            file.write(json.dumps(line) + "\n")
        self._measured = []


def mean_dice(ious: Tensor) -> float:
    """Return the mean Dice of masks from their IoU, (N,)."""
    return float((2 * ious / (1 + ious)).mean())
