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

    Only of a structure that the question leaves open, altogether or but for its kind ("the vessel behind
    [1]", "the part of the liver behind [1]"): see `asked_kind`.

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
    left = _leave_open(text, anatomy)
    found = [place for place, words in {1: _BESIDE, 2: _OF_TWO}.get(masks, {}).items() if _says(left, words)]
    sized = any(_says(left, _OF_TWO[size]) for size in (LARGER, SMALLER))
    if len(found) != 1 or (sized and masks == 1):
        return ""  # the largest thing beside a mask is not the first one there
    if not (sized or _ANYTHING.search(left) or asked_kind(text, anatomy)):
        return ""
    named = {*directions, *_OF_TWO}
    return next((name for name in (found[0], f"image_{found[0]}") if name in named), "")


def asked_kind(text: str, anatomy: Anatomy) -> frozenset[str]:
    """Return the structures that a question which asks for a place can mean; empty where all of them."""
    return anatomy.parts_in(text) or anatomy.kind_in(_leave_open(text, anatomy))


def _leave_open(text: str, anatomy: Anatomy) -> str:
    """Return a question without the structures that it names and the masks that it points at."""
    return _REFERENCE.sub("", anatomy.without_names(text))


def _says(text: str, words: str) -> bool:
    return re.search(rf"\b(?:{words})\b", text, re.IGNORECASE) is not None
