"""The stack in a real napari window, under Xvfb: the switch, the bar, the ribbon, its clicks and its keys."""

from __future__ import annotations

import weakref

import pytest
from fakes import make_volume
from napari.utils._proxies import PublicOnlyProxy
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor
from test_stacking import Still

from napari_mediround.widget.chat.chat_dock import ChatDock
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.layers import layer_geometry
from napari_mediround.widget.qt.mask_row import MaskRow


@pytest.fixture
def open_dock(make_napari_viewer, qtbot, tmp_path):
    """Return a function that opens a viewer with a CT on plane 2 and a dock on it."""
    docks = []

    def opened(*doubted):
        viewer = make_napari_viewer()
        data, options, _ = layer_geometry.study_to_layer(make_volume())
        viewer.add_image(data, **options)
        viewer.dims.set_point(0, 6.0)
        dock = ChatDock(PublicOnlyProxy(viewer), lambda: Still(*doubted), Project(tmp_path / "p"))
        viewer.window.add_dock_widget(dock, name="MediRound chat")
        docks.append(weakref.ref(dock))
        return viewer, dock

    yield opened
    for dock in docks:
        if dock() is not None:
            dock().controller.stop()


def wait(qtbot, until) -> None:
    """Wait for something, long enough for a busy machine."""
    qtbot.waitUntil(until, timeout=30_000)


def ask(qtbot, dock, text) -> None:
    """Type a question and wait until it is answered and nothing is followed any more."""
    qtbot.keyClicks(dock.panel.question.line, text)
    qtbot.keyClick(dock.panel.question.line, Qt.Key.Key_Return)
    wait(qtbot, lambda: dock.panel.is_idle and not dock.controller._stacking.busy)
    wait(qtbot, lambda: bool(dock.panel.rounds.findChildren(MaskRow)))


def session_of(dock):
    """Return the session of the image at hand."""
    return dock.controller.workplace.case.session


def planes(dock) -> list[int]:
    """Return the planes that show structure 1."""
    return sorted(label.plane for label in session_of(dock).state.shown if label.drawn == 1)


def row_of(dock) -> MaskRow:
    """Return the one row with a ribbon."""
    rows = [row for card in dock.panel.rounds._cards for row in card.findChildren(MaskRow)]
    (row,) = [row for row in rows if row.ribbon is not None]
    return row


def wait_for_ribbon(qtbot, dock, planes: int) -> MaskRow:
    """Return the row once its ribbon has so many planes; cards are made a turn of the event loop later."""
    wait(qtbot, lambda: not dock.panel._later.isActive() and len(row_of(dock).mask.ribbon) == planes)
    return row_of(dock)


def click(qtbot, row: MaskRow, plane: int) -> None:
    """Click a plane of a ribbon."""
    at = QPoint(int((plane + 0.5) * row.ribbon.width() / row.mask.planes), row.ribbon.height() // 2)
    qtbot.mouseClick(row.ribbon, Qt.MouseButton.LeftButton, pos=at)


def test_the_switch_follows_a_structure_and_a_click_on_the_ribbon_goes_to_its_plane(open_dock, qtbot):
    viewer, dock = open_dock(2)
    assert dock.panel.question.scope.isVisibleTo(dock.panel)
    dock.panel.question.scope.setCurrentText("stack")
    ask(qtbot, dock, "the liver")
    assert planes(dock) == [0, 1, 2, 3, 4]
    click(qtbot, wait_for_ribbon(qtbot, dock, 5), 4)
    wait(qtbot, lambda: viewer.dims.current_step[0] == 4)
    assert dock.controller.workplace.case.current == 3
    assert "doubtful" in row_of(dock).ribbon.accessibleName()


def test_the_ribbon_is_painted_in_the_colours_of_the_theme(open_dock, qtbot):
    viewer, dock = open_dock(2)
    ask(qtbot, dock, "the liver in the whole stack")
    colours = {}
    for theme in ("dark", "light"):
        viewer.theme = theme
        row = wait_for_ribbon(qtbot, dock, 5)
        qtbot.wait(50)
        image = row.ribbon.grab().toImage()
        at = int(4.5 * image.width() / 5), image.height() // 2
        colours[theme] = QColor(image.pixel(*at)).name()
        assert colours[theme] == row.ribbon.colours["doubtful"].name()
    assert colours["dark"] != colours["light"]


def test_the_bar_pauses_goes_on_and_stops(open_dock, qtbot):
    _, dock = open_dock()
    gate = []
    look = dock.controller._stacking._look
    dock.controller._stacking._look = lambda run: gate.append(run)
    qtbot.keyClicks(dock.panel.question.line, "the liver in the whole stack")
    qtbot.keyClick(dock.panel.question.line, Qt.Key.Key_Return)
    wait(qtbot, lambda: bool(gate))
    bar = dock.panel.stack
    assert bar.isVisibleTo(dock.panel)
    qtbot.mouseClick(bar.pause, Qt.MouseButton.LeftButton)
    assert bar.pause.text() == "Go on"
    look(gate[0])
    wait(qtbot, lambda: planes(dock) == [2, 3])
    assert (bar.count.text(), bar.progress.maximum()) == ("1 of 4 planes", 4)
    dock.controller._stacking._look = look
    qtbot.mouseClick(bar.pause, Qt.MouseButton.LeftButton)
    wait(qtbot, lambda: not dock.controller._stacking.busy)
    assert planes(dock) == [0, 1, 2, 3, 4]
    assert not bar.isVisibleTo(dock.panel)


def test_a_window_closed_in_mid_run_offers_the_rest_in_the_next(open_dock, qtbot):
    _, dock = open_dock()
    done = []
    look = dock.controller._stacking._look
    dock.controller._stacking._look = lambda run: done.append(run) or (len(done) < 2 and look(run))
    qtbot.keyClicks(dock.panel.question.line, "the liver in the whole stack")
    qtbot.keyClick(dock.panel.question.line, Qt.Key.Key_Return)
    wait(qtbot, lambda: len(done) == 2)
    dock.controller.stop()
    _, again = open_dock()
    wait(qtbot, lambda: session_of(again) is not None)
    assert planes(again) == [2, 3]
    wait(qtbot, lambda: any("Go on" in b.text() for b in buttons(again)))
    (button,) = [b for b in buttons(again) if b.text() == "Go on"]
    button.click()
    wait(qtbot, lambda: planes(again) == [0, 1, 2, 3, 4])


def buttons(dock):
    """Return the buttons of the chat."""
    from qtpy.QtWidgets import QAbstractButton

    return [b for b in dock.panel.rounds.findChildren(QAbstractButton) if not b.isHidden()]


def test_the_key_goes_to_the_next_doubtful_plane_from_the_canvas(open_dock, qtbot):
    viewer, dock = open_dock(1, 3)
    dock.show()
    ask(qtbot, dock, "the liver in the whole stack")
    dock.controller.keys.bind()
    for plane in (1, 3, 1):
        canvas = viewer.window._qt_viewer.canvas.native
        qtbot.keyClick(canvas, Qt.Key.Key_D, Qt.KeyboardModifier.ShiftModifier)
        wait(qtbot, lambda plane=plane: viewer.dims.current_step[0] == plane)


def test_a_fix_from_the_keyboard_offers_the_renewal(open_dock, qtbot):
    _, dock = open_dock(1, 2)
    ask(qtbot, dock, "the liver in the whole stack")
    click(qtbot, row_of(dock), 2)
    dock.panel.key_pressed.emit("K")
    fix = dock.controller._fixing._fix
    assert fix.plane == 2
    fix.scratch.layer.brush_size = 3
    dock.panel.tool_chosen.emit("paint")
    index = tuple(int(n[0]) for n in fix.case.grid.layer_index(tuple([n] for n in (2, 3, 3))))
    fix.scratch.layer.paint(index, 1)
    dock.panel.key_pressed.emit("J")
    wait(qtbot, lambda: any("Renew 2 doubtful" in b.text() for b in buttons(dock)))
    (button,) = [b for b in buttons(dock) if "Renew 2 doubtful" in b.text()]
    before = {label.plane: label.value for label in session_of(dock).state.shown}
    button.click()
    wait(qtbot, lambda: not dock.controller._stacking.busy)
    after = {label.plane: label.value for label in session_of(dock).state.shown}
    assert {plane for plane in after if after[plane] != before[plane]} == {3, 4}
