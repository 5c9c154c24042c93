"""How far the event loop of a real napari falls behind while the dock works, and with the work inline.

A timer ticks every 5 ms; what a tick comes late is the gap. Prints, for each kind of work, its seconds, the
gap with the work where the dock does it, and the gap with the same work inline on the GUI's thread. Exits
1 when a gap of the dock's is over 100 ms, and 2 where a machine that is busy with other things is so late
even with nothing to do. Printed, not counted: the dock's opening (importing torch and reading a tokenizer
stop all threads, and napari adds the Labels layer), and what napari takes to add and remove layers in a fix.
The encoder, the language model and the decoder are the real ones (`lite`); without trained weights the head
is untrained, which costs the same.
``xvfb-run -a -s "-screen 0 1600x1000x24" python tests/bench/gui_gap.py``
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ["NAPARI_CONFIG"] = str(Path(tempfile.mkdtemp(prefix="mediround-gap-")) / "settings.yaml")

import napari
import numpy as np
from qtpy.QtCore import QEventLoop, Qt, QTimer

from napari_mediround.domain.rounds import Answer, Reference, Target
from napari_mediround.errors import MissingWeightsError
from napari_mediround.io.labels import write_label_volume
from napari_mediround.widget.chat.chat_dock import ChatDock
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.lazy_model import get_ready
from napari_mediround.widget.plugin.sample import open_ct_abdomen

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor

FOLDER = Path(os.environ["NAPARI_CONFIG"]).parent
LINE_MS = 100.0
TICK_MS = 5
IDLE_SECONDS = 2.0
BOX = np.array([150.0, 120.0, 260.0, 220.0])


class Ticks:
    """A timer that notes how late its latest tick came."""

    def __init__(self) -> None:
        self._timer = QTimer(interval=TICK_MS, timerType=Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._on_tick)
        self._last, self._late = time.perf_counter(), 0.0
        self._timer.start()

    def _on_tick(self) -> None:
        now = time.perf_counter()
        self._late = max(self._late, now - self._last - TICK_MS / 1000)
        self._last = now

    def during(self, work: Callable[[], None], done: Callable[[], bool]) -> tuple[float, float]:
        """Do something and wait for its end; return the seconds it took and the largest gap, ms."""
        loop, poll = QEventLoop(), QTimer(interval=TICK_MS)
        poll.timeout.connect(lambda: done() and loop.quit())
        self._last, self._late = time.perf_counter(), 0.0
        began = time.perf_counter()
        QTimer.singleShot(0, work)
        QTimer.singleShot(2 * TICK_MS, poll.start)
        loop.exec()
        seconds = time.perf_counter() - began
        QTimer.singleShot(10 * TICK_MS, loop.quit)  # what is painted afterwards counts too
        loop.exec()
        return seconds, 1000 * self._late


def build():
    """Return the `lite` predictor; where the answer has no mask, one is decoded for a box all the same."""
    from napari_mediround.inference.predictor import Predictor
    from napari_mediround.model.build import build_mediround

    class Masking(Predictor):
        def ask(self, *question) -> Answer:
            answer = super().ask(*question)
            if answer.targets:
                return answer
            mask, quality = self.refine(box_xyxy=BOX)
            return Answer(answer.text, (Target("liver", mask, quality),), image=self._current)

    try:
        return Masking(build_mediround("lite"), "cpu", preset="lite")
    except MissingWeightsError:
        return Masking(build_mediround("lite", untrained=True), "cpu", preset="lite, untrained head")


def learn(predictor: Predictor) -> None:
    """Copy the predictor and learn a little of the bundled planes, as the learning dock's thread does."""
    import torch

    from napari_mediround.training.learning.recipe import LearningSettings
    from napari_mediround.training.learning.rehearsal import load_rehearsal
    from napari_mediround.training.learning.routine import Learner, Samples
    from napari_mediround.training.learning.samples import write_sample

    model = predictor.copy().model
    with torch.no_grad():
        lessons = [write_sample(model, round_, model.encode_image) for round_ in load_rehearsal()[0][:4]]
    settings = LearningSettings(words_steps=4, steps=8)
    Learner(model, Samples(lessons, lessons[:1], lessons[1:]), settings, FOLDER / "learning").run()


class Bench:
    """The dock at work, and the same work inline."""

    def __init__(self) -> None:
        self.viewer = napari.Viewer(show=True)
        self.imports: list[threading.Thread] = []
        project = Project(FOLDER / "project")
        self.dock = ChatDock(
            self.viewer, build, project, lambda segmenter: self.imports.append(get_ready(segmenter))
        )
        self.viewer.window.add_dock_widget(self.dock, name="MediRound chat", area="right")
        self.viewer.window.resize(1280, 800)
        (data, options, _), *_ = open_ct_abdomen()
        self.viewer.add_image(data, **options)
        self.place = self.dock.controller._place
        self.ticks, self.worst, self.still = Ticks(), 0.0, 0.0

    def idle(self) -> bool:
        """Whether nothing is being done."""
        return self.dock.panel.is_idle and not len(self.place.tasks)

    def on_worker(self, work: Callable[[], object]) -> Callable[[], None]:
        """Return a function that lets the dock's worker do something."""
        return lambda: self.place.submit(lambda job: work(), lambda _: None, self._fail, "working …") and None

    def ask_about(self, plane: int, text: str) -> None:
        """Go to a plane and ask."""
        self.dock.panel.plane_chosen.emit(plane)
        self.dock.panel.question_asked.emit(text)

    @staticmethod
    def _fail(error: Exception) -> None:
        raise error

    def measure(
        self, name: str, work: Callable[[], None], inline: Callable[[], object] | None, counted: bool = True
    ) -> None:
        """Print a row: the work where the dock does it, and inline; not counted is what napari takes."""
        seconds, gap = self.ticks.during(work, self.idle)
        beside = ""
        if inline is not None:
            _, inline_gap = self.ticks.during(lambda: inline() and None, lambda: True)
            beside = f"{inline_gap:9.0f}"
        sys.stdout.write(f"{name:28}{seconds:9.2f}{gap:9.0f}{beside}\n")
        sys.stdout.flush()
        self.worst = max(self.worst, gap) if counted else self.worst

    def run(self) -> float:
        """Print all rows; return the worst gap, ms."""
        panel, ask = self.dock.panel, "Segment the liver and the spleen"
        import_s, import_gap = self.ticks.during(
            lambda: None, lambda: not self.imports[0].is_alive() and self.idle()
        )
        began = time.perf_counter()
        _, self.still = self.ticks.during(
            lambda: None, lambda: time.perf_counter() - began > IDLE_SECONDS and self.idle()
        )
        sys.stdout.write(f"nothing to do: gap {self.still:.0f} ms; load {os.getloadavg()[0]:.1f}\n")
        sys.stdout.write(f"{'':28}{'seconds':>9}{'gap ms':>9}{'inline':>9}\n")
        sys.stdout.write(f"{'dock and image open':28}{import_s:9.2f}{import_gap:9.0f}\n")
        self.measure("loading, first question", lambda: panel.question_asked.emit(ask), None)
        session = self.place.case.session
        model = session.segmenter.load()
        self.measure("encode", self.on_worker(lambda: session.prepare(3)), lambda: session.prepare(4))
        self.measure(
            "ask, new plane",
            lambda: self.ask_about(6, ask),
            lambda: session.answer(ask, 7),
        )
        self.measure("ask again, same plane", lambda: panel.question_asked.emit(ask), None)
        self.measure(
            "carry, a plane or more",
            lambda: panel.key_pressed.emit("Shift+C"),
            lambda: session.carry(Reference(1), 1),
        )
        self.measure("accept", lambda: panel.key_pressed.emit("J"), None)
        self.measure("undo", lambda: panel.key_pressed.emit("U"), None)
        self.measure("begin a fix", lambda: panel.key_pressed.emit("K"), None, False)
        fixing = self.dock.controller._fixing
        self.measure(
            "a click, answered",
            lambda: fixing.click(200.0, 170.0, True),
            lambda: model.refine(np.array([[200.0, 170.0]]), np.array([True])),
            False,
        )
        self.measure("end the fix", lambda: panel.key_pressed.emit("J"), None, False)
        learning = threading.Thread(target=learn, args=(model,))
        seconds, gap = self.ticks.during(learning.start, lambda: not learning.is_alive())
        sys.stdout.write(f"{'learning beside':28}{seconds:9.2f}{gap:9.0f}\n")
        self.worst = max(self.worst, gap)
        volume, names = session.label_volume(), session.label_names()
        path = FOLDER / "labels.nii.gz"
        export = self.on_worker(lambda: write_label_volume(path, volume, session.study, names))
        self.measure("export", export, lambda: write_label_volume(path, volume, session.study, names))
        sys.stdout.write(f"model: {' · '.join(model.describe().values())}\n")
        return self.worst


def main() -> int:
    """Measure; return the exit status."""
    bench = Bench()
    worst = bench.run()
    bench.dock.controller.stop()
    bench.viewer.close()
    sys.stdout.write(f"gap={worst:.0f} ms\n")
    if bench.still > LINE_MS:
        sys.stdout.write("This machine is too busy with other things to tell.\n")
        return 2
    return 0 if worst <= LINE_MS else 1


if __name__ == "__main__":
    sys.exit(main())
