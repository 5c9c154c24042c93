"""Who accepted what, what changed since, and measurements as a table: all of it read off the record."""

from __future__ import annotations

import pytest
from fakes import FakeSegmenter, make_volume
from test_commands import do

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.session import Session


@pytest.fixture
def session():
    session = Session(FakeSegmenter(), make_volume(), load_anatomy())
    do(session, "the liver", "the spleen")
    return session


def test_who_accepted_a_mask_is_read_off_the_journal(session):
    do(session, "accept [1]")
    said = do(session, "who accepted [1]?")
    who = session.journal.annotator
    assert said.startswith(f"1 liver, axial plane 2: accepted by {who}, ")
    assert "2 spleen" not in said


def test_only_masks_with_that_verdict_are_told(session):
    assert do(session, "which masks are accepted?") == "No mask was accepted so far."
    do(session, "accept [2]")
    assert do(session, "which masks are accepted?").startswith("2 spleen, axial plane 2: accepted")


def test_what_changed_since_a_round_lists_its_steps(session):
    do(session, "grow [1] by 2 mm", "accept [2]")
    said = do(session, "what changed since round 1?")
    assert [line.split(",")[0] for line in said.split("\n")] == [
        "Round 2",
        "Grow 1 liver (grown by 2 mm)",
        "Accept 2 spleen",
    ]
    session.undo()  # the question
    session.undo()
    assert "Accept" not in do(session, "what changed since round 2?")


def test_a_table_has_a_row_for_each_mask_and_a_unit_in_each_cell(session):
    rows = do(session, "sizes of [1] and [2] as a table").split("\n")
    assert rows[0] == "| mask | plane | area | volume | longest axis | short axis | mean ± SD HU |"
    cells = rows[1].strip("| ").split(" | ")
    assert cells[:2] == ["1 liver", "2"]
    assert cells[2].endswith("mm²")
    assert cells[4].endswith(" mm")
    assert len(rows) == 3
