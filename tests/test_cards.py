"""Cards, chips and the list of rounds, in Qt."""

import pytest
from napari._qt.qt_resources import get_stylesheet
from qtpy.QtCore import QEvent, QPointF, Qt
from qtpy.QtGui import QEnterEvent, QFocusEvent
from qtpy.QtWidgets import QApplication, QLabel, QProgressBar, QPushButton

from napari_mediround.widget.chat.view import Action, Chip, MaskLine, Message, Question, Reply
from napari_mediround.widget.qt.cards import ChipButton, ReplyCard
from napari_mediround.widget.qt.round_list import RoundList

LIVER = MaskLine(1, "#ff5a5f", "liver", 0.93, "5,133 mm²", "25.7 ml")
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
        "1 liver",
        "quality 0.93",
        "5,133 mm²",
        "proposed",
        "Here they are.",
        "a note",
    ):
        assert word in words
    for word in ("2 spleen", "check 0.41", "✕ rejected", "↻ corrected by model"):
        assert word in words
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
    chip = Chip("it", "1 liver", 1, (Action("1 liver [1]", "liver"), Action("2 spleen [1.2]", "spleen")))
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
    mask = MaskLine(12, "#ff0000", name, 0.41, "158,946 mm²", "", True, "")
    chip = Chip("the vessel of the round before the previous one", f"11 {name}", 11)
    reply = Reply(12, 7, "coronal plane 123", "Here it is.", (chip,), (mask,), ("a note " * 30,), 12.3)
    rounds.show_entries([Question("Segment the next vessel"), reply])
    rounds.show_current(12, "accept", "")
    assert rounds.widget().minimumSizeHint().width() <= 338  # where the window is 1280 wide
