"""The bundled planes: there, labelled, licensed, and not the same ones to learn and to check."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_training import write_planes

from napari_mediround import resources
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.training.learning import rehearsal
from napari_mediround.training.learning.rehearsal import bundle_planes, load_rehearsal

FOLDER = Path(resources.__file__).parent / "rehearsal"


def test_what_is_rehearsed_is_not_what_is_checked():
    sides = load_rehearsal()
    images = [{round_.image for round_ in rounds} for rounds in sides]
    assert min(map(len, images)) >= 10
    assert not images[0] & images[1]


def test_every_mask_is_there_and_has_a_known_name():
    anatomy = load_anatomy()
    for round_ in [*load_rehearsal()[0], *load_rehearsal()[1]]:
        for mask in round_.masks:
            assert mask.after.area > 0
            assert mask.after.shape == round_.images[round_.image].shape[:2]
            assert anatomy.find(mask.structure), mask.structure


def test_every_plane_may_be_passed_on():
    table = json.loads((FOLDER / "table.json").read_text("utf-8"))
    assert all(entry["origin"] and entry["licence"] for entry in table)
    assert not any("SA" in entry["licence"] or "NC" in entry["licence"] for entry in table)
    named = {entry[key] for entry in table for key in ("image", "labels")}
    assert named == {p.name for p in FOLDER.glob("*.png")}


def test_a_folder_without_planes_rehearses_nothing(tmp_path):
    assert load_rehearsal(tmp_path) == ([], [])


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(rehearsal, "WANTED", {"demo": 4})
    (tmp_path / "data").mkdir()
    write_planes(tmp_path / "data")
    quotas = {"demo": {"origin": "here", "licence": "CC0"}}
    assert bundle_planes(tmp_path / "data", tmp_path / "out", quotas) == 4
    return tmp_path / "out"


def test_planes_of_a_preparation_are_bundled_half_and_half_and_read_back(bundle):
    rehearsed, checked = load_rehearsal(bundle)
    assert (len(rehearsed), len(checked)) == (2, 2)
    for round_ in rehearsed:
        assert {mask.structure for mask in round_.masks} <= {"left kidney", "right kidney", "kidney"}
        areas = {"right kidney": 300, "left kidney": 480, "kidney": 780}
        assert all(mask.after.area == areas[mask.structure] for mask in round_.masks)


def test_masks_of_one_plane_do_not_overlap(bundle):
    for path in bundle.glob("*_labels.png"):
        assert set(np.unique(np.array(Image.open(path)))) <= {0, 1, 2}
