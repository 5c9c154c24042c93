"""SAM's parts from `segment-anything`: ViT encoder, prompt encoder, mask decoder. Knows no language.

References
----------
Kirillov et al., Segment Anything, 2023; package `segment-anything` 1.0 (Apache-2.0).
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from functools import partial
from types import ModuleType

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CERTAIN = 6.0
"""Logit of a certain pixel in a mask prompt."""
_IMPORT_LOCK = threading.Lock()


def _import_modeling() -> ModuleType:
    """Import `segment_anything.modeling` without running the package's own `__init__`.

    The package's `__init__` imports torchvision for an automatic mask generator that nothing here uses.
    During the import an empty package stands in `sys.modules`. A stand-in for torchvision would be wrong:
    another thread that imports transformers could take it for the real one.
    """
    package, wanted = "segment_anything", "segment_anything.modeling"
    with _IMPORT_LOCK:
        if wanted in sys.modules:
            return sys.modules[wanted]
        sys.modules[package] = importlib.util.module_from_spec(importlib.util.find_spec(package))
        try:
            return importlib.import_module(wanted)
        finally:
            del sys.modules[package]


def build_sam_vit(
    size: int,
    width: int,
    depth: int,
    heads: int,
    global_blocks: tuple[int, ...],
    outputs: int = 256,
    patch: int = 16,
) -> nn.Module:
    """Build SAM's ViT image encoder.

    Parameters
    ----------
    size : int
        Side of the square input, pixels.
    width, depth, heads : int
        Width, depth and heads of the transformer; ViT-B has 768, 12, 12.
    global_blocks : tuple of int
        Blocks with global attention; ViT-B has (2, 5, 8, 11).
    outputs, patch : int
        Channels of the embedding; side of a patch in pixels.

    Returns
    -------
    nn.Module
        (B, 3, size, size) → (B, outputs, size / patch, size / patch).
    """
    return _import_modeling().ImageEncoderViT(
        img_size=size,
        patch_size=patch,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        window_size=14,
        global_attn_indexes=list(global_blocks),
        out_chans=outputs,
    )


def build_prompt_encoder(size: int, grid: int, channels: int = 256) -> nn.Module:
    """Build SAM's prompt encoder for a `size` px square image and a `grid`×`grid` embedding."""
    return _import_modeling().PromptEncoder(
        embed_dim=channels, image_embedding_size=(grid, grid), input_image_size=(size, size), mask_in_chans=16
    )


def build_mask_decoder(channels: int = 256, mlp: int = 2048, depth: int = 2) -> nn.Module:
    """Build SAM's mask decoder: two-way transformer, upscaling, hypernetworks, IoU head."""
    modeling = _import_modeling()
    transformer = modeling.TwoWayTransformer(depth=depth, embedding_dim=channels, mlp_dim=mlp, num_heads=8)
    return modeling.MaskDecoder(
        num_multimask_outputs=3,
        transformer=transformer,
        transformer_dim=channels,
        iou_head_depth=3,
        iou_head_hidden_dim=channels,
    )


def fit_to_square(image: Tensor, size: int) -> Tensor:
    """Resize the longer side to `size`, keep the aspect ratio, pad below and right with zeros.

    Parameters
    ----------
    image : Tensor
        (B, C, H, W), any float range.
    size : int
        Side of the result, pixels.

    Returns
    -------
    Tensor
        (B, C, size, size).

    Notes
    -----
    As SAM's and LiteMedSAM's preprocessing; the resize is antialiased bilinear.
    """
    height, width = fitted_shape(image.shape[-2:], size)
    if image.shape[-2:] != (height, width):
        image = F.interpolate(image, (height, width), mode="bilinear", align_corners=False, antialias=True)
    return F.pad(image, (0, size - width, 0, size - height))


def fitted_shape(shape: tuple[int, int], size: int) -> tuple[int, int]:
    """Return the height and width that a plane of `shape` takes inside a `size` px square."""
    scale = size / max(shape)
    return max(1, int(shape[0] * scale + 0.5)), max(1, int(shape[1] * scale + 0.5))


def logits_to_plane(logits: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Bring mask logits (N, C, h, w) of the square model grid back to (N, C, H, W) of the plane.

    Parameters
    ----------
    logits : Tensor
        On the decoder's grid, which covers the padded square.
    shape : tuple of int
        (H, W) of the plane.
    size : int
        Side of the padded square, pixels.
    """
    logits = F.interpolate(logits, (size, size), mode="bilinear", align_corners=False)
    height, width = fitted_shape(shape, size)
    return F.interpolate(logits[..., :height, :width], shape, mode="bilinear", align_corners=False)


def mask_to_logits(masks: Tensor, certainty: float = CERTAIN) -> Tensor:
    """Return logits (N, 1, h, w) of masks (N, h, w), 0…1, so that a drawn mask can be a mask prompt."""
    return (2 * masks.float() - 1)[:, None] * certainty


def decode_masks(
    decoder: nn.Module, embedding: Tensor, position: Tensor, sparse: Tensor, dense: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Run SAM's mask decoder on one image for N prompts: single-mask output.

    Parameters
    ----------
    decoder : nn.Module
        `segment_anything.modeling.MaskDecoder`.
    embedding : Tensor
        (1 or N, C, h, w).
    position : Tensor
        (1, C, h, w), from the prompt encoder's `get_dense_pe`.
    sparse : Tensor
        (N, prompts, C).
    dense : Tensor
        (N, C, h, w).

    Returns
    -------
    logits : Tensor
        (N, 1, 4h, 4w).
    iou : Tensor
        (N,), SAM's own estimate.
    token : Tensor
        (N, C), the mask token after the transformer.

    Notes
    -----
    The same arithmetic as `MaskDecoder.predict_masks` with `multimask_output=False`, but the three
    unused masks are not upscaled, several images can be decoded in one batch, and the token is
    returned.
    """
    count = sparse.shape[0]
    tokens = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight], 0)
    tokens = torch.cat([tokens.expand(count, -1, -1), sparse], 1)
    source = embedding.expand(count, -1, -1, -1) + dense
    hidden, source = decoder.transformer(source, position.expand(count, -1, -1, -1), tokens)
    source = source.transpose(1, 2).view(count, -1, *embedding.shape[-2:])
    upscaled = decoder.output_upscaling(source)
    token = hidden[:, 1]
    weights = decoder.output_hypernetworks_mlps[0](token)
    logits = torch.einsum("nc,nchw->nhw", weights, upscaled)[:, None]
    return logits, decoder.iou_prediction_head(hidden[:, 0])[:, 0], token
