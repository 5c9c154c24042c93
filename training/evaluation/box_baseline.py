"""LiteMedSAM as released, with its own prompt encoder and decoder and the true box as prompt.

A baseline. Our decoder is trained on; this one is not. The image encoder is shared, as it stays frozen.
Knows no language.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.model.build import read_preset, read_state
from napari_mediround.model.sam import build_mask_decoder, build_prompt_encoder, decode_masks, logits_to_plane
from napari_mediround.model.vision import square_scale
from napari_mediround.weights import locate

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor
    from napari_mediround.model.features import ImageFeatures

NAME = "lite_medsam"


class BoxedLiteMedSam:
    """LiteMedSAM's mask for a box.

    Parameters
    ----------
    file : Path
        ``lite_medsam.pth``.
    size, channels, mlp : int
        Side of the model square in pixels, widths; another than LiteMedSAM's in tests only.
    """

    def __init__(self, file: Path, size: int = 256, channels: int = 256, mlp: int = 2048) -> None:
        self.size = size
        self.prompt_encoder = build_prompt_encoder(size, size // 4, channels).eval()
        self.mask_decoder = build_mask_decoder(channels, mlp).eval()
        state = read_state(file)
        for name in ("prompt_encoder", "mask_decoder"):
            own = {k.removeprefix(f"{name}."): v for k, v in state.items() if k.startswith(f"{name}.")}
            getattr(self, name).load_state_dict(own)

    @torch.no_grad()
    def segment(self, features: ImageFeatures, box_xyxy: tuple[int, int, int, int]) -> NDArray[np.bool_]:
        """Return the mask (H, W) for a box.

        Parameters
        ----------
        features : ImageFeatures
            Of LiteMedSAM's image encoder.
        box_xyxy : tuple of int
            Half-open, pixels of the plane.
        """
        frame = features.frame
        inside = np.array(box_xyxy, np.float32).reshape(2, 2) - frame.offset_xy
        corners = np.float32(inside * np.array(square_scale(frame.inner, self.size)))
        boxes = torch.tensor(corners, dtype=torch.float32).reshape(1, 4)
        sparse, dense = self.prompt_encoder(points=None, boxes=boxes, masks=None)
        position = self.prompt_encoder.get_dense_pe()
        logits, _, _ = decode_masks(
            self.mask_decoder, features.embedding.float().cpu(), position, sparse, dense
        )
        return frame.place((logits_to_plane(logits, frame.inner, self.size)[0] > 0).numpy())[0]


def find_boxed(segmenter: Predictor) -> BoxedLiteMedSam | None:
    """Return the baseline for a predictor whose image encoder is LiteMedSAM's, else None."""
    preset = getattr(segmenter, "preset", "")
    if not preset or read_preset(preset)["image"].get("weights") != NAME:
        return None
    return BoxedLiteMedSam(locate(NAME))
