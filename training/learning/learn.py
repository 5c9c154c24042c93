"""Learn from a project's corrections: read, split, learn, measure, and use the new adapter if it wins.

One call for command line and dock, with progress and cancel, on any thread but the GUI's. It works on a copy
of the predictor, so annotation goes on meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from napari_mediround.errors import (
    AdapterError,
    CancelledError,
    MediRoundError,
    SettingsError,
    TooFewCorrectionsError,
)
from napari_mediround.inference.predictor import Predictor
from napari_mediround.journal import Journal
from napari_mediround.model.adapter import hash_base
from napari_mediround.training.evaluation.evaluate import spread
from napari_mediround.training.learning.adapter_store import AdapterStore
from napari_mediround.training.learning.case_images import find_studies, patient_at
from napari_mediround.training.learning.corrections import read_rounds
from napari_mediround.training.learning.gate import decide, measure
from napari_mediround.training.learning.plot import Panel, draw_panels
from napari_mediround.training.learning.recipe import Learned, LearningSettings, Progress
from napari_mediround.training.learning.rehearsal import load_rehearsal
from napari_mediround.training.learning.routine import Learner, Samples
from napari_mediround.training.learning.samples import (
    JudgedRound,
    shown_structures,
    touched_structures,
    write_sample,
)
from napari_mediround.training.learning.split import Split, choose_checks, choose_latest, divide

FOLDER = "learning"
MOST_LEARNED, MOST_TESTED = 400, 40
"""Of the rounds that teach the last so many are learned; of those that test so many are asked."""
NOT_COMPARED = (
    "No patient who is kept apart shows a structure that was corrected, so nothing could be measured. "
    "Correct structures that several patients show, and judge those structures in further patients too."
)
HALF = 0.5
"""Share of an adapter that is tried if all of it is better but forgot too much."""

Report = Callable[[Progress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """The outcome of learning.

    Parameters
    ----------
    adapter : str
        Name of the new adapter in the project; "" if nothing was better than before.
    live : bool
        Whether the new adapter is live now.
    finished : bool
        False when it was cancelled: the adapter is then the last good step, not measured, and the next
        call goes on from there.
    words : str
        The outcome in words, for a person.
    card : dict
        Card of the adapter.
    notes : tuple of str
        What was left out, and why.
    """

    adapter: str
    live: bool
    finished: bool
    words: str
    card: dict
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Corrections:
    """A project's rounds, divided by patient.

    Parameters
    ----------
    learn, test : list of JudgedRound
        Rounds of patients that teach, and of patients that test.
    notes : list of str
        What was left out, and why.
    most_tested : int
        Largest number of testing rounds that are asked, evenly spaced.
    """

    learn: list[JudgedRound]
    test: list[JudgedRound]
    notes: list[str]
    most_tested: int = MOST_TESTED

    @property
    def touched(self) -> frozenset[str]:
        """Preferred names of the structures that were corrected, of those that teach."""
        return touched_structures(self.learn)

    @property
    def compared(self) -> frozenset[str]:
        """Those of them that a test patient has too; without one, nothing can be decided."""
        return self.touched & shown_structures(self.test)


def read_corrections(project: Path, journal: Journal) -> Corrections:
    """Read a project's journal and divide its rounds by patient.

    Raises
    ------
    TooFewCorrectionsError
        When there is too little to learn from or to test on.
    JournalError, SettingsError
        When the journal or the split is damaged.
    """
    split = Split(project)
    rounds, notes = read_rounds(
        journal, find_studies(journal), lambda case: split.patient_of(case, patient_at(journal, case))
    )
    return Corrections(*divide(rounds, split), notes)


def learn_from_corrections(
    project: Path,
    journal: Journal,
    predictor: Predictor,
    settings: LearningSettings | None = None,
    report: Report | None = None,
    cancelled: Cancelled | None = None,
    corrections: Corrections | None = None,
) -> Outcome:
    """Learn an adapter from a project's corrections and make it live if it wins.

    Parameters
    ----------
    project, journal : Path, Journal
        Folder of the project, and its journal, open for reading at least.
    predictor : Predictor
        Is copied, so that it can answer meanwhile. If `live` of the result is true, give it the new adapter:
        ``predictor.use_adapter(AdapterStore(project).live_path)``.
    settings : LearningSettings, optional
        The recipe.
    report, cancelled : callable, optional
        Called with a `Progress` after each step, on the calling thread; asked after each step.
    corrections : Corrections, optional
        Rounds that were read and divided before.

    Raises
    ------
    TooFewCorrectionsError
        When there is too little to learn from or to test on, or no corrected structure could be compared.
    SettingsError
        When the project is learning already, or the split is damaged.
    JournalError
        When the journal is damaged.
    """
    settings, report = settings or LearningSettings(), report or (lambda progress: None)
    cancelled = cancelled or (lambda: False)
    project = Path(project)
    found = corrections or read_corrections(project, journal)
    if not found.compared:
        raise TooFewCorrectionsError(NOT_COMPARED)
    own = predictor.copy(project / FOLDER / "embeddings")
    learn, checked = choose_checks(choose_latest(found.learn, MOST_LEARNED))
    rehearsed = load_rehearsal()[0]
    parts = _write_lessons(own, (learn, checked, rehearsed), report, cancelled)
    learner = Learner(own.model, Samples(*parts), settings, project / FOLDER, report, cancelled)
    if not learner.accelerator.is_main_process:  # it helps, and keeps nothing
        return Outcome("", False, learner.run().finished, "", {})
    with _alone(project):
        learned = learner.run()
        if not learned.is_new:
            words = "Nothing was better than before." if learned.finished else "Cancelled before a good step."
            return Outcome("", False, learned.finished, words, {}, tuple(found.notes))
        store = AdapterStore(project)
        name = store.add(learned.state, settings.shape, _make_card(own, journal, found, settings, learned))
        _plot(learned, store.path(name) / "learning.png")
        if not learned.finished:
            words = f"Cancelled; {name} is the last good step, and was not measured."
            return Outcome(name, False, False, words, store.card(name), tuple(found.notes))
        return _use_the_winner(_Gate(project, found, own, report, cancelled), name)


def measure_adapter(
    project: Path,
    journal: Journal,
    predictor: Predictor,
    name: str,
    report: Report | None = None,
    cancelled: Cancelled | None = None,
) -> dict:
    """Measure an adapter that was merged or came from elsewhere against the live one; return its card.

    Raises
    ------
    AdapterError
        When there is none of that name, or it was learned on other weights.
    TooFewCorrectionsError
        When there is nothing to test on.
    CancelledError
        When it was cancelled; the card is as before.
    """
    project = Path(project)
    AdapterStore(project).path(name)
    found = read_corrections(project, journal)
    own = predictor.copy(project / FOLDER / "embeddings")
    return _Gate(project, found, own, report, cancelled).measure(name)


@contextmanager
def _alone(project: Path):
    lock = FileLock(project / FOLDER / "lock", timeout=0)
    try:
        with lock:
            yield
    except Timeout as error:
        raise SettingsError(
            "This project is already learning, here or in another window. Wait for it, or cancel it there."
        ) from error


def _write_lessons(own: Predictor, parts: Sequence[Sequence[JudgedRound]], report: Report, cancelled):
    """Return the samples of each part; planes without a cached embedding are encoded."""
    total, done, written = sum(map(len, parts)), 0, []
    for part in parts:
        samples = []
        for round_ in part:
            if cancelled():
                raise CancelledError("Cancelled.")
            report(Progress("reading", done, total, 0.0, None, None, 0.0, 0.0))
            samples.append(write_sample(own.model, round_, own.encode))
            done += 1
        written.append(samples)
    return written


class _Gate:
    """Measures adapters of a project on the test rounds, each against the adapter that answers now.

    Parameters
    ----------
    project : Path
    found : Corrections
    own : Predictor
        Its adapter is changed meanwhile.
    report, cancelled : callable or None
        As of `learn_from_corrections`.
    """

    def __init__(
        self,
        project: Path,
        found: Corrections,
        own: Predictor,
        report: Report | None,
        cancelled: Cancelled | None,
    ) -> None:
        self.store, self.found = AdapterStore(project), found
        self._own, self._bundled = own, load_rehearsal()[1]
        self._report, self._cancelled = report or (lambda p: None), cancelled or (lambda: False)
        self._rounds = spread(found.test, found.most_tested)

    @cached_property
    def _before(self) -> tuple[str, dict]:
        """Measurement of the live adapter, or of the model without adapter if that cannot be used."""
        try:
            return self.store.live, self._ask("measuring before", self.store.live_path)
        except AdapterError:
            return "", self._ask("measuring before", None)

    def measure(self, name: str) -> dict:
        """Write the result of `decide` into the card of an adapter; return the card."""
        (against, before), after = self._before, self._ask("measuring after", self.store.path(name))
        gate = {"against": against, **decide(before, after, self._seconds_a_click())}
        return self.store.note(name, gate=gate)

    def _ask(self, phase: str, adapter: Path | None) -> dict:
        def show(done: int, total: int) -> None:
            self._report(Progress(phase, done, total, 0.0, None, None, 0.0, 0.0))

        found, bundled = self.found, self._bundled
        table = measure(self._own, adapter, self._rounds, found.touched, bundled, show, self._cancelled)
        self._own.use_adapter(None)
        return table

    def _seconds_a_click(self) -> float | None:
        masks = [m for r in [*self.found.learn, *self.found.test] for m in r.masks]
        masks = [m for m in masks if m.seconds and m.prompts.points_xy]
        clicks = sum(len(mask.prompts.points_xy) for mask in masks)
        return sum(mask.seconds for mask in masks) / clicks if clicks else None


def _use_the_winner(gate: _Gate, name: str) -> Outcome:
    """Make the new adapter live if it wins; if it is better but forgot too much, try half of it."""
    store, notes, said = gate.store, tuple(gate.found.notes), []
    try:
        for share in (1.0, HALF):
            measured = name if share == 1.0 else store.weaken(name, share)
            verdict = gate.measure(measured)["gate"]
            said.append(f"{measured}: {verdict['words']}")
            if verdict["wins"]:
                store.use(measured)
                return Outcome(measured, True, True, " ".join(said), store.card(measured), notes)
            if not verdict["better"]:
                break
    except CancelledError:
        words = f"{name} is learned; measuring it was cancelled, so it is not live."
        return Outcome(name, False, False, words, store.card(name), notes)
    except MediRoundError as error:  # what was learned is kept, and can be measured another time
        words = f"{name} is learned, but could not be measured, so it is not live. {error}"
        return Outcome(name, False, True, words, store.card(name), notes)
    return Outcome(name, False, True, " ".join(said), store.card(name), notes)


def _make_card(
    own, journal: Journal, found: Corrections, settings: LearningSettings, learned: Learned
) -> dict:
    events, last = journal.verify()
    verdicts = Counter(mask.verdict for round_ in found.learn for mask in round_.masks if mask.verdict)
    return {
        "base": hash_base(own.model),
        "preset": own.preset,
        "recipe": asdict(settings),
        "journal": {
            "first": found.learn[0].number,
            "last": found.learn[-1].number,
            "events": events,
            "hash": last,
        },
        "learned_from": dict(verdicts),
        "patients": {
            "learn": len({r.subject for r in found.learn}),
            "test": len({r.subject for r in found.test}),
        },
        "structures": sorted(found.touched),
        "good_step": learned.step,
        "finished": learned.finished,
        "check": {"before": learned.before, "after": learned.after},
        "seconds": round(learned.seconds, 1),
        "not": "a medical device",
    }


def _plot(learned: Learned, path: Path) -> None:
    lines = [line for line in learned.log if line["phase"] == "masks"]
    panels = [
        Panel("Loss", "step", {"loss": [(line["step"], line["loss"]) for line in lines]}),
        Panel("Dice of the step", "step", {"Dice": [(line["step"], line["dice"]) for line in lines]}),
    ]
    draw_panels(panels, path)
