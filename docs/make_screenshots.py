"""Take the pictures of the user guide: python docs/make_screenshots.py [--fake] [--image FILE] [OUT].

Goes once through the whole flow with the bundled sample (or FILE) and the real model (or, with --fake, with
a stand-in that draws discs): ask, chips, accept, fix by hand and by clicks, undo, and a second window that
resumes the project. With --learn only the learning dock, in a project that can. Needs a screen or Xvfb:
`xvfb-run -s "-screen 0 1600x1000x24" python docs/make_screenshots.py`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import napari
import numpy as np
from qtpy.QtWidgets import QApplication

from napari_mediround.widget.chat.chat_dock import ChatDock
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.lazy_model import build_predictor
from napari_mediround.widget.learning.learning_dock import LearningDock
from napari_mediround.widget.plugin.layer_reader import read_layers
from napari_mediround.widget.plugin.sample import open_ct_abdomen

ROUNDS = ("Segment the liver and the spleen", "Outline the vessel between [1] and [2]")
TYPED = "Segment the organ behind [1]"
TIMEOUT_SECONDS = 300.0


def settle(until: Callable[[], bool] = lambda: False, seconds: float = 0.4) -> None:
    """Process events until a condition holds or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.01)


class Window:
    """A napari window with the dock, and what a user does in it."""

    def __init__(self, out: Path, build: Callable, project: Path) -> None:
        self.out, self.viewer = out, napari.Viewer(show=True)
        self.dock = ChatDock(self.viewer, build, Project(project))
        self.panel = self.dock.panel
        self.viewer.window.add_dock_widget(self.dock, name="MediRound chat", area="right")
        self.viewer.window.resize(1280, 800)
        settle()

    def wait(self) -> None:
        """Wait until nothing is being done."""
        settle(lambda: self.panel.is_idle, TIMEOUT_SECONDS)
        settle()

    def ask(self, text: str) -> None:
        """Type a question, press Enter and wait for the reply."""
        self.panel.question_asked.emit(text)
        self.wait()

    def type(self, text: str) -> None:
        """Type a question and press nothing."""
        self.panel.question.line.setText(text)
        self.wait()

    def press(self, key: str) -> None:
        """Press a key of the dock."""
        self.panel.key_pressed.emit(key)
        self.wait()

    def brush(self, x: float, y: float, size: int) -> None:
        """Paint a spot on the mask that is being fixed, x and y in pixels of its plane."""
        fix = self.dock.controller._fixing._fix
        plane = fix.case.session.label(fix.value).plane
        layer, index = fix.scratch.layer, tuple(np.array([round(n)]) for n in (plane, y, x))
        layer.brush_size = size
        layer.paint(tuple(int(n[0]) for n in fix.case.grid.layer_index(index)), 1)
        settle()

    def click(self, x: float, y: float, inside: bool) -> None:
        """Click as with the tool of that name and wait for the model."""
        self.panel.tool_chosen.emit("inside" if inside else "outside")
        self.dock.controller._fixing.click(x, y, inside)
        self.wait()

    def shoot(self, name: str, theme: str = "dark") -> None:
        """Save the whole window in a theme."""
        self.viewer.theme = theme
        settle()
        path = self.out / f"{name}.png"
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        self.viewer.theme = "dark"
        sys.stdout.write(f"{path}\n")

    def close(self) -> None:
        """Close the window; the project is free again."""
        self.dock.controller.stop()
        self.viewer.close()


def annotate(window: Window, rounds: list[str]) -> None:
    """Ask, accept, fix, undo, and take a picture of each."""
    for text in rounds[:-1]:
        window.ask(text)
    window.press("J")
    window.ask(rounds[-1])
    window.type(TYPED)
    for theme in ("dark", "light"):
        window.shoot(f"dock-{theme}", theme)
    window.type("")
    window.press("K")
    fix = window.dock.controller._fixing._fix
    if fix is None:
        sys.exit("No round found a mask that could be fixed. Ask something else with --ask.")
    x0, y0, x1, y1 = fix.told.mask.box_xyxy or (200, 200, 220, 220)
    window.brush(x1, (y0 + y1) / 2, max(6, round((x1 - x0) / 3)))
    window.click((x0 + x1) / 2, (y0 + y1) / 2, inside=True)
    window.click(x0 - 2, y0 - 2, inside=False)
    for theme in ("dark", "light"):
        window.shoot(f"fix-{theme}", theme)
    window.press("J")
    window.shoot("fixed-dark")
    window.press("U")
    window.press("U")
    window.shoot("undo-dark")
    window.press("Shift+U")
    window.press("Shift+U")


def learn(out: Path, project: Path) -> None:
    """Learn from a project in its learning dock; take pictures on the way and at the end."""
    window = Window(out, build_predictor, project)
    window.panel.choices.learning_asked.emit()
    docks = window.viewer.window.dock_widgets.values()
    (dock,) = [widget for widget in docks if isinstance(widget, LearningDock)]
    settle(lambda: dock.view.start.isEnabled(), TIMEOUT_SECONDS)
    dock.view.start.click()
    settle(lambda: len(dock.view.dice.lines["check"]) > 20 or dock.is_idle, TIMEOUT_SECONDS)
    window.shoot("learn-dark")
    settle(lambda: dock.is_idle, 4 * TIMEOUT_SECONDS)
    for theme in ("dark", "light"):
        window.shoot(f"learned-{theme}", theme)
    window.close()


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--fake", action="store_true", help="discs instead of the model")
    parser.add_argument("--image", type=Path, help="a file or DICOM folder instead of the sample")
    parser.add_argument("--plane", type=int, help="which plane to ask about; default the middle one")
    parser.add_argument("--ask", action="append", help="a question; may be given several times")
    parser.add_argument("--learn", type=Path, help="a project that can learn: take its pictures only")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if options.learn:
        learn(options.out, options.learn)
        return
    build = build_predictor
    if options.fake:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from fakes import FakeSegmenter as build

    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "reading-room"
        window = Window(options.out, build, project)
        window.shoot("dock-empty")
        for data, kwargs, _ in read_layers(options.image) if options.image else open_ct_abdomen():
            window.viewer.add_image(data, **kwargs)
        window.wait()
        if options.plane is not None:
            window.panel.plane_chosen.emit(options.plane)
        annotate(window, options.ask or list(ROUNDS))
        window.close()

        again = Window(options.out, build, Path(folder) / "other")
        again.panel.project_chosen.emit(str(project))
        settle(lambda: len(again.viewer.layers) == 2, TIMEOUT_SECONDS)
        again.wait()
        for theme in ("dark", "light"):
            again.shoot(f"resume-{theme}", theme)
        again.close()


if __name__ == "__main__":
    main()
