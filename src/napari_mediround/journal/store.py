"""The journal of a project: one SQLite file that is only ever added to.

Undo ledger, autosave, audit log and training set at once. Holds no path and no DICOM name; never logs.
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
"""So many of the last events are checked when a journal is opened; all others when they are read."""

# A mask that was lost in a recovery has no runs: found again, it is whole again. No other row is replaced.
_ADD_MASK = """
    INSERT OR REPLACE INTO masks SELECT new.* FROM (SELECT ? AS digest, ?, ?, ?) AS new
    LEFT JOIN masks AS old ON old.digest = new.digest WHERE old.runs IS NULL
"""

_REMEDY = "Free some space on the disk, or see that the folder can be written, and do it again."


@dataclass(frozen=True)
class CaseInfo:
    """What a list of cases shows.

    Parameters
    ----------
    case : str
        Salted hash of the image.
    modality : str
        DICOM's code or "".
    shape : tuple of int
        (plane, row, column); (0, 0, 0) where nobody said.
    rounds, verdicts : int
        How many were recorded, undone ones included.
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
    """An append-only, hash-chained record. Made by `open`, `open_read_only` or `in_memory`.

    Any thread may use it; what it acknowledges is on the disk.

    Attributes
    ----------
    folder : Path or None
        The project; None in memory.
    annotator : str
        Pseudonym that new events carry.
    report : str
        What was found damaged and what became of it; "" when all was well. For the user to see.
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
        """Return a journal that is gone when it is closed."""
        link = schema.connect(":memory:")
        schema.fill(link)
        return cls(link, annotator=annotator)

    @classmethod
    def open(cls, folder: Path | str, annotator: str | None = None) -> Journal:
        """Open the journal of a project, making both if need be.

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
        """Open a journal to look at it, also while another program has it open; nothing is mended.

        Raises
        ------
        JournalError
            When there is none, or it cannot be read.
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
        """Let go of the file and of the project."""
        with self._guard:
            self._link.close()
            if self._held is not None:
                self._held.release()

    def append(self, case: str, *entries: Entry, known: int | None = None) -> tuple[Event, ...]:
        """Write entries, all or none; on return they are on the disk.

        Parameters
        ----------
        case : str
            Which image they are about; "" for the journal itself.
        *entries : Entry
            In order.
        known : int, optional
            Number of the last event of this case that the caller knows, 0 for none; any other is an error.

        Returns
        -------
        tuple of Event
            As they will be read again.

        Raises
        ------
        JournalError
            When they could not be written; nothing was.
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
            When one is not what was written.
        """
        load = cache(partial(rows.read_mask, self._link))
        for row in rows.read_rows(self._link, case):
            yield _row_to_event(row, load)

    def history(self, case: str) -> History:
        """Return what the events of a case add up to; damage that is found is recovered first, see `report`.

        Raises
        ------
        JournalError
            When it is damaged and was opened to look at only.
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
        """Return the salted hash of what a study shows; looks at every pixel."""
        return hmac.new(self._salt.encode(), fingerprint(study), hashlib.sha256).hexdigest()[:24]

    def cases(self) -> tuple[CaseInfo, ...]:
        """Return the cases, the one used last first."""
        query = """
            SELECT case_id, max(CASE kind WHEN 'image' THEN body END), sum(kind = 'round'),
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
            At the first that is not what was written.
        """
        last = (0, "")
        for event in self.events():
            last = (event.seq, event.hash)
        if any(row[0] != "ok" for row in self._read("PRAGMA quick_check(1)")):
            raise DamageError("The file is damaged, though every event in it can be read.")
        return last

    def lost_masks(self) -> int:
        """Return how many masks were lost in recoveries and not found again."""
        return self._read("SELECT count(*) FROM masks WHERE runs IS NULL")[0][0]

    def strings(self) -> Iterator[tuple[int, str, str]]:
        """Yield every string in the file: number of its event (0 for none), where it stands, itself."""
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
    """Open a journal for writing, making or mending it if need be; return it and what to tell the user."""
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
    """Open a journal for writing; raises `DamageError` when its end is damaged."""
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
