"""The dock's keys in a real window: only while it is in use, and never in the text box."""

import ast
import re
from pathlib import Path

import pytest
from napari.components import ViewerModel
from napari.layers import Image, Labels, Shapes
from napari.settings import get_settings
from qtpy.QtCore import Qt
from test_chat import ask, open_dock

from napari_mediround.widget.chat.keys import ENDS, LETTERS, ViewerKeys
from napari_mediround.widget.chat.view import KEYS

__all__ = ["open_dock"]


def bound(viewer):
    return {str(key) for key in viewer.keymap}


def test_no_key_is_taken_from_a_layer_or_the_viewer():
    taken = {str(key) for kind in (Labels, Image, Shapes, ViewerModel) for key in kind.class_keymap}
    taken |= {str(key) for keys in get_settings().shortcuts.shortcuts.values() for key in keys}
    assert not set(LETTERS) & taken


ROOT = Path(__file__).parent.parent
KEY = r"((?:Shift\+)?[A-Z])\b"
MEANS = {
    "accept": "accept",
    "reject": "reject",
    "fix": "fix",
    "change": "fix",
    "undo": "undo",
    "redo": "redo",
}
VERBS = "|".join(MEANS)
SAYS = (
    re.compile(rf"[Tt]o (?P<verb>{VERBS})\b[^.:;]*?press {KEY}"),
    re.compile(rf"press {KEY}(?: or click \w+)?(?: on (?:its|the) card)? to (?P<verb>{VERBS})\b"),
    re.compile(rf" or {KEY} to (?P<verb>{VERBS})\b"),
)


def sentences():
    """Every text that the code may show, and the documents' paragraphs: where it stands, and the text."""
    for path in sorted((ROOT / "src").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield f"{path.name}:{node.lineno}", node.value
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for text in path.read_text("utf-8").split("\n\n"):
            yield path.name, " ".join(text.split())


def test_every_key_that_a_text_names_is_the_docks_and_does_what_the_text_says():
    known, said = {*LETTERS, *ENDS}, 0
    for place, text in sentences():
        for key in re.findall(rf"[Pp]ress {KEY}", text):
            said += 1
            assert key in known, f"{place}: {text}"
        for pattern in SAYS:
            for found in pattern.finditer(text):
                key = next(group for group in found.groups() if group and group not in MEANS)
                assert KEYS[MEANS[found["verb"]]] == key, f"{place}: {text}"
    assert said


def test_keys_are_given_back_but_not_those_of_another_dock():
    viewer, heard = ViewerModel(), []
    one, two = (ViewerKeys(viewer, lambda key, n=n: heard.append((n, key))) for n in (1, 2))
    one.bind()
    two.bind()
    one.unbind()
    viewer.keymap[next(key for key in viewer.keymap if str(key) == "J")](viewer)
    assert heard == [(2, "J")]
    two.unbind()
    assert bound(viewer) == set()


@pytest.fixture
def at_work(open_dock, qtbot):
    viewer, dock = open_dock()
    with qtbot.waitExposed(dock):
        viewer.window._qt_window.show()
    ask(qtbot, dock, "segment the liver and the spleen")
    return viewer, dock


def verdicts(dock):
    session = dock.controller._place.case.session
    return [session.label(value).verdict for value in (1, 2)]


def test_the_keys_work_in_the_canvas_and_in_the_dock_but_not_in_the_text(at_work, qtbot):
    viewer, dock = at_work
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_J)
    assert verdicts(dock) == ["accepted", ""]
    qtbot.keyClick(dock.panel, Qt.Key.Key_N)
    assert verdicts(dock) == ["accepted", "rejected"]
    qtbot.keyClicks(dock.panel.question.line, "jnku")
    assert dock.panel.question.line.text() == "jnku"
    assert verdicts(dock) == ["accepted", "rejected"]
    qtbot.keyClick(dock.panel, Qt.Key.Key_U)
    qtbot.keyClick(dock.panel, Qt.Key.Key_U, Qt.KeyboardModifier.ShiftModifier)
    assert verdicts(dock) == ["accepted", "rejected"]


def test_a_hidden_dock_has_no_keys(at_work, qtbot):
    viewer, dock = at_work
    assert set(LETTERS) <= {key.replace("Shift-", "Shift+") for key in bound(viewer)}
    dock.parent().hide()
    assert not set(LETTERS) & bound(viewer)


def test_a_fix_is_painted_with_napari_s_brush_and_ended_with_a_key(at_work, qtbot):
    viewer, dock = at_work
    canvas = viewer.window._qt_viewer.canvas.native
    qtbot.keyClick(canvas, Qt.Key.Key_K)
    assert dock.panel.fix.isVisibleTo(dock.panel)
    layer = viewer.layers.selection.active
    layer.brush_size = 3
    layer.paint((2, 3, 3), 1)
    qtbot.keyClick(canvas, Qt.Key.Key_G)
    assert verdicts(dock) == ["corrected", ""]
    assert not dock.panel.fix.isVisibleTo(dock.panel)
    assert dock.controller._place.case.session.label(1).mask.to_array()[3, 3]
