"""Judgment & correction: a doubtful mask gives way to the best judged of the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scripted import make_plane

from napari_mediround.model.build import build_mediround
from napari_mediround.model.context import resize
from napari_mediround.model.correction import find_in_mirror
from napari_mediround.model.landmarks import Landmarks
from napari_mediround.predictor import Predictor


@pytest.fixture
def model():
    built = build_mediround("tiny", seed=1).eval()
    for part in (built.corrector.mlp[-1], built.glance.fine):
        torch.nn.init.normal_(part.weight)
    return built


@pytest.mark.parametrize(
    ("judged", "winner"),
    [
        ((0.7,), 0),
        ((0.3, 0.2, 0.1), 0),
        ((0.3, 0.5, 0.4), 1),
        ((0.3, 0.2, 0.5), 2),
        ((0.3, 0.4, 0.5), 2),
        ((0.3, 0.35, 0.34), 0),
    ],  # hardly better is not better
)
def test_the_best_judged_mask_stays(model, monkeypatch, judged, winner) -> None:
    vector = torch.randn(1, model.channels, generator=torch.Generator().manual_seed(0))
    qualities = iter(judged)
    monkeypatch.setattr(model, "judge_masks", lambda *_: torch.tensor([next(qualities)]))
    with torch.no_grad():
        features = model.encode_image(make_plane())
        seen = model.see(features)
        first = model.decode(seen, vector)
        look = resize(model.glance(seen, vector), first.logits.shape[-2:])[:, 0]
        masks = [first.logits, model.decode(seen, model.corrector(vector)).logits, look]
        found = model.segment(features, vector)
    assert next(qualities, None) is None
    assert torch.equal(found.logits, masks[winner])
    assert not any(torch.equal(masks[winner], other) for k, other in enumerate(masks) if k != winner)
    assert (found.quality.item(), found.corrected.item()) == (pytest.approx(judged[winner]), winner > 0)


def test_switched_off_nothing_is_corrected(model, monkeypatch) -> None:
    model.correction = replace(model.correction, enabled=False)
    monkeypatch.setattr(model, "judge_masks", lambda vectors, *_: torch.zeros(len(vectors)))
    with torch.no_grad():
        assert not model.segment(
            model.encode_image(make_plane()), torch.randn(2, model.channels)
        ).corrected.any()


MARKS = Landmarks(
    ("left kidney", "right kidney"), torch.randn(2, 64, generator=torch.Generator().manual_seed(2))
)


def look_in_mirror(model, image, name, vector):
    """Return what correction looks for in the mirror image: rows and masks, or nothing."""
    turned = np.ascontiguousarray(image[:, ::-1])
    features = replace(model.encode_image(image), mirrored=lambda: model.encode_image(turned))
    return find_in_mirror(model, features, vector, [name], torch.tensor([0]))


@pytest.mark.parametrize(
    ("name", "asked"), [("liver", "vector"), ("right kidney", "left kidney"), ("thing", "vector")]
)
def test_the_mirror_image_is_asked_for_the_other_side(model, name, asked) -> None:
    image = make_plane()[:20]
    model.landmarks = replace(MARKS, vectors=MARKS.vectors[:, : model.channels])
    vector = torch.randn(1, model.channels, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        [(rows, found)] = look_in_mirror(model, image, name, vector)
        told = vector if asked == "vector" else model.landmarks.vectors[:1]
        turned = model.encode_image(np.ascontiguousarray(image[:, ::-1]))
        there = model.judged(told, turned, model.decode(model.see(turned), told))
    frame = turned.frame
    back, seen = (model.masks_on_plane(d.logits, frame)[0] for d in (found, there))
    assert rows.tolist() == [0]
    assert torch.equal(found.quality, there.quality)
    assert seen.any()
    assert not seen.all()
    assert np.array_equal(back, seen[:, ::-1])


@pytest.mark.parametrize(
    ("name", "marks"), [("left thing", MARKS), ("left kidney", None), ("left lung", MARKS)]
)
def test_a_side_without_a_known_counterpart_is_not_looked_for(model, name, marks) -> None:
    model.landmarks = marks
    assert look_in_mirror(model, make_plane(), name, torch.randn(1, model.channels)) == []


def test_a_better_mask_of_the_mirror_image_stays(model, monkeypatch) -> None:
    image, vector = make_plane(), torch.randn(1, model.channels, generator=torch.Generator().manual_seed(0))
    qualities = iter((0.3, 0.2, 0.1, 0.8))
    monkeypatch.setattr(model, "judge_masks", lambda *_: torch.tensor([next(qualities)]))
    turned = np.ascontiguousarray(image[:, ::-1])
    with torch.no_grad():
        features = replace(model.encode_image(image), mirrored=lambda: model.encode_image(turned))
        found = model.segment(features, vector, ["liver"])
        there = model.decode(model.see(features.mirrored()), vector)
    assert torch.equal(found.logits, there.logits.flip(-1))
    assert found.corrected.item()


def test_words_alone_give_the_mask_of_the_mirror_image_again(model, monkeypatch) -> None:
    predictor, judge = Predictor(model, "cpu"), iter(())
    vector, names = torch.randn(1, model.channels, generator=torch.Generator().manual_seed(0)), ["liver"]
    monkeypatch.setattr(model, "judge_masks", lambda *_: torch.tensor([next(judge)]))
    predictor.set_image(make_plane())
    masks = []
    for qualities in ((0.3, 0.2, 0.1, 0.0), (0.3, 0.2, 0.1, 0.8)):
        judge = iter(qualities)
        masks.append(predictor._segment(predictor.features(), vector, names, None)[0].mask)
    judge = iter((0.3, 0.2, 0.1, 0.8))
    assert masks[0] != masks[1]
    assert predictor.refine(previous=masks[1]) == (masks[1], pytest.approx(0.8))
