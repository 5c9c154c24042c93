"""The dense stage: shares of cells, its loss, and that it learns where structures are and are not."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from test_training import write_planes

from napari_mediround.model.build import build_mediround
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.data.warping import View
from napari_mediround.training.stages.dense import (
    DenseSettings,
    cell_shares,
    plane_targets,
    share_loss,
    train_dense,
)
from napari_mediround.training.stages.pixels import draw_batch


def test_shares_are_those_of_the_pixels() -> None:
    labels = np.zeros((64, 64), np.uint16)
    labels[:4, :2] = 3
    labels[4:8, 4:8] = 9
    shares = cell_shares(labels, [(3,), (3, 9), (), (77,)], grid=8)
    assert shares.shape == (4, 8, 8)
    assert shares[0, 0, 0] == 8 / 64
    assert shares[1, 0, 0] == 24 / 64
    assert shares.sum((1, 2)) == pytest.approx([8 / 64, 24 / 64, 0, 0])


def test_the_loss_is_least_for_the_truth_and_counts_what_is_not_there() -> None:
    shares = torch.zeros(2, 8, 8)
    shares[0, :2] = 1
    right = (2 * shares - 1) * 12
    everywhere = torch.full_like(right, 12.0)
    assert share_loss(right, shares).max() < 0.01
    assert share_loss(everywhere, shares).min() > 1
    assert share_loss(-right[:1], shares[:1]) > share_loss(torch.zeros(1, 8, 8), shares[:1])


def test_a_stopped_stage_goes_on_and_learns(tmp_path) -> None:
    write_planes(tmp_path)
    model = build_mediround("tiny")
    train_dense(model, tmp_path, tmp_path, DenseSettings(steps=20, planes=2, absent=2))
    stage = train_dense(model, tmp_path, tmp_path, DenseSettings(steps=40, planes=2, absent=2))
    lines = [json.loads(line) for line in (tmp_path / "dense.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [20, 40]
    assert lines[1]["loss"] < lines[0]["loss"]
    assert stage.structures == ["kidney", "left kidney", "right kidney"]


def test_what_a_plane_lacks_is_asked_for_and_is_empty(tmp_path) -> None:
    write_planes(tmp_path)
    planes = Planes(tmp_path)
    known = {"right kidney", "left kidney", "kidney", "hippocampus", "optic nerve"}
    row = planes.rows[0]
    view = View(planes.embedding(row), planes.pixels(row), planes.labels(row))
    names, shares = plane_targets(planes, row, view, known, 6, 32, np.random.default_rng(0))
    assert set(names[:3]) == {"right kidney", "left kidney", "kidney"}
    assert set(names[3:]) <= {"hippocampus", "optic nerve"}
    assert len(names) > 3
    assert shares.shape[1:] == (32, 32)
    assert shares[:3].sum((1, 2)).all()
    assert not shares[3:].any()
    batch = draw_batch(planes, dict.fromkeys(known, 1.0), 2, 2, np.random.default_rng(1), absent_share=1.0)
    empty = [name for name, mask in zip(batch.names, batch.masks, strict=True) if not mask.any()]
    assert len(empty) == 2
    assert not {name for name in empty if "kidney" in name}
