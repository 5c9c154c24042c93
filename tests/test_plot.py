"""Plots: points land where their values say."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageColor

from napari_mediround.training.learning.plot import COLOURS, Panel, draw_panels


def places(path, colour: str) -> np.ndarray:
    pixels = np.array(Image.open(path).convert("RGB"))
    return np.argwhere((pixels == ImageColor.getrgb(colour)).all(-1))


def test_a_higher_value_is_drawn_higher(tmp_path):
    path = draw_panels([Panel("Dice", "step", {"": [(0, 0.1), (1, 0.9)]}, line=False)], tmp_path / "plot.png")
    found = places(path, COLOURS[0])
    left, right = found[found[:, 1] < 400], found[found[:, 1] >= 400]
    assert left[:, 0].mean() > right[:, 0].mean() + 200


def test_a_name_has_the_same_colour_in_every_panel(tmp_path):
    panels = [Panel("one", "x", {"a": [(0, 1)]}), Panel("two", "x", {"b": [(0, 1)], "a": [(0, 0.5)]})]
    found = places(draw_panels(panels, tmp_path / "plot.png"), COLOURS[0])
    assert (found[:, 1] < 840).any()
    assert (found[:, 1] >= 840).any()


def test_one_value_only_and_none_at_all_are_drawn(tmp_path):
    for series in ({"a": [(3, 0.0)]}, {"a": []}, {}):
        assert draw_panels([Panel("t", "x", series)], tmp_path / "plot.png").stat().st_size > 500
