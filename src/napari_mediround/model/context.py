"""What the image encoder's embedding lacks: the whole plane at once, fine detail, and a first look at both.

LiteMedSAM's encoder was trained to find edges near a box, in windows and on a grid of 4 px; told a
structure's name alone, the decoder must know where in the body it looks, and a vessel is thinner than a cell
of that grid. Ours, not the paper's.

References
----------
Ronneberger et al., U-Net, 2015; Ke et al., Segment Anything in High Quality, 2023: the mask token speaks to
features finer than the embedding.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mediround.model.features import DecoderFeatures
from napari_mediround.model.sam import CERTAIN

_SCALE = 0.1  # the deviation of LiteMedSAM's embeddings, to which the context is added


class Context(nn.Module):
    """From the pixels down to a transformer over the whole plane, and up again to half the pixels' grid.

    What is known on the way up is added to the embedding (a fresh one adds nothing) and returned as detail.
    Works on what was encoded once, so it is trained on kept embeddings.

    Parameters
    ----------
    channels : int
        C of the embedding.
    layers, heads, mlp : int
        Of the transformer.
    grid, fine : int
        Sides of the transformer's grid and of the finer grid on which the context is made.
    width, blocks : int
        Channels and residual blocks of the convolutions there.
    mid, detail : int
        Channels on a quarter and on half of the pixels' grid; `detail` is D.
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
        mid: int = 64,
        detail: int = 32,
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
        self.norms = nn.ModuleList(nn.GroupNorm(1, n) for n in (channels, channels, width, detail))
        self.stem = nn.Sequential(nn.Conv2d(3, detail, 3, stride=2, padding=1), nn.GELU(), Residual(detail))
        self.down = nn.Conv2d(detail, mid, 3, stride=2, padding=1)
        self.side = nn.Conv2d(channels, mid, 1)
        self.middle = Residual(mid)
        self.enter = nn.Conv2d(2 * channels, width, 1)
        self.lower = nn.Conv2d(mid, width, 1)
        nn.init.zeros_(self.lower.weight)
        nn.init.zeros_(self.lower.bias)
        self.blocks = nn.ModuleList(Residual(width) for _ in range(blocks))
        self.out = nn.Conv2d(width, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)
        self.lift = nn.Conv2d(width, mid, 1)
        self.upper = Residual(mid)
        self.raise_ = nn.Conv2d(mid, detail, 1)
        self.top = Residual(detail)

    def forward(self, embedding: Tensor, pixels: Tensor) -> DecoderFeatures:
        """Return decoder features of embeddings (B, C, h, w), any grid, and pixels (B, 3, H, W), 0…1."""
        close = self.stem(2 * pixels - 1)
        near = self.down(close)
        near = self.middle(near + resize(self.side(self.norms[0](embedding)), near.shape[-2:]))
        tokens = F.adaptive_avg_pool2d(embedding, self.grid).flatten(2).mT + self.position
        for layer in self.layers:
            tokens = layer(tokens)
        whole = self.norms[1](tokens.mT.unflatten(2, (self.grid, self.grid)))
        detail = self.norms[0](F.adaptive_avg_pool2d(embedding, self.fine))
        hidden = self.enter(torch.cat([detail, resize(whole, (self.fine, self.fine))], 1))
        hidden = hidden + self.lower(F.adaptive_avg_pool2d(near, self.fine))
        for block in self.blocks:
            hidden = block(hidden)
        hidden = self.norms[2](hidden)
        context = _SCALE * self.out(hidden)
        near = self.upper(near + resize(self.lift(hidden), near.shape[-2:]))
        close = self.top(close + resize(self.raise_(near), close.shape[-2:]))
        return DecoderFeatures(embedding + resize(context, embedding.shape[-2:]), self.norms[3](close))


class Residual(nn.Sequential):
    """Two convolutions of `width` channels beside the way past them."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.GroupNorm(1, width),
            nn.Conv2d(width, width, 3, padding=1),
            nn.GELU(),
            nn.Conv2d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, h, w)."""
        return x + super().forward(x)


class CoarseMask(nn.Module):
    """Coarse masks from SEG vectors, and fine masks from the decoder's mask tokens.

    Bilinear forms of SEG vector and plane, so that one pass over a plane teaches every structure on it and
    every structure that is not. The first look is the mask prompt of the decoder's first pass, and stays in
    the mask that this pass gives.

    Parameters
    ----------
    channels, detail : int
        C of the embedding and of the SEG vectors; D of the detail.
    """

    def __init__(self, channels: int, detail: int = 32) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.query = nn.Linear(channels, channels + 1)
        self.kept = nn.Parameter(torch.tensor(0.3))
        self.fine, self.token = nn.Linear(channels, detail), nn.Linear(channels, detail)
        for layer in (self.fine, self.token):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, seen: DecoderFeatures, vectors: Tensor) -> Tensor:
        """Return logits (N, 1, H, W), on the detail's grid, of SEG vectors (N, C) on 1 or N planes."""
        full = seen.detail.shape[-2:]
        keys = F.adaptive_avg_pool2d(seen.embedding, (full[0] // 4, full[1] // 4))
        keys = self.norm(keys.movedim(1, -1)).movedim(-1, 1)
        query = self.query(vectors)
        coarse = _ask(keys, query[:, :-1] / keys.shape[1] ** 0.5) + query[:, -1:, None, None]
        return resize(coarse, full) + _ask(seen.detail, self.fine(vectors))

    def sharpen(self, seen: DecoderFeatures, tokens: Tensor) -> Tensor:
        """Return logits (N, 1, H, W), on the detail's grid, of the decoder's mask tokens (N, C)."""
        return _ask(seen.detail, self.token(tokens))

    def keep(self, previous: Tensor) -> Tensor:
        """Return the part of an earlier mask's logits that is added to a refined mask, any shape."""
        return self.kept * previous.clamp(-CERTAIN, CERTAIN)


def _ask(keys: Tensor, queries: Tensor) -> Tensor:
    flat = keys.flatten(2)
    one = len(flat) == 1  # then a single product, many times as fast as one for each query
    found = queries @ flat[0] if one else (queries[:, None] @ flat)[:, 0]
    return found.unflatten(1, keys.shape[-2:])[:, None]


def resize(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return (B, C, h, w) on another grid, bilinear, corners not aligned."""
    return F.interpolate(x, size, mode="bilinear", align_corners=False)
