"""What a question wants that is no mask: a size, a change, a diagnosis, a side that there is not.

A small language model answers whatever it is asked with a mask. These it is not asked. Decided by the words
alone, before any model runs; English only. Knows no image.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from napari_mediround.domain.anatomy import Anatomy

NO_CHANGE = (
    "Words find structures and do not change masks: reject one (N), undo (U), or fix it by hand or with "
    "clicks (K)."
)
NO_DIAGNOSIS = (
    "MediRound outlines what you name; it makes no diagnosis and is no medical device. Name a structure or a "
    "finding to see its outline."
)
NO_LIST = "Name what you want to see, one structure or several: “the liver and the spleen”."
NO_SIDE = "The {} has no counterpart on the other side."

_SIZE = re.compile(
    r"^\W*(?:and\W+|then\W+|so\W+)?(?:how\s+(?:large|big|wide|long|thick|extensive)\s+(?:is|are)|measure|"
    r"(?:what(?:'s|’s|\s+is|\s+are)|give\s+me|tell\s+me|compute|calculate)\s+"
    r"(?:the|its|their)\s+(?:size|area|volume|extent|dimensions?))\b(?!.*\b(?:normal|usual|typical))",
    re.I,
)
_CHANGE = re.compile(
    r"^\W*(?:please\s+|now\s+|then\s+)*(?:remove|delete|erase|discard|undo|drop|hide|rename|merge|"
    r"grow|shrink|dilate|erode|smoothen|smooth|expand|enlarge|extend|trim|fill\s+(?:the\s+)?holes?)\b",
    re.I,
)
_DIAGNOSIS = re.compile(
    r"\bmalignant\s+or\s+benign\b|\bbenign\s+or\s+malignant\b|\bdiagnos(?:e|is|tic)\b|"
    r"\b(?:does|has)\s+(?:the|this|my)\s+patient\b|\bdo\s+i\s+have\b|\bwhat(?:'s|’s|\s+is)\s+wrong\b|"
    r"\bis\s+(?:it|this|that|\[[\d.]+\])\s+(?:malignant|benign|cancer(?:ous)?|normal|abnormal|dangerous|"
    r"an?\s+(?:cancer|tumou?r|metastasis|fracture))\b",
    re.I,
)
_EVERYTHING = re.compile(
    r"^\W*(?:(?:segment|outline|mark|show|label|find)\s+(?:me\s+)?(?:everything|anything|all|all\s+organs|"
    r"all\s+(?:the\s+)?structures)|what\s+(?:organs|structures|anatomy)?\s*(?:can|do)\s+you\s+see|"
    r"what\s+is\s+(?:in|on)\s+(?:this|the)\s+(?:image|picture|slice|scan)|"
    r"describe\s+(?:this|the)\s+(?:image|picture|slice|scan))\W*(?:here|on\s+this\s+\w+)?\W*$",
    re.I,
)
_OTHER_SIDE = re.compile(
    r"^(?!.*\b(?:left|right)).*\b(?:mirror|counterpart|twin|contralateral|(?:other|opposite)\s+side)\b", re.I
)


def asks_for_size(text: str) -> bool:
    """Whether a question asks how large something is that has a mask, and not how large it usually is."""
    return bool(_SIZE.search(text))


def reply_plainly(text: str, pointed_at: Sequence[str], anatomy: Anatomy | None) -> str:
    """Return what is said to a question that no mask answers, "" to any other.

    Parameters
    ----------
    text : str
        The question.
    pointed_at : sequence of str
        Structures of its references.
    anatomy : Anatomy or None
        Which structures have another side; None knows of none that has not.
    """
    if pointed_at and _CHANGE.search(text):
        return NO_CHANGE
    if _DIAGNOSIS.search(text):
        return NO_DIAGNOSIS
    if _EVERYTHING.search(text):
        return NO_LIST
    known = [anatomy.find(name) for name in pointed_at] if anatomy and _OTHER_SIDE.search(text) else []
    if known and all(one and one.is_one and not one.side for one in known):
        return NO_SIDE.format(known[0].name)
    return ""
