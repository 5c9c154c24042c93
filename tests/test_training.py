"""The stages end to end, on random planes and the random model."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mediround.errors import SettingsError
from napari_mediround.model.build import build_mediround
from napari_mediround.model.sam import mask_to_logits
from napari_mediround.training.data.planes import Planes, kept_for_judging
from napari_mediround.training.stages import judging, text
from napari_mediround.training.stages.pixels import PixelStage
from napari_mediround.training.stages.run import main, read_recipe
from napari_mediround.training.stages.text import TextSettings, draw_lesson, lessons_loss

RECIPE = """
[run]
preset = "tiny"
data = "{data}"
out = "{out}"
[dense]
steps = 2
planes = 2
[pixels]
steps = 3
coarse = 1
coarse_planes = 2
planes = 2
[text]
steps = 2
dialogues = 1
[joint]
lessons = 2
projection_steps = 5
steps = 2
planes = 2
[judging]
examples = 12
epochs = 2
corrector_steps = 2
"""


def write_planes(folder, count=24):
    """Write what `training.prepare` would: two squares a plane, random embeddings of the tiny encoder."""
    rng = np.random.default_rng(0)
    labels = np.zeros((count, 64, 64), np.uint16)
    labels[:, 10:25, 8:28], labels[:, 30:50, 36:60] = 1, 2
    np.savez(folder / "planes.npz", images=np.zeros((count, 64, 64, 3), np.uint8), labels=labels)
    entry = {
        "shape": [64, 64],
        "names": {"1": "kidney_right", "2": "kidney_left"},
        "oriented": True,
        "modality": "CT",
        "view": "axial",
    }
    table = [
        {**entry, "mirrored": row == 1, "source": f"demo/{row}", "subject": str(row)} for row in range(count)
    ]
    (folder / "planes.json").write_text(json.dumps(table))
    np.save(folder / "embeddings.npy", rng.normal(size=(count, 32, 16, 16)).astype(np.float16))
    (folder / "encoded").mkdir()
    for row in range(count):
        (folder / "encoded" / str(row)).touch()


@pytest.fixture
def recipe(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    write_planes(data)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(data=data.as_posix(), out=(tmp_path / "out").as_posix()))
    return path


def go_on(recipe, folder, stage):
    """Write the recipe of a run that goes on from the weights of another with one stage."""
    text = recipe.read_text().replace(folder.parent.as_posix(), (folder.parent.parent / "on").as_posix())
    text = text.replace("[run]", f"[run]\nbegin = {folder.as_posix()!r}")
    stages = re.split(r"(?=^\[)", text, flags=re.MULTILINE)
    recipe.write_text("".join(part for part in stages if part.startswith(("[run]", f"[{stage}]"))))


def test_a_recipe_trains_all_stages_and_its_weights_load(recipe):
    folder = main(recipe)
    card = json.loads((folder / "card.json").read_text())
    assert card["planes_of_sets"] == {"demo": 24}
    assert "judge_bce" in card["metrics_of_training"]
    assert card["begun_from"] == {}
    trained, fresh = build_mediround("tiny", trained=folder), build_mediround("tiny")
    assert not torch.equal(trained.seg_projection[0].weight, fresh.seg_projection[0].weight)
    assert not torch.equal(trained.mask_decoder.iou_token.weight, fresh.mask_decoder.iou_token.weight)
    assert torch.equal(trained.image_encoder.neck[0].weight, fresh.image_encoder.neck[0].weight)


def test_a_finished_run_started_again_gives_the_same_weights(recipe):
    first = json.loads((main(recipe) / "card.json").read_text())["sha256"]
    assert json.loads((main(recipe) / "card.json").read_text())["sha256"] == first


def test_a_run_goes_on_from_trained_weights_with_the_stages_that_it_names(recipe):
    folder = main(recipe)
    begun = build_mediround("tiny", trained=folder)
    go_on(recipe, folder, "dense")
    went_on = build_mediround("tiny", trained=main(recipe))
    assert not torch.equal(went_on.glance.query.weight, begun.glance.query.weight)
    assert torch.equal(went_on.seg_projection[0].weight, begun.seg_projection[0].weight)
    assert went_on.landmarks.names == begun.landmarks.names
    recipe.write_text(recipe.read_text().replace("[run]", "[run]\nkeep = 0.25"))
    mean = build_mediround("tiny", trained=main(recipe)).glance.query.weight
    expected = 0.25 * begun.glance.query.weight + 0.75 * went_on.glance.query.weight
    assert torch.allclose(mean, expected, atol=1e-3)
    recipe.write_text(recipe.read_text().replace("keep = 0.25", 'fresh = ["mask_decoder"]'))
    blank, forgot = build_mediround("tiny", untrained=True), build_mediround("tiny", trained=main(recipe))
    tokens = [m.mask_decoder.iou_token.weight for m in (blank, forgot, begun)]
    assert torch.equal(tokens[0].half(), tokens[1].half())
    assert not torch.equal(tokens[1].half(), tokens[2].half())
    vectors = PixelStage(["kidney"], begun, 0).vectors
    assert torch.equal(vectors[0], begun.landmarks.vectors[begun.landmarks.names.index("kidney")])


def test_the_language_model_alone_goes_on_towards_the_landmarks(recipe):
    folder = main(recipe)
    begun = build_mediround("tiny", trained=folder)
    go_on(recipe, folder, "text")
    went_on_at = main(recipe)
    went_on = build_mediround("tiny", trained=went_on_at)
    before, after = (m.language.network.state_dict() for m in (begun, went_on))
    assert any("lora_B" in name and not torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(went_on.seg_projection[0].weight, begun.seg_projection[0].weight)
    assert torch.equal(went_on.glance.query.weight, begun.glance.query.weight)
    assert went_on.landmarks.names == begun.landmarks.names
    assert torch.equal(went_on.landmarks.vectors, begun.landmarks.vectors)
    first, second = (json.loads((at / "card.json").read_text()) for at in (folder, went_on_at))
    assert second["begun_from"]["sha256"] == first["sha256"]
    assert second["begun_from"]["metrics_of_training"] == first["metrics_of_training"] != {}


@torch.no_grad()
def test_lessons_read_at_once_cost_and_say_what_each_alone_does(recipe):
    model, planes = build_mediround("tiny"), Planes(recipe.parent / "data")
    drawn = [draw_lesson(model, planes, TextSettings(), np.random.default_rng(seed)) for seed in range(4)]
    assert len({len(lesson.pieces) for lesson in drawn}) > 1
    table, row_of = (
        torch.randn(2, model.seg_projection[-1].out_features),
        {"left kidney": 0, "right kidney": 1},
    )
    _, report, said = lessons_loss(model, drawn, table, row_of)
    alone = [lessons_loss(model, [lesson], table, row_of) for lesson in drawn]
    tokens = [len(lesson.supervised) for lesson in drawn]
    assert report["text"] == pytest.approx(
        np.average([r["text"] for _, r, _ in alone], weights=tokens), rel=1e-4
    )
    for name, states in said.items():
        torch.testing.assert_close(states, torch.cat([s[name] for _, _, s in alone if name in s]))


@pytest.mark.parametrize("text_share", [1.0, 0.0])
def test_dialogues_of_wanted_kinds_are_met_more_often(recipe, monkeypatch, text_share):
    monkeypatch.setattr(text, "write_lesson", lambda model, dialogue, *_: dialogue)
    planes = Planes(recipe.parent / "data")
    wanted = TextSettings(text_share=text_share, kinds=("mirror", "whole"))
    for seed in range(8):
        dialogue = draw_lesson(None, planes, wanted, np.random.default_rng(seed))
        assert {turn.kind for turn in dialogue.turns} & {"mirror", "whole"}


def test_to_begin_from_bundled_weights_there_have_to_be_some(recipe):
    recipe.write_text(recipe.read_text().replace("[run]", '[run]\nbegin = "bundled"'))
    with pytest.raises(SettingsError, match="preset tiny"):
        main(recipe)


def test_an_unknown_kind_of_turn_does_not_draw_for_ever(recipe, monkeypatch):
    monkeypatch.setattr(text, "write_lesson", lambda model, dialogue, *_: dialogue)
    planes, wanted = Planes(recipe.parent / "data"), TextSettings(text_share=1.0, kinds=("functon",))
    assert draw_lesson(None, planes, wanted, np.random.default_rng(0)).turns


def test_an_unknown_setting_is_refused_by_name(recipe):
    recipe.write_text("[pixels]\nstepz = 3\n")
    with pytest.raises(SettingsError, match="stepz"):
        read_recipe(recipe)


def test_mirrored_planes_swap_sides_and_pairs_are_one_structure(recipe):
    planes = Planes(recipe.parent / "data")
    row, mirrored = next(r for r in planes.rows if r != 1), 1
    assert planes.names(row)[1] == "right kidney"
    assert planes.names(mirrored)[1] == "left kidney"
    assert planes.values[row]["kidney"] == (1, 2)
    assert planes.mask(row, (1, 2)).sum() == 15 * 20 + 20 * 24


def test_subjects_kept_for_the_judge_are_not_in_stage_one(recipe):
    data = recipe.parent / "data"
    one, two = Planes(data).rows, Planes(data, judging=True).rows
    assert not set(one) & set(two)
    assert len(one) + len(two) == 24
    assert two
    assert all(kept_for_judging(f"demo/{row}") for row in two)


def test_the_judge_is_told_the_truth_about_bent_planes(recipe, monkeypatch):
    model, planes = build_mediround("tiny", untrained=True), Planes(recipe.parent / "data", judging=True)
    draw, decode, batches = judging.draw_batch, model.decode, []
    monkeypatch.setattr(judging, "draw_batch", lambda *a: batches.append(draw(*a)) or batches[-1])

    def decode_right(*arguments, **more):
        logits = mask_to_logits(torch.from_numpy(batches[-1].masks))[:, 0]
        return replace(decode(*arguments, **more), logits=logits)

    monkeypatch.setattr(model, "decode", decode_right)
    bank = {name: torch.randn(2, model.language.width) for name in ("left kidney", "right kidney")}
    settings = judging.JudgingSettings(examples=20, wrong_share=0.0)
    truths = judging.collect_examples(model, planes, bank, settings)[1]
    assert any(
        (batch.masks[k] != planes.mask(r, planes.values[r][n])).any()
        for batch in batches
        for k, (r, n) in enumerate(zip(batch.rows, batch.names, strict=True))
    )
    assert truths.tolist() == [1.0] * len(truths)
