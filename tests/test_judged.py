"""What leaves is what a person accepted, with the origin that the record knows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from desk import Desk
from exports import write_series
from fakes import FakeSegmenter
from ledgers import STUDY, box_mask, open_session
from test_export import GRID

from napari_mediround.cli import main
from napari_mediround.domain.judged import draw_masks, make_rows
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.errors import MediRoundError
from napari_mediround.io import read_study
from napari_mediround.io.export import FORMATS, misfits
from napari_mediround.io.masks import read_masks
from napari_mediround.session import Session
from napari_mediround.widget.export.mask_table import MaskTable
from napari_mediround.widget.layers.layer_geometry import study_to_layer
from napari_mediround.widget.plugin.layer_writer import collect_masks, list_masks, write_labels

CLICK = Prompts(((2, 2),), (True,))
BOX = Prompts(box_xyxy=(1, 1, 4, 4))
BRUSH = Prompts(painted=9)


def origins(session) -> dict[int, tuple[str, str]]:
    """Return origin and verdict of each value."""
    return {m.value: (m.origin, m.verdict) for m in session.judged_masks()}


def test_the_origin_is_what_was_done_to_the_mask():
    session = open_session()
    for text in ("the liver", "the spleen", "the left kidney"):
        session.ask(text, 1)
    assert origins(session) == dict.fromkeys((1, 2, 3), ("AUTOMATIC", "proposal"))
    session.accept(1)
    mask = session.label(2).mask.to_array().copy()
    mask[0, 0] = ~mask[0, 0]
    session.fix(2, type(session.label(2).mask).from_array(mask), prompts=BRUSH)
    session.fix(3, box_mask(slice(9, 11), slice(9, 12)), prompts=CLICK)
    assert origins(session)[1] == ("AUTOMATIC", "accepted")
    assert origins(session)[2] == ("SEMIAUTOMATIC", "corrected")
    assert origins(session)[3] == ("SEMIAUTOMATIC", "corrected")
    session.undo()
    assert origins(session)[3] == ("AUTOMATIC", "proposal")
    elsewhere = ~session.label(3).mask.to_array()
    session.fix(3, type(session.label(3).mask).from_array(elsewhere), "both", prompts=BRUSH)
    assert origins(session)[3] == ("MANUAL", "corrected")
    session.fix(3, box_mask(slice(2, 6), slice(2, 6)), "both", prompts=BOX)
    assert origins(session)[3] == ("SEMIAUTOMATIC", "corrected")
    session.reject(1)
    assert 1 not in origins(session)


def test_the_drawing_of_judged_masks_is_the_label_volume():
    session = open_session()
    for plane, text in ((0, "the liver"), (1, "the liver"), (1, "the spleen"), (2, "the spleen")):
        session.ask(text, plane)
    session.accept(3)
    session.reject(1)
    drawn = draw_masks(session.judged_masks(), STUDY.geometry.shape)
    assert np.array_equal(drawn, session.label_volume())


@pytest.fixture
def desk(tmp_path):
    """Return a desk with a DICOM series, a liver accepted, a spleen fixed and a kidney nobody judged."""
    desk = Desk()
    study = read_study(write_series(tmp_path / "series", GRID))
    data, options, _ = study_to_layer(study, tmp_path / "series")
    desk.image = desk.viewer.add_image(data, **options)
    desk.worker.run()
    for text in ("Segment the liver", "Segment the spleen", "Segment the left kidney"):
        desk.ask(text)
    desk.study = study
    return desk


def judge(desk) -> None:
    """Accept the first, fix the second, leave the third."""
    case, session = desk.controller._place.case, desk.session
    desk.controller._place.take(case, session.accept(1))
    array = session.label(2).mask.to_array().copy()
    array[:2] = ~array[:2]
    fixed = type(session.label(2).mask).from_array(array)
    desk.controller._place.take(case, session.fix(2, fixed, "both", prompts=CLICK))


def test_a_layer_gives_away_what_was_accepted_or_corrected(desk):
    judge(desk)
    found = collect_masks(desk.mask_layer, desk.image)
    facts = [(s.name, s.origin, s.verdict) for s in found.volume.segments]
    assert facts == [("liver", "AUTOMATIC", "accepted"), ("spleen", "SEMIAUTOMATIC", "corrected")]
    assert [(row.name, row.verdict) for row in found.left_out] == [("left kidney", "proposal")]
    everything = collect_masks(desk.mask_layer, desk.image, left_out=())
    assert len(everything.volume.segments) == 3
    assert np.array_equal(everything.volume.layers[0], desk.study.order.undo(desk.session.label_volume()))
    one = collect_masks(desk.mask_layer, desk.image, left_out=[(1, False), (3, True)])
    assert [s.name for s in one.volume.segments] == ["spleen"]


def test_nothing_accepted_is_refused_in_words(desk):
    with pytest.raises(MediRoundError, match=r"Nothing of .* has been accepted.*left kidney"):
        collect_masks(desk.mask_layer, desk.image)


@pytest.mark.filterwarnings("ignore:Nobody has accepted:UserWarning")
def test_a_saved_layer_of_nothing_but_proposals_is_written_as_proposals(desk, tmp_path):
    path, layer = tmp_path / "all.nii.gz", desk.mask_layer
    names = ("name", "metadata", "features", "scale", "translate", "affine")
    write_labels(str(path), layer.data, {name: getattr(layer, name) for name in names})
    assert (read_study(path).pixels > 0).sum() == (layer.data > 0).sum()
    assert (tmp_path / "all.tsv").read_text("utf-8").count("proposal") == 3


def test_planes_of_one_mask_that_nobody_judged_stay(desk):
    judge(desk)
    session, case = desk.session, desk.controller._place.case
    from napari_mediround.domain.rounds import Reference

    plane = session.label(1).plane
    step = 1 if plane + 1 < desk.study.planes else -1
    found = session.carry(Reference(1), step)
    assert not isinstance(found, str)
    desk.controller._place.take(case, session.add(found))
    rows = [row for row in list_masks(desk.mask_layer) if row.value == 1]
    assert [(row.verdict, row.planes) for row in rows] == [("accepted", 1), ("proposal", 1)]
    volume = collect_masks(desk.mask_layer, desk.image).volume
    inside = desk.study.order.apply(volume.mask(volume.segments[0]))
    assert np.flatnonzero(inside.any((1, 2))).tolist() == [plane]


def test_what_was_changed_in_the_viewer_is_taken_from_there_and_said(desk):
    judge(desk)
    labels = desk.mask_layer
    at = tuple(np.argwhere(labels.data == 0)[0])
    labels.data[at] = 1
    found = collect_masks(labels, desk.image)
    liver = found.volume.segments[0]
    assert (liver.origin, liver.verdict) == ("SEMIAUTOMATIC", "")
    assert found.volume.voxels(liver) == int((labels.data == 1).sum())
    assert any("liver was changed in the viewer" in note for note in found.notes)


def test_the_napari_writer_uses_the_record_and_the_receipt_says_what_stayed(desk, tmp_path):
    judge(desk)
    data, meta, _ = desk.mask_layer.as_layer_data_tuple()
    path = tmp_path / "saved.nii.gz"
    write_labels(str(path), data, meta)
    again = read_masks(path, desk.study.source_geometry)
    facts = [(s.name, s.origin, s.verdict) for s in again.segments]
    assert facts == [("liver", "AUTOMATIC", "accepted"), ("spleen", "SEMIAUTOMATIC", "corrected")]
    receipt = json.loads((tmp_path / "saved.nii.gz.receipt.json").read_text("utf-8"))
    assert any("left kidney (proposal" in note for note in receipt["notes"])
    header, first, *_ = (tmp_path / "saved.tsv").read_text("utf-8").splitlines()
    row = dict(zip(header.split("\t"), first.split("\t"), strict=True))
    assert row["verdict"] == "accepted"
    assert 0 <= float(row["quality"]) <= 1


def test_the_list_ticks_what_was_judged_and_keeps_ticks_by_hand(desk, qtbot):
    from qtpy.QtCore import Qt

    judge(desk)
    table = MaskTable()
    qtbot.addWidget(table)
    table.show_rows(list_masks(desk.mask_layer))
    assert table.left_out == {(3, True)}
    table.topLevelItem(2).setCheckState(0, Qt.CheckState.Checked)
    table.topLevelItem(0).setCheckState(0, Qt.CheckState.Unchecked)
    assert table.left_out == {(1, False)}
    case, session = desk.controller._place.case, desk.session
    desk.controller._place.take(case, session.accept(3))
    table.show_rows(list_masks(desk.mask_layer))
    assert table.left_out == {(1, False)}
    assert [table.topLevelItem(k).text(1) for k in range(3)] == ["accepted", "corrected", "accepted"]


def run(*words) -> int:
    """Run the command; return its exit code."""
    with pytest.raises(SystemExit) as done:
        main([str(word) for word in words])
    return done.value.code or 0


@pytest.mark.parametrize("suffix", [".nii.gz", ".seg.nrrd"])
def test_the_command_leaves_out_proposals_unless_told(desk, tmp_path, capsys, suffix):
    judge(desk)
    from pathlib import Path

    from napari_mediround.io.export import export

    masks = collect_masks(desk.mask_layer, desk.image, left_out=()).volume
    export(masks, tmp_path / f"masks{suffix}")
    words = ("export", tmp_path / f"masks{suffix}", tmp_path / "series", "--out")
    assert run(*words, tmp_path / "a.dcm") == 0
    out, err = capsys.readouterr()
    assert "left out" in out
    assert "--include-proposals" in err
    assert "Left out, as nobody accepted them: 3 left kidney (proposal" in out
    assert len(read_masks(tmp_path / "a.dcm", desk.study.source_geometry).segments) == 2
    assert run(*words, tmp_path / "b.dcm", "--include-proposals") == 0
    assert len(read_masks(Path(tmp_path / "b.dcm"), desk.study.source_geometry).segments) == 3


def test_what_ask_wrote_was_judged_by_nobody(tmp_path, capsys):
    from napari_mediround.cli.ask import Outputs, run_ask

    study = read_study(write_series(tmp_path / "series", GRID))
    run_ask(FakeSegmenter(), study, ["the liver"], 1, None, Outputs(tmp_path / "a.nii.gz"))
    (segment,) = read_masks(tmp_path / "a.nii.gz", study.source_geometry).segments
    assert (segment.verdict, segment.origin) == ("proposal", "AUTOMATIC")
    assert segment.quality is not None
    words = ("export", tmp_path / "a.nii.gz", tmp_path / "series", "--out", tmp_path / "b.dcm")
    assert run(*words) == 2
    assert "--include-proposals" in capsys.readouterr().err
    assert run(*words, "--include-proposals") == 0


def test_names_of_what_stays_behind_do_not_leave_the_site(tmp_path):
    from napari_mediround.io.export import Options, export

    session = Session(FakeSegmenter(), STUDY)
    session.ask("the liver", 1)
    rows = make_rows(session.judged_masks())
    from napari_mediround.domain.segments import LabelledVolume, make_segment

    masks = LabelledVolume.from_masks(GRID, [(make_segment(1, "liver"), np.ones(GRID.shape, bool))])
    options = Options(key="k" * 32, left_out=("7 Jane Doe's mole (proposal)", str(rows[0])))
    receipt = export(masks, tmp_path / "a.nii.gz", options=options)
    assert "2 masks that nobody accepted were left out." in receipt.notes
    assert "Doe" not in (tmp_path / "a.nii.gz.receipt.json").read_text("utf-8")


def test_formats_that_cannot_work_are_named_with_the_reason():
    assert misfits(GRID, True) == {"png": "it holds one plane, and the image has 4. Take TIFF."}
    assert set(misfits(GRID, False)) == {"png", *(name for name, form in FORMATS.items() if form.dicom)}
    flat = type(GRID)((1, 4, 4), np.eye(4), oriented=False, series_uid="1.2")
    assert "where in the patient" in misfits(flat, True)["rtstruct"]
    lost = type(GRID)((1, 4, 4), np.eye(4), series_uid="1.2")
    assert "study" in misfits(lost, True)["dicom-seg"]
