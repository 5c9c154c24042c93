"""Which place a question asks for: beside a mask, between two, the larger of them. Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.domain.anatomy import Anatomy

LARGER, SMALLER, BETWEEN = "larger", "smaller", "between"

_OF_TWO = {
    SMALLER: r"smaller|smallest|lesser|tinier|less of|least",
    LARGER: r"larger|bigger|more of|greater|largest|biggest|greatest|bulkiest|most extensive",
    BETWEEN: r"between|sandwiched|separates",
}
_BESIDE = {
    "front": r"in front of|anterior|ventral|belly side",
    "behind": r"behind|posterior|dorsal|towards the back",
    "above": r"above|superior|cranial|on top of|over|towards the (?:head|top)|upper edge",
    "below": r"below|beneath|under|underneath|inferior|caudal|towards the (?:feet|bottom)|lower edge",
    "left": r"(?:patient's|to the|on the|towards the) left|left (?:of|side)",
    "right": r"(?:patient's|to the|on the|towards the) right|right (?:of|side)",
}
_ANYTHING = re.compile(
    r"\b(structures?|organ|things?|one|what|whatever|which|whichever|anything|neighbou?r|first|adjacent|closest"
    r"|most extensive|least extensive)\b",
    re.IGNORECASE,
)
_REFERENCE = re.compile(r"\[[\d.]+\]")


def asked_place(text: str, masks: int, anatomy: Anatomy, directions: frozenset[str] | set[str]) -> str:
    """Return the place that a question asks for, "" where it asks for none or for more than one.

    Only of a structure that the question leaves open ("the structure behind [1]"): a vessel, a rib or a
    gland is not whatever lies there.

    Parameters
    ----------
    text : str
        The question.
    masks : int
        How many masks it points at.
    anatomy : Anatomy
        Whose names are no directions ("left kidney", "superior vena cava").
    directions : set of str
        What the directions of the plane are called (`domain.relations.DIRECTIONS`).

    Returns
    -------
    str
        LARGER, SMALLER, BETWEEN, one of `directions`, or "".
    """
    text = anatomy.spell_out(text)
    for name in sorted(anatomy.names_in(text), key=len, reverse=True):
        text = re.sub(rf"\b{re.escape(name)}\b", "", text, flags=re.IGNORECASE)
    text = _REFERENCE.sub("", text)
    found = [place for place, words in {1: _BESIDE, 2: _OF_TWO}.get(masks, {}).items() if _says(text, words)]
    sized = any(_says(text, _OF_TWO[size]) for size in (LARGER, SMALLER))
    if len(found) != 1 or (sized and masks == 1) or not (sized or _ANYTHING.search(text)):
        return ""  # the largest thing beside a mask is not the first one there
    named = {*directions, *_OF_TWO}
    return next((name for name in (found[0], f"image_{found[0]}") if name in named), "")


def _says(text: str, words: str) -> bool:
    return re.search(rf"\b(?:{words})\b", text, re.IGNORECASE) is not None
