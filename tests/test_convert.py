"""Names of foreign checkpoints: transformers' SAM."""

from __future__ import annotations

import pytest
import torch
from test_paper import CHANNELS, VISION, folders, preset  # noqa: F401 - fixtures

from napari_mediround.model.build import build_mediround
from napari_mediround.model.convert import is_transformers_sam, rename_transformers_sam
from napari_mediround.model.sam import build_mask_decoder, build_prompt_encoder, build_sam_vit


@pytest.fixture(scope="module")
def their_sam():
    """Return a tiny random `transformers.SamModel`."""
    from transformers import (
        SamConfig,
        SamMaskDecoderConfig,
        SamModel,
        SamPromptEncoderConfig,
        SamVisionConfig,
    )

    torch.manual_seed(5)
    return SamModel(
        SamConfig(
            vision_config=SamVisionConfig(
                hidden_size=32,
                output_channels=CHANNELS,
                num_hidden_layers=2,
                num_attention_heads=2,
                image_size=64,
                patch_size=16,
                global_attn_indexes=[1],
                num_pos_feats=CHANNELS // 2,
                mlp_dim=128,
            ),
            prompt_encoder_config=SamPromptEncoderConfig(hidden_size=CHANNELS, image_size=64, patch_size=16),
            mask_decoder_config=SamMaskDecoderConfig(
                hidden_size=CHANNELS, mlp_dim=64, iou_head_hidden_dim=CHANNELS
            ),
        )
    ).eval()


def test_a_transformers_sam_computes_the_same_under_our_names(their_sam):
    state = their_sam.state_dict()
    assert is_transformers_sam(state)
    ours = {
        "image_encoder": build_sam_vit(64, 32, 2, 2, (1,), CHANNELS),
        "mask_decoder": build_mask_decoder(CHANNELS, 64),
        "prompt_encoder": build_prompt_encoder(64, 4, CHANNELS),
    }
    renamed = rename_transformers_sam(state)
    assert not is_transformers_sam(renamed)
    for name, part in ours.items():
        part.load_state_dict(
            {k.removeprefix(f"{name}."): v for k, v in renamed.items() if k.startswith(f"{name}.")}
        )
    pixels, boxes = torch.randn(1, 3, 64, 64), torch.tensor([[[8.0, 8, 40, 50]]])
    with torch.no_grad():
        theirs = their_sam(pixel_values=pixels, input_boxes=boxes, multimask_output=False)
        sparse, dense = ours["prompt_encoder"](points=None, boxes=boxes[0], masks=None)
        logits, iou = ours["mask_decoder"](
            ours["image_encoder"].eval()(pixels), ours["prompt_encoder"].get_dense_pe(), sparse, dense, False
        )
    assert torch.allclose(theirs.pred_masks[0, 0], logits[0], atol=1e-4)
    assert torch.allclose(theirs.iou_scores[0, 0], iou[0], atol=1e-4)


def test_a_folder_with_transformers_names_builds(their_sam, preset, folders, tmp_path):  # noqa: F811
    their_sam.save_pretrained(tmp_path)
    model = build_mediround(preset, folders={**folders, "medsam_vit_b": tmp_path})
    own = model.mask_decoder.output_upscaling[3].weight
    assert torch.equal(own, their_sam.mask_decoder.upscale_conv2.weight)
