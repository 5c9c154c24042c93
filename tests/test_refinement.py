"""A mask that clicks correct: what they change, and that the better judged mask stays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from napari_mediround.domain.mask import Mask
from napari_mediround.inference.refinement import (
    box_to_propagate,
    change_near,
    follow_clicks,
    origin_of_drawn,
    parts_propagated,
    refine_mask,
)
from napari_mediround.model.build import build_mediround


def make_logits(*boxes) -> torch.Tensor:
    """Return logits (1, 64, 64) of boxes (row, column, row, column)."""
    logits = torch.full((1, 64, 64), -3.0)
    for top, left, bottom, right in boxes:
        logits[0, top:bottom, left:right] = 3.0
    return logits


BEFORE, NEAR, FAR = (10, 10, 20, 20), (10, 20, 20, 28), (40, 40, 50, 50)


def click(*places):
    """Return clicks (row, column, positive) as `change_near` takes them."""
    at = torch.tensor([[(column + 0.5) / 64, (row + 0.5) / 64] for row, column, _ in places])
    return at, torch.tensor([positive for *_, positive in places])


def test_only_the_region_with_the_click_changes() -> None:
    before, after = make_logits(BEFORE), make_logits(NEAR, FAR)
    assert torch.equal(change_near(before, after, *click((45, 45, True))), make_logits(BEFORE, FAR))
    assert torch.equal(change_near(before, after, *click((15, 24, True))), make_logits(NEAR))


def test_an_earlier_click_counts_where_the_mask_does_not_do_it_justice() -> None:
    before, after = make_logits(BEFORE), make_logits(BEFORE, NEAR, FAR)
    unanswered = click((15, 24, True), (45, 45, True))
    assert torch.equal(change_near(before, after, *unanswered), after)
    answered = click((15, 15, True), (45, 45, True))
    assert torch.equal(change_near(before, after, *answered), make_logits(BEFORE, FAR))


def test_where_nothing_changed_at_the_click_all_of_the_new_mask_is_taken() -> None:
    before, after = make_logits(BEFORE), make_logits(BEFORE, FAR)
    assert torch.equal(change_near(before, after, *click((30, 5, True))), after)


def test_a_click_is_followed_and_takes_along_what_was_nearly_so() -> None:
    logits = make_logits(BEFORE)
    logits[0, 28:36, 28:36] = -0.2
    found = follow_clicks(logits, *click((15, 15, True), (32, 32, True), (12, 12, False)))
    assert (found[0, 32, 32].item(), found[0, 12, 12].item()) == (pytest.approx(1.0), pytest.approx(-1.0))
    assert (found[0, 31:34, 31:34] > 0).all()
    assert (found[0, 16:20, 16:20] > 0).all()
    assert not (found[0] > 0)[24:40, 36:].any()
    assert torch.equal(follow_clicks(logits, *click((15, 15, True), (60, 3, False))), logits)


@pytest.mark.parametrize("better", [0, 1])
def test_the_better_judged_of_both_stays(better: int, monkeypatch) -> None:
    model = build_mediround("tiny", untrained=True)
    with torch.no_grad():
        features = model.encode_image(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
        mask = np.zeros((64, 64), bool)
        mask[10:20, 10:20] = True
        origin = origin_of_drawn(model, features, Mask.from_array(mask))
        decode, seen = model.decode, []
        monkeypatch.setattr(model, "decode", lambda *a: replace(decode(*a), logits=make_logits(NEAR, FAR)))

        def judge(vectors, embedding, decoded):
            seen.append(decoded.logits)
            return torch.tensor([0.9 if len(seen) - 1 == better else 0.2])

        monkeypatch.setattr(model, "judge_masks", judge)
        found = refine_mask(model, features, np.array([[45.0, 45.0]]), np.array([True]), None, origin)
    assert len(seen) == 2
    assert torch.equal(found.logits, seen[better])
    assert found.quality.item() == pytest.approx(0.9)
    assert torch.equal(seen[1] > 0, make_logits(BEFORE, FAR) > 0)


def test_specks_are_carried_nowhere_and_a_second_part_is() -> None:
    liver = np.zeros((64, 64), bool)
    liver[10:30, 5:25] = liver[40:50, 5:15] = True
    specked = liver.copy()
    specked[12:14, 50:52] = True
    boxes = [box_to_propagate(Mask.from_array(mask)) for mask in (liver, specked)]
    assert boxes[0].tolist() == boxes[1].tolist() == [3, 6, 27, 54]
    spleen = np.zeros((64, 64), bool)
    spleen[8:20, 45:60] = True
    kept = parts_propagated(liver | spleen, Mask.from_array(specked))
    assert np.array_equal(kept, liver)
    assert not parts_propagated(spleen, Mask.from_array(specked)).any()
