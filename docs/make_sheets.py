"""Draw what the model answers beside the labels: python docs/make_sheets.py OUT.png SET [SET …].

One strip a set, evenly spaced examples: the label's outline in green, the answer's in magenta, the name that
was asked for, Dice and judged quality. Nothing is picked by its result.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from napari_mediround.inference.predictor import Predictor
from napari_mediround.training.data.sets import case_planes, read_cases, read_table
from napari_mediround.training.evaluation.questioning import Asked, Settings, ask_plane

GREEN, MAGENTA = (0, 230, 90), (255, 60, 255)
TILE, CAPTION, TITLE = 240, 32, 20


def ask_examples(segmenter: Predictor, folder: Path, count: int, settings: Settings) -> Iterator[Asked]:
    """Ask for one structure on each of `count` planes, or for more on each where there are fewer planes."""
    cases = read_table(folder)["cases"]
    if any("split" in case for case in cases):
        cases = [case for case in cases if case.get("split") == settings.split]
    chosen = {k for k, case in enumerate(cases) if "image" in case}
    if len(chosen) > count:
        chosen = {sorted(chosen)[int(k)] for k in (np.arange(count) + 0.5) * len(chosen) / count}
    share = -(-count // max(1, len(chosen)))
    for number, case in enumerate(read_cases(folder, settings.split) if chosen else ()):
        if number in chosen:
            planes = list(case_planes(case, share, settings.min_px))
            for plane in planes:
                yield from islice(ask_plane(segmenter, plane, settings), -(-share // len(planes)))


def draw_tile(asked: Asked) -> Image.Image:
    """Return TILE × TILE pixels of the plane with both outlines, and a caption below."""
    height, width = asked.truth.shape
    scale = TILE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    picture = np.array(Image.fromarray(asked.image).resize(size, Image.Resampling.BILINEAR))
    for mask, colour in ((asked.truth, GREEN), (asked.mask, MAGENTA)):
        picture[outline(mask, size)] = colour
    tile = Image.new("RGB", (TILE, TILE + CAPTION))
    tile.paste(Image.fromarray(picture))
    score = asked.score("")
    judged = (
        "no mask" if asked.target is None else f"Dice {score.dice:.2f}  judged {asked.target.quality:.2f}"
    )
    draw = ImageDraw.Draw(tile)
    draw.text((3, TILE + 2), asked.structure[:38], "white")
    draw.text((3, TILE + 16), judged, MAGENTA if score.dice < 0.7 else GREEN)
    return tile


def outline(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the inner boundary of a mask, resized to (width, height)."""
    resized = np.array(Image.fromarray(mask).resize(size, Image.Resampling.NEAREST))
    return find_boundaries(resized, mode="inner")


def draw_sheet(strips: dict[str, list[Asked]], columns: int) -> Image.Image:
    """Return all strips, one below the other, at most `columns` tiles wide."""
    rows = [
        (name, found[k : k + columns])
        for name, found in strips.items()
        for k in range(0, len(found), columns)
    ]
    strip = TITLE + TILE + CAPTION
    sheet = Image.new("RGB", (columns * (TILE + 4), max(1, len(rows)) * strip), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for number, (name, row) in enumerate(rows):
        draw.text((4, number * strip + 4), f"{name}   green: label, magenta: answer", "white")
        for column, asked in enumerate(row):
            sheet.paste(draw_tile(asked), (column * (TILE + 4), number * strip + TITLE))
    return sheet


def main() -> None:
    """Ask and draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("sets", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=6, help="examples of each set")
    parser.add_argument("--columns", type=int, default=6)
    parser.add_argument("--split", default="val")
    parser.add_argument("--min-px", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--adapter", type=Path)
    options = parser.parse_args()
    segmenter = Predictor.from_preset(options.preset, options.device, options.adapter)
    settings = Settings(options.split, options.min_px, seed=options.seed)
    strips = {}
    for folder in options.sets:
        strips[folder.name] = list(
            islice(ask_examples(segmenter, folder, options.count, settings), options.count)
        )
        sys.stdout.write(f"{folder.name}: {len(strips[folder.name])} examples\n")
    draw_sheet(strips, options.columns).save(options.out)
    sys.stdout.write(f"{options.out}\n")


if __name__ == "__main__":
    main()
