"""Typed text made plain: look-alike letters, markup, control characters, numbers in words. Knows no anatomy."""

from __future__ import annotations

import html
import re
import unicodedata

_LOOKALIKE = str.maketrans(
    "аеорсухіјѕԁһӏвмнткгҮΑΒΕΖΗΙΚΜΝΟΡΤΥΧαορνικτυεАВЕКМНОРСТУХ",
    "aeopcyxijsdhlbmhtkrYABEZHIKMNOPTYXaopvikiueABEKMHOPCTYX",
)


_NUMBERS = {
    w: i
    for i, w in enumerate(
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"]
    )
} | {"thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90, "half": 0.5}  # fmt: skip


_ORDINALS = {
    w: i
    for i, w in enumerate(
        [
            "first",
            "second",
            "third",
            "fourth",
            "fifth",
            "sixth",
            "seventh",
            "eighth",
            "ninth",
            "tenth",
            "eleventh",
            "twelfth",
        ],
        1,
    )
}


_QUOTES = str.maketrans({"’": "'", "‘": "'", "`": "'", "´": "'", "“": '"', "”": '"', "„": '"', "«": '"', "»": '"', "–": "-",
                         "—": "-", "−": "-", "…": "...", "&": "&", "µ": "u", "×": "x"})  # fmt: skip


def clean(text: str) -> str:
    """Return a text as it reads: no markup, no escape codes, no hidden or look-alike characters."""
    text = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", text)
    text = html.unescape(text)
    text = unicodedata.normalize("NFKC", text).translate(_QUOTES)
    text = "".join(" " if _is_control(c) else c for c in text if unicodedata.category(c) != "Cf")
    text = re.sub(r"</?[a-zA-Z][^<>]{0,80}>|\[/?[a-zA-Z]+\]", " ", text)
    text = re.sub(r"\*\*|__|~~|[*`]{1,3}(?=\w)|(?<=\w)[*`]{1,3}", " ", text)
    text = re.sub(r"[^\W\d_]+", lambda m: _latin(m[0]), text)
    text = re.sub(r"(?<!\w)(?:[A-Za-z] ){3,}[A-Za-z](?!\w)", lambda m: m[0].replace(" ", ""), text)
    return re.sub(r"[^\S\n]+", " ", text).strip()


def _is_control(c: str) -> bool:
    return unicodedata.category(c) in ("Cc", "Co", "Cs", "Cn", "So") and c != "\n"


def _latin(word: str) -> str:
    plain = word.translate(_LOOKALIKE)
    return plain if plain.isascii() or word.isascii() else word


def fold(word: str) -> str:
    """Return what spellings of a word have in common: no case, no accents."""
    word = word.casefold().replace("ß", "ss").replace("œ", "oe").replace("æ", "ae").replace("ø", "o")
    return "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))


def number(word: str) -> float | None:
    """Return the number that a word says ("two", "2.5", "2,5"), None for no number."""
    if re.fullmatch(r"\d{1,6}(?:[.,]\d{1,4})?", word):
        return float(word.replace(",", "."))
    if word in _NUMBERS:
        return float(_NUMBERS[word])
    tens, _, ones = word.partition("-")
    if ones in _NUMBERS and tens in _NUMBERS and _NUMBERS[tens] >= 20 and 0 < _NUMBERS[ones] < 10:
        return float(_NUMBERS[tens] + _NUMBERS[ones])
    return None


def ordinal(word: str) -> int | None:
    """Return the number that an ordinal says ("third", "3rd"), None for none."""
    if match := re.fullmatch(r"(\d{1,3})(?:st|nd|rd|th)", word):
        return int(match[1])
    return _ORDINALS.get(word)


NUMBER = r"(?:\d{1,6}(?:[.,]\d{1,4})?|" + "|".join(sorted(_NUMBERS, key=len, reverse=True)) + ")"


ORDINAL = r"(?:\d{1,3}(?:st|nd|rd|th)|" + "|".join(_ORDINALS) + ")"
