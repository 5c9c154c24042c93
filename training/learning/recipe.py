"""The recipe of learning from corrections, and what learning reports. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from napari_mediround.errors import SettingsError
from napari_mediround.model.adapter import AdapterShape
from napari_mediround.settings import read_toml, to_settings


@dataclass(frozen=True)
class LearningSettings:
    """The recipe of learning from corrections.

    Parameters
    ----------
    words_steps, words_lessons : int
        Largest number of steps of the language model, and samples of each step.
    steps, coarse : int
        Largest number of steps of the mask decoder; how many of the first ones run on half the grid.
    masks, rehearsed : int
        Masks of a step from the corrections, and bundled masks that should stay unchanged.
    bundled : int
        Largest number of bundled planes to draw from.
    language_rate, head_rate : float
        AdamW learning rates of LoRA on the language model, and on SEG projection and mask decoder.
    keep : float
        Share of the earlier SEG projection and mask decoder, 0…1, that may stay in the adapter. A few images
        are soon learned by heart (see `RunSettings.keep`), but if much was wrong, much must be learned. The
        check decides whether this mean or all of the learned weights is better.
    check_every, patience : int
        Steps between checks; number of checks without a gain after which learning stops.
    language_rank, head_rank : int
        Ranks of LoRA.
    seed : int
        Seed of every draw.
    """

    words_steps: int = 24
    words_lessons: int = 2
    steps: int = 32
    coarse: int = 32
    masks: int = 4
    rehearsed: int = 2
    bundled: int = 8
    language_rate: float = 3e-4
    head_rate: float = 1e-3
    keep: float = 0.5
    check_every: int = 16
    patience: int = 4
    language_rank: int = 8
    head_rank: int = 8
    seed: int = 0

    @property
    def shape(self) -> AdapterShape:
        """The ranks in the form that an adapter takes."""
        return AdapterShape(self.language_rank, self.head_rank)


@dataclass(frozen=True)
class Progress:
    """How far learning has come.

    Parameters
    ----------
    phase : str
        "words" or "masks".
    step, steps : int
        Steps done, and largest number of steps, in this phase.
    loss : float
        Loss of the step.
    dice : float or None
        Dice of the corrected masks of the step.
    checked : float or None
        Score of the best check so far, lower is better.
    seconds, left : float
        Seconds since the start, and at most to go.
    checked_dice : float or None
        Mean Dice of that check's masks, from words alone.
    """

    phase: str
    step: int
    steps: int
    loss: float
    dice: float | None
    checked: float | None
    seconds: float
    left: float
    checked_dice: float | None = None


@dataclass(frozen=True)
class Learned:
    """The result of learning.

    Parameters
    ----------
    state : dict
        Tensors of the adapter at the last good step.
    finished : bool
        False when it was cancelled.
    step : int
        The last good step of the masks; 0 if nothing was better than before.
    before, after : float
        Scores of the check, lower is better.
    log : tuple of dict
        Phase, step, loss and Dice of every step.
    seconds : float
        Duration of this call.
    """

    state: dict[str, Tensor]
    finished: bool
    step: int
    before: float
    after: float
    log: tuple[dict, ...]
    seconds: float

    @property
    def is_new(self) -> bool:
        """Whether the adapter changes words or masks at all."""
        return self.step > 0 or any((value != 0).any() for n, value in self.state.items() if "lora_B" in n)


def read_learning(path: Path) -> LearningSettings:
    """Read a recipe of learning: a TOML file with one section, ``[learning]``.

    Raises
    ------
    SettingsError
        When the file cannot be read, or has an unknown key or a value of the wrong kind.
    """
    table = read_toml(path)
    values = table.pop("learning", {})
    if table:
        raise SettingsError(
            f"{path}: {', '.join(table)} is not known. Settings belong in the section [learning]."
        )
    return to_settings(LearningSettings, values, f"{path}, [learning]")
