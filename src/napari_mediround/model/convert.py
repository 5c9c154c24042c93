"""Names of other people's checkpoints: transformers' SAM, LLaVA-Med's projector, MediRound's released code.

Knows which tensor of theirs is which of ours.

References
----------
`transformers.SamModel` and `segment-anything` 1.0; LLaVA-Med v1.5 (`LlavaMistralForCausalLM`); released code
Edisonhimself/MediRound, `train_ds.py`, `model/mediround.py`, `model/bbox_head/init_bbox_decoder.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from napari_mediround.errors import MissingWeightsError
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prompt import BOX, CROP, NEW_TOKENS, SEG

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
_SLOTS = {
    "text_hidden_fcs.0.0": "seg_projection.0",
    "text_hidden_fcs.0.2": "seg_projection.2",
    "bbox_encoder": "box_encoder",
    "mm_projector.0": "image_projector.1",
    "mm_projector.2": "image_projector.3",
}
_SLOTS |= {
    f"{theirs}.fc{i}": f"{ours}.mlp.{2 * (i - 1)}"
    for i in (1, 2, 3)
    for theirs, ours in (("mask_quality_MLP", "judge"), ("refine_MLP", "corrector"))
}
# In the order in which the released code adds them to the tokenizer.
_UPSTREAM_TOKENS = (SEG, BOX, CROP)
_CORE = "language.network.base_model.model."


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


@torch.no_grad()
def import_upstream(model: MediRound, state: Mapping[str, Tensor]) -> list[str]:
    """Put a checkpoint of MediRound's released training code into `model`.

    Parameters
    ----------
    model : MediRound
        Model of the preset `paper`, or of the same layout.
    state : mapping
        Name to tensor, as `pytorch_model*.bin` holds them: with or without ``module.`` and peft's
        ``base_model.model.``; of stage 1 (no judge, no corrector) or stage 2.

    Returns
    -------
    list of str
        Names of tensors that have no place in the model, sorted.

    Raises
    ------
    MissingWeightsError
        When a tensor has another shape than ours; the message names the first. Nothing is then changed.

    Notes
    -----
    The released code trains the whole token embedding and LM head, so these replace the base model's: chat
    answers are then those of that embedding. `[ABSENT]`, which it does not have, keeps its fresh row.
    `save_trained` keeps only the rows of our tokens; import again rather than save.
    """
    own = model.state_dict()
    plan: list[tuple[Tensor, Tensor]] = []
    left: list[str] = []
    for name, value in sorted(state.items()):
        pairs = list(_place(model, own, name, value))
        if not pairs:
            left.append(name)
        for target, part in pairs:
            if target.shape != part.shape:
                raise MissingWeightsError(
                    f"{name} is {tuple(value.shape)} and does not fit this model ({tuple(target.shape)}). "
                    "Choose the preset that the checkpoint was trained with."
                )
        plan += pairs
    for target, part in plan:
        target.copy_(part)
    return left


def _place(
    model: MediRound, own: Mapping[str, Tensor], name: str, value: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (our tensor, tensor to copy) for one of their names; nothing if it has no place here."""
    bare = name.removeprefix("module.").removeprefix("base_model.model.")
    if bare in ("model.embed_tokens.weight", "lm_head.weight"):
        yield from _place_rows(model, own, bare.removesuffix(".weight"), value)
        return
    inner = bare.removeprefix("model.")
    slot, _, leaf = inner.rpartition(".")
    candidates = [
        f"{_SLOTS[slot]}.{leaf}" if slot in _SLOTS else "",
        inner.removeprefix("visual_model.") if inner.startswith("visual_model.") else "",
        re.sub(r"^vision_tower\.vision_tower\.", "vision.tower.", inner),
        re.sub(r"^vision_tower\.vision_tower\.vision_model\.", "vision.tower.", inner),
        _CORE + bare,
        f"{_CORE}{bare.rpartition('.')[0]}.base_layer.{leaf}",
    ]
    target = next((c for c in candidates if c in own), None)
    if target:
        yield own[target], value


def _place_rows(
    model: MediRound, own: Mapping[str, Tensor], table: str, value: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows of an embedding or LM head: those of the base, then those of the three new tokens."""
    language = model.language
    words = len(language.tokenizer) - len(NEW_TOKENS)
    rows = own[f"{_CORE}{table}.token_adapter.base_layer.weight"]
    if value.shape[0] < words + len(_UPSTREAM_TOKENS):
        raise MissingWeightsError(
            f"{table} has {value.shape[0]} rows; {words + len(_UPSTREAM_TOKENS)} are needed. "
            "Choose the language model that the checkpoint was trained with."
        )
    yield rows[:words], value[:words]
    deltas = own[f"{_CORE}{table}.token_adapter.trainable_tokens_delta.default"]
    for number, token in enumerate(_UPSTREAM_TOKENS):
        # peft keeps the trained rows themselves, ordered as NEW_TOKENS.
        yield deltas[NEW_TOKENS.index(token)], value[words + number]
