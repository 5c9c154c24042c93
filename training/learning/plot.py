"""Line plots without a plotting library: panels side by side, one colour for each name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
"""Okabe and Ito's, told apart by colour-blind readers too."""

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 420, 320, 62, 16, 44, 46


@dataclass(frozen=True)
class Panel:
    """One plot.

    Parameters
    ----------
    title, across : str
        Labels of the vertical and the horizontal axis, with units.
    series : mapping
        Name to points (x, y).
    line : bool
        Join the points.
    """

    title: str
    across: str
    series: Mapping[str, Sequence[tuple[float, float]]]
    line: bool = True


def draw_panels(panels: Sequence[Panel], path: Path) -> Path:
    """Draw panels side by side into a PNG at twice the resolution; y starts at 0."""
    scale = 2
    image = Image.new("RGB", (_WIDTH * scale * len(panels), _HEIGHT * scale), "white")
    draw = ImageDraw.Draw(image)
    names = list(dict.fromkeys(name for panel in panels for name in panel.series))
    colours = {name: COLOURS[k % len(COLOURS)] for k, name in enumerate(names)}
    for number, panel in enumerate(panels):
        _draw_panel(draw, panel, number * _WIDTH, scale, colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, optimize=True)
    return path


def _draw_panel(
    draw: ImageDraw.ImageDraw, panel: Panel, x0: int, scale: int, colours: dict[str, str]
) -> None:
    points = [p for series in panel.series.values() for p in series]
    xs, ys = [p[0] for p in points] or [0, 1], [p[1] for p in points] or [0, 1]
    low, high, top = min(xs), max(max(xs), min(xs) + 1e-9), max(*ys, 0.0) or 1.0
    small, large = (ImageFont.load_default(size * scale) for size in (11, 14))

    def place(x: float, y: float) -> tuple[float, float]:
        across = x0 + _LEFT + (x - low) / (high - low) * (_WIDTH - _LEFT - _RIGHT)
        up = _HEIGHT - _BOTTOM - y / top * (_HEIGHT - _TOP - _BOTTOM)
        return across * scale, up * scale

    draw.text(((x0 + _LEFT) * scale, 8 * scale), panel.title, "black", large)
    for k in range(5):
        value = top * k / 4
        _, y = place(low, value)
        draw.line([place(low, value), place(high, value)], "#dddddd" if k else "#000000", scale)
        draw.text(((x0 + _LEFT - 6) * scale, y), _number(value), "black", small, "rm")
    for value in (low, (low + high) / 2, high):
        x, y = place(value, 0)
        draw.text((x, y + 6 * scale), _number(value), "black", small, "ma")
    middle, bottom = (x0 + (_WIDTH + _LEFT - _RIGHT) / 2) * scale, (_HEIGHT - 8) * scale
    draw.text((middle, bottom), panel.across, "black", small, "md")
    for row, (name, series) in enumerate(panel.series.items()):
        colour, placed = colours[name], [place(*p) for p in series]
        if panel.line and len(placed) > 1:
            draw.line(placed, colour, 2 * scale, joint="curve")
        for x, y in placed if not panel.line or len(placed) < 30 else ():
            radius = 2.5 * scale
            draw.ellipse((x - radius, y - radius, x + radius, y + radius), colour)
        legend = (x0 + _WIDTH - _RIGHT) * scale, (_TOP + 14 * row) * scale
        draw.text(legend, name, colour, small, "ra", stroke_width=scale, stroke_fill="white")


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 10 or value == round(value) else f"{value:.2g}"
