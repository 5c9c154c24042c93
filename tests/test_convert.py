"""Names of foreign checkpoints: transformers' SAM, and MediRound's released training code."""

from __future__ import annotations

import pytest
import torch
from test_paper import CHANNELS, VISION, folders, preset  # noqa: F401 - fixtures

from napari_mediround.errors import MissingWeightsError
from napari_mediround.model.build import build_mediround
from napari_mediround.model.convert import import_upstream, is_transformers_sam, rename_transformers_sam
from napari_mediround.model.prompt import ABSENT, SEG
from napari_mediround.model.sam import build_mask_decoder, build_prompt_encoder, build_sam_vit

HEAD = "base_model.model."


@pytest.fixture
def model(preset, folders):  # noqa: F811
    return build_mediround(preset, folders=folders)


@pytest.fixture(scope="module")
def checkpoint(preset, folders):  # noqa: F811
    """Return a random state under the names that the released code's stage 2 writes."""
    generator = torch.Generator().manual_seed(7)
    model = build_mediround(preset, folders=folders)
    words, width = len(model.language.tokenizer) - 4, model.language.width
    shapes = {
        "model.embed_tokens.weight": (words + 3, width),
        "lm_head.weight": (words + 3, width),
        "model.text_hidden_fcs.0.0.weight": (width, width),
        "model.text_hidden_fcs.0.2.bias": (CHANNELS,),
        "model.bbox_encoder.weight": (width, 4),
        "model.mm_projector.0.weight": (width, VISION),
        "model.layers.0.self_attn.q_proj.lora_A.default.weight": (8, width),
        "model.layers.0.self_attn.q_proj.weight": (width, width),
        "model.norm.weight": (width,),
        "model.visual_model.mask_decoder.iou_token.weight": (1, CHANNELS),
        "model.mask_quality_MLP.fc3.weight": (1, 512),
        "model.refine_MLP.fc2.weight": (512, 512),
        "model.vision_tower.vision_tower.vision_model.post_layernorm.weight": (VISION,),
        "model.visual_model.unheard_of": (2,),
    }
    return {HEAD + name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("form", ["peft", "module", "bare"])
def test_a_released_checkpoint_finds_its_places(model, checkpoint, form):
    heads = {"peft": HEAD, "module": f"module.{HEAD}", "bare": ""}
    left = import_upstream(
        model, {heads[form] + name.removeprefix(HEAD): v for name, v in checkpoint.items()}
    )
    assert left == [f"{heads[form]}model.visual_model.unheard_of"]
    places = {
        "text_hidden_fcs.0.2.bias": model.seg_projection[2].bias,
        "bbox_encoder.weight": model.box_encoder.weight,
        "mask_quality_MLP.fc3.weight": model.judge.mlp[4].weight,
        "refine_MLP.fc2.weight": model.corrector.mlp[2].weight,
        "visual_model.mask_decoder.iou_token.weight": model.mask_decoder.iou_token.weight,
        "mm_projector.0.weight": model.image_projector[1].weight,
    }
    for name, ours in places.items():
        assert torch.equal(ours, checkpoint[f"{HEAD}model.{name}"]), name


def test_token_rows_follow_the_released_order(model, checkpoint):
    language = model.language
    absent = language.embed(torch.tensor([language.new_ids[ABSENT]])).clone()
    import_upstream(model, checkpoint)
    table = checkpoint[f"{HEAD}model.embed_tokens.weight"].bfloat16()
    assert torch.equal(language.embed(torch.tensor([5]))[0], table[5])
    assert torch.equal(language.embed(torch.tensor([language.new_ids[SEG]]))[0], table[-3])
    assert torch.equal(language.embed(torch.tensor([language.new_ids[ABSENT]])), absent)
    head = checkpoint[f"{HEAD}lm_head.weight"].bfloat16()
    state = torch.randn(1, language.width).bfloat16()
    assert torch.allclose(
        language.logits(state)[0, language.new_ids[SEG]], (state @ head[-3])[0], rtol=0.05, atol=0.1
    )


def test_the_adapter_and_the_base_find_their_layers(model, checkpoint):
    import_upstream(model, checkpoint)
    layer = model.language.network.get_base_model().model.layers[0].self_attn.q_proj
    name = f"{HEAD}model.layers.0.self_attn.q_proj"
    assert torch.equal(layer.lora_A["default"].weight, checkpoint[f"{name}.lora_A.default.weight"])
    assert torch.equal(layer.base_layer.weight, checkpoint[f"{name}.weight"].bfloat16())


def test_a_shape_that_does_not_fit_is_named_and_nothing_changes(model, checkpoint):
    before = model.box_encoder.weight.clone()
    bad = {**checkpoint, f"{HEAD}model.text_hidden_fcs.0.0.weight": torch.zeros(5, 5)}
    with pytest.raises(MissingWeightsError, match=r"text_hidden_fcs\.0\.0\.weight is \(5, 5\)"):
        import_upstream(model, bad)
    assert torch.equal(model.box_encoder.weight, before)
    with pytest.raises(MissingWeightsError, match=r"embed_tokens has 9 rows"):
        import_upstream(model, {f"{HEAD}model.embed_tokens.weight": torch.zeros(9, model.language.width)})


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
