"""Features of an image between the steps of the figure: encoded, decoder features, decoded."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mediround.model.crop import Frame


@dataclass(frozen=True)
class Seen:
    """Decoder features: B planes as the mask decoder sees them.

    Parameters
    ----------
    embedding : Tensor
        (B, C, h, w) embedding with the context added.
    detail : Tensor, optional
        (B, D, H, W) features on a finer grid; None for a model without them.
    """

    embedding: Tensor
    detail: Tensor | None = None

    def take(self, rows: list[int]) -> Seen:
        """Return selected planes, in any order, also repeatedly."""
        return Seen(self.embedding[rows], None if self.detail is None else self.detail[rows])

    def split(self) -> list[Seen]:
        """Return each plane on its own."""
        count = len(self.embedding)
        details = [None] * count if self.detail is None else self.detail.split(1)
        return [Seen(*pair) for pair in zip(self.embedding.split(1), details, strict=True)]


@dataclass(frozen=True)
class ImageFeatures:
    """An encoded image: everything that later rounds need.

    Parameters
    ----------
    embedding : Tensor
        (1, C, h, w) embedding of the crop by the segmentation encoder.
    tokens : Tensor
        (T, F) raw features of the crop for the language model.
    image : ndarray
        uint8 (H, W, 3), the whole plane.
    frame : Frame
        The crop.
    seen : Seen, optional
        The decoder features, if they were computed already.
    """

    embedding: Tensor
    tokens: Tensor
    image: NDArray[np.uint8]
    frame: Frame
    seen: Seen | None = None

    @property
    def part(self) -> NDArray[np.uint8]:
        """The crop of the image, uint8 (h, w, 3)."""
        return self.frame.cut(self.image)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape (H, W) of the plane."""
        return self.image.shape[:2]

    def to(self, device: torch.device, dtype: torch.dtype) -> ImageFeatures:
        """Return the features on another device."""
        return replace(self, embedding=self.embedding.to(device, dtype), tokens=self.tokens.to(device))


@dataclass(frozen=True)
class Decoded:
    """N decoded masks.

    Parameters
    ----------
    logits : Tensor
        (N, 4h, 4w) mask logits on the padded model square.
    iou : Tensor
        (N,), SAM's own estimate of the IoU.
    token : Tensor
        (N, C) mask tokens of the decoder.
    quality : Tensor
        (N,), judged IoU 0…1; empty before judging.
    corrected : Tensor
        bool (N,), whether the corrector's mask was kept.
    """

    logits: Tensor
    iou: Tensor
    token: Tensor
    quality: Tensor
    corrected: Tensor
