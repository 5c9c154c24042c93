"""Where each structure lies, found from the pixels alone: a small U-Net with one query for each name.

The image encoder is frozen and each training plane was encoded once, so what reads its embedding has seen
few grey values and knows data sets better than anatomy. The finder sees every plane anew in other windows,
contrasts and fields of view, and so knows a structure on images of scanners it never saw. Ours, not the
paper's.

References
----------
Ronneberger et al., U-Net, 2015; Billot et al., SynthSeg, 2023: contrast varied at random while training.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Finder(nn.Module):
    """Planes to features, names to queries, both to logits.

    Parameters
    ----------
    names : sequence of str
        Structures, preferred names, in the order of the queries.
    widths : sequence of int
        Channels on a half, a quarter, … of the pixels' grid.
    layers, heads : int
        Of the transformer on the coarsest grid.
    size : int
        Side that planes are brought to, pixels.
    """

    def __init__(
        self,
        names: Sequence[str],
        widths: Sequence[int] = (32, 64, 128, 256, 256),
        layers: int = 2,
        heads: int = 8,
        size: int = 160,
    ) -> None:
        super().__init__()
        self.names, self.size = tuple(names), size
        self._rows = {name: row for row, name in enumerate(self.names)}
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.stem = _convolve(3, widths[0], 2)
        self.down = nn.ModuleList(nn.Sequential(_convolve(a, b, 2), _convolve(b, b)) for a, b in pairs)
        self.position = nn.Parameter(0.02 * torch.randn(1, widths[-1], 5, 5))
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                widths[-1],
                heads,
                2 * widths[-1],
                dropout=0.0,
                activation="gelu",
                batch_first=True,
                norm_first=True,
            )
            for _ in range(layers)
        )
        self.lift = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.up = nn.ModuleList(_convolve(a, a) for a, _ in pairs)
        self.query = nn.Embedding(len(self.names), widths[0] + 1)
        nn.init.normal_(self.query.weight, std=widths[0] ** -0.5)
        nn.init.constant_(self.query.weight[:, -1], -3.0)  # most of a plane is another structure's

    def __contains__(self, name: str) -> bool:
        """Whether a structure, by its preferred name, has a query."""
        return name in self._rows

    def rows(self, names: Sequence[str]) -> list[int]:
        """Return the queries' rows of structures that are all known."""
        return [self._rows[name] for name in names]

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, C, h, w), h = size / 2, of planes (B, 3, size, size), grey values of any range."""
        mean = pixels.mean((1, 2, 3), keepdim=True)
        levels = [self.stem((pixels - mean) / pixels.std((1, 2, 3), keepdim=True).clamp_min(1e-4))]
        for down in self.down:
            levels.append(down(levels[-1]))
        grid = levels[-1].shape[-2:]
        place = F.interpolate(self.position, grid, mode="bilinear", align_corners=False)
        tokens = (levels[-1] + place).flatten(2).mT
        for layer in self.layers:
            tokens = layer(tokens)
        found = tokens.mT.unflatten(2, grid)
        for level in reversed(range(len(self.up))):
            found = F.interpolate(self.lift[level](found), scale_factor=2.0, mode="nearest")
            found = self.up[level](found + levels[level])
        return found

    def ask(self, features: Tensor, rows: Tensor) -> Tensor:
        """Return logits (B, M, h, w) of features (B, C, h, w) for queries (B, M) by row."""
        query = self.query(rows).float()
        found = query[..., :-1] @ features.float().flatten(2)
        return (found + query[..., -1:]).unflatten(2, features.shape[-2:])


def _convolve(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )
