"""Preparing: planes of all sets but those left out."""

from __future__ import annotations

import json

import numpy as np

from napari_mediround.training.data import prepare
from napari_mediround.training.data.sets import LabelledPlane


def test_sets_left_out_are_not_drawn(tmp_path, monkeypatch) -> None:
    names = ("seen", "unseen")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "set.json").touch()
    labels = np.ones((prepare.SIZE, prepare.SIZE), np.uint8)
    image = np.zeros((*labels.shape, 3), np.uint8)

    def draw(folder, quota, rng):
        plane = {1: "liver"}, False, f"{folder.name}/a/0", "a", "train", "CT", ""
        yield LabelledPlane(image, labels, *plane)

    monkeypatch.setattr(prepare, "load_quotas", lambda: {name: {} for name in names})
    monkeypatch.setattr(prepare, "draw_set", draw)
    prepare.draw_planes(tmp_path, [tmp_path], 0, ("unseen",))
    assert [e["source"] for e in json.loads((tmp_path / "planes.json").read_text())] == ["seen/a/0"]
