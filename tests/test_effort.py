"""What annotating cost: from the journal, by adapter, as CSV and plot."""

from __future__ import annotations

import csv

import pytest
from PIL import Image
from test_corrections import RIGHT, project  # noqa: F401

from napari_mediround.domain.verdicts import Prompts
from napari_mediround.training.learning.effort import (
    plot_efforts,
    read_efforts,
    summarise_efforts,
    write_efforts,
)


@pytest.fixture
def efforts(project):  # noqa: F811
    """Return two rounds' efforts: one corrected, one accepted as it came."""
    journal, session = project
    session.ask("Segment the liver.", 0)
    changed = int((session.label(1).mask.to_array() != RIGHT.to_array()).sum())
    session.fix(1, RIGHT, seconds=12.0, prompts=Prompts(((1, 1), (2, 2)), (True, True), (1, 1, 5, 5)))
    session.ask("Segment the spleen.", 0)
    session.accept(2, seconds=2.0)
    found = read_efforts(journal)
    assert found[0].voxels == changed
    return found


def test_each_judged_round_is_counted_once_with_its_adapter(efforts):
    first, second = efforts
    assert (first.number, first.adapter, first.verdicts) == (1, "a001", "corrected")
    assert (first.seconds, first.clicks) == (12.0, 3)
    assert (second.seconds, second.clicks, second.voxels) == (2.0, 0, 0)


def test_the_summary_means_by_adapter(efforts):
    table = summarise_efforts(efforts)
    assert table["a001"]["seconds"] == 7.0
    assert table["a001"]["accepted"] == 0.5
    assert summarise_efforts([]) == {}


def test_the_csv_has_a_row_a_round_and_no_question(efforts, tmp_path):
    text = write_efforts(efforts, tmp_path / "sub/effort.csv").read_text("utf-8")
    rows = list(csv.DictReader(text.splitlines()))
    assert [row["clicks"] for row in rows] == ["3", "0"]
    assert "Segment" not in text


def test_the_plot_is_a_picture_also_of_nothing(efforts, tmp_path):
    for found in (efforts, []):
        with Image.open(plot_efforts(found, tmp_path / "effort.png")) as image:
            assert image.size == (2520, 640)
            assert len(image.getcolors(1 << 20)) > 2
