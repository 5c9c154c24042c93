"""What an image encoder with local attention does not see: the whole plane at once, and a first look at it.

LiteMedSAM's encoder was trained to find edges near a box; told a structure's name alone, the decoder must
know where in the body it looks. Ours, not the paper's: SAM's ViT attends globally, TinyViT in windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SCALE = 0.1  # the deviation of LiteMedSAM's embeddings, to which the context is added


class Context(nn.Module):
    """A transformer over a coarse grid of the embedding, then convolutions on a finer one, added to it.

    A fresh one adds nothing. Works on what was encoded once, so it is trained on kept embeddings.

    Parameters
    ----------
    channels : int
        C of the embedding.
    layers, heads, mlp : int
        Of the transformer.
    grid, fine : int
        Sides of the coarse and of the finer grid.
    width, blocks : int
        Channels and residual blocks of the convolutions.
    """

    def __init__(
        self,
        channels: int,
        layers: int = 3,
        heads: int = 8,
        mlp: int = 512,
        grid: int = 16,
        fine: int = 32,
        width: int = 128,
        blocks: int = 3,
    ) -> None:
        super().__init__()
        self.grid, self.fine = grid, fine
        self.position = nn.Parameter(0.02 * torch.randn(1, grid * grid, channels))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, heads, mlp, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.norms = nn.ModuleList(nn.GroupNorm(1, n) for n in (channels, channels, width))
        self.enter = nn.Conv2d(2 * channels, width, 1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width),
                nn.Conv2d(width, width, 3, padding=1),
                nn.GELU(),
                nn.Conv2d(width, width, 3, padding=1),
            )
            for _ in range(blocks)
        )
        self.out = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the embedding (B, C, h, w), on any grid, with its context."""
        tokens = F.adaptive_avg_pool2d(embedding, self.grid).flatten(2).mT + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        whole = self.norms[1](tokens.mT.unflatten(2, (self.grid, self.grid)))
        detail = self.norms[0](F.adaptive_avg_pool2d(embedding, self.fine))
        hidden = self.enter(torch.cat([detail, _resize(whole, (self.fine, self.fine))], 1))
        for block in self.blocks:
            hidden = hidden + block(hidden)
        context = _SCALE * self.out(self.norms[2](hidden))
        return embedding + _resize(context, embedding.shape[-2:])


class Glance(nn.Module):
    """Where a SEG vector's structure seems to be, at first look: the mask prompt of the decoder's first pass.

    A bilinear form of SEG vector and embedding, so that one pass over a plane teaches every structure on it
    and every structure that is not.

    Parameters
    ----------
    channels : int
        C of the embedding and of the SEG vectors.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels + 1)

    def forward(self, seen: Tensor, vectors: Tensor) -> Tensor:
        """Return logits (N, 1, h, w) of SEG vectors (N, C) on (1 or N, C, h, w), seen with its context."""
        keys = self.norm(seen.movedim(1, -1)).flatten(1, 2).expand(len(vectors), -1, -1)
        query = self.query(vectors)
        logits = (keys @ query[:, :-1, None])[..., 0] / seen.shape[1] ** 0.5 + query[:, -1:]
        return logits.unflatten(1, seen.shape[-2:])[:, None]


def _resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
