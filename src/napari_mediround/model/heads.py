"""The small trained parts: projections into and out of the language model, judge and corrector.

Knows no image encoder and no language model, only their widths.

References
----------
MediRound, arXiv 2511.12110, sections on prompt embedding, segmentation head and judgment & correction;
released code Edisonhimself/MediRound at 770a5c7.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from napari_mediround.errors import SettingsError

SHAPE_FEATURES = 6


_ACTIVATIONS = {"relu": nn.ReLU, "gelu": nn.GELU}


def build_mlp(*widths: int, activation: str = "relu") -> nn.Sequential:
    """Return linear layers of the given widths with "relu" or "gelu" between them."""
    if activation not in _ACTIVATIONS:
        raise SettingsError(f"an activation is one of {', '.join(_ACTIVATIONS)}, not {activation!r}")
    layers: list[nn.Module] = []
    for inputs, outputs in itertools.pairwise(widths):
        layers += [nn.Linear(inputs, outputs), _ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def pool_mask(embedding: Tensor, mask: Tensor) -> Tensor:
    """Average an embedding over masks.

    Parameters
    ----------
    embedding : Tensor
        (1 or N, C, h, w).
    mask : Tensor
        (N, h', w'), 0…1; first averaged to (h, w), so that a mask smaller than a cell still counts.

    Returns
    -------
    Tensor
        (N, C); zeros for an empty mask.
    """
    weight = nn.functional.adaptive_avg_pool2d(mask[:, None].float(), embedding.shape[-2:])
    total = weight.sum((2, 3)).clamp_min(1e-6)
    return (embedding.float() * weight).sum((2, 3)) / total


def describe_mask(logits: Tensor) -> Tensor:
    """Return features of the certainty and the shape of mask logits.

    Parameters
    ----------
    logits : Tensor
        (N, h, w).

    Returns
    -------
    Tensor
        (N, `SHAPE_FEATURES`): foreground share (square root), mean probability inside and outside, share
        of uncertain pixels, stability (IoU of the mask at logits ±1, as SAM's stability score), border
        length over the root of the area.
    """
    probability = logits.float().sigmoid()
    inside = (logits > 0).float()
    area = inside.sum((1, 2))
    outside = 1 - inside
    pixels = inside[0].numel()
    mean_in = (probability * inside).sum((1, 2)) / area.clamp_min(1)
    mean_out = (probability * outside).sum((1, 2)) / outside.sum((1, 2)).clamp_min(1)
    unsure = ((probability > 0.2) & (probability < 0.8)).float().sum((1, 2)) / area.clamp_min(16)
    stable = (logits > 1).float().sum((1, 2)) / (logits > -1).float().sum((1, 2)).clamp_min(1)
    border = (inside[:, 1:] != inside[:, :-1]).float().sum((1, 2))
    border = border + (inside[:, :, 1:] != inside[:, :, :-1]).float().sum((1, 2))
    ragged = border / (4 * area.clamp_min(1).sqrt())
    return torch.stack(
        [(area / pixels).sqrt(), mean_in, mean_out, unsure.clamp(0, 4), stable, ragged.clamp(0, 8)], 1
    )


class Judge(nn.Module):
    """The judge: predicts the IoU of a mask with the true mask.

    Parameters
    ----------
    channels : int
        Width C of the SEG vector and of the embedding.
    hidden : int
        Width of the two hidden layers (512 as published).
    sees : {"pixels", "vector"}
        "vector" is the published judge: the SEG vector alone. "pixels" adds the embedding pooled over
        the mask and over its surroundings, the decoder's mask token, the mask's shape and SAM's IoU head.
    activation : {"relu", "gelu"}
        Between the layers; the released code has GELU.
    """

    def __init__(
        self, channels: int = 256, hidden: int = 512, sees: str = "pixels", activation: str = "relu"
    ) -> None:
        super().__init__()
        if sees not in ("pixels", "vector"):
            raise SettingsError(f"the judge sees 'pixels' or 'vector', not {sees!r}")
        self.sees = sees
        inputs = channels if sees == "vector" else 4 * channels + SHAPE_FEATURES + 1
        self.mlp = build_mlp(inputs, hidden, hidden, 1, activation=activation)

    def forward(
        self, vector: Tensor, embedding: Tensor, logits: Tensor, token: Tensor, iou: Tensor
    ) -> Tensor:
        """Return the logit of the predicted IoU, (N,).

        Parameters
        ----------
        vector, token : Tensor
            (N, C): SEG vectors and the decoder's mask tokens.
        embedding : Tensor
            (1 or N, C, h, w).
        logits : Tensor
            (N, h', w') logits of the masks to judge.
        iou : Tensor
            (N,) estimates of the IoU by SAM's own head.
        """
        if self.sees == "vector":
            return self.mlp(vector)[:, 0]
        inside = pool_mask(embedding, logits > 0)
        around = pool_mask(embedding, (logits <= 0) & (nn.functional.max_pool2d(logits, 17, 1, 8) > 0))
        features = [vector, token, inside, around, describe_mask(logits), iou[:, None]]
        return self.mlp(torch.cat([f.to(vector.dtype) for f in features], 1))[:, 0]


class Corrector(nn.Module):
    """The corrector: turns a SEG vector into a better one.

    Parameters
    ----------
    channels, hidden : int
        256 and 512 as published.
    residual : bool
        Add the correction to the vector (ours: a fresh corrector changes nothing) or replace the vector
        by it (published).
    activation : {"relu", "gelu"}
        Between the layers; the released code has GELU.
    """

    def __init__(
        self, channels: int = 256, hidden: int = 512, residual: bool = True, activation: str = "relu"
    ) -> None:
        super().__init__()
        self.residual = residual
        self.mlp = build_mlp(channels, hidden, hidden, channels, activation=activation)
        if residual:
            nn.init.zeros_(self.mlp[-1].weight)
            nn.init.zeros_(self.mlp[-1].bias)

    def forward(self, vector: Tensor) -> Tensor:
        """Map (N, C) to (N, C)."""
        return vector + self.mlp(vector) if self.residual else self.mlp(vector)
