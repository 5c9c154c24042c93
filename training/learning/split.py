"""Which patients teach and which test: decided once for each patient and written into the project.

Knows no image and no model.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from napari_mediround.errors import SettingsError, TooFewCorrectionsError
from napari_mediround.files import write_whole
from napari_mediround.training.learning.samples import JudgedRound

FILE = "split.json"
EVERY = 4
"""One in this many patients tests."""

FEWEST_MASKS, FEWEST_PATIENTS = 8, 3
_NOTE = "Patients as salted hashes. Decided once; a patient that tests must never teach."


class Split:
    """The patients of a project.

    Parameters
    ----------
    folder : Path
        The project.

    Raises
    ------
    SettingsError
        When the file is damaged: a new draw could put learned patients into the test.
    """

    def __init__(self, folder: Path) -> None:
        self._path = Path(folder) / FILE
        self.salt, self.cases, self.sides = secrets.token_hex(16), {}, {}
        if not self._path.exists():
            return
        try:
            table = json.loads(self._path.read_text("utf-8"))
            self.salt, self.cases = str(table["salt"]), dict(table["cases"])
            self.sides = {str(k): str(v) for k, v in table["patients"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SettingsError(
                f"{self._path} is damaged ({error}). Restore it from a copy: else patients who taught "
                "could be tested. To begin again with new patients, delete it and the project's adapters."
            ) from error
        if set(self.sides.values()) - {"learn", "test"}:
            raise SettingsError(f"{self._path}: a patient belongs neither to learn nor to test.")

    def patient_of(self, case: str, patient: str = "") -> str:
        """Return the patient of a case as first recorded; `patient` is the one its image names, or ""."""
        if case not in self.cases:
            known = hashlib.sha256(f"{self.salt}/{patient}".encode()).hexdigest()[:16] if patient else case
            self.cases[case] = known
        return self.cases[case]

    def admit(self, patients: Iterable[str], keep: bool = True) -> None:
        """Give new patients a side so that one in `EVERY` tests; with `keep`, write all sides down."""
        order = {p: hashlib.sha256(f"{self.salt}:{p}".encode()).hexdigest() for p in patients}
        for patient in sorted(order.keys() - self.sides.keys(), key=order.__getitem__):
            tests = sum(side == "test" for side in self.sides.values())
            side = "test" if tests < (len(self.sides) + 2) // EVERY else "learn"
            self.sides[patient] = side
        if keep:
            self._write()

    def _write(self) -> None:
        text = json.dumps(self._table(), indent=1, sort_keys=True) + "\n"
        write_whole(self._path, lambda part: part.write_text(text, "utf-8"))

    def _table(self) -> dict:
        return {"note": _NOTE, "salt": self.salt, "cases": self.cases, "patients": self.sides}


def divide(
    rounds: Sequence[JudgedRound], split: Split, keep: bool = True
) -> tuple[list[JudgedRound], list[JudgedRound]]:
    """Return the rounds that teach and those that test; new patients get their side here.

    A patient without a judged question gets no side, as such a patient cannot test. Without `keep` no side
    is written down.

    Raises
    ------
    TooFewCorrectionsError
        The message says what there is and what is missing.
    """
    learn, test = share_out(rounds, split, keep)
    masks, patients = count_lessons(learn, test)
    if masks < FEWEST_MASKS or not test:
        raise TooFewCorrectionsError(
            f"{masks} accepted or corrected masks can teach and {len(test)} rounds can test, from "
            f"{patients} patients. Learning needs at least {FEWEST_MASKS} masks and {FEWEST_PATIENTS} "
            "patients, one of whom is kept for the test. Accept or correct more masks, of more patients."
        )
    return learn, test


def share_out(
    rounds: Sequence[JudgedRound], split: Split, keep: bool = True
) -> tuple[list[JudgedRound], list[JudgedRound]]:
    """Divide as `divide` does, however few there are."""
    split.admit({round_.subject for round_ in rounds if round_.tests}, keep)
    learn = [r for r in rounds if split.sides.get(r.subject) == "learn"]
    test = [r for r in rounds if split.sides.get(r.subject) == "test" and r.tests]
    return learn, test


def count_lessons(learn: Sequence[JudgedRound], test: Sequence[JudgedRound]) -> tuple[int, int]:
    """Return how many masks can teach, and of how many patients there are rounds."""
    masks = sum(bool(mask.weight) for round_ in learn for mask in round_.masks)
    return masks, len({round_.subject for round_ in [*learn, *test] if round_.teaches})


def choose_latest(rounds: Sequence[JudgedRound], most: int) -> list[JudgedRound]:
    """Return the last `most` rounds; propagated ones, which are many, only if there is room."""
    return sorted(rounds, key=lambda round_: not round_.carried)[-most:]


def choose_checks(learn: Sequence[JudgedRound]) -> tuple[list[JudgedRound], list[JudgedRound]]:
    """Return the rounds to learn from and those to stop by, the latter of one patient in five.

    With fewer than five patients, learning stops by the rounds that it learns from.
    """
    asked = sorted({r.subject for r in learn if r.tests}, key=lambda s: hashlib.sha256(s.encode()).digest())
    kept = set(asked[::5]) if len(asked) >= 5 else set()
    rest = [r for r in learn if r.subject not in kept]
    return rest, [r for r in learn if r.tests and (r.subject in kept or not kept)]
