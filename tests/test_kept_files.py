"""A project, an adapter and a cache of an earlier version open in this one and say the same."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeSegmenter, make_volume
from scripted import make_plane
from test_adapter import compute

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.inference.predictor import Predictor
from napari_mediround.journal import Journal
from napari_mediround.session import Session

KEPT = Path(__file__).parent / "data" / "kept"
TOLD = json.loads((KEPT / "told.json").read_text("utf-8"))


def hash_labels(labels: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(labels).astype(np.uint16).tobytes()).hexdigest()


def test_an_earlier_project_opens_with_its_rounds_verdicts_and_labels(tmp_path) -> None:
    shutil.copytree(KEPT / "project", tmp_path / "project")
    journal = Journal.open(tmp_path / "project")
    session = Session(FakeSegmenter(), make_volume((4, 24, 32)), load_anatomy(), journal, "c0ffee")
    rounds = [
        [
            *(r.index, r.plane, r.text, [[reference.round, reference.target] for reference in r.references]),
            [[t.structure, t.verdict, t.mask.area] for t in r.targets],
            r.carried,
        ]
        for r in session.conversation.rounds
    ]
    kept = [[i, p, text, [[1, 1] for _ in pointed], *more] for i, p, text, pointed, *more in TOLD["rounds"]]
    assert rounds == kept  # "[1]" meant the first mask of round 1
    assert {str(plane): hash_labels(session.labels(plane)) for plane in range(4)} == TOLD["labels"]
    session.redo()
    assert session.conversation.rounds[-1].targets[0].structure == "right kidney"
    journal.close()


def test_an_earlier_adapter_computes_the_same(tmp_path) -> None:
    predictor = Predictor.from_preset("tiny", "cpu")
    predictor.set_image(make_plane())
    predictor.use_adapter(KEPT / "adapter")
    sums = [float(tensor.double().sum()) for tensor in compute(predictor.model)]
    assert sums == pytest.approx(TOLD["adapted_sums"], rel=1e-4)


def test_an_earlier_cache_saves_the_encoding(tmp_path, monkeypatch) -> None:
    shutil.copytree(KEPT / "cache", tmp_path / "cache")
    predictor = Predictor.from_preset("tiny", "cpu", cache_dir=tmp_path / "cache")
    monkeypatch.setattr(
        predictor.model, "encode_image", lambda *_: pytest.fail("the plane was encoded again")
    )
    assert predictor.set_image(make_plane()) == TOLD["image"]
