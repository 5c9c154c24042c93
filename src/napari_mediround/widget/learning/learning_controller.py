"""A project's corrections become an adapter while annotation goes on. Knows no Qt.

Learning has a worker and a copy of the model of its own; what is live changes on the worker of the chat,
between two questions.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mediround.errors import CancelledError
from napari_mediround.journal import Journal
from napari_mediround.libraries import one_at_a_time
from napari_mediround.training.learning.card import card_to_html
from napari_mediround.training.learning.needs import Survey
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.turn import explain
from napari_mediround.widget.lazy_model import LazySegmenter
from napari_mediround.widget.learning.learning_view import AdapterLine, LearningView
from napari_mediround.widget.tasks import TaskBook
from napari_mediround.widget.worker import Job, Worker

if TYPE_CHECKING:
    from napari_mediround.training.learning.recipe import LearningSettings

PHASES = {
    "reading": "Reading the rounds",
    "words": "Learning what to say",
    "masks": "Learning what to draw",
    "measuring before": "Measuring the live adapter on held-out patients",
    "measuring after": "Measuring the new adapter on held-out patients",
}
LOADING = "Loading the model …"
NO_PROJECT = "No project is open. Open one in the MediRound chat."
STOPPING = "Stopping after this step. The best result so far is kept."
CANCELLED = "Cancelled before anything was learned."


@dataclass(frozen=True)
class Adapters:
    """What a project has learned.

    Parameters
    ----------
    live : str
        "" is none.
    cards : dict of str to dict
        By name, the first learned first.
    """

    live: str
    cards: dict[str, dict]


class LearningController:
    """Learns from a project's corrections and switches between adapters.

    Parameters
    ----------
    view : LearningView
    place : Workplace
        Of the chat whose project learns.
    worker : Worker
        Does the learning; the chat's own worker switches adapters.
    later : callable
        Called when the corrections should be counted again a little later; then calls `count`.
    settings : LearningSettings, optional
        The recipe.
    """

    def __init__(
        self,
        view: LearningView,
        place: Workplace,
        worker: Worker,
        later: Callable[[], None],
        settings: LearningSettings | None = None,
    ) -> None:
        self.view, self._place, self._later, self._settings = view, place, later, settings
        self.tasks = TaskBook(worker)
        self.folder: Path | None = None
        self._learning: Job | None = None
        self._looking: Job | None = None
        self._switching: Job | None = None
        self._stop = threading.Event()
        self._adapters = Adapters("", {})
        self._phase = ("", 0.0)
        view.start_asked.connect(self._on_start_asked)
        view.cancel_asked.connect(self._on_cancel_asked)
        view.use_asked.connect(self._on_use_asked)
        view.rollback_asked.connect(self._on_rollback_asked)
        view.adapter_chosen.connect(self._on_adapter_chosen)
        worker.progressed.connect(self._on_progressed)
        place.changed.connect(self.on_changed)
        self._open(place.project.folder)
        later()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being learned, counted or switched."""
        jobs = (self._learning, self._looking, self._switching)
        return all(job is None or job.cancelled() for job in jobs)

    def drop(self) -> None:
        """Ignore what still runs for this project; learning keeps its best result so far."""
        self._stop.set()
        for job in (self._learning, self._looking):
            self.tasks.cancel(job)
        self._learning = self._looking = self._switching = None
        self._stop = threading.Event()
        self.view.show_busy("")
        self.view.allow_switching(True)

    # What would teach, and what was learned.

    def on_changed(self) -> None:
        """Count the corrections again a little later; another project ends what is being learned."""
        if self._place.project.folder != self.folder:
            self._open(self._place.project.folder)
        self._later()

    def _open(self, folder: Path | None) -> None:
        self.drop()
        self.folder = folder
        self.view.show_project(folder.name if folder else "none", str(folder or NO_PROJECT))
        self.view.show_survey("Counting …" if folder else NO_PROJECT, False)
        self.view.show_message("")
        self._show_adapters(Adapters("", {}))
        self.view.clear_curves()

    def count(self) -> None:
        """Count the corrections that can teach, unless learning is running."""
        if self.folder is not None and self._learning is None:
            self.tasks.cancel(self._looking)
            work = partial(_count, folder=self.folder)
            self._looking = self.tasks.submit(work, self._on_counted, self._on_not_counted)

    def _show_adapters(self, adapters: Adapters, chosen: str | None = None) -> None:
        self._adapters = adapters
        lines = [AdapterLine("", "", not adapters.live, True)]
        for name, card in adapters.cards.items():
            wins = card.get("gate", {}).get("wins")
            lines.append(AdapterLine(name, _brief(card), name == adapters.live, bool(wins)))
        if chosen is None and self.view.chosen is not None:
            chosen = self.view.chosen.name
        self.view.show_adapters(lines, chosen if chosen in ("", *adapters.cards) else adapters.live)

    def _on_adapter_chosen(self, name: str) -> None:
        card = self._adapters.cards.get(name)
        self.view.show_card(card_to_html(card) if card is not None else "")

    # Learning.

    def _on_start_asked(self) -> None:
        if self._learning is not None or self.folder is None:
            return
        self._stop.clear()
        self._phase = ("", 0.0)
        self.view.show_message("")
        self.view.show_busy(LOADING)
        place, settings = self._place, self._settings
        work = partial(
            _learn, folder=self.folder, segmenter=place.segmenter, settings=settings, stop=self._stop
        )
        self._learning = self.tasks.submit(work, self._on_learned, self._on_not_learned, LOADING)

    def _on_cancel_asked(self) -> None:
        if self._learning is not None:
            self._stop.set()
            self.view.show_busy(STOPPING)
            self.view.allow_cancelling(False)

    def _on_progressed(self, job: Job, progress) -> None:
        if job is not self._learning or self._stop.is_set():
            return
        if progress.phase != self._phase[0]:
            self._phase = (progress.phase, time.monotonic())
            if progress.phase in ("words", "masks") and progress.step <= 1:
                self.view.clear_curves()
        left = progress.left
        if not left and progress.step:
            spent = time.monotonic() - self._phase[1]
            left = spent / progress.step * (progress.steps - progress.step)
        words = f"{PHASES[progress.phase]}: {progress.step} of {progress.steps}"
        words += f", {_duration(left)} left at most" if left else ""
        self.view.show_busy(words, progress.step, progress.steps)
        if progress.phase in ("words", "masks"):
            self.view.add_point("Loss", progress.step, progress.steps, progress.loss)
        for name, value in (("Dice", progress.dice), ("check", progress.checked_dice)):
            if value is not None:
                self.view.add_point(name, progress.step, progress.steps, value)

    def _on_counted(self, result: tuple[Survey, Adapters]) -> None:
        self._looking = None
        survey, adapters = result
        self.view.show_survey(_words(survey), survey.ready, survey.needs)
        if adapters != self._adapters:
            self._show_adapters(adapters)

    def _on_not_counted(self, error: Exception) -> None:
        self._looking = None
        self.view.show_survey(explain(error).text, False)

    def _on_learned(self, result) -> None:
        self._learning = None
        outcome, adapters = result
        self._show_adapters(adapters, outcome.adapter or None)
        self._end(_tell(outcome), False)
        if outcome.live:
            self._switch(lambda store: None)

    def _on_not_learned(self, error: Exception) -> None:
        self._learning = None
        self._end(explain(error).text, True)

    def _end(self, text: str, is_error: bool) -> None:
        self.view.show_busy("")
        self.view.show_message(text, is_error)
        self._later()

    # Which adapter is live.

    def _on_use_asked(self, name: str, reason: str) -> None:
        said = (
            f"{name} answers from the next question on." if name else "The model answers without an adapter."
        )
        self._switch(lambda store: store.use(name, reason), said)

    def _on_rollback_asked(self) -> None:
        self._switch(lambda store: store.rollback(), "Rolled back.")

    def _switch(self, change: Callable, said: str = "") -> None:
        """Change what is live, on the chat's worker: between two questions."""
        folder, place = self.folder, self._place
        if folder is None:
            return

        def work(job: Job) -> Adapters:
            change(_open_store(folder))
            place.segmenter.follow(folder)
            return _read_adapters(folder)

        self.view.allow_switching(False)
        self._switching = place.submit(work, partial(self._on_switched, said), self._on_not_switched)

    def _on_switched(self, said: str, adapters: Adapters) -> None:
        self._switching = None
        self.view.allow_switching(True)
        self._show_adapters(adapters, adapters.live)
        if said:
            self.view.show_message(said)
        self._place.show_status()

    def _on_not_switched(self, error: Exception) -> None:
        self._switching = None
        self.view.allow_switching(True)
        self.view.show_message(explain(error).text, True)
        self._later()


# On the workers; they touch neither viewer nor view.


def _count(job: Job, folder: Path) -> tuple[Survey, Adapters]:
    """Count the corrections that can teach, and read the adapters learned so far."""
    with one_at_a_time():
        from napari_mediround.training.learning.survey import survey_corrections

    with Journal.open_read_only(folder) as journal:
        return survey_corrections(folder, journal), _read_adapters(folder)


def _learn(job: Job, folder: Path, segmenter: LazySegmenter, settings, stop: threading.Event):
    """Learn; return the outcome and what the project has learned now."""
    with one_at_a_time():
        from napari_mediround.training.learning.learn import Outcome, learn_from_corrections

    def cancelled() -> bool:
        return stop.is_set() or job.cancelled()

    predictor = segmenter.load()
    try:
        with Journal.open_read_only(folder) as journal:
            outcome = learn_from_corrections(folder, journal, predictor, settings, job.report, cancelled)
    except CancelledError:
        outcome = Outcome("", False, False, CANCELLED, {})
    return outcome, _read_adapters(folder)


def _open_store(folder: Path):
    with one_at_a_time():
        from napari_mediround.training.learning.adapter_store import AdapterStore

    return AdapterStore(folder)


def _read_adapters(folder: Path) -> Adapters:
    store = _open_store(folder)
    return Adapters(store.live, {name: store.card(name) for name in store.names()})


# In words.


def _words(survey: Survey) -> str:
    """Return a survey in words."""
    lost = f" Left out: {_many(survey.lost, 'case')} whose image has moved." if survey.lost else ""
    if not survey.ready:
        return f"Learning can start when each bar is full.{lost}"
    taught = f"{_many(survey.rounds, 'round')} of {_many(survey.patients, 'patient')} can teach."
    return f"{taught} {_many(survey.apart, 'patient')} will be kept apart to measure the result.{lost}"


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"


def _brief(card: dict) -> str:
    gate = card.get("gate", {})
    if "wins" not in gate:
        return "not measured"
    wins = "wins" if gate["wins"] else "does not win"
    if "dice_gain" not in gate:
        return wins
    return f"{wins}: Dice {gate['dice_gain']:+.3f}, clicks {0 - gate['clicks_saved']:+.1f}".replace("-", "−")


def _tell(outcome) -> str:
    lines = [outcome.words]
    if outcome.live:
        lines.append("The adapter is live: it answers from the next question on.")
    elif outcome.adapter:
        lines.append(f"{outcome.adapter} is kept but is not live. To use it anyway, give a reason below.")
    if not outcome.finished and not outcome.card.get("finished"):
        lines.append("The next run continues from here.")
    return "\n".join([*lines, *(f"Left out: {note}" for note in outcome.notes)])
