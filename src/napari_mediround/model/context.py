"""What an image encoder with local attention does not see: the whole plane at once.

LiteMedSAM's encoder was trained to find edges near a box; told a structure's name alone, the decoder must
know where in the body it looks. Ours, not the paper's: SAM's ViT attends globally, TinyViT in windows.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Context(nn.Module):
    """A few transformer layers over a coarse grid of the embedding, added to it; a fresh one adds nothing.

    Works on what was encoded once, so it is trained on kept embeddings.

    Parameters
    ----------
    channels : int
        C of the embedding.
    layers, heads, mlp : int
        Of the transformer.
    grid : int
        Side of the coarse grid.
    """

    def __init__(
        self, channels: int, layers: int = 3, heads: int = 8, mlp: int = 512, grid: int = 16
    ) -> None:
        super().__init__()
        self.grid = grid
        self.position = nn.Parameter(0.02 * torch.randn(1, grid * grid, channels))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, heads, mlp, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        self.out = nn.Linear(channels, channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        """Return the embedding (B, C, h, w), on any grid, with its context."""
        tokens = F.adaptive_avg_pool2d(embedding, self.grid).flatten(2).mT + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        context = self.out(tokens).mT.unflatten(2, (self.grid, self.grid))
        return embedding + F.interpolate(context, embedding.shape[-2:], mode="bilinear", align_corners=False)
