"""The journal of a project: one append-only SQLite file.

The journal is undo ledger, autosave, audit log and training set at once. It holds no path and no DICOM name,
and never logs.
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from filelock import FileLock, Timeout

from napari_mediround import __version__
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.study import Study
from napari_mediround.errors import JournalError, ProjectBusyError
from napari_mediround.journal import recovery, rows, schema
from napari_mediround.journal.entries import Entry, body_to_entry, entry_to_body, kind_of, pack_mask
from napari_mediround.journal.history import Event, History
from napari_mediround.journal.image_paths import fingerprint
from napari_mediround.journal.rows import DamageError

FILE = "journal.sqlite"
LOCK = "journal.lock"

CHECKED_AT_OPENING = 500
"""Number of last events that are checked at opening; other events are checked when they are read."""

# A mask that was lost in a recovery has no runs: found again, it is whole again. No other row is replaced.
_ADD_MASK = """
    INSERT OR REPLACE INTO masks SELECT new.* FROM (SELECT ? AS digest, ?, ?, ?) AS new
    LEFT JOIN masks AS old ON old.digest = new.digest WHERE old.runs IS NULL
"""

_REMEDY = "Free some space on the disk, or see that the folder can be written, and do it again."


@dataclass(frozen=True)
class CaseInfo:
    """One case in the list of a journal's cases.

    Parameters
    ----------
    case : str
        Salted hash of the image.
    modality : str
        DICOM's code or "".
    shape : tuple of int
        (plane, row, column); (0, 0, 0) if unknown.
    rounds, verdicts : int
        Numbers of recorded rounds and verdicts, undone ones included.
    first_utc, last_utc : str
        ISO 8601.
    """

    case: str
    modality: str
    shape: tuple[int, int, int]
    rounds: int
    verdicts: int
    first_utc: str
    last_utc: str


class Journal:
    """An append-only, hash-chained record. Use `open`, `open_read_only` or `in_memory` to get one.

    Any thread may use a journal. When `append` returns, the entries are on the disk.

    Attributes
    ----------
    folder : Path or None
        Folder of the project; None in memory.
    annotator : str
        Pseudonym that new events carry.
    report : str
        Note for the user about damage and its recovery; "" if there was none.
    """

    def __init__(
        self,
        link: sqlite3.Connection,
        folder: Path | None = None,
        annotator: str | None = None,
        report: str = "",
        held: FileLock | None = None,
    ) -> None:
        self._link, self._held, self._guard = link, held, threading.RLock()
        self.folder, self.report = folder, report
        self._salt = dict(self._read("SELECT key, value FROM meta"))["salt"]
        self.annotator = annotator or self._pseudonym()

    @classmethod
    def in_memory(cls, annotator: str | None = None) -> Journal:
        """Return a journal in memory, which is gone when it is closed."""
        link = schema.connect(":memory:")
        schema.fill(link)
        return cls(link, annotator=annotator)

    @classmethod
    def open(cls, folder: Path | str, annotator: str | None = None) -> Journal:
        """Open the journal of a project; create journal and folder if needed.

        A damaged file is kept beside the journal and recovered as far as it is intact; `report` says so.

        Parameters
        ----------
        folder : Path or str
            The project.
        annotator : str, optional
            Pseudonym for new events; None makes one from a salted hash of the user's login.

        Raises
        ------
        ProjectBusyError
            When another window or program has it open.
        JournalError
            When the folder cannot be written, or the file is another program's or a newer version's.
        """
        folder = Path(folder).absolute()
        held = FileLock(folder / LOCK, timeout=0, thread_local=False)  # any thread may close what one opened
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held.acquire()
        except Timeout as error:
            raise ProjectBusyError(
                "The project is open in another window or program. Close it there, then open it again."
            ) from error
        except OSError as error:
            raise JournalError(f"The project folder cannot be used: {error.strerror}.") from error
        try:
            link, report = _open_or_recover(folder / FILE)
            return cls(link, folder, annotator, report, held)
        except JournalError:
            held.release()
            raise
        except (sqlite3.Error, OSError) as error:
            held.release()
            raise JournalError(f"The journal cannot be opened ({error}). {_REMEDY}") from error

    @classmethod
    def open_read_only(cls, folder: Path | str) -> Journal:
        """Open a journal for reading, also while another program has it open. Nothing is recovered.

        Raises
        ------
        JournalError
            When there is no journal or it cannot be read.
        """
        path = Path(folder).absolute() / FILE
        if not path.exists():
            raise JournalError(f"There is no {FILE} in {folder}. Give the folder of a project.")
        try:
            link = schema.connect(path, read_only=True)
            schema.check_version(link)
            return cls(link, path.parent)
        except (sqlite3.Error, KeyError, UnicodeError) as error:
            raise JournalError(
                f"The journal cannot be read ({error}). Open the project in napari: what is intact is "
                "recovered, and the damaged file is kept."
            ) from error

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the project."""
        with self._guard:
            self._link.close()
            if self._held is not None:
                self._held.release()

    def append(self, case: str, *entries: Entry, known: int | None = None) -> tuple[Event, ...]:
        """Write all entries or none. On return they are on the disk.

        Parameters
        ----------
        case : str
            Case of the entries; "" for the journal itself.
        *entries : Entry
            In order.
        known : int, optional
            Number of the last event of this case that the caller knows, 0 for none; more events are an error.

        Returns
        -------
        tuple of Event
            The events, as they are stored.

        Raises
        ------
        JournalError
            When the entries could not be written; then nothing was written.
        """
        masks: dict[str, Mask] = {}
        packed: dict[str, tuple] = {}

        def keep(mask: Mask) -> str:
            digest, runs = pack_mask(mask)
            masks[digest], packed[digest] = mask, (digest, *mask.shape, runs)
            return digest

        bodies = [
            (kind_of(e), json.dumps(entry_to_body(e, keep), ensure_ascii=False, allow_nan=False))
            for e in entries
        ]
        with self._guard, self._saving():
            self._link.execute("BEGIN IMMEDIATE")
            self._expect(case, known)
            rows = self._chain(case, bodies)
            self._link.executemany(_ADD_MASK, packed.values())
            self._link.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
            self._link.execute("COMMIT")
        return tuple(_row_to_event(row, masks.__getitem__) for row in rows)

    def events(self, case: str | None = None) -> Iterator[Event]:
        """Yield the events of a case, or of all cases, in order, each checked.

        Raises
        ------
        JournalError
            When an event differs from what was written.
        """
        load = cache(partial(rows.read_mask, self._link))
        for row in rows.read_rows(self._link, case):
            yield _row_to_event(row, load)

    def history(self, case: str) -> History:
        """Return the replay of a case's events; damage is recovered first, see `report`.

        Raises
        ------
        JournalError
            When the journal is damaged and was opened for reading only.
        """
        with self._guard:
            try:
                return History(self.events(case))
            except DamageError:
                if self._held is None:
                    raise
                self._link.close()
                self.report = recovery.recover(self.folder / FILE)
                self._link, _ = _open_or_recover(self.folder / FILE)
                return History(self.events(case))

    def case_id(self, study: Study) -> str:
        """Return the salted hash of a study's content; reads every pixel."""
        return hmac.new(self._salt.encode(), fingerprint(study), hashlib.sha256).hexdigest()[:24]

    def cases(self) -> tuple[CaseInfo, ...]:
        """Return the cases, the last used one first."""
        query = """
            SELECT case_id, max(CASE kind WHEN 'image' THEN body END), sum(kind IN ('round', 'import')),
                sum(kind = 'verdict'), min(utc), max(utc)
            FROM events WHERE case_id <> '' GROUP BY case_id ORDER BY max(seq) DESC
        """
        found = []
        for case, body, *counts in self._read(query):
            image = json.loads(body) if body else {"modality": "", "shape": (0, 0, 0)}
            found.append(CaseInfo(case, image["modality"], tuple(image["shape"]), *counts))
        return tuple(found)

    def verify(self) -> tuple[int, str]:
        """Check every event and every mask; return how many events there are and the hash of the last.

        Raises
        ------
        JournalError
            At the first event or mask that differs from what was written.
        """
        last = (0, "")
        for event in self.events():
            last = (event.seq, event.hash)
        if any(row[0] != "ok" for row in self._read("PRAGMA quick_check(1)")):
            raise DamageError("The file is damaged, though every event in it can be read.")
        return last

    def lost_masks(self) -> int:
        """Return the number of masks that were lost in recoveries and not found again."""
        return self._read("SELECT count(*) FROM masks WHERE runs IS NULL")[0][0]

    def strings(self) -> Iterator[tuple[int, str, str]]:
        """Yield every string in the file: number of its event (0 for none), its path, the string."""
        yield from rows.read_strings(self._link)

    def _read(self, query: str) -> list[tuple]:
        with self._guard:
            try:
                return self._link.execute(query).fetchall()
            except (sqlite3.DatabaseError, UnicodeError) as error:
                raise JournalError(f"The journal cannot be read ({error}).") from error

    @contextmanager
    def _saving(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, JournalError) as error:
            if self._link.in_transaction:
                with suppress(sqlite3.Error):
                    self._link.execute("ROLLBACK")
            if isinstance(error, JournalError):
                raise
            raise JournalError(
                f"This could not be saved ({error}), and nothing has changed. {_REMEDY}"
            ) from error

    def _expect(self, case: str, known: int | None) -> None:
        if known is None:
            return
        last = self._link.execute("SELECT max(seq) FROM events WHERE case_id = ?", (case,)).fetchone()[0]
        if (last or 0) != known:
            raise JournalError(
                "This image is open twice, and its conversation went on in the other place. "
                "Close one of them and open the project again."
            )

    def _chain(self, case: str, bodies: list[tuple[str, str]]) -> list[tuple]:
        """Return the rows of new events."""
        tail = self._link.execute("SELECT seq, hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        seq, before = tail or (0, "")
        rows = []
        for kind, body in bodies:
            seq += 1
            row = (seq, case, kind, schema.now(), self.annotator, __version__, body)
            before = schema.chain_hash(before, row)
            rows.append((*row, before))
        return rows

    def _pseudonym(self) -> str:
        try:
            login = getpass.getuser()
        except (OSError, KeyError):
            login = ""
        return "reader-" + hmac.new(self._salt.encode(), login.encode(), hashlib.sha256).hexdigest()[:6]


def _open_or_recover(path: Path) -> tuple[sqlite3.Connection, str]:
    """Open a journal for writing, create or recover it if needed; return it and a note for the user."""
    recovery.finish(path)
    report = ""
    if not path.exists() and path.with_name(f"{path.name}-wal").exists():
        report = recovery.recover(path)
    elif not path.exists():
        recovery.start(path)
    try:
        return _open_checked(path), report
    except DamageError:
        report = recovery.recover(path)
        return _open_checked(path), report


def _open_checked(path: Path) -> sqlite3.Connection:
    """Open a journal for writing; raises `DamageError` if its last events are damaged."""
    if path.stat().st_size == 0:  # connecting would write to it
        raise DamageError("The journal is empty.")
    with rows.finding_damage("The journal cannot be read"), ExitStack() as stack:
        link = stack.enter_context(closing(schema.connect(path)))
        if schema.check_version(link) == 0:
            raise DamageError("The journal is empty.")
        schema.migrate(link)
        if "salt" not in dict(link.execute("SELECT key, value FROM meta")):
            raise DamageError("The journal has lost its salt.")
        (last,) = link.execute("SELECT max(seq) FROM events").fetchone()
        for _ in rows.read_rows(link, after=max((last or 0) - CHECKED_AT_OPENING, 0)):
            pass
        stack.pop_all()
    return link


def _row_to_event(row: tuple, load: Callable[[str], Mask]) -> Event:
    seq, case, kind, utc, annotator, version, body, digest = row
    return Event(seq, case, utc, annotator, version, body_to_entry(kind, json.loads(body), load), digest)
