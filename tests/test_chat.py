"""The dock in a real napari window, under Xvfb."""

import gc
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from fakes import FakeSegmenter, make_volume
from napari.layers import Labels
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import QPoint, Qt
from qtpy.QtWidgets import (
    QApplication,
    QComboBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QToolButton,
    QWidget,
)

from napari_mediround.domain.rounds import Reference
from napari_mediround.journal import Journal
from napari_mediround.widget.chat.chat_dock import ChatDock
from napari_mediround.widget.chat.view import Action, Chip, Message, Question
from napari_mediround.widget.layers import layer_geometry
from napari_mediround.widget.qt.chat_panel import ChatPanel
from napari_mediround.widget.qt.mask_row import MaskRow


@pytest.fixture
def open_dock(make_napari_viewer, qtbot):
    """Return a function that opens a viewer with a CT and a dock on it."""
    docks = []

    def opened(build=FakeSegmenter):
        viewer = make_napari_viewer()
        data, options, _ = layer_geometry.study_to_layer(make_volume())
        viewer.add_image(data, **options)
        dock = ChatDock(PublicOnlyProxy(viewer), build)  # as napari hands it to a plugin
        viewer.window.add_dock_widget(dock, name="MediRound chat")
        docks.append(weakref.ref(dock))
        return viewer, dock

    yield opened
    for dock in docks:
        if dock() is not None:
            dock().controller.stop()


def type_and_enter(qtbot, dock, text):
    qtbot.keyClicks(dock.panel.question.line, text)
    qtbot.keyClick(dock.panel.question.line, Qt.Key.Key_Return)


def ask(qtbot, dock, text):
    type_and_enter(qtbot, dock, text)
    qtbot.waitUntil(lambda: dock.panel.is_idle)


def texts(dock):
    shown = [*dock.panel.findChildren(QLabel), *dock.panel.findChildren(QToolButton)]
    return " | ".join(widget.text() for widget in shown if not widget.isHidden())


def masks(viewer):
    return [layer for layer in viewer.layers if isinstance(layer, Labels)]


def test_enter_asks_and_the_reply_shows_structure_quality_area_and_reference(open_dock, qtbot):
    viewer, dock = open_dock()
    ask(qtbot, dock, "segment the liver")
    ask(qtbot, dock, "what is next to [1]")
    assert [int(layer.data.max()) for layer in masks(viewer)] == [2]
    shown = texts(dock)
    for words in (
        "Round 1",
        "liver",
        "quality 0.90",
        "mm²",
        "“[1]” → 1 liver",
        "fake · cpu",
        "Not a medical device",
    ):
        assert words in shown
    assert dock.panel.question.line.text() == ""


def test_two_docks_in_two_viewers_work_at_the_same_time(open_dock, qtbot):
    gates = [threading.Event(), threading.Event()]
    fakes = [FakeSegmenter(gate) for gate in gates]
    (first, one), (second, two) = (open_dock(lambda fake=fake: fake) for fake in fakes)
    type_and_enter(qtbot, one, "segment the liver")
    type_and_enter(qtbot, two, "segment the spleen")
    qtbot.waitUntil(lambda: all(fake.started.is_set() for fake in fakes))
    gates[1].set()
    qtbot.waitUntil(lambda: two.panel.is_idle)
    assert not one.panel.is_idle
    gates[0].set()
    qtbot.waitUntil(lambda: one.panel.is_idle)
    names = [masks(viewer)[0].features["name"].tolist()[1] for viewer in (first, second)]
    assert names == ["1 liver", "1 spleen"]


@pytest.mark.parametrize("how", ["button", "escape"])
def test_cancelling_frees_the_dock_within_a_tenth_of_a_second(open_dock, qtbot, how):
    fake = FakeSegmenter(gate=threading.Event())
    viewer, dock = open_dock(lambda: fake)
    type_and_enter(qtbot, dock, "segment the liver")
    qtbot.waitUntil(fake.started.is_set)
    assert dock.panel.busy.isVisibleTo(dock.panel)
    began = time.perf_counter()
    if how == "button":
        qtbot.mouseClick(dock.panel.busy.button, Qt.MouseButton.LeftButton)
    else:
        dock.panel.question.line.setFocus()
        qtbot.keyClick(dock.panel.question.line, Qt.Key.Key_Escape)
    assert dock.panel.is_idle
    assert time.perf_counter() - began < 0.1
    assert dock.panel.question.line.text() == "segment the liver"
    assert not any(layer.data.any() for layer in masks(viewer))


def test_the_gui_goes_on_while_the_model_works(open_dock, qtbot):
    fake = FakeSegmenter(gate=threading.Event())
    _, dock = open_dock(lambda: fake)
    threads = []
    fake.describe = lambda: threads.append(threading.current_thread()) or {"preset": "fake"}
    type_and_enter(qtbot, dock, "segment the liver")
    qtbot.waitUntil(fake.started.is_set)
    qtbot.waitUntil(lambda: "Looking at plane 2" in dock.panel.busy.label.text())
    fake.gate.set()
    qtbot.waitUntil(lambda: dock.panel.is_idle)
    assert "liver" in texts(dock)


@pytest.mark.parametrize("how", ["removed from the window", "window closed"])
def test_a_closed_dock_stops_its_worker_and_frees_its_model_and_project(open_dock, qtbot, how, project):
    viewer, dock = open_dock(lambda: FakeSegmenter())
    ask(qtbot, dock, "segment the liver")
    model, worker = weakref.ref(dock.segmenter.load()), dock.worker
    (thread,) = [t for t in threading.enumerate() if t.name == "mediround"]
    if how == "window closed":
        del dock
        viewer.close()
    else:
        viewer.window.remove_dock_widget(dock)
    gc.collect()
    qtbot.waitUntil(lambda: not thread.is_alive())
    qtbot.waitUntil(lambda: gc.collect() >= 0 and model() is None)
    assert worker._queue is None
    Journal.open(project).close()


def test_a_dock_that_is_put_back_works_again(open_dock, qtbot):
    viewer, dock = open_dock()
    ask(qtbot, dock, "segment the liver")
    viewer.window.remove_dock_widget(dock)
    viewer.window.add_dock_widget(dock, name="MediRound chat again")
    ask(qtbot, dock, "what is next to [1]")
    assert "Round 2" in texts(dock)


def test_arrow_up_brings_back_earlier_questions(open_dock, qtbot):
    _, dock = open_dock()
    ask(qtbot, dock, "first")
    ask(qtbot, dock, "second")
    line = dock.panel.question.line
    for key, text in ((Qt.Key.Key_Up, "second"), (Qt.Key.Key_Up, "first"), (Qt.Key.Key_Down, "second")):
        qtbot.keyClick(line, key)
        assert line.text() == text


def test_napari_s_own_undo_changes_no_mask_and_the_key_of_the_dock_takes_back_a_round(open_dock, qtbot):
    viewer, dock = open_dock()
    ask(qtbot, dock, "segment the liver")
    ask(qtbot, dock, "segment the spleen and the pancreas")
    (labels,) = masks(viewer)
    labels.undo()
    assert np.unique(labels.data).tolist() == [0, 1, 2, 3], "the layer shows what the record holds"
    dock.panel.key_pressed.emit("U")
    assert np.unique(labels.data).tolist() == [0, 1]


def test_text_in_the_chat_is_never_markup(open_dock, qtbot):
    _, dock = open_dock()
    dock.panel.show_entries([Question("<b>segment</b>")])
    qtbot.waitUntil(lambda: "<b>segment</b>" in texts(dock))
    assert any(label.textFormat() == Qt.TextFormat.PlainText for label in dock.panel.findChildren(QLabel))


def test_the_chips_and_the_buttons_of_a_message_can_be_clicked(qtbot):
    panel, got = ChatPanel(), []
    qtbot.addWidget(panel)
    panel.reference_chosen.connect(lambda phrase, reference: got.append((phrase, reference)))
    panel.action_chosen.connect(got.append)
    choices = (Action("1 liver", Reference(1)), Action("2 spleen", Reference(1, 2)))
    panel.show_chips([Chip("it", "1 liver", 1, choices)], "")
    chip = panel.question.chips.layout().itemAt(0).widget()
    chip.menu().actions()[1].trigger()
    assert "2 spleen" in chip.text()
    panel.show_entries([Message("no weights", True, (Action("Fetch", "key"),))])
    assert not panel.rounds._cards, "cards are made a turn later, once the masks are painted"
    qtbot.waitUntil(lambda: len(panel.rounds._cards) == 1)
    (button,) = [b for b in panel.findChildren(QPushButton) if b.text() == "Fetch"]
    button.click()
    assert got == [("it", Reference(1, 2)), "key"]


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_every_text_is_readable_in_both_themes(open_dock, qtbot, theme):
    viewer, dock = open_dock()
    viewer.theme = theme
    dock.panel.show_entries([Message("an error", is_error=True)])
    ask(qtbot, dock, "segment the liver")
    window = dock.panel.palette().color(dock.panel.backgroundRole()).lightnessF()
    dock.panel.ensurePolished()
    for label in [*dock.panel.findChildren(QLabel), *dock.panel.findChildren(QPushButton)]:
        label.ensurePolished()
        text = label.palette().color(label.foregroundRole()).lightnessF()
        assert abs(text - (0.15 if theme == "dark" else 0.9)) > 0.3, (label.text(), text, window)


def test_the_dock_leaves_room_at_1280_pixels(open_dock, qtbot):
    viewer, dock = open_dock()
    viewer.window.resize(1280, 800)
    assert dock.panel.minimumSizeHint().width() <= 360


def test_opening_the_dock_imports_no_torch(open_dock):
    if "torch" in sys.modules:
        pytest.skip("another test has imported it")
    open_dock()
    assert "torch" not in sys.modules


@pytest.mark.parametrize("width", [1024, 1280])
def test_long_names_and_text_without_spaces_leave_the_dock_its_width(open_dock, qtbot, width):
    viewer, dock = open_dock()
    with qtbot.waitExposed(dock):
        viewer.window._qt_window.show()
    viewer.window.resize(width, 720)
    viewer.layers[0].name = "n" * 300
    wide = dock.panel.width()
    QApplication.clipboard().setText("y" * 1990)
    dock.panel.question.line.paste()
    assert dock.panel.question.line.text() == "y" * 1990
    dock.panel.question.line.clear()
    ask(qtbot, dock, "segment the " + "x" * 1980)
    dock.panel.show_busy("z" * 500)
    dock.panel.show_status("s" * 500)
    dock.panel.show_chips([], "p" * 500)
    dock.panel.show_project("q" * 300, "")
    dock.panel.show_plane(3, 20, "oblique sagittal", "turned " * 20)
    QApplication.processEvents()
    assert dock.panel.width() == wide
    for child in dock.panel.findChildren(QWidget):
        inside = not isinstance(child.parent(), QComboBox | QSpinBox | QLineEdit) and child.isVisible()
        if inside and not child.isWindow():
            right = child.mapTo(dock.panel, QPoint(child.width(), 0)).x()
            assert right <= dock.panel.width(), (type(child), child.objectName(), right)


def test_a_click_on_a_number_puts_it_into_the_question(open_dock, qtbot):
    _, dock = open_dock()
    ask(qtbot, dock, "segment the liver")
    dock.panel.question.line.setText("the vessel next to")
    (row,) = dock.panel.rounds.findChildren(MaskRow)
    qtbot.mouseClick(row.number, Qt.MouseButton.LeftButton)
    assert dock.panel.question.line.text() == "the vessel next to [1]"
