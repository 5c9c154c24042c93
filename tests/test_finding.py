"""Training of the finder: what is unknown is not taught, disguises keep labels in place, flips swap sides."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.model.build import build_mediround
from napari_mediround.model.checkpoint import CARD, WEIGHTS, save_trained
from napari_mediround.model.finder import Finder
from napari_mediround.training.data.disguise import disguise, move, window
from napari_mediround.training.data.pictures import (
    Picture,
    gather,
    grey_to_hu,
    hu_to_grey,
    known_structures,
    read_pictures,
)
from napari_mediround.training.stages.finding import (
    Album,
    FindingSettings,
    begin_from,
    finding_loss,
    train_finder,
)
from napari_mediround.training.stages.run import main

ANATOMY = load_anatomy()


def draw_picture(**changes) -> Picture:
    """Return a bright square, the right kidney, and a brighter one right of it, the left, on grey."""
    labels = np.zeros((96, 128), np.uint8)
    labels[30:60, 15:45], labels[30:60, 85:115] = 1, 2
    image = np.array([60, 160, 230], np.uint8)[labels]
    structures = {"right kidney": (1,), "left kidney": (2,), "kidney": (1, 2), "spleen": (3,)}
    picture = Picture(image, labels, structures, ("polyp", "skin lesion"), "ts_ct_abdomen/one", "echo")
    return replace(picture, **changes)


@pytest.fixture
def album(tmp_path) -> Album:
    """Return the planes of two sets."""
    for name, picture in (
        ("ts_ct_abdomen", draw_picture()),
        ("polyp_endoscopy_kvasir", draw_picture(structures={"polyp": (1, 2)})),
    ):
        pictures = np.empty(1, object)
        pictures[0] = picture
        np.savez(tmp_path / f"{name}.npz", pictures=pictures)
    return Album(tmp_path, FindingSettings(size=64))


@pytest.mark.parametrize("seed", range(12))
def test_a_disguised_image_lies_under_its_labels(seed: int) -> None:
    picture, rng = draw_picture(), np.random.default_rng(seed)
    image, labels, _ = move(picture.image.astype(np.float32), picture.labels, rng, 80, 0.0)
    for value, grey in ((1, 160), (2, 230)):
        inside = image[labels == value]
        if inside.size > 60:
            assert np.median(inside) == pytest.approx(grey, abs=12)


def test_a_flip_swaps_the_sides_of_names_and_nothing_else(album: Album) -> None:
    picture = album.sets["ts_ct_abdomen"][0]
    assert album.called(picture, picture.structures, mirrored=True) == {
        "left kidney": (1,),
        "right kidney": (2,),
        "kidney": (1, 2),
        "spleen": (3,),
    }
    assert set(album.called(replace(picture, sided=False), picture.structures, mirrored=False)) == {
        "kidney",
        "spleen",
    }


def test_the_right_kidney_is_on_the_left_however_the_plane_is_moved(album: Album) -> None:
    picture, rng = album.sets["ts_ct_abdomen"][0], np.random.default_rng(1)
    seen, flips = 0, set()
    for _ in range(60):
        _, labels, mirrored, known = disguise(picture, rng, 64)
        called = album.called(picture, known, mirrored)
        flips.add(mirrored)
        right, left = (np.isin(labels, called[f"{side} kidney"]) for side in ("right", "left"))
        if min(right.sum(), left.sum()) > 60:
            seen += 1
            assert right.nonzero()[1].mean() < left.nonzero()[1].mean()
    assert seen > 10
    assert flips == {True, False}


def test_what_a_set_does_not_label_is_never_asked(album: Album) -> None:
    picture, rng, asked = album.sets["ts_ct_abdomen"][0], np.random.default_rng(0), set()
    for _ in range(20):
        _, rows, masks, known = album.draw(picture, rng)
        names = [album.names[row] for row in rows[known]]
        asked |= set(names)
        filled = {n for n, m in zip(names, masks[known], strict=True) if m.any()}
        assert filled <= {"right kidney", "left kidney", "kidney", "kidney tumour"}  # painted
    far, painted = {"polyp"}, {"kidney tumour"}
    assert asked == {"right kidney", "left kidney", "kidney", "spleen"} | far | painted
    _, rows, _, known = album.draw(album.sets["polyp_endoscopy_kvasir"][0], rng)
    assert "kidney" not in {album.names[row] for row in rows[known]}


def test_the_loss_does_not_see_what_was_not_asked() -> None:
    logits, masks = torch.randn(2, 3, 8, 8), (torch.rand(2, 3, 8, 8) > 0.5).float()
    asked = torch.tensor([[True, True, False], [True, False, False]])
    before = finding_loss(logits, masks, asked)
    logits[~asked], masks[~asked] = 50.0, 0.0
    assert torch.equal(finding_loss(logits, masks, asked), before)
    logits[0, 0] = torch.where(masks[0, 0] > 0, 9.0, -9.0)
    assert finding_loss(logits, masks, asked) < before


def test_wholes_are_known_only_where_all_their_labelled_parts_are() -> None:
    named = {1: "left kidney", 2: "right kidney", 3: "glioma", 4: "left common carotid artery"}
    assert known_structures(named, {1, 2, 3, 4}, ANATOMY) == {
        "left kidney": (1,),
        "right kidney": (2,),
        "kidney": (1, 2),
        "glioma": (3,),
        "brain tumour": (3,),
        "left common carotid artery": (4,),
    }
    assert "kidney" not in known_structures(named, {1, 3}, ANATOMY)  # the right one was not contoured


def test_hounsfield_units_come_back_and_pass_through_any_window() -> None:
    hu = np.array([-1000.0, -100, 0, 40, 60, 200, 1500])
    assert np.abs(grey_to_hu(hu_to_grey(hu)) - hu)[1:-1].max() < 3
    rng = np.random.default_rng(0)
    shown = [window(hu.astype(np.float32), rng) for _ in range(50)]
    assert all((np.diff(one) >= 0).all() and one.min() >= 0 and one.max() <= 1 for one in shown)
    assert len({one.tobytes() for one in shown}) == 50


def write_set(folder, spacing_squeezed: bool = False) -> None:
    folder.mkdir(parents=True)
    picture = draw_picture()
    Image.fromarray(picture.image).save(folder / "case_001_image.png")
    Image.fromarray(picture.labels).save(folder / "case_001_label.png")
    case = {"case": "case_001", "image": "case_001_image.png", "label": "case_001_label.png"}
    cases = [case | {"subject": "one", "split": "train", "labels_present": [1]}]
    table = {"modality": "CT", "labels": {"1": "right kidney", "2": "left kidney"}, "cases": cases}
    (folder / "set.json").write_text(json.dumps(table))


def test_a_set_is_read_with_what_it_says_of_its_labels(tmp_path) -> None:
    write_set(tmp_path / "liver_ct_msd_task03_slices")
    folder = tmp_path / "liver_ct_msd_task03_slices"
    plain, mirrored = (
        next(read_pictures(folder, {"mirrored": flip, "names": {"1": "liver"}}, ANATOMY))
        for flip in (False, True)
    )
    assert plain.structures == {"liver": (1,)}  # the left kidney was not contoured
    assert "glioma" in plain.foreign
    assert np.array_equal(plain.image[:, ::-1], mirrored.image)
    gather([tmp_path], tmp_path / "out")
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["liver_ct_msd_task03_slices.npz"]


def test_a_run_that_was_stopped_goes_on_and_learns(album: Album, tmp_path) -> None:
    settings = FindingSettings(steps=3, batch=2, size=64, workers=0)
    train_finder(tmp_path, tmp_path / "run", settings)
    finder = train_finder(tmp_path, tmp_path / "run", replace(settings, steps=5))
    assert finder.names == tuple(album.names)
    assert torch.load(tmp_path / "run/finder.pt", weights_only=True)["step"] == 5


def test_a_run_begins_with_the_mean_weights_of_another_by_name(album: Album, tmp_path) -> None:
    settings = FindingSettings(steps=2, batch=2, size=64, workers=0)
    before = train_finder(tmp_path, tmp_path / "first", settings)
    file = tmp_path / "first/finder.pt"
    saved = torch.load(file, weights_only=True)
    saved["mean"]["module.query.weight"] = saved["mean"]["module.query.weight"].flip(0)
    torch.save(saved | {"names": saved["names"][::-1]}, file)  # the same weights in another order of names
    after = Finder(album.names, size=64, norms=True)
    begin_from(after, file)
    assert all(torch.equal(a, b) for a, b in zip(before.parameters(), after.parameters(), strict=True))
    goes_on = train_finder(tmp_path, tmp_path / "second", replace(settings, begin=str(file), steps=1))
    assert torch.load(tmp_path / "second/finder.pt", weights_only=True)["step"] == 1
    assert goes_on.names == before.names


def test_a_recipe_of_the_finder_alone_leaves_the_other_weights_as_they_were(album: Album, tmp_path) -> None:
    model = build_mediround("tiny")
    save_trained(model, tmp_path / "begun", {"recipe": "before"})
    (tmp_path / "data/pictures").mkdir(parents=True)
    for file in tmp_path.glob("*.npz"):
        file.rename(tmp_path / "data/pictures" / file.name)
    recipe = tmp_path / "recipe.toml"
    places = {"begin": "begun", "data": "data", "out": "out"}
    lines = [f"{key} = {(tmp_path / name).as_posix()!r}" for key, name in places.items()]
    recipe.write_text(
        "\n".join(["[run]", 'preset = "tiny"', *lines])
        + "\n[finding]\nsteps = 2\nbatch = 2\nsize = 64\nworkers = 0\n"
    )
    folder = main(recipe)
    card = json.loads((folder / CARD).read_text())
    assert (folder / WEIGHTS).read_bytes() == (tmp_path / "begun" / WEIGHTS).read_bytes()
    assert card["pictures_of_sets"] == {"polyp_endoscopy_kvasir": 1, "ts_ct_abdomen": 1}
    assert card["data"]["ts_ct_abdomen"]["licence"] == "Apache-2.0"
    assert card["begun_from"]["recipe"] == "before"
    assert build_mediround("tiny", trained=folder).finder.names == tuple(album.names)
