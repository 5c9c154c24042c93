"""The preset `paper` end to end, on random stand-ins of CLIP, Mistral and SAM in real folders."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scripted import ask, make_plane, script_answers, write_preset

from napari_mediround.domain.rounds import Conversation, Reference
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.build import build_mediround, read_preset
from napari_mediround.model.prompt import BOX, CROP, SEG, ReferenceSlot, Slot
from napari_mediround.model.sam import build_mask_decoder, build_prompt_encoder, build_sam_vit

VISION, WIDTH, CHANNELS = 24, 32, 32


def save_sam(folder: Path) -> Path:
    """Write a random SAM under its own names, as a .pth file."""
    torch.manual_seed(3)
    parts = {
        "image_encoder": build_sam_vit(64, 32, 2, 2, (1,), CHANNELS),
        "mask_decoder": build_mask_decoder(CHANNELS, 64),
        "prompt_encoder": build_prompt_encoder(64, 4, CHANNELS),
    }
    folder.mkdir()
    torch.save(
        {f"{n}.{k}": v for n, part in parts.items() for k, v in part.state_dict().items()}, folder / "sam.pth"
    )
    return folder


def save_clip(folder: Path) -> Path:
    """Write a random CLIP vision tower of 4×4 patches."""
    from transformers import CLIPVisionConfig, CLIPVisionModel

    CLIPVisionModel(
        CLIPVisionConfig(
            hidden_size=VISION,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=2,
            image_size=32,
            patch_size=8,
        )
    ).save_pretrained(folder)
    return folder


def save_mistral(folder: Path) -> Path:
    """Write a random Mistral with untied embeddings and a tokenizer over bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import MistralConfig, MistralForCausalLM, PreTrainedTokenizerFast

    tokens = ["<unk>", "<s>", "</s>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    core = Tokenizer(models.BPE(vocab={token: i for i, token in enumerate(tokens)}, merges=[]))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    core.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=core, unk_token="<unk>", bos_token="<s>", eos_token="</s>", pad_token="<unk>"
    ).save_pretrained(folder)
    MistralForCausalLM(
        MistralConfig(
            vocab_size=len(tokens),
            hidden_size=WIDTH,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            tie_word_embeddings=False,
            bos_token_id=1,
            eos_token_id=2,
            sliding_window=None,
        )
    ).save_pretrained(folder)
    return folder


def turn_into_llava(folder: Path) -> Path:
    """Make a Mistral folder look like LLaVA-Med's: its type, a vision tower and a projector beside it."""
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "llava_mistral",
        "architectures": ["LlavaMistralForCausalLM"],
        "mm_hidden_size": VISION,
    }
    (folder / "config.json").write_text(json.dumps(config))
    state = load_file(folder / "model.safetensors")
    state["model.vision_tower.vision_tower.vision_model.post_layernorm.weight"] = torch.ones(VISION)
    for place, shape in (("0", (WIDTH, VISION)), ("2", (WIDTH, WIDTH))):
        state[f"model.mm_projector.{place}.weight"] = torch.randn(shape)
        state[f"model.mm_projector.{place}.bias"] = torch.randn(shape[0])
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """Return weight name to folder of stand-ins."""
    root = tmp_path_factory.mktemp("paper")
    torch.manual_seed(0)
    return {
        "medsam_vit_b": save_sam(root / "sam"),
        "clip_vit_large_336": save_clip(root / "clip"),
        "llava_med_mistral_7b": turn_into_llava(save_mistral(root / "llava")),
    }


@pytest.fixture(scope="module")
def preset(tmp_path_factory) -> Path:
    """Return the preset `paper` with the stand-ins' sizes; all else as it is."""
    image = {"size": 64, "channels": CHANNELS, "width": 32, "depth": 2, "heads": 2, "global_blocks": [1]}
    return write_preset(tmp_path_factory.mktemp("preset"), "paper", image=image, decoder={"mlp": 64})


@pytest.fixture
def model(preset, folders):
    return build_mediround(preset, folders=folders)


def test_two_rounds_with_a_reference_give_masks(model):
    predictor = Predictor(model, "cpu")
    read = script_answers(predictor, "The liver [SEG].", "The spleen [SEG].")
    predictor.set_image(make_plane())
    talk = ask(predictor, Conversation(), "Segment the liver.")
    talk = ask(predictor, talk, "Now what lies beside [1].", [Reference(1, 1, "[1]")])
    assert [t.structure for r in talk.rounds for t in r.targets] == ["liver", "spleen"]
    assert all(t.mask.to_array().shape == (48, 64) for r in talk.rounds for t in r.targets)
    assert read[0] > model.vision.tokens == 16


def test_a_reference_stands_as_its_crop_then_its_box(model):
    pieces = model.template.question(
        model.language.encode, 2, "beside [1]", [ReferenceSlot("[1] liver", "k")]
    )
    assert [p for p in pieces if isinstance(p, Slot)] == [Slot("crop", "k"), Slot("box", "k")]
    assert {SEG, CROP, BOX} <= set(model.language.new_ids)
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:40] = True
    crop, box = model.describe_reference(model.encode_image(make_plane()), mask)
    assert crop.shape == (VISION,)
    assert torch.allclose(box, torch.tensor([30, 10, 40, 20]) / 64)


def test_the_crop_feature_does_not_see_what_lies_outside_the_mask(model):
    mask = np.zeros((48, 64), bool)
    mask[10:20, 30:40] = True
    plane, other = make_plane(), make_plane(1)
    other[mask] = plane[mask]
    crops = [model.describe_reference(model.encode_image(p), mask)[0] for p in (plane, other)]
    assert torch.equal(*crops)


def test_correction_is_the_published_one(model):
    assert model.judge.sees == "vector"
    assert not model.corrector.residual
    assert not model.correction.keep_better
    features, vectors = model.encode_image(make_plane()), torch.randn(3, CHANNELS)
    with torch.no_grad():
        model.judge.mlp[-1].bias.fill_(-9)
        decoded = model.segment(features, vectors)
        again = model.decode(model.see(features), model.corrector(vectors))
        model.judge.mlp[-1].bias.fill_(9)
        trusted = model.segment(features, vectors)
    assert decoded.corrected.all()
    assert torch.equal(decoded.logits, again.logits)
    assert not trusted.corrected.any()


def test_a_llava_folder_gives_its_mistral_and_its_projector(model, folders):
    state = load_file(folders["llava_med_mistral_7b"] / "model.safetensors")
    core = model.language.network.get_base_model()
    assert torch.equal(
        core.model.layers[1].mlp.up_proj.weight, state["model.layers.1.mlp.up_proj.weight"].bfloat16()
    )
    assert torch.equal(model.image_projector[3].weight, state["model.mm_projector.2.weight"])
    assert "vision_tower" not in " ".join(core.state_dict())


def test_a_plain_mistral_folder_loads_too(preset, folders, tmp_path):
    model = build_mediround(
        preset, folders={**folders, "llava_med_mistral_7b": save_mistral(tmp_path / "mistral")}
    )
    assert model.language.width == WIDTH


def test_untied_embeddings_train_both_tables(model):
    names = [n for n, p in model.language.network.named_parameters() if p.requires_grad and "token" in n]
    assert len(names) == 2
    state = model.language.embed(torch.tensor([[1, 2, 3]])).requires_grad_()
    logits = model.language.logits(model.language.hidden(state))
    assert logits.shape[-1] == len(model.language.tokenizer)
    logits[0, -1, model.language.new_ids[SEG]].backward()
    table = model.language.network.get_output_embeddings().token_adapter.trainable_tokens_delta["default"]
    assert table.grad.abs().sum() > 0


def test_the_bundled_preset_is_the_published_model():
    settings = read_preset("paper")
    assert settings["image"]["size"] == 1024
    assert (settings["lora"]["rank"], settings["lora"]["alpha"], settings["lora"]["dropout"]) == (8, 16, 0.05)
    assert settings["correction"] == {"threshold": 0.6, "keep_better": False}
