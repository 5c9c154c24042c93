"""The learning dock on a real window: a real project, the random model, real learning."""

from __future__ import annotations

import dataclasses
import threading

import numpy as np
import pytest
from fakes import FakeSegmenter
from lessons import make_disc, make_rounds
from napari.utils._proxies import PublicOnlyProxy
from PIL import Image
from qtpy.QtCore import Qt

from napari_mediround.inference.cache import hash_image
from napari_mediround.inference.predictor import Predictor
from napari_mediround.io import read_study
from napari_mediround.journal import Journal, remember_image
from napari_mediround.model.build import build_mediround
from napari_mediround.session import Session
from napari_mediround.training.learning import learn, routine
from napari_mediround.training.learning.adapter_store import AdapterStore
from napari_mediround.training.learning.card import card_to_html
from napari_mediround.training.learning.recipe import LearningSettings
from napari_mediround.widget.chat.chat_dock import ChatDock
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.learning.learning_dock import LearningDock
from napari_mediround.widget.learning.learning_panel import Curve
from napari_mediround.widget.plugin.layer_reader import read_layers

QUICK = LearningSettings(words_steps=1, steps=4, coarse=4, masks=2, rehearsed=1, check_every=2)
LONG = 120000


class Named(FakeSegmenter):
    """The fake, with the keys of planes that the model gives them."""

    def ask(self, text, conversation, references, cancelled=None, **named):
        """Say which plane the masks lie on."""
        answer = super().ask(text, conversation, references, cancelled)
        return dataclasses.replace(answer, image=hash_image(self.images[-1]))


def make_project(folder, patients: int):
    """Correct three masks of each of so many pictures; return the project's folder."""
    with Journal.open(folder / "site") as journal:
        for number in range(patients):
            path = folder / f"case{number}.png"
            pixels = np.random.default_rng(number).integers(0, 60, (48, 64), np.uint8)
            pixels[20:36, 20:44] = 200
            Image.fromarray(pixels).save(path)
            session = Session(Named(), read_study(path), journal=journal)
            remember_image(folder / "site", session.case, path)
            session.ask("Segment the liver and the spleen and the left kidney.", 0)
            for value in (1, 2, 3):
                session.fix(value, make_disc(28, 14 * value), reason="boundary")
    return folder / "site"


@pytest.fixture(autouse=True)
def few_bundled(monkeypatch):
    """Rehearse one plane and check one, so that a test takes seconds."""
    bundled = make_rounds(2, "aorta", "accepted")
    monkeypatch.setattr(learn, "load_rehearsal", lambda: (bundled[:1], bundled[1:]))


@pytest.fixture
def open_docks(make_napari_viewer, qtbot):
    """Return a function that opens a project in a chat, and the learning dock beside it."""
    opened = []

    def open_(project):
        viewer = make_napari_viewer(show=True)
        chat = ChatDock(
            PublicOnlyProxy(viewer),
            lambda: Predictor(build_mediround("tiny"), "cpu", preset="tiny"),
            Project(project),
        )
        viewer.window.add_dock_widget(chat, name="MediRound chat")
        dock = LearningDock(PublicOnlyProxy(viewer), settings=QUICK)
        viewer.window.add_dock_widget(dock, name="MediRound learning")
        opened.append((chat, dock))
        qtbot.waitUntil(lambda: dock.is_idle and dock.controller.folder == project, timeout=LONG)
        return viewer, chat, dock

    yield open_
    for chat, dock in opened:
        dock.worker.stop()
        chat.controller.stop()


@pytest.fixture
def decide(monkeypatch):
    """Return a function that says what the gate says from now on."""
    real = learn.decide

    def set_(wins: bool):
        monkeypatch.setattr(learn, "decide", lambda *tables: real(*tables) | {"wins": wins})

    return set_


@pytest.fixture
def hold(monkeypatch):
    """Let learning wait at its third step of the masks until the event is set."""
    gate, report = threading.Event(), routine.Learner._report

    def wait(self, memory, steps):
        report(self, memory, steps)
        if (memory.phase, memory.step) == ("masks", 3):
            gate.wait(60)

    monkeypatch.setattr(routine.Learner, "_report", wait)
    return gate


def wait(qtbot, dock):
    qtbot.waitUntil(lambda: dock.is_idle, timeout=LONG)


def choose(dock, name):
    """Choose an adapter in the list; "" is none."""
    lines = [dock.view._line(row).name for row in range(dock.view.adapters.count())]
    dock.view.adapters.setCurrentRow(lines.index(name))


def ask(qtbot, viewer, chat, project):
    """Ask in the chat; return what the journal says of the model that answered."""
    chat.panel.question_asked.emit("Segment the liver.")
    qtbot.waitUntil(lambda: chat.panel.is_idle, timeout=LONG)
    offered = {a.label: a.key for e in chat.panel._entries for a in getattr(e, "actions", ())}
    if "Keep both" in offered:  # the plane has a liver already
        chat.panel.action_chosen.emit(offered["Keep both"])
        qtbot.waitUntil(lambda: chat.panel.is_idle, timeout=LONG)
    with Journal.open_read_only(project) as journal:
        asked = [e.entry for e in journal.events() if type(e.entry).__name__ == "RoundAsked"]
    return dict(asked[-1].model)


def test_train_from_the_dock_cancel_train_again_goes_live_and_roll_back(
    open_docks, qtbot, tmp_path, decide, hold
):
    project = make_project(tmp_path, 4)
    viewer, chat, dock = open_docks(project)
    survey = dock.view.survey.text()
    assert survey.startswith("4 rounds of 4 patients can teach. 1 patient will be kept apart")
    assert not dock.view.needs.bars
    decide(True)

    qtbot.mouseClick(dock.view.start, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: len(dock.view.loss.lines["Loss"]) == 3, timeout=LONG)
    assert dock.view.dice.lines["check"]
    assert "3 of 4" in dock.view.doing.text()
    data, options, _ = read_layers(tmp_path / "case0.png")[0]
    viewer.add_image(data, **options)  # annotation goes on meanwhile
    assert "adapter" not in ask(qtbot, viewer, chat, project)
    assert not dock.is_idle
    qtbot.keyClick(dock.view.start, Qt.Key.Key_Escape)  # returns although training is held up
    assert dock.view.doing.text().startswith("Stopping")
    hold.set()
    wait(qtbot, dock)
    assert "a001 is the last good step" in dock.view.message.text()
    assert AdapterStore(project).live == ""

    qtbot.keyClick(dock.view.start, Qt.Key.Key_Space)
    wait(qtbot, dock)
    assert [step for step, _ in dock.view.loss.lines["Loss"]] == [1, 2, 3, 4], "it went on at step 4"
    assert "a002: Dice" in dock.view.message.text()
    assert "The adapter is live" in dock.view.message.text()
    assert "liver, Dice" in dock.view.card.toPlainText()
    assert chat.segmenter.describe()["adapter"] == AdapterStore(project).live == "a002"
    assert "adapter a002" in chat.panel.status._status.text()
    answered = ask(qtbot, viewer, chat, project)
    card = AdapterStore(project).card("a002")
    assert (answered["adapter"], answered["adapter_sha256"]) == ("a002", card["sha256"])

    qtbot.mouseClick(dock.view.rollback, Qt.MouseButton.LeftButton)
    wait(qtbot, dock)
    assert AdapterStore(project).live == ""
    assert "adapter" not in ask(qtbot, viewer, chat, project)


def test_one_that_lost_is_used_only_with_a_reason(open_docks, qtbot, tmp_path, decide):
    project = make_project(tmp_path, 4)
    _, chat, dock = open_docks(project)
    decide(False)
    dock.view.start.click()
    wait(qtbot, dock)
    assert "is kept but is not live" in dock.view.message.text()
    assert dock.view.use.text() == "Use anyway"
    assert not dock.view.use.isEnabled()
    qtbot.keyClicks(dock.view.reason, "better on our scanner")
    qtbot.keyClick(dock.view.reason, Qt.Key.Key_Return)
    wait(qtbot, dock)
    assert AdapterStore(project).history()[-1].why == "better on our scanner"
    assert chat.segmenter.describe()["adapter"] == "a001"
    choose(dock, "")
    assert not dock.view.reason.isVisible()
    dock.view.use.click()
    wait(qtbot, dock)
    assert (AdapterStore(project).live, "adapter" in chat.segmenter.describe()) == ("", False)


def test_too_few_corrections_are_refused_in_words_and_nothing_is_drawn(open_docks, tmp_path):
    project = make_project(tmp_path, 2)
    _, _, dock = open_docks(project)
    bars = [(bar.value(), bar.maximum(), bar.accessibleName()) for bar in dock.view.needs.bars]
    assert [bar[:2] for bar in bars] == [(6, 8), (2, 3), (0, 1)]
    assert bars[0][2] == "6 of 8 accepted or corrected masks to learn from"
    assert not dock.view.start.isEnabled()
    assert not (project / "split.json").exists()


def test_a_failure_is_told_in_words(open_docks, qtbot, tmp_path, monkeypatch):
    _, _, dock = open_docks(make_project(tmp_path, 4))
    (tmp_path / "site" / "split.json").write_text("nothing")
    dock.view.start.click()
    wait(qtbot, dock)
    assert "is damaged" in dock.view.message.text()
    assert dock.view.message.isVisible()


def test_another_project_ends_learning_and_shows_its_own(open_docks, qtbot, tmp_path, hold):
    project = make_project(tmp_path, 4)
    _, chat, dock = open_docks(project)
    dock.view.start.click()
    qtbot.waitUntil(lambda: len(dock.view.loss.lines["Loss"]) == 3, timeout=LONG)
    chat.panel.project_chosen.emit(str(tmp_path / "other"))
    qtbot.waitUntil(lambda: dock.controller.folder == tmp_path / "other", timeout=LONG)
    hold.set()
    wait(qtbot, dock)
    assert [bar.value() for bar in dock.view.needs.bars] == [0, 0, 0]
    assert dock.view.loss.lines == {"Loss": []}
    assert AdapterStore(project).live == ""


def test_taken_out_of_the_window_it_stops_and_keeps_the_last_good_step(open_docks, qtbot, tmp_path, hold):
    project = make_project(tmp_path, 4)
    viewer, _, dock = open_docks(project)
    dock.view.start.click()
    qtbot.waitUntil(lambda: len(dock.view.loss.lines["Loss"]) == 3, timeout=LONG)
    viewer.window.remove_dock_widget(dock)
    assert dock.is_idle
    hold.set()
    qtbot.waitUntil(lambda: AdapterStore(project).names() == ["a001"], timeout=LONG)
    assert (project / "learning" / routine.CHECKPOINT).exists()


def test_napari_opens_the_chat_with_it_and_the_chat_opens_it_once(make_napari_viewer):
    def docks(kind):
        return [widget for widget in viewer.window.dock_widgets.values() if isinstance(widget, kind)]

    viewer = make_napari_viewer()
    viewer.window.add_plugin_dock_widget("napari-mediround", "MediRound learning")
    (chat,), (dock,) = docks(ChatDock), docks(LearningDock)
    chat.panel.choices.learning_asked.emit()
    assert docks(LearningDock) == [dock]
    dock.worker.stop()
    chat.controller.stop()


def test_an_adapter_of_other_weights_is_told_once_and_answers_come_without(open_docks, qtbot, tmp_path):
    project = make_project(tmp_path, 1)
    (project / "adapters").mkdir()
    (project / "adapters/live.json").write_text('[{"adapter": "a009", "utc": "", "why": "won"}]')
    viewer, chat, _ = open_docks(project)
    data, options, _ = read_layers(tmp_path / "case0.png")[0]
    viewer.add_image(data, **options)
    chat.panel.question_asked.emit("Segment the liver.")
    qtbot.waitUntil(lambda: chat.panel.is_idle, timeout=LONG)
    offered = {a.label: a.key for e in chat.panel._entries for a in getattr(e, "actions", ())}
    if "Keep both" in offered:  # the plane has a liver already
        chat.panel.action_chosen.emit(offered["Keep both"])
        qtbot.waitUntil(lambda: chat.panel.is_idle, timeout=LONG)
    assert "no adapter 'a009'" in chat.controller.workplace.case.entries[-1].text
    assert "adapter" not in ask(qtbot, viewer, chat, project)


def test_the_curve_shows_its_lines_and_forgets_those_of_another_run(qtbot):
    curve = Curve(["Dice", "check"], 1.0)
    qtbot.addWidget(curve)
    curve.set_theme({"text": "#ffffff", "muted": "#808080", "info": "#0000ff", "good": "#00ff00"})
    for step in range(1, 9):
        curve.add("Dice", step, 10, 0.5)
    curve.resize(170, 84)
    picture = curve.grab().toImage()
    colours = {picture.pixelColor(60, y).name() for y in range(30, 80)}
    assert "#0000ff" in colours
    curve.add("Dice", 3, 10, 0.6)
    assert [step for step, _ in curve.lines["Dice"]] == [1, 2, 3]


def test_a_card_is_text_and_shows_every_structure_before_and_after():
    part = {"n": 1, "dice": 0.5, "clicks": 4.0, "structures": {"<b>liver</b>": {"dice": 0.5, "clicks": 4.0}}}
    new = {"n": 1, "dice": 0.7, "clicks": 2.0, "structures": {"<b>liver</b>": {"dice": 0.7, "clicks": 2.0}}}
    gate = {"wins": True, "words": "It wins.", "old": {"touched": part}, "new": {"touched": new}}
    html = card_to_html({"name": "a001", "gate": gate})
    assert "&lt;b&gt;liver&lt;/b&gt;, Dice" in html
    assert "+0.20" in html
    assert "−2.00" in html
