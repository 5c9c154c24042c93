"""Ask about a labelled plane, or as an MR-MedSeg dialogue does, and pair each answer with its truth.

The text runs free and the conversation holds the model's own masks. Knows no score of several answers and
writes no file.

References
----------
MediRound, arXiv 2511.12110. Where we differ: its released code feeds the true answers' text back during
evaluation; here only what the model itself said stands in the conversation.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round, Target
from napari_mediround.domain.windows import render_plane
from napari_mediround.errors import SettingsError, UnreadableFileError
from napari_mediround.io import read_study
from napari_mediround.io.mrmedseg import IMAGE, TARGET, MrDialogue, locate
from napari_mediround.training.data.sets import LabelledPlane
from napari_mediround.training.dialogues.turns import join_names
from napari_mediround.training.evaluation.baselines import fill_box, threshold_in_box
from napari_mediround.training.evaluation.metrics import Score, dice

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor

MAX_ROUNDS = 6
"""A plane with more structures is asked about in several conversations of at most so many rounds."""


@dataclass(frozen=True)
class Settings:
    """What is asked.

    Parameters
    ----------
    split : str
        Of sets that have splits; others are evaluated whole.
    min_px : int
        Fewest pixels of a mask that counts, on the original grid.
    planes : int
        Most planes of a volume, evenly spaced over those that show a label.
    limit : int or None
        Most cases of a set (dialogues of a file), evenly spaced.
    structures : int or None
        Most structures asked for on a plane, the first of the drawn order.
    seed : int
        Of the order in which the structures of a plane are asked for, and of the confidence intervals.

    Raises
    ------
    SettingsError
        When a number is below 1.
    """

    split: str = "val"
    min_px: int = 20
    planes: int = 3
    limit: int | None = None
    structures: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("min_px", "planes", "limit", "structures"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise SettingsError(f"{name} is {value}; it must be at least 1.")


@dataclass(frozen=True)
class Asked:
    """One question as it was answered.

    Parameters
    ----------
    structure : str
        As asked; "" where the data does not say.
    image : ndarray
        uint8 (H, W, 3), what the model saw.
    truth : ndarray
        bool (H, W).
    target : Target or None
        The mask that answers; None without one.
    round : int
        1-based number in its conversation.
    """

    structure: str
    image: NDArray[np.uint8]
    truth: NDArray[np.bool_]
    target: Target | None
    round: int

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The answer as bool (H, W); empty without one."""
        return np.zeros_like(self.truth) if self.target is None else self.target.mask.to_array()

    def score(self, subject: str) -> Score:
        """Compare the answer and the baselines with the truth."""
        score = score_target(self.structure, subject, self.round, self.target, self.truth)
        filled, thresholded = fill_box(self.truth), threshold_in_box(self.image, self.truth)
        return replace(score, box_fill_dice=dice(filled, self.truth), otsu_dice=dice(thresholded, self.truth))


def score_target(
    structure: str, subject: str, round_: int, target: Target | None, truth: NDArray[np.bool_]
) -> Score:
    """Compare a mask, or none, with the truth, bool (H, W); without the baselines."""
    mask = np.zeros_like(truth) if target is None else target.mask.to_array()
    return Score(
        structure,
        subject,
        round_,
        int((mask & truth).sum()),
        int(mask.sum()),
        int(truth.sum()),
        target is not None,
        None if target is None else target.quality,
    )


def ask_by_name(names: Iterable[str]) -> str:
    """Return the plain question for structures: "Segment the liver and the spleen."."""
    return f"Segment {join_names([f'the {name}' for name in names])}."


def spoken_name(label: str) -> str:
    """Return how a label is asked for: its words without bracketed remarks.

    A class name in one word with underscores ("kidney_left") is put into the words of the anatomy.
    """
    bare = " ".join(re.sub(r"\([^)]*\)|\[[^\]]*\]", " ", label).split())
    return load_anatomy().normalise(bare) if "_" in bare else bare


def visible_structures(plane: LabelledPlane, min_px: int = 20) -> dict[str, NDArray[np.bool_]]:
    """Return spoken name to mask (H, W) for what has at least `min_px` px; labels of one name are united."""
    values: dict[str, list[int]] = {}
    for value, label in sorted(plane.names.items()):
        if value:
            values.setdefault(spoken_name(label), []).append(value)
    masks = {name: np.isin(plane.labels, own) for name, own in values.items()}
    return {name: mask for name, mask in masks.items() if mask.sum() >= min_px}


def choose_target(answer: Answer, structure: str) -> Target | None:
    """Return the answer's mask of that name, by any synonym, else its first, else None."""
    anatomy = load_anatomy()
    wanted = anatomy.normalise(structure)
    named = (t for t in answer.targets if anatomy.normalise(t.structure) == wanted)
    return next(named, answer.targets[0] if answer.targets else None)


def ask_plane(segmenter: Predictor, plane: LabelledPlane, settings: Settings) -> Iterator[Asked]:
    """Ask for every visible structure of a plane, one a round, as one conversation after another.

    The image is encoded once. The order is drawn by seed and plane, so that a structure does not always
    stand in the same round.

    Parameters
    ----------
    segmenter : Predictor
        Or anything else with its `set_image` and `ask`.
    plane : LabelledPlane
    settings : Settings
    """
    truths = visible_structures(plane, settings.min_px)
    if not truths:
        return
    segmenter.set_image(plane.image, plane.view if plane.oriented else "", plane.modality, plane.spacing_mm)
    rng = np.random.default_rng([settings.seed, zlib.crc32(plane.source.encode())])
    conversation, number = Conversation(), int(plane.source.rpartition("/")[2])
    for name in rng.permutation(sorted(truths))[: settings.structures].tolist():
        if len(conversation) == MAX_ROUNDS:
            conversation = Conversation()
        text = ask_by_name([name])
        answer = segmenter.ask(text, conversation, ())
        conversation = conversation.add(Round(len(conversation) + 1, number, text, (), answer))
        yield Asked(name, plane.image, truths[name], choose_target(answer, name), len(conversation))


def ask_dialogue(segmenter: Predictor, dialogue: MrDialogue, root: Path) -> Iterator[Asked]:
    """Ask the questions of an MR-MedSeg dialogue as written, brackets removed.

    A question refers to the masks that the model itself gave in the rounds of its `ind`; one of a round
    that was answered without a mask is left out. Several targets of a turn are compared in their order.

    Raises
    ------
    UnreadableFileError
        When a file is missing or damaged, a mask has another grid than its image, or the first turn has
        no image.
    """
    conversation, image = Conversation(), None
    for turn in dialogue.turns:
        for path in turn.paths(IMAGE):
            image = render_plane(read_study(locate(root, path)), 0)
            segmenter.set_image(image)
        if image is None:
            raise UnreadableFileError(root, f"no image goes with {turn.text!r}", "Add [IMAGE256:path] to it.")
        references = tuple(
            Reference(k + 1, number)
            for k in turn.ind
            for number in range(1, len(conversation.rounds[k].targets) + 1)
        )
        answer = segmenter.ask(turn.text, conversation, references)
        conversation = conversation.add(Round(len(conversation) + 1, 0, turn.text, references, answer))
        for number, path in enumerate(turn.paths(TARGET)):
            target = answer.targets[number] if number < len(answer.targets) else None
            truth = _read_mask(locate(root, path), image.shape[:2])
            yield Asked("", image, truth, target, len(conversation))


def _read_mask(path: Path, shape: tuple[int, int]) -> NDArray[np.bool_]:
    pixels = read_study(path).pixels[0]
    if pixels.shape[:2] != shape:
        cause = "the mask has another grid than its image"
        raise UnreadableFileError(path, cause, "Resample it to the image.")
    grey = pixels.max(-1) if pixels.ndim == 3 else pixels
    # 255 is foreground; half of it, so that the noise of a lossy mask stays out, and 0/1 masks work too.
    return grey > max(int(grey.max()), 1) // 2
