"""What a question wants that is no mask: a size, a change, a diagnosis, a side that there is not.

A small language model answers whatever it is asked with a mask. These it is not asked. Decided by the words
alone, before any model runs; English only, and only where the whole question says nothing else: "the organ on
the other side of the liver" asks for a structure. Knows no image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from napari_mediround.domain.anatomy import Anatomy

NO_CHANGE = (
    "Words find structures and do not change masks. In the dock, reject one (N), undo (U), or fix it by hand "
    "or with clicks (K)."
)
NO_DIAGNOSIS = (
    "MediRound outlines what you name; it makes no diagnosis and is no medical device. Name a structure or a "
    "finding to see its outline."
)
NO_LIST = "Name what you want to see, one structure or several: “the liver and the spleen”."
NO_SIDE = "The {} has no counterpart on the other side."

_LEAD = r"^\W*(?:(?:and|then|now|so|please|ok|okay)\W+)*"
_MASK = r"(?:\[[\d.]+\]|round\s+[\d.]+|it|them|this|that|these|those|they)"
_END = r"\s*(?:\bin\s+(?:mm|cm|square|cubic|ml|pixels?)\S*|\bon\s+this\s+\w+|\bhere|\bnow)?[\s.?!]*$"
_LAST = r"the\s+(?:last|previous|latest)\s+(?:mask|one|segmentation|round)"

_SIZE = re.compile(
    rf"{_LEAD}(?:(?:how\s+(?:large|big|extensive)\s+(?:is|are)|measure)\s+(?P<one>.+?)|"
    rf"(?:what(?:'s|’s|\s+is|\s+are)|give\s+me|tell\s+me|compute|calculate)\s+"
    rf"(?:the\s+(?:size|area|volume)s?\s+of\s+(?P<other>.+?)|(?P<its>its|their)\s+(?:size|area|volume)s?)){_END}",
    re.I,
)
_POINTS = re.compile(rf"(?:{_MASK}|{_LAST})(?:(?:\s*,\s*|\s+and\s+)(?:{_MASK}|{_LAST}))*", re.I)
_CHANGE = re.compile(
    rf"{_LEAD}(?:remove|delete|erase|discard|drop|hide|rename|merge|grow|shrink|dilate|erode|smoothen|smooth|"
    rf"expand|enlarge|trim|undo)\s+(?P<what>.+?)(?:\s+(?:by\s+.*|a\s+(?:bit|little)|again))?[\s.?!]*$",
    re.I,
)
_DIAGNOSIS = re.compile(
    rf"{_LEAD}(?:(?:(?:is|are)\s+(?:{_MASK}|the\s+\w+)\s+)?(?:malignant\s+or\s+benign|benign\s+or\s+malignant)|"
    rf"(?:is|are)\s+{_MASK}\s+(?:malignant|benign|cancer(?:ous)?|normal|abnormal|dangerous|"
    r"an?\s+(?:cancer|tumou?r|metastasis|fracture))|"
    r"(?:does|has)\s+(?:the|this|my)\s+patient\s+(?:have|got)\s+(?:a\s+)?(?:cancer|disease)|do\s+i\s+have\s+cancer|"
    r"what(?:'s|’s|\s+is)\s+(?:wrong|(?:the|your)\s+diagnosis)(?:\s+(?:here|with\s+.*))?|diagnose\s.*)[\s.?!]*$",
    re.I,
)
_EVERYTHING = re.compile(
    rf"{_LEAD}(?:(?:segment|outline|mark|show|label|find)\s+(?:me\s+)?(?:everything|anything|all|all\s+organs|"
    r"all\s+(?:the\s+)?structures)|what\s+(?:organs\s+|structures\s+|anatomy\s+)?(?:can|do)\s+you\s+see|"
    r"what\s+is\s+(?:in|on)\s+(?:this|the)\s+(?:image|picture|slice|scan)|"
    r"describe\s+(?:this|the)\s+(?:image|picture|slice|scan))(?:\s+(?:here|(?:on|in)\s+this\s+\w+))?[\s.?!]*$",
    re.I,
)
_OTHER_SIDE = re.compile(
    rf"{_LEAD}(?:(?:segment|outline|mark|show|find)\s+(?:me\s+)?)?(?:(?:its|their|the)\s+)?"
    r"(?:(?:mirror(?:\s+image)?|counterpart|twin|contralateral\s+(?:one|side)|(?:other|opposite)\s+side)"
    r"(?:\s+of\s+.+)?|same(?:\s+\w+)?\s+on\s+the\s+(?:other|opposite)\s+side)[\s.?!]*$",
    re.I,
)


def asked_size(text: str) -> str:
    """Return what is to be measured ("the liver", "[1.2]", "it"), "" where no size is asked for."""
    match = _SIZE.search(text)
    return (match["one"] or match["other"] or "it").strip() if match else ""


def points(words: str) -> bool:
    """Whether words only point at masks: "[1] and [2]", "it", "the last mask"."""
    return bool(_POINTS.fullmatch(words))


def reply_plainly(text: str, pointed_at: Sequence[str], anatomy: Anatomy | None) -> str:
    """Return what is said to a question that no mask answers, "" to any other.

    Parameters
    ----------
    text : str
        The question.
    pointed_at : sequence of str
        Structures of its references.
    anatomy : Anatomy or None
        Which names mean one structure, and which structures have another side.
    """
    known = [anatomy.find(name) for name in pointed_at] if anatomy else []
    if pointed_at and (match := _CHANGE.search(text)):
        named = anatomy.find(match["what"]) if anatomy else None
        if points(match["what"]) or (named and named in known):
            return NO_CHANGE
    if _DIAGNOSIS.search(text):
        return NO_DIAGNOSIS
    if _EVERYTHING.search(text):
        return NO_LIST
    if known and _OTHER_SIDE.search(text) and all(one and one.is_one and not one.side for one in known):
        return NO_SIDE.format(known[0].name)
    return ""
