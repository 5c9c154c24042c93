"""Damaged journals: reported, kept, recovered as far as they are intact."""

import shutil
import sqlite3
from contextlib import closing

import numpy as np
import pytest
from fakes import FakeSegmenter
from ledgers import CASE, STUDY, ask_as_typed, box_mask, open_session, reopen

from napari_mediround.errors import JournalError
from napari_mediround.journal import History, Journal, recovery
from napari_mediround.session import Session


@pytest.fixture
def project(tmp_path):
    """Eight rounds, each accepted, closed cleanly; and the state after each event."""
    session = open_session(tmp_path)
    for k in range(8):
        ask_as_typed(session, f"segment the liver and part {k}", k % 3)
        session.fix(2 * k + 1, box_mask(slice(k, k + 3), slice(k, k + 5)))
    session.journal.close()
    return tmp_path


def tamper(folder, statement):
    """Change the file behind the journal's back."""
    with closing(sqlite3.connect(folder / "journal.sqlite")) as link, link:
        for (name,) in link.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            link.execute(f"DROP TRIGGER {name}")
        link.execute(statement)


def state_after(folder, events):
    """Return the state after the first so many events."""
    with Journal.open_read_only(folder) as journal:
        return History(list(journal.events(CASE))[:events]).state


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE events SET body = replace(body, \'"text": "segment\', \'"text": "remove\') WHERE seq = 10',
        "UPDATE events SET utc = '2001-01-01T00:00:00.000+00:00' WHERE seq = 10",
        "DELETE FROM events WHERE seq = 10",
    ],
)
def test_what_follows_a_changed_event_is_not_believed(project, statement):
    expected = state_after(project, 9)
    shutil.copy(project / "journal.sqlite", project / "copy")
    tamper(project, statement)
    with (
        pytest.raises(JournalError, match="not what was written"),
        Journal.open_read_only(project) as journal,
    ):
        journal.verify()
    session = open_session(project)
    assert session.state == expected
    report = session.journal.report
    assert "Event 1" in report
    (kept,) = project.glob("journal.damaged-*.sqlite")
    assert kept.name in report
    session.ask("segment the spleen", 0)
    assert reopen(session).journal.report == ""


def test_a_change_of_an_event_that_is_old_is_found_when_its_case_is_opened(project, monkeypatch):
    monkeypatch.setattr("napari_mediround.journal.store.CHECKED_AT_OPENING", 3)
    tamper(project, "UPDATE events SET annotator = 'x' WHERE seq = 4")
    journal = Journal.open(project)
    assert journal.report == ""
    session = Session(FakeSegmenter(), STUDY, journal=journal, case=CASE)
    assert "Event 4" in journal.report
    assert len(session.conversation) == 1
    journal.close()


@pytest.mark.parametrize("how", ["runs = x'00'", "runs = zeroblob(length(runs))"])
def test_a_damaged_mask_costs_that_mask_only(project, how):
    whole = state_after(project, 99)
    digest = "(SELECT json_extract(body, '$.marks[0].after') FROM events WHERE kind = 'verdict' LIMIT 1)"
    tamper(project, f"UPDATE masks SET {how} WHERE digest = {digest}")
    session = open_session(project)
    assert "1 masks could not be read" in session.journal.report
    assert session.label(1).mask.area == 0
    changed = {value for value, label in whole.labels.items() if session.label(value) != label}
    assert changed == {1}
    session = reopen(session)
    assert session.journal.report == ""
    assert session.journal.lost_masks() == 1
    session.journal.close()


def test_a_lost_mask_that_is_found_again_is_whole_again(tmp_path):
    folder = tmp_path / "small"
    session = open_session(folder)
    mask = session.ask("segment the liver", 0).targets[0].mask
    session.journal.close()
    tamper(folder, "UPDATE masks SET runs = x'00'")
    session = open_session(folder)
    assert session.journal.lost_masks() == 1
    session.ask("segment the liver", 0)
    session.accept(2)
    session = reopen(session)
    assert session.journal.report == ""
    assert session.label(2).mask == session.label(1).mask == mask
    assert session.journal.lost_masks() == 0
    session.journal.close()


def test_a_mask_that_was_changed_is_noticed_though_the_same_is_found_again(tmp_path):
    folder = tmp_path / "small"
    session = open_session(folder)
    session.ask("segment the liver", 0)
    tamper(folder, "UPDATE masks SET runs = x'00'")
    session.ask("segment the liver", 0)
    with pytest.raises(JournalError, match="mask"):
        session.journal.verify()
    session.journal.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: b"",
        lambda data: b"not a database at all" * 100,
        lambda data: data[: len(data) // 2],
        lambda data: data[:4096] + bytes(4096) + data[8192:],
        lambda data: b"\0" * 100 + data[100:],
    ],
    ids=["empty", "garbage", "half", "a zeroed page", "no header"],
)
def test_a_file_that_is_no_database_any_more_is_kept_and_work_goes_on(project, damage):
    states = [state_after(project, n) for n in range(20)]
    path = project / "journal.sqlite"
    hurt = damage(path.read_bytes())
    path.write_bytes(hurt)
    session = open_session(project)
    (kept,) = project.glob("journal.damaged-*.sqlite")
    assert kept.read_bytes() == hurt
    assert kept.name in session.journal.report
    assert any(np.array_equal(session.labels(0), s.draw(0, (12, 16))) for s in states)
    session.ask("segment the spleen", 0)
    session = reopen(session)
    assert session.journal.report == ""
    session.journal.close()


def test_random_damage_never_gives_a_state_that_never_was(project):
    states = [state_after(project, n) for n in range(20)]
    original = (project / "journal.sqlite").read_bytes()
    random = np.random.default_rng(0)
    for _ in range(25):
        data = bytearray(original)
        at = int(random.integers(0, len(data) - 64))
        data[at : at + 64] = random.bytes(64)
        (project / "journal.sqlite").write_bytes(data)
        for log in project.glob("journal.sqlite-*"):
            log.unlink()
        session = open_session(project)
        lost = session.journal.lost_masks()
        assert lost or any(session.state == state for state in states)
        session.journal.close()


def test_a_recovery_that_was_interrupted_is_finished_at_the_next_opening(project, monkeypatch):
    tamper(project, "UPDATE events SET utc = '' WHERE seq = 10")
    with monkeypatch.context() as patch:
        patch.setattr(recovery, "finish", lambda path: (_ for _ in ()).throw(OSError("power cut")))
        with pytest.raises(OSError, match="power cut"):
            recovery.recover(project / "journal.sqlite")
    (project / "journal.sqlite-wal").write_bytes(b"an old log that must not meet the new file")
    session = open_session(project)
    assert session.journal.verify()[0] == 10
    assert not (project / "journal.sqlite.recovered").exists()
    session.journal.close()


def test_a_log_without_its_file_is_kept(project):
    (project / "journal.sqlite").rename(project / "moved")
    (project / "journal.sqlite-wal").write_bytes(b"log")
    Journal.open(project).close()
    (kept,) = project.glob("journal.damaged-*.sqlite-wal")
    assert kept.read_bytes() == b"log"
