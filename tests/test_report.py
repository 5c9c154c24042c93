"""Measurement reports: DICOM SR TID 1500 is read back by pydicom, and planted errors are found."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pydicom
import pytest
from exports import write_series
from test_export import GRID, make_discs

from napari_mediround.errors import MismatchError, SettingsError
from napari_mediround.io.export import Options, export
from napari_mediround.io.export import formats as form_module
from napari_mediround.io.export.report_back import read_report


@pytest.fixture
def judged():
    """Return discs of which the first was accepted and the others are proposals."""
    volume = make_discs()
    verdicts = ["accepted", *["proposal"] * (len(volume.segments) - 1)]
    segments = tuple(replace(s, verdict=v) for s, v in zip(volume.segments, verdicts, strict=True))
    return replace(volume, segments=segments)


def send(tmp_path, volume, **more):
    """Export a report of masks of a CT series; return the receipt."""
    series = write_series(tmp_path / "series", GRID)
    pixels = np.arange(np.prod(GRID.shape), dtype=np.int16).reshape(GRID.shape)
    return export(volume, tmp_path / "a.dcm", "dicom-sr", Options(dicom=series, pixels=pixels, **more))


def test_a_report_says_what_was_measured_and_what_was_confirmed(tmp_path, judged):
    receipt = send(tmp_path, judged)
    groups = read_report(tmp_path / "a.dcm")
    assert [g.review for g in groups] == ["confirmed", *["proposed"] * (len(groups) - 1)]
    assert [g.tracking_uid for g in groups] == [s.tracking_uid for s in judged.segments]
    first = {(what, how): (value, unit) for what, how, value, unit in groups[0].numbers}
    value, unit = first["118565006", ""]
    assert (round(value, 3), unit) == (round(judged.volume_ml(judged.segments[0]), 3), "cm3")
    assert ("112031", "373098007") in first
    names = [name for name, _, _ in receipt.files]
    assert names == ["a_seg.dcm", "a.dcm"]
    said = json.loads((tmp_path / "a.dcm.receipt.json").read_text())
    assert sum(check["what"].startswith("measurements of") for check in said["checks"]) == len(groups)


def test_the_segments_beside_a_report_tell_their_review_too(tmp_path, judged):
    send(tmp_path, judged)
    seg = pydicom.dcmread(tmp_path / "a_seg.dcm")
    said = [str(item.SegmentDescription) for item in seg.SegmentSequence]
    assert said[:2] == ["confirmed by a person", "proposed, not reviewed"]
    report = pydicom.dcmread(tmp_path / "a.dcm")
    assert report.CompletionFlag == "PARTIAL"
    assert report.StudyInstanceUID == seg.StudyInstanceUID


def test_a_wrong_number_in_a_report_is_found(tmp_path, judged, monkeypatch):
    form = form_module.FORMATS["dicom-sr"]

    def write(volume, path, sources):
        written = form.write(volume, path, sources)
        report = pydicom.dcmread(path)
        numbers = [item for item in report.iterall() if item.keyword == "NumericValue"]
        numbers[0].value = "1.25"
        report.save_as(path)
        return written

    monkeypatch.setitem(form_module.FORMATS, "dicom-sr", replace(form, write=write))
    with pytest.raises(MismatchError, match="measurements of"):
        send(tmp_path, judged)


def test_a_report_does_not_leave_the_site(tmp_path, judged):
    with pytest.raises(SettingsError, match="cannot leave the site"):
        send(tmp_path, judged, key="x" * 32)
