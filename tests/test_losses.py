"""Losses of the training stages."""

import itertools

import pytest
import torch

from napari_mediround.training.stages.losses import cosine_schedule, dice_loss, iou, mask_loss, vector_loss


def make_masks():
    """Return a boolean target (1, 8, 8) and logits that say exactly it."""
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1
    return target, (target - 0.5) * 40


def test_a_perfect_mask_costs_nothing_and_an_inverted_one_much():
    target, logits = make_masks()
    assert dice_loss(logits, target).item() < 0.01
    assert mask_loss(logits, target).item() < 0.01
    assert mask_loss(-logits, target).item() > 5


def test_iou_counts_overlap_over_union():
    target, logits = make_masks()
    shifted = torch.roll(logits, 2, 2)
    assert iou(logits, target).item() == 1
    assert iou(shifted, target).item() == pytest.approx(8 / 24)


def test_a_vector_at_its_structure_costs_less_than_at_another():
    table = torch.randn(5, 16, generator=torch.Generator().manual_seed(0))
    right = vector_loss(table[[1]], table, torch.tensor([1]))
    wrong = vector_loss(table[[2]], table, torch.tensor([1]))
    assert right.item() < 0.1 < wrong.item()


def test_the_schedule_warms_up_and_ends_at_nothing():
    factors = [cosine_schedule(step, 100, 10) for step in range(101)]
    assert factors[0] < factors[9] == 1
    assert factors[100] == pytest.approx(0, abs=1e-6)
    assert all(a >= b for a, b in itertools.pairwise(factors[9:]))
