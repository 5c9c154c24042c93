"""Packed pixels are measured before they are unpacked, and go to the decoder that fails most gently."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_decoder, iter_pixels
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)
from test_dicom import add_pixels, header

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import read_study
from napari_mediround.io.dicom.decoder_process import Apart
from napari_mediround.io.dicom.packed import check_deflated, choose_decoder, read_coded

PIXELS = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)


def compressed(syntax: str) -> Dataset:
    dataset = add_pixels(header("1.2.6"), PIXELS)
    dataset.compress(syntax)
    return dataset


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_frame_says_its_own_size(syntax):
    frame = next(iter(generate_frames(compressed(syntax).PixelData, number_of_frames=1)))
    coded = read_coded(frame)
    assert (coded.rows, coded.columns, coded.components, coded.bits) == (48, 64, 1, 16)
    assert all(read_coded(frame[:length]) is None for length in (0, 1, 9))


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless, JPEGLosslessSV1])
def test_gdcm_is_asked_only_where_nobody_else_can(tmp_path, syntax):
    dataset = add_pixels(header("1.2.6"), PIXELS)
    frame = b"\xff\xd8\xff\xc3\x00\x0b\x10" + struct.pack(">HHB", 48, 64, 1) + bytes(9)
    dataset.PixelData = encapsulate([frame])
    there = get_decoder(syntax).available_plugins
    chosen = choose_decoder(tmp_path, syntax, dataset)
    assert chosen in there
    assert (chosen == "gdcm") == (there == ("gdcm",))


def test_plain_pixels_need_no_decoder(tmp_path):
    assert choose_decoder(tmp_path, ExplicitVRLittleEndian, add_pixels(header("1.2.6"), PIXELS)) == ""


@pytest.mark.parametrize(
    "change",
    [{"Rows": 40000}, {"BitsStored": 12, "HighBit": 15}, {"BitsAllocated": 12}, {"PixelRepresentation": 2}],
)
def test_frames_that_do_not_fit_their_header_reach_no_decoder(tmp_path, change):
    dataset = compressed(JPEG2000Lossless)
    for keyword, value in change.items():
        setattr(dataset, keyword, value)
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match="not what its header says"):
        read_study(tmp_path / "a.dcm")


def test_a_frame_that_claims_gigapixels_is_refused_before_it_is_decoded(tmp_path):
    dataset = compressed(JPEG2000Lossless)
    dataset.PixelData = dataset.PixelData.replace(
        struct.pack(">II", 64, 48), struct.pack(">II", 60000, 60000)
    )
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    with pytest.raises(UnreadableFileError, match="not what its header says"):
        read_study(tmp_path / "a.dcm")


def test_a_deflated_data_set_may_not_grow_without_end(tmp_path):
    dataset = add_pixels(header("1.2.6"), PIXELS)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(tmp_path / "a.dcm", enforce_file_format=True)
    check_deflated(tmp_path / "a.dcm")
    assert read_study(tmp_path / "a.dcm").pixels.max() == PIXELS.max()
    whole = (tmp_path / "a.dcm").read_bytes()
    end = 144 + struct.unpack("<I", whole[140:144])[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    bomb = b"".join(packer.compress(bytes(2**24)) for _ in range(6)) + packer.flush()
    (tmp_path / "b.dcm").write_bytes(whole[:end] + bomb)
    with pytest.raises(UnreadableFileError, match="unpacks to more than 64 MiB"):
        read_study(tmp_path / "b.dcm")


def test_what_gdcm_decodes_apart_is_what_it_decodes_here():
    path = Path(get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False))
    header = pydicom.dcmread(path)
    here = next(iter_pixels(header, decoding_plugin="gdcm"))
    with Apart() as apart:
        (frame,) = apart.frames(path, header.file_meta.TransferSyntaxUID, "gdcm", [0])
    assert here.std() > 10
    assert np.array_equal(frame, here)


def write_damaged(folder: Path) -> Path:
    """Write a lossless JPEG whose table of codes has lost its marker: GDCM ends the process."""
    dataset = add_pixels(header("1.2.6"), np.zeros((16, 24), np.uint8))
    start = bytes.fromhex("ffd8ffc3000b080010001801011100") + bytes(30)
    scan = bytes.fromhex("ffda00080101000100001e1dd3332e40597e335e0aedb8acb1bf74651a6a7220e3")
    dataset.PixelData = encapsulate([start + scan * 8 + b"\xff\xd9"])
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset["PixelData"].VR = "OB"
    dataset.save_as(folder / "damaged.dcm", enforce_file_format=True)
    return folder / "damaged.dcm"


def test_a_frame_that_ends_gdcm_is_one_refused_file(tmp_path):
    path = write_damaged(tmp_path)
    with pytest.raises(UnreadableFileError, match="cut short or damaged"):
        read_study(path)
    with Apart() as apart:
        with pytest.raises(ValueError, match="has ended"):
            next(apart.frames(path, JPEGLosslessSV1, "gdcm", [0]))
        good = get_testdata_file("MR_small_jpeg_ls_lossless.dcm", download=False)
        assert next(apart.frames(Path(good), JPEGLSLossless, "gdcm", [0])).shape == (64, 64)
