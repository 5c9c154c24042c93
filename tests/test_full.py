"""The full evaluation from end to end: tiny model, two small sets, every part of the report."""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import test_evaluate
import torch
from test_evaluate import stripes, write_set

from napari_mediround.cli import loading as loading
from napari_mediround.cli import main
from napari_mediround.errors import SettingsError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.inference.question import Said
from napari_mediround.training.data.sets import LabelledPlane
from napari_mediround.training.evaluation.evaluate import Settings, evaluate_dataset
from napari_mediround.training.evaluation.full import (
    FullEvaluation,
    describe_plane,
    outcomes_path,
    write_dialogue,
)
from napari_mediround.training.evaluation.outcomes import read_outcomes
from napari_mediround.training.evaluation.reference_errors import CORRECTIONS


@pytest.fixture
def talker() -> Predictor:
    """Give a tiny predictor whose language model names a structure of each question, or chats."""
    predictor = Predictor.from_preset("tiny", device="cpu", cache_dir=None)
    language, width = predictor.model.language, predictor.model.channels
    names = "left kidney|right kidney|kidney|liver|spleen|aorta"

    def answer(located, prompt, *_) -> Said:
        ids = [piece for piece in prompt.pieces if isinstance(piece, int)]
        question = language.tokenizer.decode(ids).rpartition("Round")[2].lower()
        if "about" in question or "what" in question:
            return Said((), (), torch.zeros(0, width))
        found = re.findall(names, question)[-1:] or ["liver"]
        vector = torch.randn(1, width, generator=torch.Generator().manual_seed(len(question) + 1))
        return Said((found[0],), (), vector)

    predictor.reader.answer = answer
    return predictor


def write_sets(folder: Path) -> Path:
    """Write two sets: one with several structures, one with one."""
    write_set(folder / "many", [stripes(1, 2, 4, 5, size=12), stripes(2, 1, 3, size=16)])
    write_set(folder / "one", [stripes(0, 1, size=16)])
    return folder


def test_every_part_is_asked_and_the_plain_report_stays_as_it_is(tmp_path: Path, talker) -> None:
    folder, out = write_sets(tmp_path / "sets"), tmp_path / "r.json"
    full = evaluate_dataset(talker, folder, out=out, kind=FullEvaluation)
    plain = evaluate_dataset(talker, folder)
    assert full["config"].pop("dialogues") == 6
    assert {k: v for k, v in full.items() if k != "findings"} == plain
    outcomes = read_outcomes(outcomes_path(out))
    assert {o.part for o in outcomes} >= {"name", "dialogue", "clicks", "wording", "absent", "chat"}
    assert {o.way for o in outcomes if o.part == "dialogue"} >= {*CORRECTIONS, "alone", "corrupted/on"}
    assert sum(o.part == "chat" for o in outcomes) == 2
    named = [o for o in outcomes if o.part == "name"]
    assert len(named) == full["summary"]["n"] == 8
    assert np.mean([o.score.dice for o in named]) == pytest.approx(full["summary"]["dice"], abs=1e-6)
    assert full["findings"] == json.loads(out.read_text("utf-8"))["findings"]
    assert full["findings"]["text"]["groups"]["all"]["n"] == 8


def test_chat_that_is_the_base_models_own_is_found_to_be(tmp_path: Path, talker) -> None:
    report = evaluate_dataset(talker, write_sets(tmp_path / "sets"), kind=FullEvaluation)
    chat = report["findings"]["chat"]
    assert chat["same_text"] == chat["same_bits"] == chat["compared"] > 0


def test_dialogues_are_spread_over_a_set(tmp_path: Path, talker, monkeypatch) -> None:
    led = []
    monkeypatch.setattr(FullEvaluation, "_lead", lambda self, plane, *_: led.append(plane.source) or ())
    maps = [np.stack([stripes(1, 2, size=16)] * 8), stripes(1, 2, size=16), stripes(0, 1, size=16)]
    folder = write_set(tmp_path / "set", maps)
    evaluate_dataset(talker, folder, settings=Settings(planes=4), kind=partial(FullEvaluation, dialogues=6))
    assert led == ["set/case_0/3", "set/case_0/7", "set/case_1/0"]


def test_no_more_dialogues_than_wanted_are_led_about_many_cases(tmp_path: Path, talker, monkeypatch) -> None:
    led = []
    monkeypatch.setattr(FullEvaluation, "_lead", lambda self, plane, *_: led.append(plane.source) or ())
    folder = write_set(tmp_path / "set", [stripes(1, 2, size=16)] * 6)
    evaluate_dataset(talker, folder, kind=partial(FullEvaluation, dialogues=2))
    assert led == ["set/case_1/0", "set/case_4/0"]


def test_the_same_seed_asks_the_same(tmp_path: Path, talker) -> None:
    folder, runs = write_set(tmp_path / "set", [stripes(1, 2, 4, size=12)]), []
    for seed in (1, 1, 2):
        out = tmp_path / f"{len(runs)}.json"
        evaluate_dataset(talker, folder, out=out, settings=Settings(seed=seed), kind=FullEvaluation)
        runs.append(outcomes_path(out).read_text("utf-8"))
    assert runs[0] == runs[1] != runs[2]


def test_a_second_run_begins_its_outcomes_anew(tmp_path: Path, talker) -> None:
    folder, out = write_set(tmp_path / "set", [stripes(0, 1, size=16)]), tmp_path / "r.json"
    for _ in range(2):
        evaluate_dataset(talker, folder, out=out, kind=FullEvaluation)
    assert sum(o.part == "name" for o in read_outcomes(outcomes_path(out))) == 1


def test_a_dialogue_file_is_refused(tmp_path: Path, talker) -> None:
    with pytest.raises(SettingsError, match="--full"):
        evaluate_dataset(talker, test_evaluate.write_dialogue(tmp_path / "mr"), kind=FullEvaluation)


def test_labels_of_one_name_are_one_structure() -> None:
    labels = stripes(1, 2, 3)
    names = {1: "kidney_left", 2: "left kidney (whole)", 9: "liver"}
    plane = LabelledPlane(np.zeros((16, 24, 3), np.uint8), labels, names, True, "s/c/5", "a", "val", "CT")
    scenery = describe_plane(plane, "s/a")
    assert scenery.names == {1: "left kidney", 9: "liver"}
    assert scenery.plane == 5
    assert [np.unique(scenery.labels[:, k]).tolist() for k in (0, 8, 16)] == [[1], [1], [0]]


def test_a_dialogue_has_six_rounds_with_masks() -> None:
    names = {1: "liver", 2: "spleen", 3: "stomach"}
    plane = LabelledPlane(
        np.zeros((16, 24, 3), np.uint8), stripes(1, 3, 2), names, True, "s/c/5", "a", "", "CT"
    )
    dialogue = write_dialogue(describe_plane(plane, "s/a"), plane, np.random.default_rng(0), 20)
    assert len(dialogue.turns) == 6
    assert all(turn.targets for turn in dialogue.turns)


def test_the_command_shows_the_aims(tmp_path: Path, talker, monkeypatch, capsys) -> None:
    folder, out = write_sets(tmp_path / "sets"), tmp_path / "r.json"
    monkeypatch.setattr(loading, "load_predictor", lambda *_: talker)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--json", str(out), "--full", "--structures", "2"])
    assert not ended.value.code
    report = json.loads(out.read_text("utf-8"))
    assert report["config"]["structures"] == 2
    assert "structures ≥ 200" in re.sub(r"\s+", " ", capsys.readouterr().out)
