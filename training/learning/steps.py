"""The computation of a learning step: words, hidden states, masks. One `forward`, for DDP and FSDP.

Knows no optimiser and no journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mediround.model.context import resize
from napari_mediround.model.features import Decoded, DecoderFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.training.learning.samples import Sample
from napari_mediround.training.stages.losses import dice_loss, iou, mask_loss
from napari_mediround.training.stages.prompts import decode_prompted


@dataclass(frozen=True)
class Item:
    """One mask of a step.

    Parameters
    ----------
    sample : Sample
        Sample of the mask.
    index : int
        Index of the mask in the sample.
    state : Tensor
        (D,), the hidden state that predicts its `[SEG]`.
    coarse : bool
        Whether to use half the grid of the embedding, at a fifth of the time.
    seed : tuple of int or None
        Seed of the prompts, drawn as the sample says; None for words alone.
    target : Tensor or None
        (4g, 4g), 0…1, with g of the decoded grid: the mask before learning, to be kept; None for the mask of
        the sample.
    """

    sample: Sample
    index: int
    state: Tensor
    coarse: bool = False
    seed: tuple[int, ...] | None = None
    target: Tensor | None = None


@dataclass(frozen=True)
class Read:
    """Result of reading a sample with its right answer.

    Parameters
    ----------
    states, vectors : Tensor
        Hidden states (N, D) that predict each `[SEG]`, and their SEG vectors (N, C).
    loss : Tensor
        Cross entropy of the answer's tokens; 0 if the right words are unknown.
    right : float
        Share of the answer's tokens that the model predicts; 1 if the right words are unknown.
    """

    states: Tensor
    vectors: Tensor
    loss: Tensor
    right: float


class Stage(nn.Module):
    """The steps of learning on a model.

    Parameters
    ----------
    model : MediRound
        With an adapter attached.
    """

    def __init__(self, model: MediRound) -> None:
        super().__init__()
        self.model = model
        self._seen: dict[tuple[int, bool], tuple[Sample, DecoderFeatures]] = {}

    def forward(self, what: str, *arguments):
        """Run "read", "words", "masks" or "decode", the methods of these names."""
        return getattr(self, what)(*arguments)

    def read(self, sample: Sample) -> Read:
        """Read one sample with its right answer."""
        model, language = self.model, self.model.language
        hidden = language.hidden(model.embed_pieces(sample.pieces, sample.raw))[0]
        states = hidden[sample.segs]
        vectors = model.project_seg(states)
        if not sample.supervised:
            return Read(states, vectors, hidden.sum() * 0, 1.0)
        wanted = torch.tensor([sample.pieces[p + 1] for p in sample.supervised], device=hidden.device)
        logits = language.logits(hidden[sample.supervised]).float()
        right = (logits.argmax(1) == wanted).float().mean().item()
        return Read(states, vectors, F.cross_entropy(logits, wanted), right)

    def words(self, samples: Sequence[Sample], aims: Sequence[Tensor]) -> Tensor:
        """Return the loss (L,) of the words of samples; `aims` are the SEG vectors (N, C) to keep."""
        losses = []
        for sample, aim in zip(samples, aims, strict=True):
            read = self.read(sample)
            moved = (read.vectors - aim).pow(2).mean() / aim.var().clamp_min(1e-6)
            losses.append(read.loss + moved)
        return torch.stack(losses)

    def masks(self, items: Sequence[Item]) -> tuple[Tensor, Tensor]:
        """Return loss and Dice of each item, both (I,)."""
        pairs = [self._mask(item) for item in items]
        return torch.stack([loss for loss, _ in pairs]), torch.stack([dice for _, dice in pairs])

    def _mask(self, item: Item) -> tuple[Tensor, Tensor]:
        device, sample = self.model.device, item.sample
        masks = sample.masks[item.index][None]
        emphasis = torch.from_numpy(sample.emphasis[item.index])[None].to(device)
        seen = self._see(sample, item.coarse)
        vectors = self.model.project_seg(item.state[None].to(device))
        if item.seed is None:
            decoded = self.model.decode(seen, vectors)
        else:
            rng = np.random.default_rng(item.seed)
            decoded = decode_prompted(self.model, seen, vectors, masks, sample.prompts, rng)
        truth = torch.from_numpy(masks).to(device)
        logits = resize(decoded.logits[:, None], truth.shape[-2:])[:, 0]
        overlap = iou(logits.detach(), truth)
        if item.target is not None:
            loss = mask_loss(decoded.logits, item.target[None].to(device))[0]
        else:
            loss = _emphasised_loss(logits, truth, emphasis) + 0.1 * F.mse_loss(decoded.iou, overlap)
        return loss, (2 * overlap / (1 + overlap))[0]

    @torch.no_grad()
    def _see(self, sample: Sample, coarse: bool) -> DecoderFeatures:
        """Return the decoder features of a sample. They are kept, because learning does not change them."""
        key = id(sample), coarse
        if key not in self._seen:
            embedding = sample.embedding[None].to(self.model.device).float()
            pixels = sample.pixels[None].to(self.model.device).float()
            seen = self.model.look(F.avg_pool2d(embedding, 2) if coarse else embedding, pixels)
            self._seen[key] = sample, seen  # with the sample, so that no other gets its id
        return self._seen[key][1]

    def decode(self, sample: Sample, states: Tensor, coarse: bool = False) -> tuple[Decoded, Tensor]:
        """Decode all masks of a sample by words; return masks and the logits of the judge (N,)."""
        seen, vectors = self._see(sample, coarse), self.model.project_seg(states.to(self.model.device))
        decoded = self.model.decode(seen, vectors)
        embedding = sample.embedding[None].to(self.model.device).float()
        if coarse:
            embedding = F.avg_pool2d(embedding, 2)
        judged = self.model.judge(vectors, embedding, decoded.logits, decoded.token, decoded.iou)
        return decoded, judged.float()


def _emphasised_loss(logits: Tensor, truth: Tensor, emphasis: Tensor) -> Tensor:
    """Return the paper's mask loss of one mask (1, h, w), each pixel's entropy weighted by `emphasis`."""
    pixel = F.binary_cross_entropy_with_logits(logits.float(), truth.float(), reduction="none")
    return 2.0 * (pixel * emphasis).sum() / emphasis.sum() + 0.5 * dice_loss(logits, truth)[0]
