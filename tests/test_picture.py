"""Pictures are one plane without a side and without millimetres."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import read_study

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp"])
def test_grey_pictures_keep_every_pixel(tmp_path, suffix):
    pixels = RNG.integers(0, 256, (5, 7), np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a{suffix}")
    study = read_study(tmp_path / f"a{suffix}")
    assert np.array_equal(study.pixels[0], pixels)
    assert np.array_equal(study.order.undo(study.pixels), study.pixels)
    assert not study.geometry.oriented
    assert not study.geometry.calibrated
    assert study.name == "image 7x5"


def test_colours_are_kept_and_grey_colours_become_grey(tmp_path):
    pixels = RNG.integers(0, 256, (5, 7, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_study(tmp_path / "a.png").pixels[0], pixels)
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    Image.fromarray(np.dstack([grey, np.full((5, 7), 9, np.uint8)])).save(tmp_path / "b.png")
    assert np.array_equal(read_study(tmp_path / "b.png").pixels[0], grey[..., 0])


def test_palettes_show_their_colours_and_bits_become_black_and_white(tmp_path):
    Image.new("RGB", (4, 3), (10, 200, 30)).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "a.png"
    )
    assert read_study(tmp_path / "a.png").pixels[0, 0, 0].tolist() == [10, 200, 30]
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "b.png")
    assert read_study(tmp_path / "b.png").pixels.tolist() == [[[255, 0]]]


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_deep_greys_keep_their_values(tmp_path, dtype):
    pixels = (RNG.random((4, 6)) * 60000).astype(dtype)
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert np.array_equal(read_study(tmp_path / "a.tif").pixels[0], pixels)


def test_pages_need_a_choice(tmp_path):
    pages = [Image.fromarray(np.full((3, 4), value, np.uint8)) for value in (1, 2)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(UnreadableFileError, match=r"2 pages.*volume=0…1"):
        read_study(tmp_path / "a.tif")
    assert read_study(tmp_path / "a.tif", volume=1).pixels.max() == 2


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_a_damaged_picture_is_refused_by_name(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(RNG.integers(0, 256, (64, 64), np.uint8)).save(path)
    data = path.read_bytes()
    for part in (b"", b"not a picture", data[: len(data) // 3]):
        path.write_bytes(part)
        with pytest.raises(UnreadableFileError, match=r"a\.\w+: it is no readable picture"):
            read_study(path)
