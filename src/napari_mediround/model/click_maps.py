"""Click maps: clicks and boxes drawn beside the detail, and a small U-Net that turns them into logits.

SAM gives its decoder one token for each click, on a grid of 4 px. Earlier interactive methods showed that
a click drawn in place says most about similar pixels around it; this module adds that. Ours, not the paper's.

References
----------
Sofiiuk et al., RITM, 2021: clicks as discs beside the mask before. Xu et al., Deep Interactive Object
Selection, 2016.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mediround.model.context import Residual, resize
from napari_mediround.model.features import DecoderFeatures
from napari_mediround.model.sam import CERTAIN

RADII = (0.02, 0.1)
"""Standard deviations of the spots of a click, as shares of the plane's side."""
MAPS = 2 * (len(RADII) + 1) + 2
"""Channels: spots and similar pixels for each sign; the box; the earlier mask."""


class PromptMaps(nn.Module):
    """Change of a mask from detail, clicks, box and the earlier mask. A fresh module adds nothing.

    Parameters
    ----------
    detail : int
        Channels D of the detail.
    width : int
        Channels on the detail's grid; twice as many on the two coarser ones.
    """

    def __init__(self, detail: int = 32, width: int = 32) -> None:
        super().__init__()
        self.alike = nn.Conv2d(detail, detail, 1)
        self.enter = nn.Conv2d(detail + MAPS, width, 3, padding=1)
        self.middle, self.coarse = Residual(2 * width), Residual(2 * width)
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.deeper = nn.Conv2d(2 * width, 2 * width, 3, stride=2, padding=1)
        self.rise = nn.Conv2d(2 * width, width, 1)
        self.last, self.norm = Residual(width), nn.GroupNorm(1, width)
        self.out = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        seen: DecoderFeatures,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        previous: Tensor | None,
        size: int,
    ) -> Tensor:
        """Return logits (N, 1, H, W), on the detail's grid.

        Parameters
        ----------
        seen : DecoderFeatures
            Decoder features of 1 or N planes.
        points, boxes, previous
            As in `MediRound.decode`; points or boxes are given.
        size : int
            Side of the model square, in whose pixels points and boxes are.
        """
        count = len(points[0]) if points is not None else len(boxes)
        detail = seen.detail.expand(count, -1, -1, -1)
        drawn = [self._draw_clicks(detail, points, size), draw_boxes(boxes, detail, size)]
        before = detail.new_zeros(count, 1, *detail.shape[-2:])
        if previous is not None:
            previous = previous.detach()  # what it is, not how it came to be
            before = before + resize(previous, detail.shape[-2:]).clamp(-CERTAIN, CERTAIN) / CERTAIN
        fine = F.gelu(self.enter(torch.cat([detail, *drawn, before], 1)))
        middle = self.middle(self.down(fine))
        coarse = self.coarse(self.deeper(middle))
        middle = middle + resize(coarse, middle.shape[-2:])
        fine = self.last(fine + resize(self.rise(middle), fine.shape[-2:]))
        return self.out(self.norm(fine))

    def _draw_clicks(self, detail: Tensor, points: tuple[Tensor, Tensor] | None, size: int) -> Tensor:
        """Return (N, 2 · (radii + 1), H, W): spots and similar pixels, for clicks inside, then outside."""
        height, width = detail.shape[-2:]
        shape = (len(detail), len(RADII) + 1, height, width)
        if points is None:
            return detail.new_zeros(shape).repeat(1, 2, 1, 1)
        xy, labels = points[0] / size, points[1]
        x, y = pixel_centres(detail)
        far = (x - xy[..., :1, None]) ** 2 + (y[:, None] - xy[..., 1:, None]) ** 2  # (N, P, H, W)
        keys = F.normalize(self.alike(detail), dim=1)
        at = F.grid_sample(keys, 2 * xy[:, :, None] - 1, align_corners=False)[..., 0]  # (N, D, P)
        maps = [torch.exp(-far / (2 * radius**2)) for radius in RADII]
        maps = torch.stack([*maps, torch.einsum("ndp,ndhw->nphw", at, keys).clamp_min(0)], 2)
        signs = [(labels == sign)[..., None, None, None] for sign in (1, 0)]
        return torch.cat([(maps * sign).amax(1) for sign in signs], 1)


def draw_boxes(boxes: Tensor | None, like: Tensor, size: int) -> Tensor:
    """Return (N, 1, H, W): 1 inside boxes (N, 4) in pixels of the model square, else 0."""
    height, width = like.shape[-2:]
    if boxes is None:
        return like.new_zeros(len(like), 1, height, width)
    low_x, low_y, high_x, high_y = (boxes / size).split(1, 1)
    x, y = pixel_centres(like)
    inside_x, inside_y = (x >= low_x) & (x <= high_x), (y >= low_y) & (y <= high_y)
    return (inside_y[:, :, None] & inside_x[:, None, :])[:, None].to(like.dtype)


def pixel_centres(like: Tensor) -> tuple[Tensor, Tensor]:
    """Return x (W,) and y (H,) of the pixel centres of (…, H, W), 0…1 of the sides."""
    y, x = ((torch.arange(side, device=like.device) + 0.5) / side for side in like.shape[-2:])
    return x, y
