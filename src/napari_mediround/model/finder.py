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
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


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
    norms : bool
        Built to be trained, with batch norms; without them it computes what `folded` left.
    """

    def __init__(
        self,
        names: Sequence[str],
        widths: Sequence[int] = (32, 64, 128, 256, 256),
        layers: int = 2,
        heads: int = 8,
        size: int = 160,
        norms: bool = False,
    ) -> None:
        super().__init__()
        self.names, self.size = tuple(names), size
        self.shape = {"widths": list(widths), "layers": layers, "heads": heads, "size": size}
        self._rows = {name: row for row, name in enumerate(self.names)}
        pairs = list(pairwise(widths))
        self.stem = _convolve(3, widths[0], 2, norms)
        self.down = nn.ModuleList(
            nn.Sequential(_convolve(a, b, 2, norms), _convolve(b, b, 1, norms)) for a, b in pairs
        )
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
        self.up = nn.ModuleList(_convolve(a, a, 1, norms) for a, _ in pairs)
        self.query = nn.Embedding(len(self.names), widths[0] + 1)
        nn.init.normal_(self.query.weight, std=widths[0] ** -0.5)
        nn.init.constant_(self.query.weight[:, -1], -3.0)  # most of a plane is another structure's

    def __contains__(self, name: str) -> bool:
        """Whether a structure, by its preferred name, has a query."""
        return name in self._rows

    def forward(self, pixels: Tensor) -> Tensor:
        """Return features (B, C, h, w), h = size / 2, of planes (B, 3, size, size) of any grey values."""
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

    def look(self, pixels: Tensor) -> Tensor:
        """Return the features of planes (B, 3, H, W) on any square grid."""
        square = (self.size, self.size)
        return self(F.interpolate(pixels, square, mode="bilinear", align_corners=False, antialias=True))

    def find(self, features: Tensor, names: Sequence[str]) -> Tensor:
        """Return logits (N, h, w) of names that are all known, on one plane's features (1, C, h, w)."""
        rows = torch.tensor([self._rows[name] for name in names], device=features.device)
        return self.ask(features, rows[None])[0]

    def ask(self, features: Tensor, rows: Tensor) -> Tensor:
        """Return logits (B, M, h, w) of features (B, C, h, w) for queries (B, M) by row."""
        query = self.query(rows).float()
        found = query[..., :-1] @ features.float().flatten(2)
        return (found + query[..., -1:]).unflatten(2, features.shape[-2:])


def fold_norms(finder: Finder) -> Finder:
    """Return a finder without batch norms that computes what a trained one does in evaluation mode."""
    plain = Finder(finder.names, **finder.shape)
    parts = dict(finder.eval().named_modules())
    for name, part in plain.named_modules():
        if isinstance(part, nn.Sequential) and len(part) == 2 and isinstance(part[1], nn.ReLU):
            part[0] = fuse_conv_bn_eval(parts[name][0], parts[name][1])
    state = {k: v for k, v in finder.state_dict().items() if k in plain.state_dict()}
    plain.load_state_dict(plain.state_dict() | {k: v for k, v in state.items() if not _is_convolved(k)})
    return plain.eval()


def _is_convolved(name: str) -> bool:
    return name.partition(".")[0] in ("stem", "down", "up")


def _convolve(inputs: int, outputs: int, stride: int, norms: bool) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=not norms)
    norm = [nn.BatchNorm2d(outputs)] if norms else []
    return nn.Sequential(convolution, *norm, nn.ReLU(inplace=True))
