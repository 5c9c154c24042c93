"""NRRD and MetaImage headers lead to no other place than beside them, and to no crash."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import read_study

VOXELS = np.arange(60, dtype=np.int16).reshape(3, 4, 5)


def write(path: Path, packed: bool = False) -> Path:
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(VOXELS), str(path), packed)
    return path


@pytest.mark.parametrize("name", ["a.nrrd", "a.nhdr", "a.mha", "a.mhd"])
@pytest.mark.parametrize("packed", [False, True])
def test_headers_alone_and_with_their_voxels_are_read(tmp_path, name, packed):
    study = read_study(write(tmp_path / name, packed))
    assert np.array_equal(study.order.undo(study.pixels), VOXELS)


@pytest.mark.parametrize("name", ["a.nhdr", "a.mhd"])
@pytest.mark.parametrize(
    "place", ["/etc/passwd", "../a.raw", "/dev/zero", "-", "LIST", "a%d.raw 0 9 1", "none.raw"]
)
def test_voxels_anywhere_but_beside_the_header_are_refused(tmp_path, name, place):
    (tmp_path / "a.raw").write_bytes(VOXELS.tobytes())
    path = write(tmp_path / "in" / name if (tmp_path / "in").mkdir() is None else tmp_path)
    raw = next(p.name for p in path.parent.iterdir() if p != path)
    path.write_bytes(path.read_bytes().replace(raw.encode(), place.encode()))
    with pytest.raises(UnreadableFileError, match=r"in another folder.*one file"):
        read_study(path)


def test_a_link_to_another_folder_is_refused(tmp_path):
    (tmp_path / "in").mkdir()
    path = write(tmp_path / "in" / "a.mhd")
    raw = path.with_suffix(".raw")
    raw.rename(tmp_path / "elsewhere.raw")
    raw.symlink_to(tmp_path / "elsewhere.raw")
    with pytest.raises(UnreadableFileError, match="a link to another folder"):
        read_study(path)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("NDims = 3", "NDims = 99999"),
        ("NDims = 3", "NDims = 3\nNDims = 4"),
        ("DimSize = 5 4 3", "DimSize = 5 4"),
        ("DimSize = 5 4 3", "DimSize = -5 -4 3"),
        ("ElementSpacing = 1 1 1", "ElementSpacing = 1 1 1 1 1 1 1"),
        ("Offset = 0 0 0", "Offset = a b c"),
        ("MET_SHORT", "MET_" + "X" * 9999),
    ],
)
def test_numbers_that_would_end_the_process_are_refused(tmp_path, old, new):
    path = write(tmp_path / "a.mha")
    assert old.encode() in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old.encode(), new.encode()))
    with pytest.raises(UnreadableFileError, match="Copy or export the file again"):
        read_study(path)


@pytest.mark.parametrize("field", ["space directions", "space origin"])
def test_a_vector_of_too_many_numbers_would_end_the_process_and_is_refused(tmp_path, field):
    path = write(tmp_path / "a.nrrd")
    start, _, rest = path.read_bytes().partition(f"{field}: (".encode())
    assert rest
    path.write_bytes(start + f"{field}: (".encode() + b"0.5," * 400 + rest)
    with pytest.raises(UnreadableFileError, match="too many numbers"):
        read_study(path)


def test_a_packed_file_cannot_promise_more_than_deflate_can_hold(tmp_path):
    path = write(tmp_path / "a.nrrd", packed=True)
    path.write_bytes(path.read_bytes().replace(b"sizes: 5 4 3", b"sizes: 5000 4000 3"))
    with pytest.raises(UnreadableFileError, match="120,000,000 bytes of voxels promised"):
        read_study(path)


def test_a_nrrd_file_must_be_one(tmp_path):
    path = write(tmp_path / "a.mha").rename(tmp_path / "a.nrrd")
    with pytest.raises(UnreadableFileError, match="no NRRD file"):
        read_study(path)


def test_voxels_packed_by_bzip2_are_refused_by_name(tmp_path):
    head = "NRRD0004\ntype: short\ndimension: 3\nsizes: 2 2 2\nencoding: bzip2\n\n"
    (tmp_path / "a.nrrd").write_bytes(head.encode() + b"BZh9")
    with pytest.raises(UnreadableFileError, match="bzip2, which is not read here"):
        read_study(tmp_path / "a.nrrd")
