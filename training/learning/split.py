"""Which patients teach and which test: decided once for each, written into the project, never drawn again.

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
"""One patient in so many tests."""

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
        When the file is there but damaged: drawing again would let the test leak into what was learned.
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
                f"{self._path} is damaged ({error}). Put it back from a copy: without it no test would be "
                "fair. To begin anew with new patients, delete it and the project's adapters."
            ) from error
        if set(self.sides.values()) - {"learn", "test"}:
            raise SettingsError(f"{self._path}: a patient is on a side other than learn and test.")

    def patient_of(self, case: str, patient: str = "") -> str:
        """Return the patient of a case as first seen; `patient` is what its image says, "" for nothing."""
        if case not in self.cases:
            known = hashlib.sha256(f"{self.salt}/{patient}".encode()).hexdigest()[:16] if patient else case
            self.cases[case] = known
        return self.cases[case]

    def admit(self, patients: Iterable[str], keep: bool = True) -> None:
        """Give new patients a side, so that one in `EVERY` tests, and with `keep` write all sides down."""
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

    Patients of whom nobody judged what was asked get none, as there is nothing of them to test. Without
    `keep` no side is written down.

    Raises
    ------
    TooFewCorrectionsError
        With what there is and what is missing.
    """
    split.admit({round_.subject for round_ in rounds if round_.tests}, keep)
    learn = [r for r in rounds if split.sides.get(r.subject) == "learn"]
    test = [r for r in rounds if split.sides.get(r.subject) == "test" and r.tests]
    masks = sum(bool(mask.weight) for round_ in learn for mask in round_.masks)
    patients = len({round_.subject for round_ in [*learn, *test] if round_.teaches})
    if masks < FEWEST_MASKS or not test:
        raise TooFewCorrectionsError(
            f"So far {masks} accepted or corrected masks can teach and {len(test)} rounds can test, of "
            f"{patients} patients. Learning needs at least {FEWEST_MASKS} masks and {FEWEST_PATIENTS} "
            "patients, one of whom is kept for the test. Accept or correct some more, of further patients."
        )
    return learn, test


def choose_latest(rounds: Sequence[JudgedRound], most: int) -> list[JudgedRound]:
    """Return the last `most` rounds; carried ones, dozens for one that was asked, where others leave room."""
    return sorted(rounds, key=lambda round_: not round_.carried)[-most:]


def choose_checks(learn: Sequence[JudgedRound]) -> tuple[list[JudgedRound], list[JudgedRound]]:
    """Return the rounds to learn from and those to stop by: one patient in five, where there are so many.

    With fewer than five patients learning stops by the rounds it learns from.
    """
    asked = sorted({r.subject for r in learn if r.tests}, key=lambda s: hashlib.sha256(s.encode()).digest())
    kept = set(asked[::5]) if len(asked) >= 5 else set()
    rest = [r for r in learn if r.subject not in kept]
    return rest, [r for r in learn if r.tests and (r.subject in kept or not kept)]
