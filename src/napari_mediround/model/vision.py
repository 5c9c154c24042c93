"""Raw features of an image and of an earlier mask for the language model, before projection.

Both classes leave the projector to the model, so that raw features can be cached while the projector learns.
Knows no dialogue.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_mediround.model.heads import pool_mask
from napari_mediround.model.sam import fit_to_square, fitted_shape

_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


class PooledVision(nn.Module):
    """Features pooled from the segmentation encoder itself (`lite`): no second encoder runs.

    Parameters
    ----------
    channels : int
        Channels of the embedding, which is also the width of a feature.
    grid : int
        The embedding is pooled to grid × grid image tokens.
    """

    def __init__(self, channels: int, grid: int) -> None:
        super().__init__()
        self.width, self.grid, self.tokens = channels, grid, grid * grid

    def describe_image(self, pixels: Tensor, embedding: Tensor) -> Tensor:
        """Return (tokens, width) of pixels (1, 3, H, W), unused, and their embedding (1, C, h, w)."""
        return F.adaptive_avg_pool2d(embedding.float(), self.grid)[0].flatten(1).T

    def describe_region(self, pixels: Tensor, embedding: Tensor, mask: Tensor) -> Tensor:
        """Return (width,) of a mask, bool (H, W) on the grid of `pixels`."""
        square = fit_to_square(mask[None, None].float(), 4 * embedding.shape[-1])
        return pool_mask(embedding, square[:, 0])[0]


class ClipVision(nn.Module):
    """CLIP's patches for the image, its class token for the masked crop (`paper`, as published).

    Parameters
    ----------
    tower : nn.Module
        `transformers.CLIPVisionModel`; frozen.
    layer : int
        Hidden layer read (-2 as in LLaVA).
    """

    def __init__(self, tower: nn.Module, layer: int = -2) -> None:
        super().__init__()
        self.tower, self.layer = tower, layer
        config = tower.config
        self.size, self.width = config.image_size, config.hidden_size
        self.tokens = (config.image_size // config.patch_size) ** 2

    def _hidden(self, pixels: Tensor) -> Tensor:
        square = fit_to_square(pixels, self.size)
        mean, std = (square.new_tensor(v)[:, None, None] for v in (_CLIP_MEAN, _CLIP_STD))
        dtype = next(self.tower.parameters()).dtype
        output = self.tower(((square - mean) / std).to(dtype), output_hidden_states=True)
        return output.hidden_states[self.layer].float()

    def describe_image(self, pixels: Tensor, embedding: Tensor) -> Tensor:
        """Return (tokens, width) of pixels (1, 3, H, W), 0…1."""
        return self._hidden(pixels)[0, 1:]

    def describe_region(self, pixels: Tensor, embedding: Tensor, mask: Tensor) -> Tensor:
        """Return (width,) of the image, black outside a mask, bool (H, W), cropped to its box and squared."""
        rows, columns = torch.where(mask)
        if not len(rows):
            return self._hidden(torch.zeros_like(pixels))[0, 0]
        window = (
            slice(int(rows.min()), int(rows.max()) + 1),
            slice(int(columns.min()), int(columns.max()) + 1),
        )
        crop = (pixels * mask)[..., window[0], window[1]]
        side = max(crop.shape[-2:])
        return self._hidden(F.pad(crop, (0, side - crop.shape[-1], 0, side - crop.shape[-2])))[0, 0]


def normalise_box(mask: Tensor) -> Tensor:
    """Return the box of a mask, (4,) x0, y0, x1, y1, half-open, divided by the longer side, 0…1.

    An empty mask gives zeros. The released code divides by width and height; dividing by the longer side
    is the same for its square images and keeps the aspect of the others.
    """
    rows, columns = torch.where(mask)
    if not len(rows):
        return torch.zeros(4, device=mask.device)
    box = torch.stack([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]).float()
    return box / max(mask.shape)


def square_scale(shape: tuple[int, int], size: int) -> tuple[float, float]:
    """Return (x, y) factors from plane pixels to pixels of the padded model square."""
    height, width = fitted_shape(shape, size)
    return width / shape[1], height / shape[0]
