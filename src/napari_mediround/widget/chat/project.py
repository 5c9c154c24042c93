"""The project folder of a dock: which one, its journal, and the images that it knows. Knows no Qt.

Opened on the worker when first needed; what it holds is released by `close`, so that another window can
have the folder.
"""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from pathlib import Path

from napari.layers import Image
from platformdirs import user_data_path

from napari_mediround.domain.study import Study
from napari_mediround.errors import JournalError, MediRoundError, ProjectBusyError
from napari_mediround.io import read_studies
from napari_mediround.journal import CaseInfo, Journal, recall_images, remember_image
from napari_mediround.widget.layers.layer_geometry import PATH_KEY
from napari_mediround.widget.worker import Job

READER = "napari-mediround"
MOST_WINDOWS = 20
"""So many windows can work without a project folder of their own at the same time."""


@dataclass(frozen=True)
class KnownCase:
    """A case of a project and where its image is.

    Parameters
    ----------
    info : CaseInfo
        As the journal lists it.
    path : Path or None
        None where the project does not know it, or the file is gone.
    reader : str
        Name of the napari plugin that opened it.
    """

    info: CaseInfo
    path: Path | None
    reader: str = ""

    @property
    def title(self) -> str:
        """What the case is to the person at the screen; names its file, so it is for the screen only."""
        when = datetime.fromisoformat(self.info.last_utc).astimezone()
        name = f"{self.path.name}\n" if self.path is not None else ""
        return f"{name}{self.label}\n{when.day} {when:%b %Y %H:%M}"

    @property
    def label(self) -> str:
        """What the case is, without patient data: "CT 512x345x20, 3 rounds"."""
        planes, rows, columns = self.info.shape
        size = f"{columns}x{rows}" + (f"x{planes}" if planes > 1 else "")
        many = "" if self.info.rounds == 1 else "s"
        return f"{self.info.modality or 'image'} {size}, {self.info.rounds} round{many}"


def default_folder() -> Path:
    """Return where rounds go until the user chooses a project: `$MEDIROUND_PROJECT`, else the user's data."""
    chosen = os.environ.get("MEDIROUND_PROJECT")
    return Path(chosen) if chosen else user_data_path("mediround") / "projects" / "default"


class Project:
    """A folder and its journal.

    Parameters
    ----------
    folder : Path, optional
        None is the default folder; where another window has that one, the next of its name that is free.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._wanted = folder
        self._journal: Journal | None = None
        self._lock = threading.Lock()

    @property
    def folder(self) -> Path | None:
        """The open project's folder."""
        return self._journal.folder if self._journal is not None else None

    @property
    def name(self) -> str:
        """What to show of it."""
        folder = self.folder or self._wanted
        return folder.name if folder is not None else "not open yet"

    def open(self) -> Journal:
        """Return the journal, opened if need be.

        Raises
        ------
        MediRoundError
            When the folder is open in another window, cannot be written, or holds no journal of ours.
        """
        with self._lock:
            if self._journal is None:
                self._journal = Journal.open(self._wanted) if self._wanted else _open_default()
                self._release = weakref.finalize(self, self._journal.close)
            return self._journal

    def close(self) -> None:
        """Let go of the folder; `open` takes it again."""
        with self._lock:
            if self._journal is not None:
                self._release()
            self._journal = None

    def cases(self) -> tuple[KnownCase, ...]:
        """Return the cases with rounds, the one worked on last first."""
        journal = self.open()
        places = recall_images(journal.folder) if journal.folder else {}
        known = []
        for info in sorted(journal.cases(), key=lambda info: info.last_utc, reverse=True):
            place = places.get(info.case)
            path = Path(place.path) if place is not None and Path(place.path).exists() else None
            if info.rounds:
                known.append(KnownCase(info, path, place.reader if place is not None else ""))
        return tuple(known)

    def remember(self, case: str, layer: Image) -> None:
        """Keep where the image of a case is, if it is a file; without it, the user opens the image again."""
        path = layer.source.path or layer.metadata.get(PATH_KEY)
        if path is not None and self.folder is not None and Path(path).exists():
            with suppress(JournalError):
                remember_image(self.folder, case, path, layer.source.reader_plugin or READER)

    def read(self, known: KnownCase, job: Job) -> Study:
        """Read the image of a case that our reader opened, on the worker.

        Raises
        ------
        MediRoundError
            When the file cannot be read, or is another image by now.
        """
        job.report("Reading the image …")
        journal = self.open()
        for study in read_studies(known.path):
            if journal.case_id(study) == known.info.case:
                return study
        raise MediRoundError(
            f"The image of the case {known.label} is not what it was: {known.path} has other content now. "
            "Open the right file; its rounds come back with it."
        )


def _open_default() -> Journal:
    folder = default_folder()
    for number in count(1):
        try:
            return Journal.open(folder if number == 1 else folder.with_name(f"{folder.name}-{number}"))
        except ProjectBusyError:
            if number >= MOST_WINDOWS:
                raise
    raise JournalError("There is no free project folder. Choose one at the top of the dock.")
