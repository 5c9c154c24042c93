"""Labels that fit the dock whatever they say: plain text that wraps anywhere. Decides nothing."""

from __future__ import annotations

import re
from html import escape

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QSizePolicy

_LONGEST = 16
"""Characters of a word that are never broken: half the width of a narrow card."""
_BREAK = "\u200b"
"""Zero-width space: where a line may end without a blank."""


def breakable(text: str) -> str:
    """Return text that Qt can wrap anywhere: long words may be broken between any two characters."""
    return re.sub(rf"\S{{{_LONGEST + 1},}}", lambda word: _BREAK.join(word[0]), text)


def plain_tip(text: str) -> str:
    """Return a tooltip that shows a text as it is: Qt would take one with tags for HTML."""
    return f"<qt>{escape(text).replace(chr(10), '<br>')}</qt>" if "<" in text else text


def plain_caption(text: str) -> str:
    """Return the caption of a button or menu that shows a text as it is: Qt takes "&" for a key."""
    return text.replace("&", "&&")


def make_label(text: str, name: str = "") -> QLabel:
    """Return a label that wraps and can be copied from; it takes any width that it is given."""
    label = QLabel(breakable(text))
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setWordWrap(True)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    label.setObjectName(name)
    policy = label.sizePolicy()
    policy.setHorizontalPolicy(QSizePolicy.Policy.Ignored)
    label.setSizePolicy(policy)
    return label


def make_short_label(text: str, name: str = "") -> QLabel:
    """Return a label of a few words of ours, on one line."""
    label = QLabel(text)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setObjectName(name)
    return label
