"""Evaluation: what is asked, what is compared, what is reported. The segmenter answers by a script."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from napari_mediround.cli import loading as loading
from napari_mediround.cli import main
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Target
from napari_mediround.errors import SettingsError, UnreadableFileError
from napari_mediround.io.mrmedseg import MrDialogue, MrTurn, write_mrmedseg
from napari_mediround.training.evaluation import evaluate
from napari_mediround.training.evaluation.evaluate import Settings, evaluate_dataset
from napari_mediround.training.evaluation.metrics import SUMMARY
from napari_mediround.training.evaluation.questioning import MAX_ROUNDS, choose_target, spoken_name

NAMES = ("liver", "kidney_left", "spleen (whole)", "aorta", "stomach", "pancreas", "gallbladder", "heart")


class Reader:
    """A segmenter that reads the answer off the picture: grey 20·k is label k. `answer` may be replaced."""

    def __init__(self, answer=None) -> None:
        self.values = {spoken_name(name): k for k, name in enumerate(NAMES, 1)}
        self.reply, self.encoded, self.asked = answer or self.perfect, 0, []

    def set_image(self, image, view: str = "", modality: str = "", spacing_mm=None) -> str:
        """Count the planes."""
        self.image, self.encoded = image, self.encoded + 1
        return str(self.encoded)

    def ask(self, text, conversation, references, cancelled=None, **named) -> Answer:
        """Remember the question and answer by the script."""
        self.asked.append((text, conversation, references))
        return Answer("", self.reply(re.fullmatch(r"Segment the (.+)\.", text)[1]))

    def perfect(self, name: str) -> tuple[Target, ...]:
        """Return the true mask of a label on the picture last set."""
        return (Target(name, Mask.from_array(self.image[..., 0] == 20 * self.values[name]), 0.9),)

    def describe(self) -> dict[str, str]:
        """Name the script."""
        return {"preset": "script"}


def write_set(folder: Path, maps: list, splits: tuple = (), **case: str) -> Path:
    """Write label maps as a set: (H, W) as PNG, (plane, row, column) as NIfTI; the image is 20 × label."""
    folder.mkdir(parents=True)
    cases = []
    for number, labels in enumerate(maps):
        suffix = ".png" if labels.ndim == 2 else ".nii.gz"
        files = {part: f"case_{number}_{part}{suffix}" for part in ("image", "label")}
        for part, factor in (("image", 20), ("label", 1)):
            pixels = labels.astype(np.uint8) * np.uint8(factor)
            if labels.ndim == 2:
                Image.fromarray(pixels).save(folder / files[part])
            else:
                sitk.WriteImage(sitk.GetImageFromArray(pixels), str(folder / files[part]))
        cases.append({"case": f"case_{number}", **files, "subject": f"s{number}", **case})
    for entry, split in zip(cases, splits, strict=False):
        entry["split"] = split
    table = {"modality": "MR", "labels": dict(enumerate(NAMES, 1)), "cases": cases}
    (folder / "set.json").write_text(json.dumps(table))
    return folder


def stripes(*values: int, size: int = 8) -> np.ndarray:
    """Return a label map (16, size × values) of upright stripes."""
    return np.repeat(np.array([values]), size, 1).repeat(16, 0)


def test_a_perfect_model_scores_one_everywhere(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [stripes(0, 1, 2), stripes(3, 0, 2)])
    report = evaluate_dataset(Reader(), folder)
    assert set(report) == {"summary", "per_structure", "per_round", "config"}
    summary = report["summary"]
    assert tuple(summary) == SUMMARY
    assert (summary["n"], summary["judge_auroc"]) == (4, None)
    assert {summary[k] for k in SUMMARY[:3]} == {summary["seg_rate"], summary["box_fill_dice"]} == {1.0}
    counts = {name: row["n"] for name, row in report["per_structure"].items()}
    assert counts == {"liver": 1, "left kidney": 2, "spleen": 1}
    assert report["config"]["complete"] is True


def test_a_silent_model_scores_zero(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [stripes(0, 1, 2)])
    summary = evaluate_dataset(Reader(lambda name: ()), folder)["summary"]
    assert (summary["dice"], summary["giou"], summary["ciou"], summary["seg_rate"]) == (0, 0, 0, 0)
    assert summary["box_fill_dice"] == 1
    assert summary["n"] == 2


def test_the_judge_is_measured_against_dice(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [stripes(1, 2), stripes(1, 2)])
    reader = Reader()

    def reply(name: str) -> tuple[Target, ...]:
        swapped = {"liver": "left kidney"}.get(name, name)
        return (Target(name, reader.perfect(swapped)[0].mask, 0.9 if name == "liver" else 0.3),)

    reader.reply = reply
    summary = evaluate_dataset(reader, folder)["summary"]
    assert (summary["dice"], summary["judge_auroc"]) == (0.5, 0)


def test_of_several_masks_the_named_one_counts() -> None:
    empty = Mask.from_array(np.zeros((2, 2)))
    answer = Answer("", (Target("liver", empty, 0.1), Target("left kidney", empty, 0.2)))
    assert choose_target(answer, "kidney_left").quality == 0.2
    assert choose_target(answer, "spleen").structure == "liver"
    assert choose_target(Answer("No."), "spleen") is None


def test_rounds_follow_one_another_and_hold_the_models_own_masks(tmp_path: Path) -> None:
    reader = Reader()
    report = evaluate_dataset(reader, write_set(tmp_path / "set", [stripes(*range(1, 9))]))
    assert [len(c) for _, c, _ in reader.asked] == [*range(MAX_ROUNDS), 0, 1]
    assert reader.encoded == 1
    assert {k: v["n"] for k, v in report["per_round"].items()} == {"1": 2, "2": 2} | dict.fromkeys("3456", 1)
    last = reader.asked[5][1].rounds[-1]
    name = last.targets[0].structure
    assert last.text == f"Segment the {name}."
    assert last.targets == reader.perfect(name)


def test_the_seed_decides_the_order_and_nothing_else_does(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [stripes(*range(1, 9))])
    orders, reports = [], []
    for seed in (5, 5, 6):
        reader = Reader()
        reports.append(json.dumps(evaluate_dataset(reader, folder, settings=Settings(seed=seed))))
        orders.append([text for text, _, _ in reader.asked])
    assert orders[0] == orders[1] != orders[2]
    assert reports[0] == reports[1]


def test_only_the_chosen_split_is_asked_about(tmp_path: Path) -> None:
    maps = [stripes(0, 1), stripes(0, 2)]
    split = write_set(tmp_path / "split", maps, ("train", "val"))
    assert list(evaluate_dataset(Reader(), split)["per_structure"]) == ["left kidney"]
    assert list(evaluate_dataset(Reader(), split, settings=Settings("train"))["per_structure"]) == ["liver"]
    assert evaluate_dataset(Reader(), write_set(tmp_path / "whole", maps))["summary"]["n"] == 2
    none = evaluate_dataset(Reader(), split, settings=Settings("test"))
    assert none["summary"]["n"] == 0
    assert none["config"]["skipped"] == ["split: no case of split 'test'"]


def evaluate_words(monkeypatch, *words: object) -> int:
    """Run the command with a model that must not be loaded for what is refused; return its exit code."""
    monkeypatch.setattr(loading, "load_predictor", lambda *_: Reader())
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", *map(str, words)])
    return ended.value.code or 0


def test_a_split_that_no_set_has_is_refused_naming_those_there_are(
    tmp_path: Path, monkeypatch, capsys
) -> None:
    for name in ("one", "two"):
        write_set(tmp_path / "sets" / name, [stripes(0, 1), stripes(0, 2)], ("train", "val"))
    out = tmp_path / "r.json"
    words = (tmp_path / "sets", "--json", out, "--split")
    assert evaluate_words(monkeypatch, *words, "nope") == 2
    assert "no case of the split 'nope'. Choose one with --split: train, val." in capsys.readouterr().err
    assert not out.exists()
    write_set(tmp_path / "sets" / "whole", [stripes(0, 3)])
    assert evaluate_words(monkeypatch, *words, "nope") == 0


def test_a_run_without_a_question_is_an_error(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = write_set(tmp_path / "set", [stripes(0, 1)])
    assert evaluate_words(monkeypatch, folder, "--json", tmp_path / "r.json", "--min-px", 9999) == 2
    assert "nothing to ask about" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_refused_first(tmp_path: Path, monkeypatch, capsys) -> None:
    folder = write_set(tmp_path / "set", [stripes(0, 1)])
    assert evaluate_words(monkeypatch, folder, "--json", folder / "set.json" / "r.json") == 2
    assert "set.json/r.json cannot be written: Not a directory" in capsys.readouterr().err


def test_small_masks_are_neither_asked_for_nor_counted(tmp_path: Path) -> None:
    labels = stripes(0, 1)
    labels[:4, :4] = 2
    folder = write_set(tmp_path / "set", [labels])
    assert list(evaluate_dataset(Reader(), folder)["per_structure"]) == ["liver"]
    assert evaluate_dataset(Reader(), folder, settings=Settings(min_px=16))["summary"]["n"] == 2


def test_label_maps_without_images_are_noted(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "maps", [stripes(0, 1), stripes(0, 2)])
    table = json.loads((folder / "set.json").read_text())
    del table["cases"][0]["image"]
    (folder / "set.json").write_text(json.dumps(table))
    report = evaluate_dataset(Reader(), folder)
    assert list(report["per_structure"]) == ["left kidney"]
    assert report["config"]["skipped"] == ["maps: 1 cases without an image"]


def test_a_volume_is_asked_about_on_each_chosen_plane_once(tmp_path: Path) -> None:
    volume = np.stack([stripes(0, 0), *[stripes(0, 1)] * 4])
    reader = Reader()
    # Grey levels of a volume are stretched on rendering; only the number of questions matters here.
    reader.reply = lambda name: ()
    folder = write_set(tmp_path / "set", [volume])
    report = evaluate_dataset(reader, folder, settings=Settings(planes=2))
    assert report["summary"]["n"] == reader.encoded == 2
    assert reader.image.shape == (16, 16, 3)


def test_the_limit_spreads_over_the_cases(tmp_path: Path) -> None:
    folder = write_set(tmp_path / "set", [stripes(0, k) for k in range(1, 7)])
    report = evaluate_dataset(Reader(), folder, settings=Settings(limit=2))
    assert sorted(report["per_structure"]) == ["left kidney", "stomach"]
    with pytest.raises(SettingsError, match="limit"):
        Settings(limit=0)


def test_an_interrupted_run_leaves_what_it_has(tmp_path: Path) -> None:
    folder, out = write_set(tmp_path / "set", [stripes(0, 1), stripes(0, 2)]), tmp_path / "report.json"
    reader = Reader()

    def stop_at_the_kidney(name: str) -> tuple[Target, ...]:
        if name == "left kidney":
            raise KeyboardInterrupt
        return reader.perfect(name)

    reader.reply = stop_at_the_kidney
    with pytest.raises(KeyboardInterrupt):
        evaluate_dataset(reader, folder, out=out)
    report = json.loads(out.read_text("utf-8"))
    assert (report["summary"]["n"], report["config"]["complete"], report["config"]["cases"]) == (1, False, 1)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("label", "spoken"),
    [
        ("left ventricle cavity (endocardial contour)", "left ventricle cavity"),
        ("kidney_left", "left kidney"),
        ("polyp", "polyp"),
        ("nerve [median]", "nerve"),
    ],
)
def test_a_label_is_asked_for_in_its_own_words(label: str, spoken: str) -> None:
    assert spoken_name(label) == spoken


def write_dialogue(folder: Path) -> Path:
    """Write a dialogue of three rounds: the second and third refer to the first, in MR-MedSeg's layout."""
    folder.mkdir()
    Image.fromarray(stripes(1, 2).astype(np.uint8) * 20).save(folder / "image.png")
    for value in (1, 2):
        Image.fromarray((stripes(1, 2) == value).astype(np.uint8) * 255).save(folder / f"{value}.png")
    turns = [
        MrTurn.compose("Segment the liver.", "Here.", image="image.png", targets=["1.png"]),
        MrTurn.compose("Segment the left kidney.", "Here.", references=[(0, "1.png")], targets=["2.png"]),
        MrTurn.compose("Segment the liver.", "Here.", references=[(0, "1.png")], targets=["1.png", "2.png"]),
    ]
    return write_mrmedseg(folder / "dialogues.json", [MrDialogue(tuple(turns))])


def test_a_dialogue_refers_to_the_masks_that_were_predicted(tmp_path: Path) -> None:
    reader = Reader()
    report = evaluate_dataset(reader, write_dialogue(tmp_path / "mr"))
    assert [[r.round for r in references] for _, _, references in reader.asked] == [[], [1], [1]]
    assert reader.asked[1][1].rounds[0].targets == reader.perfect("liver")
    assert {k: (v["n"], v["dice"]) for k, v in report["per_round"].items()} == {
        "1": (1, 1.0),
        "2": (1, 1.0),
        "3": (2, 0.5),
    }
    assert report["per_structure"] == {}


def test_a_dialogue_goes_on_when_a_referenced_round_has_no_mask(tmp_path: Path) -> None:
    reader = Reader(lambda name: ())
    report = evaluate_dataset(reader, write_dialogue(tmp_path / "mr"))
    assert [references for _, _, references in reader.asked] == [(), (), ()]
    assert (report["summary"]["seg_rate"], report["summary"]["n"]) == (0, 4)


def test_a_folder_of_nothing_says_what_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(UnreadableFileError, match=r"set\.json"):
        evaluate_dataset(Reader(), tmp_path)


def test_a_folder_of_sets_is_one_report_with_the_names_of_the_sets(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write_set(tmp_path / name, [stripes(0, 1), stripes(0, 1)])
    assert list(evaluate_dataset(Reader(), tmp_path)["per_structure"]) == ["one/liver", "two/liver"]


def test_the_command_writes_and_shows_the_report(tmp_path: Path, monkeypatch, capsys) -> None:
    maps = [stripes(0, 1, 2), stripes(0, 2, 3)]
    folder, out = write_set(tmp_path / "set", maps, ("val", "train")), tmp_path / "r.json"
    monkeypatch.setattr(loading, "load_predictor", lambda *_: Reader())
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(folder), "--json", str(out), "--planes", "2", "--min-px", "30", "--seed", "4"])
    assert not ended.value.code
    report = json.loads(out.read_text("utf-8"))
    assert report["summary"]["n"] == 2
    config = report["config"]
    assert (config["split"], config["min_px"], config["planes"], config["seed"]) == ("val", 30, 2, 4)
    assert "left kidney" in capsys.readouterr().out


def test_the_command_says_what_an_interrupted_run_left(tmp_path: Path, monkeypatch, capsys) -> None:
    def stop(*_, **__) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(loading, "load_predictor", lambda *_: Reader())
    monkeypatch.setattr(evaluate, "evaluate_dataset", stop)
    with pytest.raises(SystemExit) as ended:
        main(["evaluate", str(tmp_path), "--json", str(tmp_path / "r.json")])
    assert ended.value.code == 130
    assert "Stopped" in capsys.readouterr().err
