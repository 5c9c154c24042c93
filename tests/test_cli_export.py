"""`mediround export`: one format to another, the receipt on stdout, keys that last."""

from __future__ import annotations

import pytest
from exports import write_series
from test_export import GRID, make_discs

from napari_mediround.cli import main
from napari_mediround.io.export import export
from napari_mediround.io.masks import read_masks


def call(*words) -> int:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main(["export", *(str(word) for word in words)])
    return done.value.code


def test_a_label_map_becomes_a_dicom_segmentation(tmp_path, capsys):
    series = write_series(tmp_path / "series", GRID)
    export(make_discs(overlapping=False), tmp_path / "masks.nii.gz")
    assert call(tmp_path / "masks.nii.gz", series, "--out", tmp_path / "out.dcm") == 0
    assert "DICOM Segmentation, BINARY: Read back and equal" in capsys.readouterr().out
    again = read_masks(tmp_path / "out.dcm", GRID)
    assert [s.name for s in again.segments] == ["left kidney", "liver tumour", "Jane Doe's mole"]


def test_measurements_have_intensities(tmp_path, capsys):
    series = write_series(tmp_path / "series", GRID)
    export(make_discs(), tmp_path / "masks.seg.nrrd")
    assert call(tmp_path / "masks.seg.nrrd", series, "--out", tmp_path / "out.csv") == 0
    header, first, *_ = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    row = dict(zip(header.split(","), first.split(","), strict=True))
    assert (row["name"], row["mean"], row["sd"]) == ("left kidney", "0.0000", "0.0000")


def test_one_key_file_makes_exports_of_two_days_fit(tmp_path, capsys):
    import pydicom

    series = write_series(tmp_path / "series", GRID)
    export(make_discs(), tmp_path / "masks.seg.nrrd")
    for name in ("a", "b"):
        words = ("--out", tmp_path / f"{name}.dcm", "--deidentify", "--key-file", tmp_path / "key")
        assert call(tmp_path / "masks.seg.nrrd", series, *words) == 0
    a, b = (pydicom.dcmread(tmp_path / f"{name}.dcm") for name in "ab")
    assert a.StudyInstanceUID == b.StudyInstanceUID != GRID.study_uid
    assert a.SOPInstanceUID != b.SOPInstanceUID
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0


def test_errors_are_one_line_and_nothing_is_replaced(tmp_path, capsys):
    series = write_series(tmp_path / "series", GRID)
    export(make_discs(), tmp_path / "masks.seg.nrrd")
    words = (tmp_path / "masks.seg.nrrd", series, "--out", tmp_path / "masks.seg.nrrd")
    assert call(*words) == 2
    assert "exists already" in capsys.readouterr().err
    assert call(*words[:3], tmp_path / "x.nii.gz", "--with-images") == 2
    assert "belong to --deidentify" in capsys.readouterr().err
