"""Features of an image between the steps of the figure: encoded, decoder features, decoded."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_mediround.model.crop import Crop


@dataclass(frozen=True)
class DecoderFeatures:
    """Decoder features: B planes as the mask decoder sees them.

    Parameters
    ----------
    embedding : Tensor
        (B, C, h, w) embedding with the context added.
    detail : Tensor, optional
        (B, D, H, W), finer; None for a model that looks no closer.
    found : Tensor, optional
        (B, E, h', w'), the finder's features; None for a model without one.
    """

    embedding: Tensor
    detail: Tensor | None = None
    found: Tensor | None = None

    def take(self, rows: list[int]) -> DecoderFeatures:
        """Return some of the planes, in another order or repeatedly."""
        parts = self.embedding, self.detail, self.found
        return DecoderFeatures(*(part if part is None else part[rows] for part in parts))

    def split(self) -> list[DecoderFeatures]:
        """Return each plane for itself."""
        return [self.take([row]) for row in range(len(self.embedding))]


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
    frame : Crop
        The crop.
    seen : DecoderFeatures, optional
        The decoder features, if they were computed already.
    """

    embedding: Tensor
    tokens: Tensor
    image: NDArray[np.uint8]
    frame: Crop
    seen: DecoderFeatures | None = None

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

    def take(self, rows: Tensor) -> Decoded:
        """Return some of the masks."""
        return Decoded(*(getattr(self, field.name)[rows] for field in fields(self)))

    def take_better(self, rows: Tensor, other: Decoded, kept: Tensor, corrected: bool = False) -> Decoded:
        """Return the masks with those of `other` in `rows` (M,) where `kept`, bool (M,), says so."""
        chosen = rows[kept]
        parts = {name: getattr(self, name).clone() for name in ("logits", "iou", "token", "quality")}
        for name, part in parts.items():
            part[chosen] = getattr(other, name)[kept].to(part.dtype)
        changed = self.corrected.clone()
        changed[chosen] = corrected
        return Decoded(**parts, corrected=changed)
