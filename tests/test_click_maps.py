"""Clicks and boxes as maps: nothing when fresh, drawn where they are, like for like, each mask alone."""

from __future__ import annotations

import pytest
import torch

from napari_mediround.model.click_maps import MAPS, RADII, PromptMaps, draw_boxes
from napari_mediround.model.features import DecoderFeatures

SIZE = 64
INSIDE = torch.tensor([[1]])


def make_maps(trained: bool = True) -> PromptMaps:
    """Return small ones; trained ones are those whose last layer is no longer zero."""
    torch.manual_seed(0)
    maps = PromptMaps(detail=4, width=8)
    if trained:
        torch.nn.init.normal_(maps.out.weight)
    return maps


def make_seen(planes: int = 1) -> DecoderFeatures:
    """Return planes of noise, whose detail is on half the grid of the pixels."""
    generator = torch.Generator().manual_seed(1)
    return DecoderFeatures(
        torch.zeros(planes, 8, 16, 16), torch.randn(planes, 4, 32, 32, generator=generator)
    )


def at(*xy: float) -> torch.Tensor:
    """Return clicks (1, P, 2)."""
    return torch.tensor(xy).reshape(1, -1, 2)


def test_a_fresh_one_changes_nothing() -> None:
    assert not make_maps(trained=False)(make_seen(), (at(10, 20), INSIDE), None, None, SIZE).any()


def test_a_click_is_drawn_where_it_is_and_most_like_itself() -> None:
    seen = make_seen()
    drawn = make_maps()._draw_clicks(seen.detail, (at(41, 21), INSIDE), SIZE)
    assert drawn.shape == (1, MAPS - 2, 32, 32)
    inside, outside = drawn[0].split(len(RADII) + 1)
    assert not outside.any()
    for spot in inside:
        assert divmod(int(spot.argmax()), 32) == (10, 20)
    assert inside[-1].amax().item() == pytest.approx(1, abs=1e-4)
    swapped = make_maps()._draw_clicks(seen.detail, (at(41, 21), 1 - INSIDE), SIZE)
    assert torch.equal(swapped, torch.cat([outside, inside])[None])


def test_clicks_that_are_not_used_say_nothing_and_their_order_is_nothing() -> None:
    maps, seen = make_maps(), make_seen()
    one = maps(seen, (at(10, 20), INSIDE), None, None, SIZE)
    more = maps(seen, (at(10, 20, 50, 5), torch.tensor([[1, -1]])), None, None, SIZE)
    assert torch.allclose(one, more, atol=1e-6)
    two = maps(seen, (at(10, 20, 50, 5), torch.tensor([[1, 0]])), None, None, SIZE)
    turned = maps(seen, (at(50, 5, 10, 20), torch.tensor([[0, 1]])), None, None, SIZE)
    assert torch.allclose(two, turned, atol=1e-6)
    assert not torch.allclose(one, two, atol=1e-3)


def test_a_box_is_drawn_in_pixels_of_the_square() -> None:
    box = draw_boxes(torch.tensor([[8.0, 16.0, 24.0, 48.0]]), make_seen().detail, SIZE)
    assert box[0, 0, 8:24, 4:12].all()
    assert box.sum() == 16 * 8
    assert not draw_boxes(None, make_seen().detail, SIZE).any()


@pytest.mark.parametrize("planes", [1, 3])
def test_masks_of_a_batch_do_not_mix(planes: int) -> None:
    maps, seen = make_maps(), make_seen(planes)
    points = torch.tensor([[[5.0, 9.0]], [[30.0, 31.0]], [[60.0, 2.0]]]), torch.tensor([[1], [0], [1]])
    boxes, previous = torch.tensor([[0, 0, 9, 9.0]] * 3), torch.randn(3, 1, 64, 64)
    together = maps(seen, points, boxes, previous, SIZE)
    alone = maps(seen.take([1 % planes]), (points[0][1:2], points[1][1:2]), boxes[1:2], previous[1:2], SIZE)
    assert torch.allclose(together[1], alone[0], atol=1e-5)
    assert not torch.allclose(together, maps(seen, points, boxes, None, SIZE), atol=1e-3)
    assert not torch.allclose(together, maps(seen, points, None, previous, SIZE), atol=1e-3)
