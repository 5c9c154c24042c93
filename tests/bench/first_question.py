"""Whether the first question of a session is answered, however soon it is asked, and after how long.

Every try is a fresh process: a real napari opens the chat and the sample CT, and Enter is pressed some
seconds after the chat has opened, while the libraries are still being imported and the model is still being
loaded. No embedding is kept from before. A try fails where no mask is in the Labels layer, or the chat shows
an error. Prints each try and ``failures=0 of N``; exits non-zero where one failed.

With ``--against PYTHON``, the interpreter of another checkout's environment, tries of the two take turns, and
``ratio=`` of the mean seconds from the process's start to the first mask is printed, theirs over ours, and
``cpu_ratio=`` of the processor's seconds, which other programs on the machine change less; with
``--no-window`` without what napari's window takes in both.
``xvfb-run -a -s "-screen 0 1600x1000x24" python tests/bench/first_question.py [--rounds 7]``
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

QUESTION = "Segment the liver"
TRY_SECONDS = 240
SLICE_MS = 20


def ask_in_fresh_window(delay: float) -> dict:
    """Open napari, the chat and the sample, press Enter; return what was seen (in the child process)."""
    started = float(os.environ["MEDIROUND_BENCH_STARTED"])
    import napari
    from qtpy.QtCore import QEventLoop, Qt, QTimer
    from qtpy.QtTest import QTest

    viewer = napari.Viewer(show=True)
    viewer.window.resize(1280, 800)
    _, dock = viewer.window.add_plugin_dock_widget("napari-mediround", "MediRound chat")
    opened, panel, words = time.time(), dock.panel, []
    loop, look, asked = QEventLoop(), QTimer(interval=SLICE_MS), []

    def press() -> None:
        asked.append(time.time())
        QTest.keyClicks(panel.question.line, QUESTION)
        QTest.keyClick(panel.question.line, Qt.Key.Key_Return)

    def see() -> None:
        if panel.busy.doing and panel.busy.label.text() not in words[-1:]:
            words.append(panel.busy.label.text())
        if asked and panel.is_idle:
            loop.quit()

    look.timeout.connect(see)
    viewer.open_sample("napari-mediround", "ct_abdomen")
    QTimer.singleShot(int(1000 * max(0.0, delay - (time.time() - opened))), press)
    look.start()
    QTimer.singleShot(1000 * TRY_SECONDS, loop.quit)
    loop.exec()
    done, cpu = time.time(), time.process_time()
    entries = dock.controller.workplace.case.entries
    errors = [entry.text for entry in entries if getattr(entry, "is_error", False)]
    masks = [layer for layer in viewer.layers if type(layer).__name__ == "Labels"]
    pixels = sum(int((layer.data > 0).sum()) for layer in masks)
    dock.controller.stop()
    viewer.close()
    seen = {"delay": asked[0] - opened, "total": done - started, "wait": done - asked[0], "cpu": cpu}
    return seen | {"opened": opened - started, "pixels": pixels, "errors": errors, "words": words}


def ask_without_window() -> dict:
    """Load as the dock does and ask, without napari's window (in the child process)."""
    started = float(os.environ["MEDIROUND_BENCH_STARTED"])
    import napari_mediround.resources
    from napari_mediround.domain.rounds import Conversation
    from napari_mediround.domain.windows import render_plane
    from napari_mediround.io import read_study
    from napari_mediround.widget.lazy_model import LazySegmenter, build_predictor, get_ready

    segmenter = LazySegmenter(build_predictor)
    get_ready(segmenter).join()
    opened = time.time()
    sample = Path(napari_mediround.resources.__file__).parent / "sample/ct_abdomen/image.nii.gz"
    segmenter.set_image(render_plane(read_study(sample), 9), "axial", "CT")
    answer = segmenter.ask(QUESTION, Conversation(), ())
    done, cpu = time.time(), time.process_time()
    seen = {
        "delay": 0.0,
        "total": done - started,
        "wait": done - opened,
        "cpu": cpu,
        "opened": opened - started,
    }
    return seen | {"pixels": sum(t.mask.area for t in answer.targets), "errors": [], "words": []}


def run_try(python: str, delay: float) -> dict:
    """Run one try in a process of its own, with a cache that holds the weights and nothing else."""
    with tempfile.TemporaryDirectory(prefix="mediround-first-") as scratch:
        home = Path(scratch) / "home"
        home.mkdir()
        (home / "models").symlink_to(_models())
        environment = os.environ | {
            "MEDIROUND_HOME": str(home),
            "MEDIROUND_PROJECT": str(Path(scratch) / "project"),
            "NAPARI_CONFIG": str(Path(scratch) / "settings.yaml"),
            "HF_HUB_OFFLINE": "1",
            "MEDIROUND_BENCH_STARTED": repr(time.time()),
        }
        environment.pop("OMP_WAIT_POLICY", None)  # the plugin sets it for itself
        command = [python, __file__, "--child", str(delay)]
        try:
            done = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=TRY_SECONDS + 60
            )
        except subprocess.TimeoutExpired:
            return {"delay": delay, "errors": ["no answer in time"], "pixels": 0, "words": []}
    try:
        return json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        return {"delay": delay, "errors": [done.stderr[-800:]], "pixels": 0, "words": []}


def _models() -> Path:
    from napari_mediround.weights import models_dir

    return models_dir().resolve()


def is_failure(seen: dict) -> bool:
    """Whether a try ended without a mask or with an error in the chat."""
    return bool(seen["errors"]) or not seen["pixels"]


def describe(name: str, seen: dict) -> str:
    """Return a line about a try."""
    if is_failure(seen):
        return f"{name:6} Enter at {seen['delay']:4.1f} s: FAILED {seen['errors']}"
    times = f"answered after {seen['wait']:5.1f} s, {seen['total']:5.1f} s from the process's start"
    return f"{name:6} Enter at {seen['delay']:4.1f} s: {times}, dock open at {seen['opened']:4.1f} s"


def main() -> int:
    """Try all delays, round after round; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--delays", type=float, nargs="*", default=list(range(9)), help="seconds before Enter"
    )
    parser.add_argument("--rounds", type=int, default=1, help="how often each delay is tried")
    parser.add_argument("--against", default="", help="python of another checkout, to compare with")
    parser.add_argument("--words", action="store_true", help="show what the busy line said")
    parser.add_argument("--no-window", action="store_true", help="load and ask alone, without napari")
    parser.add_argument("--child", type=float, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child is not None:
        seen = ask_in_fresh_window(asked.child) if asked.child >= 0 else ask_without_window()
        sys.stdout.write("\n" + json.dumps(seen) + "\n")
        sys.stdout.flush()
        return 0
    delays = [-1.0] if asked.no_window else asked.delays
    pythons = {"ours": sys.executable} | ({"theirs": asked.against} if asked.against else {})
    seen: dict[str, list[dict]] = {name: [] for name in pythons}
    for _ in range(asked.rounds):
        for delay in delays:
            for name, python in pythons.items():
                seen[name].append(run_try(python, delay))
                sys.stdout.write(describe(name, seen[name][-1]) + "\n")
                if asked.words:
                    sys.stdout.write("".join(f"         {line}\n" for line in seen[name][-1]["words"]))
                sys.stdout.flush()
    return conclude(seen)


def conclude(seen: dict[str, list[dict]]) -> int:
    """Print failures, times and the ratio; return the exit status."""
    failed = {name: sum(map(is_failure, tries)) for name, tries in seen.items()}
    means = {}
    for name, tries in seen.items():
        answered = [one for one in tries if not is_failure(one)]
        if answered:
            totals, cpu = ([one[key] for one in answered] for key in ("total", "cpu"))
            means[name] = statistics.mean(totals), statistics.mean(cpu)
            spread = f"{min(totals):.1f} to {max(totals):.1f} s, processor {means[name][1]:.1f} s"
            sys.stdout.write(f"{name}: start to first mask {means[name][0]:.1f} s on average, {spread}\n")
    sys.stdout.write(f"load={os.getloadavg()[0]:.1f} on {os.cpu_count()} cores\n")
    for name in seen:
        prefix = "" if name == "ours" else f"{name}: "
        sys.stdout.write(f"{prefix}failures={failed[name]} of {len(seen[name])}\n")
    if len(means) == 2:
        ratios = [theirs / ours for theirs, ours in zip(means["theirs"], means["ours"], strict=True)]
        sys.stdout.write(f"cpu_ratio={ratios[1]:.2f}\nratio={ratios[0]:.2f}\n")
    return 1 if failed["ours"] else 0


if __name__ == "__main__":
    sys.exit(main())
