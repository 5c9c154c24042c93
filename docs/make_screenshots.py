"""Take the pictures of the user guide: python docs/make_screenshots.py [--fake] [--image FILE] [OUT].

Opens the bundled sample (or FILE), asks two rounds with the real model (or, with --fake, with a stand-in
that draws discs) and saves the window in the dark and the light theme. Needs a screen or Xvfb:
`xvfb-run -s "-screen 0 1600x1000x24" python docs/make_screenshots.py`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import napari
from qtpy.QtWidgets import QApplication

from napari_mediround.widget.dock import ChatDock
from napari_mediround.widget.reader import read_layers
from napari_mediround.widget.sample import open_ct_abdomen

ROUNDS = ("Segment the liver and the spleen", "Outline the vessel in front of the spine near [1.1]")
TIMEOUT_SECONDS = 300.0


def settle(until=lambda: False, seconds: float = 0.3) -> None:
    """Process events until a condition holds or the time is over."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and not until():
        QApplication.processEvents()
        time.sleep(0.01)


def ask(dock: ChatDock, text: str) -> None:
    """Type a question, press Enter and wait for the reply."""
    dock.panel.question_asked.emit(text)
    settle(lambda: dock.panel.is_idle, TIMEOUT_SECONDS)
    settle()


def shoot(viewer: napari.Viewer, path: Path, width: int = 1280, height: int = 800) -> None:
    """Save the whole window."""
    viewer.window.resize(width, height)
    settle()
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    sys.stdout.write(f"{path}\n")


def main() -> None:
    """Take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", nargs="?", type=Path, default=Path(__file__).parent / "images")
    parser.add_argument("--fake", action="store_true", help="discs instead of the model")
    parser.add_argument("--image", type=Path, help="a file or DICOM folder instead of the sample")
    parser.add_argument("--plane", type=int, help="which plane to ask about; default the middle one")
    parser.add_argument("--ask", action="append", help="a question; may be given several times")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    viewer = napari.Viewer(show=True)
    if options.fake:
        sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
        from fakes import FakeSegmenter

        dock = ChatDock(viewer, FakeSegmenter)
    else:
        dock = ChatDock(viewer)
    viewer.window.add_dock_widget(dock, name="MediRound chat", area="right")
    shoot(viewer, options.out / "dock-empty.png")
    for data, kwargs, _ in read_layers(options.image) if options.image else open_ct_abdomen():
        viewer.add_image(data, **kwargs)
    if options.plane is not None:
        dock.panel.plane_chosen.emit(options.plane)
    for text in options.ask or ROUNDS:
        ask(dock, text)
    shoot(viewer, options.out / "dock-dark.png")
    viewer.theme = "light"
    shoot(viewer, options.out / "dock-light.png")
    viewer.close()


if __name__ == "__main__":
    main()
