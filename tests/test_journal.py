"""The journal's file: what is acknowledged is there again, nothing else, and nothing can be changed."""

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from fakes import make_volume
from ledgers import CASE, STUDY, open_session, reopen

from napari_mediround.errors import JournalError, ProjectBusyError
from napari_mediround.journal import Journal
from napari_mediround.journal.entries import Branched, ImageOpened
from napari_mediround.journal.schema import APPLICATION_ID, connect


def test_what_was_written_is_read_again(tmp_path):
    with Journal.open(tmp_path / "new" / "project") as journal:
        written = journal.append(CASE, ImageOpened("CT", (3, 12, 16)), Branched(0))
    with Journal.open(tmp_path / "new" / "project") as journal:
        assert tuple(journal.events()) == written
        assert [e.seq for e in written] == [1, 2]
        assert journal.report == ""


def test_two_cases_share_one_chain_and_are_read_apart(tmp_path):
    with Journal.open(tmp_path) as journal:
        for case in ("a", "b", "a"):
            journal.append(case, Branched(0))
        assert [e.seq for e in journal.events("a")] == [1, 3]
        assert journal.verify()[0] == 3
        assert [(c.case, c.rounds) for c in journal.cases()] == [("a", 0), ("b", 0)]


@pytest.mark.parametrize("table", ["events", "masks"])
@pytest.mark.parametrize("change", ["DELETE FROM {}", "UPDATE {} SET rowid = rowid + 1"])
def test_the_file_refuses_to_be_changed(tmp_path, table, change):
    session = open_session(tmp_path)
    session.ask("segment the liver", 1)
    session.journal.close()
    link = connect(tmp_path / "journal.sqlite")
    with closing(link), pytest.raises(sqlite3.IntegrityError, match="append-only"):
        link.execute(change.format(table))


def test_every_commit_waits_for_the_disk(tmp_path):
    with closing(connect(tmp_path / "a.sqlite")) as link:
        assert link.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert link.execute("PRAGMA synchronous").fetchone() == (2,)


def test_a_project_is_open_in_one_place_only_but_can_be_looked_at(tmp_path):
    with Journal.open(tmp_path) as journal:
        journal.append(CASE, Branched(0))
        with pytest.raises(ProjectBusyError, match="another window"):
            Journal.open(tmp_path)
        with Journal.open_read_only(tmp_path) as reader:
            assert reader.verify()[0] == 1
            with pytest.raises(JournalError, match="could not be saved"):
                reader.append(CASE, Branched(0))
    Journal.open(tmp_path).close()


def test_a_project_that_one_thread_opened_is_free_when_another_closes_it(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        journal = pool.submit(Journal.open, tmp_path).result()
        journal.close()
        pool.submit(Journal.open, tmp_path).result().close()
    Journal.open(tmp_path).close()


def test_looking_at_a_folder_without_a_journal_makes_none(tmp_path):
    with pytest.raises(JournalError, match="There is no"):
        Journal.open_read_only(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pragma", "words"),
    [("user_version = 99", "newer"), ("application_id = 1", "another program")],
)
def test_a_file_of_a_newer_version_or_another_program_is_left_alone(tmp_path, pragma, words):
    Journal.open(tmp_path).close()
    with closing(connect(tmp_path / "journal.sqlite")) as link:
        link.execute(f"PRAGMA {pragma}")
    before = (tmp_path / "journal.sqlite").read_bytes()
    with pytest.raises(JournalError, match=words):
        Journal.open(tmp_path)
    assert (tmp_path / "journal.sqlite").read_bytes() == before
    assert APPLICATION_ID != 1


def test_a_write_that_fails_changes_nothing_and_the_next_one_works(tmp_path):
    session = open_session(tmp_path)
    session.ask("segment the liver", 1)
    before = session.state
    session.journal._link.execute("PRAGMA query_only = ON")
    with pytest.raises(JournalError, match="nothing has changed"):
        session.accept(1)
    assert session.state is before
    session.journal._link.execute("PRAGMA query_only = OFF")
    session.accept(1)
    assert reopen(session).label(1).verdict == "accepted"


def test_two_sessions_on_one_case_do_not_write_over_each_other(tmp_path):
    first = open_session(tmp_path)
    second = first.move_to(STUDY)
    first.ask("segment the liver", 1)
    with pytest.raises(JournalError, match="open twice"):
        second.ask("segment the spleen", 1)
    assert len(first.move_to(STUDY).conversation) == 1


def test_a_case_is_known_by_what_the_image_shows_in_its_project_only(tmp_path):
    with Journal.open(tmp_path / "a") as one, Journal.open(tmp_path / "b") as other:
        case = one.case_id(make_volume())
        assert one.case_id(make_volume()) == case
        assert one.case_id(make_volume(spacing=(3.0, 0.6, 0.6))) != case
        assert one.case_id(make_volume((5, 24, 33))) != case
        assert other.case_id(make_volume()) != case


def test_the_annotator_is_a_pseudonym_unless_named(tmp_path, monkeypatch):
    monkeypatch.setenv("LOGNAME", "dr.erika.mustermann")
    with Journal.open(tmp_path) as journal:
        (event,) = journal.append(CASE, Branched(0))
    assert event.annotator.startswith("reader-")
    assert b"erika" not in (tmp_path / "journal.sqlite").read_bytes()
    with Journal.open(tmp_path, annotator="R2") as journal:
        assert journal.append(CASE, Branched(0))[0].annotator == "R2"


def test_a_long_journal_opens_quickly(tmp_path):
    with Journal.open(tmp_path) as journal:
        journal.append(CASE, *[Branched(0)] * 5000)
    times = []
    for _ in range(3):
        began = time.perf_counter()
        Journal.open(tmp_path).close()
        times.append(time.perf_counter() - began)
    assert min(times) < 0.2
