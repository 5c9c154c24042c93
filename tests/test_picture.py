"""Pictures are one plane without a side and without millimetres."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
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
        with pytest.raises(UnreadableFileError, match=r"a\.\w+: it is (empty|no readable picture|no TIFF)"):
            read_study(path)


TURNS = {
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: p[::-1, ::-1],
    4: np.flipud,
    5: np.transpose,
    6: lambda p: np.rot90(p, -1),
    7: lambda p: p[::-1, ::-1].T,
    8: lambda p: np.rot90(p),
}


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("name", ["a.png", "a.tif", "b.tif", "a.jpg"])
def test_a_picture_is_turned_as_its_exif_says(tmp_path, orientation, name):
    pixels = np.kron(RNG.integers(0, 256, (2, 3), np.uint8), np.ones((8, 8), np.uint8))
    pixels = pixels.astype(np.uint16) * 9 if name == "b.tif" else pixels
    exif = Image.Exif()
    exif[274] = orientation
    more = {"tiffinfo": {274: orientation}} if name.endswith("tif") else {"exif": exif}
    Image.fromarray(pixels).save(tmp_path / name, **more)
    study = read_study(tmp_path / name)
    expected = TURNS[orientation](pixels).astype(int)
    assert study.pixels[0].shape == expected.shape
    assert np.abs(study.pixels[0] - expected).max() <= (12 if name == "a.jpg" else 0)
    assert any("EXIF" in note for note in study.notes) == (orientation > 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("dtype", "white"),
    [(kind, False) for kind in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "f2", "f4", "f8")]
    + [(kind, True) for kind in ("u1", "u2", "u4")],
)
def test_a_tiff_of_any_kind_of_values_is_read_right(tmp_path, order, dtype, white):
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if dtype[0] in "iu" else (-99, 99)
    values = np.linspace(low * 0.99, high * 0.99, 60).astype(dtype).reshape(6, 10)
    values[0, 0], values[-1, -1] = low, high
    photometric = "miniswhite" if white else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", values, photometric=photometric, byteorder=order)
    expected = np.iinfo(dtype).max - values if white else values
    found = read_study(tmp_path / "a.tif").pixels[0]
    assert np.array_equal(found, expected.astype(found.dtype))
    assert np.allclose(found.astype(float), expected.astype(float), rtol=1e-6)


@pytest.mark.parametrize("white", [False, True])
def test_a_tiff_that_cannot_be_read_right_is_refused_by_its_kind(tmp_path, white):
    dtype = np.float32 if white else np.complex64
    photometric = "miniswhite" if white else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", np.ones((6, 10), dtype), photometric=photometric)
    with pytest.raises(UnreadableFileError, match="white" if white else "complex64"):
        read_study(tmp_path / "a.tif")
