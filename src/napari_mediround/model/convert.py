"""Names of other people's checkpoints: transformers' SAM, LLaVA-Med's projector.

Knows which tensor of theirs is which of ours.

References
----------
`transformers.SamModel` and `segment-anything` 1.0; LLaVA-Med v1.5 (`LlavaMistralForCausalLM`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor

from napari_mediround.model.mediround import MediRound

_SAM_NAMES = (
    (
        r"^(?:shared_image|prompt_encoder\.shared)_embedding\.positional_embedding$",
        "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix",
    ),
    (r"^vision_encoder\.neck\.conv1\.", "image_encoder.neck.0."),
    (r"^vision_encoder\.neck\.layer_norm1\.", "image_encoder.neck.1."),
    (r"^vision_encoder\.neck\.conv2\.", "image_encoder.neck.2."),
    (r"^vision_encoder\.neck\.layer_norm2\.", "image_encoder.neck.3."),
    (r"^vision_encoder\.patch_embed\.projection\.", "image_encoder.patch_embed.proj."),
    (r"^vision_encoder\.layers\.", "image_encoder.blocks."),
    (r"^vision_encoder\.", "image_encoder."),
    (r"^prompt_encoder\.point_embed\.", "prompt_encoder.point_embeddings."),
    (r"^prompt_encoder\.mask_embed\.conv1\.", "prompt_encoder.mask_downscaling.0."),
    (r"^prompt_encoder\.mask_embed\.layer_norm1\.", "prompt_encoder.mask_downscaling.1."),
    (r"^prompt_encoder\.mask_embed\.conv2\.", "prompt_encoder.mask_downscaling.3."),
    (r"^prompt_encoder\.mask_embed\.layer_norm2\.", "prompt_encoder.mask_downscaling.4."),
    (r"^prompt_encoder\.mask_embed\.conv3\.", "prompt_encoder.mask_downscaling.6."),
    (r"^mask_decoder\.upscale_conv1\.", "mask_decoder.output_upscaling.0."),
    (r"^mask_decoder\.upscale_layer_norm\.", "mask_decoder.output_upscaling.1."),
    (r"^mask_decoder\.upscale_conv2\.", "mask_decoder.output_upscaling.3."),
    (r"\.proj_in\.", ".layers.0."),
    (r"\.proj_out\.", ".layers.2."),
    (r"\.layer_norm(\d|_final_attn)\.", r".norm\1."),
)


def is_transformers_sam(state: Iterable[str]) -> bool:
    """Return whether tensor names are those of `transformers.SamModel`."""
    return any(name.startswith("vision_encoder.") for name in state)


def rename_transformers_sam(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a `transformers.SamModel` state under segment-anything's names (wanglab/medsam-vit-base)."""
    return {_rename_sam(name): value for name, value in state.items()}


def _rename_sam(name: str) -> str:
    # Three-layer MLPs are proj_in, layers.0, proj_out there and layers.0, 1, 2 here.
    name = re.sub(r"(output_hypernetworks_mlps\.\d+|iou_prediction_head)\.layers\.0\.", r"\1.layers.1.", name)
    for pattern, ours in _SAM_NAMES:
        name = re.sub(pattern, ours, name)
    return name


def load_llava_projector(model: MediRound, folder: Path) -> bool:
    """Load LLaVA's `mm_projector` from its folder into the image projector, if there is one that fits.

    Returns
    -------
    bool
        Whether it was loaded. It does not fit a projector that begins with a norm.
    """
    from safetensors import safe_open

    found: dict[str, Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - no mapping
                place = re.search(r"mm_projector\.([02])\.(weight|bias)$", name)
                if place:
                    found[f"{int(place[1]) + 1}.{place[2]}"] = file.get_tensor(name)
    own = model.image_projector.state_dict()
    if set(found) != set(own) or any(found[name].shape != value.shape for name, value in own.items()):
        return False
    model.image_projector.load_state_dict({name: value.float() for name, value in found.items()})
    return True
