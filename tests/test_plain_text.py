"""No text that a person or a file wrote is markup in the window: labels, tips, captions, lists."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtGui import QTextDocument
from qtpy.QtWidgets import QLabel, QPushButton

from napari_mediround import widget
from napari_mediround.domain.judged import MaskRow
from napari_mediround.widget.export.export_dock import ExportDock
from napari_mediround.widget.export.mask_table import MaskTable
from napari_mediround.widget.qt.question_box import QuestionBox
from napari_mediround.widget.qt.wrapping import make_label, make_short_label, plain_caption, plain_tip

HOSTILE = ("<b>liver</b>", "<img src='file:///etc/passwd'>", "a < b\n<i>c</i>", "R&D", "&amp;", "plain")


@pytest.mark.parametrize("text", HOSTILE)
def test_a_tip_shows_its_text(text):
    shown = plain_tip(text)
    if "<" in text:  # what Qt takes for HTML must say the same once it is read as HTML
        document = QTextDocument()
        document.setHtml(shown)
        assert document.toPlainText() == text
    else:
        assert shown == text


@pytest.mark.parametrize("text", HOSTILE)
def test_captions_and_labels_show_their_text(qtbot, text):
    button = QPushButton(plain_caption(text))
    qtbot.addWidget(button)
    assert button.text().replace("&&", "&") == text
    assert button.shortcut().isEmpty()
    for label in (make_label(text), make_short_label(text)):
        qtbot.addWidget(label)
        assert label.textFormat() == Qt.TextFormat.PlainText


@pytest.mark.parametrize("text", HOSTILE)
def test_the_list_of_masks_shows_names_as_they_are(qtbot, text):
    table = MaskTable()
    qtbot.addWidget(table)
    table.show_rows([MaskRow(1, text, "MANUAL", "accepted", None, 1)])
    assert table.topLevelItem(0).text(0) == f"1 {text}"


def test_labels_of_the_export_dock_are_plain(make_napari_viewer, qtbot):
    dock = ExportDock(make_napari_viewer())
    qtbot.addWidget(dock)
    dock.view.show_busy("<b>x</b>")
    dynamic = [label for label in dock.findChildren(QLabel) if "<" in label.text()]
    assert [label.textFormat() for label in dynamic] == [Qt.TextFormat.PlainText]
    dock.worker.stop()


def test_labels_with_text_of_others_come_from_one_place():
    """A bare QLabel guesses whether its text is HTML: only words of ours, written there, may stand in one."""
    allowed = {"wrapping.py", "export_panel.py"}
    for path in Path(widget.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "QLabel" and path.name not in allowed:
                own = not node.args or isinstance(node.args[0], (ast.Constant, ast.JoinedStr))
                assert own, f"{path.name}: {ast.unparse(node)}"


def test_a_problem_in_the_question_is_plain(qtbot):
    box = QuestionBox()
    qtbot.addWidget(box)
    box.show_chips((), "<b>no</b>")
    shown = [label for label in box.findChildren(QLabel) if "no" in label.text()]
    assert shown
    assert all(label.textFormat() == Qt.TextFormat.PlainText for label in shown)
