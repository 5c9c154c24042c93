"""Cards, chips and the list of rounds, in Qt."""

import pytest
from napari._qt.qt_resources import get_stylesheet
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QEnterEvent, QFocusEvent
from qtpy.QtWidgets import QApplication, QLabel, QProgressBar, QPushButton, QToolButton, QWidget

from napari_mediround.widget.chat.view import AbsentLine, Action, Chip, MaskLine, Message, Question, Reply
from napari_mediround.widget.qt.cards import ChipButton, ReplyCard
from napari_mediround.widget.qt.round_list import RoundList

LIVER = MaskLine(1, "#ff5a5f", "liver", 0.93, "51.3 cm²", "25.7 ml")
SPLEEN = MaskLine(2, "#3ddc84", "spleen", 0.41, "87 mm²", corrected=True, verdict="rejected")


def reply(*masks, references=(), actions=()):
    return Reply(1, 7, "axial plane 7", "Here they are.", references, masks, ("a note",), 1.2, actions)


@pytest.fixture
def rounds(qtbot):
    rounds = RoundList()
    qtbot.addWidget(rounds)
    rounds.resize(365, 600)
    return rounds


def labels(widget):
    return [label.text() for label in widget.findChildren(QLabel)]


def button(widget, start):
    (found,) = [b for b in widget.findChildren(QPushButton) if b.text().startswith(start)]
    return found


def test_a_card_says_all_there_is_to_know_of_a_round(rounds):
    rounds.show_entries([Question("where?"), reply(LIVER, SPLEEN)])
    card = rounds._cards[1]
    words = labels(card)
    for word in (
        "Round 1",
        "1.2 s",
        "liver",
        "quality 0.93",
        "51.3 cm²",
        "proposed",
        "Here they are.",
        "a note",
    ):
        assert word in words
    for word in ("spleen", "check 0.41", "✕ rejected", "↻ corrected by model"):
        assert word in words
    assert [row.number.text() for row in card._masks.values()] == ["[1]", "[2]"]
    assert [bar.value() for bar in card.findChildren(QProgressBar)] == [93, 41]
    assert [b.text() for b in card.steps.values()] == ["Accept (J)", "Fix (K)", "Reject (N)", "Undo (U)"]


def test_only_the_current_card_has_steps_and_they_fit_its_mask(rounds):
    rounds.show_entries([reply(LIVER, SPLEEN), reply(MaskLine(3, "#000000", "aorta", 1, "1 px"))])
    rounds.show_current(2, "reject 2 spleen", "round 3")
    one, two = rounds._cards
    assert (one._steps.isVisibleTo(one), two._steps.isVisibleTo(two)) == (True, False)
    assert not one.steps["reject"].isEnabled()
    assert one.steps["undo"].toolTip() == "Take back: reject 2 spleen\nShift+U does again: round 3"
    rounds.set_fixing(True)
    assert not one._steps.isVisibleTo(one)


def test_clicks_say_what_they_mean(rounds, qtbot):
    got = []
    for name in ("step_chosen", "mask_chosen", "action_chosen"):
        getattr(rounds, name).connect(lambda value, name=name: got.append((name, value)))
    rounds.show_entries([reply(LIVER, SPLEEN, actions=(Action("Ask again", "again"),))])
    rounds.show_current(1, "", "")
    card = rounds._cards[0]
    qtbot.mouseClick(card._masks[2], Qt.MouseButton.LeftButton)
    card.steps["accept"].click()
    button(card, "axial").click()
    assert got == [("mask_chosen", 2), ("step_chosen", "accept"), ("action_chosen", 7)]


def test_a_chip_shows_its_mask_under_the_pointer_and_offers_others(rounds):
    hovered, chosen = [], []
    chip = Chip("it", "1 liver", 1, (Action("1 liver", "liver"), Action("2 spleen", "spleen")))
    rounds.mask_hovered.connect(hovered.append)
    rounds.action_chosen.connect(chosen.append)
    rounds.show_entries([reply(LIVER, references=(chip,))])
    (shown,) = rounds.findChildren(ChipButton)
    assert shown.text() == "“it” → 1 liver"
    shown.enterEvent(QEnterEvent(QPointF(), QPointF(), QPointF()))
    shown.leaveEvent(QEvent(QEvent.Type.Leave))
    shown.menu().actions()[1].trigger()
    assert (hovered, chosen) == ([1, 0], ["spleen"])


def test_an_entry_that_did_not_change_keeps_its_card(rounds):
    rounds.show_entries([Question("one"), reply(LIVER), Message("a line")])
    before = list(rounds._cards)
    rounds.show_entries([Question("one"), reply(LIVER, SPLEEN), Message("a line"), Question("two")])
    kept = [card in before for card in rounds._cards]
    assert kept == [True, False, False, False]
    rounds.show_entries([Question("one"), reply(SPLEEN), Message("a line"), Question("two")])
    assert len(rounds._cards) == 4
    assert isinstance(rounds._cards[1], ReplyCard)
    rounds.show_entries([])
    assert rounds._cards == []
    assert rounds._welcome.isVisibleTo(rounds)


def test_a_round_is_reached_with_tab_and_then_takes_the_keys(rounds):
    got = []
    rounds.mask_chosen.connect(got.append)
    rounds.show_entries([reply(LIVER), reply(SPLEEN)])
    rounds.show_current(1, "", "")
    card = rounds._cards[1]
    assert card.focusPolicy() == Qt.FocusPolicy.TabFocus
    QApplication.sendEvent(card, QFocusEvent(QEvent.Type.FocusIn, Qt.FocusReason.TabFocusReason))
    assert got == [2]


def test_arrow_keys_go_from_mask_to_mask_within_a_round(rounds, qtbot):
    got = []
    rounds.mask_chosen.connect(got.append)
    rounds.show_entries([reply(LIVER, SPLEEN)])
    rounds.show_current(1, "", "")
    qtbot.keyClick(rounds._cards[0], Qt.Key.Key_Down)
    qtbot.keyClick(rounds._cards[0], Qt.Key.Key_Up)
    assert got == [2, 1]


def test_a_card_is_as_narrow_as_the_dock(rounds):
    rounds.setStyleSheet(get_stylesheet("dark"))
    name = "left common carotid artery"
    mask = MaskLine(12, "#ff0000", name, 0.41, "1,589 cm²", "", True, "")
    chip = Chip("the vessel of the round before the previous one", f"11 {name}", 11)
    reply = Reply(12, 7, "coronal plane 123", "Here it is.", (chip,), (mask,), ("a note " * 30,), 12.3)
    rounds.show_entries([Question("Segment the next vessel"), reply])
    rounds.show_current(12, "accept", "")
    assert rounds.widget().minimumSizeHint().width() <= 338  # where the window is 1280 wide


@pytest.mark.parametrize("width", [365, 330])
@pytest.mark.parametrize("text", ["x" * 2000, "肝" * 2000, "[1,2]" * 400, "a_b/c-d." * 250, "🫀" * 500])
def test_text_without_spaces_leaves_every_button_within_the_dock(rounds, qtbot, text, width):
    rounds.setStyleSheet(get_stylesheet("dark"))
    rounds.resize(width, 600)
    chip = Chip(text, f"11 {text}", 11)
    mask = MaskLine(12, "#ff0000", text, 0.41, "1,589 cm²", "", True, "")
    lost = AbsentLine(f"No {text} on this plane.", False, (Action("It is absent", 1),))
    answer = Reply(12, 7, text, text, (chip,), (mask,), (text,), 12.3, (Action(text, 1),), (lost,))
    message = Message(text, True, (Action(text, 2),))
    with qtbot.waitExposed(rounds):
        rounds.show()
    rounds.show_entries([Question(text), answer, message])
    rounds.show_current(12, text, text)
    QApplication.processEvents()
    edge = rounds.viewport().width()
    shown = [child for child in rounds.widget().findChildren(QWidget) if child.isVisible()]
    assert len(shown) > 20
    for child in shown:
        left = child.mapTo(rounds.viewport(), QPoint(0, 0)).x()
        assert left >= 0
        assert left + child.width() <= edge, (type(child), child.objectName())
    buttons = [b for b in shown if isinstance(b, QPushButton | QToolButton) and b.menu() is None]
    for each in buttons:
        assert each.width() >= min(each.sizeHint().width(), 60)


def test_a_click_on_a_number_says_it(rounds):
    got = []
    rounds.number_chosen.connect(got.append)
    rounds.show_entries([reply(MaskLine(7, "#ff5a5f", "liver", 0.9, "1 px", number=3))])
    rounds._cards[0]._masks[7].number.click()
    assert got == [3]


def test_what_was_not_found_is_a_line_with_two_actions_and_no_mask(rounds):
    got = []
    rounds.action_chosen.connect(got.append)
    lost = AbsentLine(
        "No kidney on this plane.", False, (Action("It is there", 1), Action("It is absent", 2))
    )
    rounds.show_entries([Reply(1, 7, "axial plane 7", "", (), (), (), 1.2, absent=(lost,))])
    (card,) = rounds._cards
    assert "No kidney on this plane." in labels(card)
    assert not card.findChildren(QProgressBar)
    button(card, "It is absent").click()
    assert got == [2]
    rounds.show_current(0, "", "")
    assert not card._steps.isVisibleTo(card)


def test_a_mask_that_a_person_drew_shows_no_quality_of_the_model(rounds):
    rounds.show_entries([reply(MaskLine(1, "#ff5a5f", "liver", None, "1 px", verdict="corrected"))])
    assert "drawn by hand" in labels(rounds._cards[0])
    assert not rounds._cards[0].findChildren(QProgressBar)
