"""What can be said about a journal: tables, JSON, whose words it holds, and the commands that say so."""

import csv
import json
import sqlite3
from contextlib import closing

import pytest
from fakes import FakeSegmenter
from ledgers import STUDY, ask_as_typed, box_mask, open_session
from typer.testing import CliRunner

from napari_mediround.cli.app import app
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.errors import MediRoundError
from napari_mediround.journal import Journal
from napari_mediround.journal.audit import COLUMNS, find_words
from napari_mediround.session import Session

QUESTION = "segment the liver of Mrs Mustermann"
FORMULA = "=1+1 the spleen"


@pytest.fixture
def project(tmp_path):
    """Make a round that was corrected, one that was rejected and undone, and a formula, in two cases."""
    session = open_session(tmp_path / "project", "a" * 24)
    ask_as_typed(session, QUESTION, 1)
    session.fix(1, box_mask(slice(1, 4), slice(1, 4)), "keep", 2.5, Prompts(((1, 1),), (True,)), "leak")
    ask_as_typed(session, "what is next to [1]", 1)
    session.reject(2)
    session.undo()
    other = Session(FakeSegmenter(), STUDY, journal=session.journal, case="b" * 24)
    ask_as_typed(other, FORMULA, 0)
    session.journal.close()
    return tmp_path / "project"


def run(*arguments):
    """Run `mediround journal …`."""
    return CliRunner().invoke(app, ["journal", *map(str, arguments)])


def test_list_shows_cases_and_the_events_of_one(project):
    cases = run("list", project).output
    assert "a" * 24 in cases
    assert "3 x 12 x 16" in cases
    events = run("list", project, "--case", "aa").output
    assert QUESTION in events
    assert FORMULA not in events


def test_verify_names_the_head_and_knows_an_older_one(project):
    good = run("verify", project)
    assert (good.exit_code, good.output[:14]) == (0, "ok: 8 events, ")
    with Journal.open_read_only(project) as journal:
        hashes = [event.hash for event in journal.events()]
    assert hashes[-1] in good.output
    assert run("verify", project, "--head", hashes[3]).exit_code == 0
    assert run("verify", project, "--head", "0" * 64).exit_code == 1


def test_verify_fails_on_a_damaged_mask(project):
    with closing(sqlite3.connect(project / "journal.sqlite")) as link, link:
        link.execute("DROP TRIGGER masks_stay")
        link.execute("UPDATE masks SET runs = x'00' WHERE rowid = 1")
    result = run("verify", project)
    assert result.exit_code == 1
    assert "damaged" in result.output


def test_the_table_has_one_row_a_mask_and_no_formula(project, tmp_path):
    assert run("export", project, "--csv", tmp_path / "audit.csv").exit_code == 0
    with open(tmp_path / "audit.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS
    corrected = next(row for row in rows if row["verdict"] == "corrected")
    assert (corrected["label"], corrected["reason"], corrected["seconds"]) == ("1", "leak", "2.5")
    assert (corrected["clicks"], corrected["standing"]) == ("1", "yes")
    assert next(row for row in rows if row["verdict"] == "rejected")["standing"] == ""
    assert {row["text"] for row in rows} >= {QUESTION, "'" + FORMULA}


def test_the_json_holds_every_mask_and_can_leave_out_all_words(project, tmp_path):
    path = tmp_path / "journal.json"
    assert run("export", project, "--json", path).exit_code == 0
    exported = json.loads(path.read_text())
    (digest,) = [e["body"]["marks"][0]["after"] for e in exported["events"][:3] if e["kind"] == "verdict"]
    mask = exported["masks"][digest]
    assert Mask(tuple(mask["shape"]), tuple(mask["runs"])) == box_mask(slice(1, 4), slice(1, 4))
    table = tmp_path / "audit.csv"
    run("export", project, "--json", path, "--csv", table, "--without-text")
    for word in ("mustermann", "what is next", "1+1"):
        assert word not in (path.read_text() + table.read_text()).lower()


def test_export_without_a_file_to_write_is_refused(project):
    assert isinstance(run("export", project).exception, MediRoundError)


def test_prove_lists_everything_that_a_person_typed(project):
    result = run("prove", project)
    assert result.exit_code == 0
    for typed in (QUESTION, "what is next to [1]", FORMULA):
        assert typed in result.output
    assert "0 of unknown origin" in result.output
    with Journal.open_read_only(project) as journal:
        typed = [w.text for w in find_words(journal) if w.origin == "typed"]
    assert sorted(typed) == sorted([QUESTION, "what is next to [1]", "[1]", FORMULA])


def test_prove_finds_a_string_that_nobody_knows_and_an_annotator_by_name(tmp_path):
    with Journal.open(tmp_path, annotator="Dr. Mustermann") as journal:
        journal.append("Erika Mustermann", *_opened("HEAD^PHANTOM"))
        found = {(w.place, w.origin, w.text) for w in find_words(journal)}
    assert found == {
        ("annotator", "typed", "Dr. Mustermann"),
        ("case", "unknown", "Erika Mustermann"),
        ("body.modality", "unknown", "HEAD^PHANTOM"),
    }
    result = run("prove", tmp_path)
    assert result.exit_code == 1
    assert "HEAD^PHANTOM" in result.output


def _opened(modality):
    from napari_mediround.journal.entries import ImageOpened

    return (ImageOpened(modality, (1, 2, 3)),)


def test_a_folder_without_a_project_is_an_error_in_words(tmp_path):
    for command in ("list", "verify", "prove"):
        assert "There is no journal.sqlite" in str(run(command, tmp_path).exception)
