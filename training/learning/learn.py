"""Learn from a project's corrections: read, split, learn, measure, and let the new adapter be live if it won.

For the command line and for the dock alike: one call with progress and cancel, on any thread but the GUI's.
It works on a copy of the predictor, so annotation goes on meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock, Timeout

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.errors import AdapterError, CancelledError, MediRoundError, SettingsError
from napari_mediround.inference.adapted import AdaptedPredictor
from napari_mediround.journal import History, Journal
from napari_mediround.model.adapter import hash_base
from napari_mediround.training.evaluation.evaluate import spread
from napari_mediround.training.learning.adapter_store import AdapterStore
from napari_mediround.training.learning.case_images import find_studies, patient_at
from napari_mediround.training.learning.corrections import judged_rounds, read_rounds
from napari_mediround.training.learning.gate import decide, measure
from napari_mediround.training.learning.plot import Panel, draw_panels
from napari_mediround.training.learning.recipe import Learned, LearningSettings, Progress
from napari_mediround.training.learning.rehearsal import load_rehearsal
from napari_mediround.training.learning.routine import Learner
from napari_mediround.training.learning.samples import JudgedRound, write_lesson
from napari_mediround.training.learning.split import Split, choose_checks, choose_latest, divide

FOLDER = "learning"
MOST_LEARNED, MOST_TESTED = 400, 40
"""Of the rounds that teach the last so many are learned; of those that test so many are asked."""
HALF = 0.5
"""Of an adapter that is better and forgot too much this share is tried."""

Report = Callable[[Progress], None]
Cancelled = Callable[[], bool]


@dataclass(frozen=True)
class Outcome:
    """What came of learning.

    Parameters
    ----------
    adapter : str
        Its name in the project; "" where nothing was better than before.
    live : bool
        Whether it is live now.
    finished : bool
        False when it was cancelled: the adapter is then the last good step, not measured, and the next
        call goes on from there.
    words : str
        The same for a person.
    card : dict
        Of the adapter.
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
    """A project's rounds, divided.

    Parameters
    ----------
    learn, test : list of JudgedRound
        By the patient's side.
    notes : list of str
        What was left out, and why.
    """

    learn: list[JudgedRound]
    test: list[JudgedRound]
    notes: list[str]

    @property
    def touched(self) -> frozenset[str]:
        """Preferred names of the structures that were corrected, of those that teach."""
        masks = [mask for round_ in self.learn for mask in round_.masks]
        return frozenset(
            load_anatomy().normalise(m.spoken) for m in masks if m.verdict == "corrected" and m.weight
        )


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


def survey_corrections(project: Path, journal: Journal) -> Corrections:
    """Divide a project's rounds as `read_corrections` would, without their images; nothing is written.

    Raises
    ------
    TooFewCorrectionsError, JournalError, SettingsError
        As there.
    """
    split, rounds = Split(project), []
    for info in journal.cases():
        judged = list(judged_rounds(History(journal.events(info.case))))
        subject = split.patient_of(info.case, patient_at(journal, info.case)) if judged else ""
        for event, before, masks in judged:
            asked = event.entry.round
            place = (event.seq, info.case, subject, asked.answer.image, {}, before, asked.text)
            rounds.append(JudgedRound(*place, asked.references, masks, carried=asked.carried))
    return Corrections(*divide(rounds, split, keep=False), [])


def learn_from_corrections(
    project: Path,
    journal: Journal,
    predictor: AdaptedPredictor,
    settings: LearningSettings | None = None,
    report: Report | None = None,
    cancelled: Cancelled | None = None,
    corrections: Corrections | None = None,
    most_tested: int = MOST_TESTED,
) -> Outcome:
    """Learn an adapter from a project's corrections and let it be live if it wins.

    Parameters
    ----------
    project : Path
        Its folder.
    journal : Journal
        Of that project; open, or open to look at.
    predictor : AdaptedPredictor
        Copied; what is being asked of it meanwhile is not touched. When `live` of the result is true give
        it the new adapter: ``predictor.use_adapter(AdapterStore(project).live_path)``.
    settings : LearningSettings, optional
        The recipe.
    report : callable, optional
        Takes a `Progress` after each step, on the calling thread.
    cancelled : callable, optional
        Asked after each step.
    corrections : Corrections, optional
        Read and divided already.
    most_tested : int
        Of the rounds that test so many are asked, evenly spaced.

    Raises
    ------
    TooFewCorrectionsError
        When there is too little to learn from or to test on.
    SettingsError
        When the project learns already, or the split is damaged.
    JournalError
        When the journal is damaged.
    """
    settings, report = settings or LearningSettings(), report or (lambda progress: None)
    cancelled = cancelled or (lambda: False)
    project = Path(project)
    found = corrections or read_corrections(project, journal)
    own = predictor.copy(project / FOLDER / "embeddings")
    learn, checked = choose_checks(choose_latest(found.learn, MOST_LEARNED))
    rehearsed = load_rehearsal()[0]
    parts = _write_lessons(own, (learn, checked, rehearsed), report, cancelled)
    learner = Learner(own.model, *parts, settings, project / FOLDER, report, cancelled)
    if not learner.accelerator.is_main_process:  # it helps, and keeps nothing
        return Outcome("", False, learner.run().finished, "", {})
    with _alone(project):
        learned = learner.run()
        if not learned.is_new:
            words = "Nothing was better than before." if learned.finished else "Cancelled before a good step."
            return Outcome("", False, learned.finished, words, {}, tuple(found.notes))
        store = AdapterStore(project)
        card = _make_card(own, journal, found, settings, learned)
        name = store.add(learned.state, settings.shape, card)
        _plot(learned, store.path(name) / "learning.png")
        if not learned.finished:
            words = f"Cancelled; {name} is the last good step, and was not measured."
            return Outcome(name, False, False, words, store.card(name), tuple(found.notes))
        return _use_the_winner(_Gate(project, found, own, report, cancelled, most_tested), name)


def measure_adapter(
    project: Path,
    journal: Journal,
    predictor: AdaptedPredictor,
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
            "This project learns already, in this or another window. Wait for it, or cancel it there."
        ) from error


def _write_lessons(own: AdaptedPredictor, parts: Sequence[Sequence[JudgedRound]], report: Report, cancelled):
    """Return the lessons of each part; planes whose embedding is not kept are encoded now."""
    total, done, written = sum(map(len, parts)), 0, []
    for part in parts:
        lessons = []
        for round_ in part:
            if cancelled():
                raise CancelledError("Cancelled.")
            report(Progress("reading", done, total, 0.0, None, None, 0.0, 0.0))
            lessons.append(write_lesson(own.model, round_, own.encode))
            done += 1
        written.append(lessons)
    return written


class _Gate:
    """Measures adapters of a project on the rounds that test, each against what answers now.

    Parameters
    ----------
    project : Path
    found : Corrections
    own : AdaptedPredictor
        Whose adapter is changed meanwhile.
    report, cancelled : callable or None
        As of `learn_from_corrections`.
    most_tested : int
        Of the rounds that test so many are asked, evenly spaced.
    """

    def __init__(
        self,
        project: Path,
        found: Corrections,
        own: AdaptedPredictor,
        report: Report | None,
        cancelled: Cancelled | None,
        most_tested: int = MOST_TESTED,
    ) -> None:
        self.store, self.found = AdapterStore(project), found
        self._own, self._bundled = own, load_rehearsal()[1]
        self._report, self._cancelled = report or (lambda p: None), cancelled or (lambda: False)
        self._rounds = spread(found.test, most_tested)

    @cached_property
    def _before(self) -> tuple[str, dict]:
        """What answers now, measured: the live adapter, or none where that cannot be used."""
        try:
            return self.store.live, self._ask("measuring before", self.store.live_path)
        except AdapterError:
            return "", self._ask("measuring before", None)

    def measure(self, name: str) -> dict:
        """Write into an adapter's card what `decide` says of it; return the card."""
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
    """Let what was learned be live if it wins; where it is better but forgot too much, half of it."""
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
