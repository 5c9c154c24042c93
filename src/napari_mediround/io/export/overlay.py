"""Label maps as pictures: PNG for one plane, TIFF for many. No geometry: the receipt says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import SimpleITK
from PIL import Image

from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.errors import SettingsError
from napari_mediround.io import coding, tables

COLUMNS = ("value", "name", "color", "origin", "verdict", "quality")


def write_picture(volume: LabelledVolume, path: Path) -> tuple[Path, ...]:
    """Write label values as grey values, 8 bits up to the value 255, else 16; the names in a `.csv`.

    Parameters
    ----------
    volume : LabelledVolume
        Of one layer; an overlap cannot be kept.
    path : Path
        `.png` for one plane, `.tif` or `.tiff` for any number, compressed without loss.

    Returns
    -------
    tuple of Path
        The table of names, and last the picture.

    Raises
    ------
    SettingsError
        When several planes shall go into one PNG.
    """
    (labels,) = volume.layers
    if max((s.value for s in volume.segments), default=0) <= np.iinfo(np.uint8).max:
        labels = labels.astype(np.uint8)
    pages = [Image.fromarray(plane) for plane in labels]
    if path.suffix.lower() == ".png":
        if len(pages) > 1:
            raise SettingsError(f"A PNG holds one plane, the masks have {len(pages)}. Export TIFF.")
        pages[0].save(path)
    else:
        pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_deflate")
    names = path.with_name(path.stem + "_names.csv")
    rows = [
        (s.value, s.name, "#{:02x}{:02x}{:02x}".format(*s.colour), s.origin, *coding.standing(s))
        for s in volume.segments
    ]
    tables.write_table(names, COLUMNS, rows)
    return names, path


def read_back_picture(path: Path, grid: Geometry) -> LabelledVolume:
    """Read label values and names again, with SimpleITK; the grid is taken on trust."""
    image = SimpleITK.ReadImage(str(path))
    labels = SimpleITK.GetArrayFromImage(image)
    labels = labels[None] if labels.ndim == 2 else labels
    rows = tables.read_table(path.with_name(path.stem + "_names.csv"))
    return LabelledVolume.from_labels(grid, labels, _segments(rows))


def _segments(rows: Sequence[dict[str, str]]) -> list[Segment]:
    found = []
    for row in rows:
        more = {"colour": tuple(bytes.fromhex(row["color"][1:])), **coding.read_standing(row)}
        found.append(Segment(int(row["value"]), row["name"], origin=row["origin"], **more))
    return found
