"""A round as a training sample: the sequence to read, the right masks, and their weights.

The caller passes cached embeddings, so that the image encoder never runs twice. Knows no journal and no
optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Reference
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.inference.dialogue import DialogueReader
from napari_mediround.inference.question import Question
from napari_mediround.model.features import ImageFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prompt import SEG, compose_answer
from napari_mediround.model.sam import fit_to_square
from napari_mediround.training.data.warping import View, warp
from napari_mediround.training.evaluation.questioning import ask_by_name
from napari_mediround.training.stages.prompts import PromptSettings

Encode = Callable[[NDArray[np.uint8]], ImageFeatures]

REASON_WEIGHTS = {
    "": 1.0,
    "boundary": 1.0,
    "leak": 1.5,
    "miss": 1.5,
    "wrong side": 2.0,
    "wrong reference": 0.0,
}
"""How much a corrected mask counts. With a wrong reference nobody knows what the mask should be called."""

ACCEPTED_WEIGHT = 0.5
WRONG_PIXELS = 2.0
"""Additional weight of a pixel that the person changed."""

CARRIED_PROMPTS = PromptSettings(click_share=0.25, box_share=0.25, correction_share=0.5)
"""A carried mask came by box, not by words alone, and is not learned by them: others may bear its name."""


@dataclass(frozen=True)
class JudgedMask:
    """One mask of an answer, before and after a person judged it.

    Parameters
    ----------
    structure : str
        Name in the answer.
    before, after : Mask
        The model's mask, and the mask that the person left, whole even where other masks cover it.
    verdict : str
        "accepted", "corrected", "rejected", or "" for a mask that nobody judged.
    reason : str
        One of `domain.verdicts.REASONS`, or "".
    prompts : Prompts
        Clicks, box and painted pixels of the fix.
    seconds : float
        Time that the person took.
    """

    structure: str
    before: Mask
    after: Mask
    verdict: str = ""
    reason: str = ""
    prompts: Prompts = field(default_factory=Prompts)
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        """Number of pixels that the person changed."""
        return int((self.before.to_array() != self.after.to_array()).sum())

    @property
    def spoken(self) -> str:
        """Name that the answer should have given: the other side if the reason was a wrong side."""
        anatomy = load_anatomy()
        known = anatomy.find(self.structure)
        wrong = self.verdict == "corrected" and self.reason == "wrong side"
        return known.mirror if wrong and known and known.mirror else self.structure

    @property
    def weight(self) -> float:
        """Weight in learning; 0 for a mask that nobody accepted or corrected."""
        if self.verdict == "accepted":
            return ACCEPTED_WEIGHT
        if self.verdict != "corrected":
            return 0.0
        clicks = len(self.prompts.points_xy) + bool(self.prompts.box_xyxy) + bool(self.prompts.painted)
        return REASON_WEIGHTS[self.reason] * min(2.0, 1.0 + 0.2 * clicks)


@dataclass(frozen=True)
class JudgedRound:
    """One round with its verdicts.

    Parameters
    ----------
    number : int
        Number of its event in the journal.
    case, subject : str
        Salted hashes of image and patient.
    image : str
        Key of the plane asked about.
    images : mapping
        Key to uint8 (H, W, 3), of this plane and of every plane that a reference lies on.
    conversation : Conversation
        The earlier rounds, with masks as they were then.
    text : str
        The question.
    references : tuple of Reference
        The masks that the question points at.
    masks : tuple of JudgedMask
        Masks of the answer.
    absent : tuple of str
        Structures that the answer called not visible.
    adapter : str
        Adapter that was live.
    utc : str
        Time of the verdict.
    carried : bool
        Whether the mask was propagated from a neighbouring plane, so that nobody typed the text.
    """

    number: int
    case: str
    subject: str
    image: str
    images: Mapping[str, NDArray[np.uint8]]
    conversation: Conversation
    text: str
    references: tuple[Reference, ...]
    masks: tuple[JudgedMask, ...]
    absent: tuple[str, ...] = ()
    adapter: str = ""
    utc: str = ""
    carried: bool = False

    @property
    def teaches(self) -> bool:
        """Whether the round has a mask to learn from."""
        return any(mask.weight for mask in self.masks)

    @property
    def tests(self) -> bool:
        """Whether the round can be asked again and compared with a right mask."""
        return self.teaches and not self.carried


@dataclass(frozen=True)
class Sample:
    """A round as tensors.

    Parameters
    ----------
    embedding : Tensor
        float16 (C, g, g) of the plane.
    pixels : Tensor
        float16 (3, 4g, 4g), the pixels that the embedding encodes.
    pieces, raw : list, dict
        The dialogue with the right answer, and the raw features of its slots.
    supervised : list of int
        Positions whose next piece belongs to the answer; empty if the right words are unknown or not asked.
    segs : list of int
        Positions that predict `[SEG]`, one for each mask.
    names : list of str
        Structures of the masks.
    masks : ndarray
        bool (N, 4g, 4g), the right masks on the model square.
    refused : ndarray
        bool (N, 4g, 4g), the masks that a person rejected; empty for the others.
    emphasis : ndarray
        float32 (N, 4g, 4g), weight of each pixel.
    weights : ndarray
        float32 (N,), weight of each mask.
    prompts : PromptSettings
        The kinds of prompts with which the masks are learned.
    """

    embedding: Tensor
    pixels: Tensor
    pieces: list
    raw: dict
    supervised: list[int]
    segs: list[int]
    names: list[str]
    masks: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    emphasis: NDArray[np.float32]
    weights: NDArray[np.float32]
    prompts: PromptSettings


def touched_structures(rounds: Sequence[JudgedRound]) -> frozenset[str]:
    """Return preferred names of the structures that were corrected, of the masks that teach."""
    masks = [mask for round_ in rounds for mask in round_.masks if mask.weight]
    return frozenset(load_anatomy().normalise(m.spoken) for m in masks if m.verdict == "corrected")


def shown_structures(rounds: Sequence[JudgedRound]) -> frozenset[str]:
    """Return preferred names of all structures whose masks were found right."""
    masks = [mask for round_ in rounds for mask in round_.masks if mask.weight]
    return frozenset(load_anatomy().normalise(mask.spoken) for mask in masks)


def fit_mask(mask: NDArray[np.bool_], side: int) -> NDArray[np.bool_]:
    """Resample a mask (H, W) of a plane to the model square (side, side)."""
    square = fit_to_square(torch.from_numpy(np.ascontiguousarray(mask))[None, None].float(), side)
    return (square[0, 0] > 0.5).numpy()


@torch.no_grad()
def write_sample(model: MediRound, round_: JudgedRound, encode: Encode) -> Sample:
    """Turn a judged round into a sample.

    A propagated mask teaches no words: only its name is read, because its SEG vector came from the
    neighbouring mask and its text is not a question.

    Parameters
    ----------
    model : MediRound
        Its tokenizer, template and reference features are used.
    round_ : JudgedRound
        A round with at least one mask.
    encode : callable
        Takes a plane and returns its features, cached if possible.
    """
    features = {key: encode(image) for key, image in round_.images.items()}
    reader, own = DialogueReader(model, 1, 1), features[round_.image]

    def describe(key: str, mask: Mask) -> tuple[Tensor, Tensor]:
        on_device = features[key].to(model.device, torch.float32)
        return model.describe_reference(on_device, mask.to_array())

    names = [mask.spoken for mask in round_.masks]
    asked = Question(round_.text, round_.conversation, round_.references, round_.image)
    by_name = Question(ask_by_name(names), image=round_.image)
    prompt = reader.compose(by_name if round_.carried else asked, own.tokens, describe)
    answer = model.template.answer(model.language.encode, compose_answer(names, list(round_.absent)))
    start, seg = len(prompt.pieces), model.language.new_ids[SEG]
    segs = [start + i - 1 for i, piece in enumerate(answer) if piece == seg]
    right = [m.verdict in ("accepted", "corrected") and m.reason != "wrong reference" for m in round_.masks]
    sure = all(right) and not round_.carried
    side = 4 * own.embedding.shape[-1]

    def squares(chosen) -> NDArray[np.bool_]:
        return np.stack([fit_mask(own.frame.cut(mask.to_array()), side) for mask in chosen])

    before, after = squares(m.before for m in round_.masks), squares(m.after for m in round_.masks)
    rejected = np.array([m.verdict == "rejected" for m in round_.masks])
    return Sample(
        own.embedding[0].half().cpu(),
        model.fit_pixels(own.part)[0].half().cpu(),
        prompt.pieces + answer,
        {name: value.cpu() for name, value in prompt.raw.items()},
        list(range(start - 1, start + len(answer) - 1)) if sure else [],
        segs,
        names,
        after,
        before & rejected[:, None, None],
        (1 + WRONG_PIXELS * (before ^ after)).astype(np.float32),
        np.array([m.weight for m in round_.masks], np.float32),
        CARRIED_PROMPTS if round_.carried else PromptSettings(),
    )


def bend_sample(sample: Sample, rng: np.random.Generator) -> Sample:
    """Return a sample with plane and masks bent alike and the same words."""
    shown = np.stack([sample.masks, sample.emphasis > 1])
    view = warp(View(sample.embedding.float().numpy(), sample.pixels.float().numpy(), shown), rng, 1.0)
    masks, wrong = view.labels
    return replace(
        sample,
        embedding=torch.from_numpy(view.embedding).half(),
        pixels=torch.from_numpy(view.pixels).half(),
        masks=masks,
        emphasis=(1 + WRONG_PIXELS * wrong).astype(np.float32),
    )
