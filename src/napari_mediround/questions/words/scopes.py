"""Which planes a step is about: "slices 3-8", "all slices", "the next slice". Knows no action."""

from __future__ import annotations

import re

from napari_mediround.questions.situation import Situation
from napari_mediround.questions.words.token import Token

_N = r"(?:no\.? |number |# ?)?(\d{1,4})"


_PLANE = r"(?:slices?|planes?|images?|frames?|cuts?|sections?|levels?|layers?|img)"


_RULES: tuple[tuple[str, str], ...] = (
    ("range", rf"\b(?:on |in |at |for |through |over |across |from |between )*(?:the )?{_PLANE} (?:from |between |no |number )?(\d{{1,4}}) ?(?:-|to|through|until|up to|and|till|thru) ?(?:{_PLANE} )?(\d{{1,4}})\b"),
    ("range", rf"\b(?:from|between) (?:the )?(\d{{1,4}}) (?:to|through|until|and|up to|-) (\d{{1,4}})(?: {_PLANE})?\b"),
    ("first", rf"\b(?:in |on |for |over )*(?:the )?first (\d{{1,4}}) {_PLANE}\b"),
    ("at", r"\b(?:on |in |at )?(?:z|im|img|sl|slc) ?[=:]? ?(\d{1,4})\b"),
    ("plane", r"\b(?:on|in|from) (?:this|the|a) (?:short|long) axis(?: view| slice| image| plane)?\b"),
    ("at", rf"\b(?:on |in |at |for )*(?:the )?{_PLANE} {_N}\b"),
    ("stack", rf"\b(?:on|in|for|through|over|across|throughout|at|to|onto|into)?(?: )?(?:the )?(?:all|every|each|whole|entire|complete|full|remaining|other|rest of the)(?: of)?(?: the| these| \d{{1,4}}| other| remaining)* (?:{_PLANE}|stack|volume|series|scan|study|data ?set|image stack|acquisition|cine)\b"),
    ("stack", r"\b(?:through|throughout|across|over|in|on|to|for) (?:the )?(?:stack|volume|series|scan|whole thing|all of it)\b"),
    ("stack", r"\b(everywhere|all over|in 3d|3d|in three dimensions|three dimensional(?:ly)?|volumetric(?:ally)?|slice by slice|slice after slice|plane by plane|all the way(?: through| up and down)?|all through|whole stack|entire stack|full stack|top to bottom|up and down|stackwise|end to end|start to finish|from first to last|from top to bottom|full volume|as a volume|the rest of the way)\b"),
    ("stack", r"\bfrom (?:the )?\w+ to (?:the )?(?:tip|bottom|base|end|top|apex|last|lower pole|inferior pole)\b"),
    ("next", rf"\b(?:on |in |to |onto |for |at |just )*(?:the |one |a |1 )*(?:next|following|subsequent|coming) {_PLANE}(?: up| down| above| below)?\b"),
    ("next", rf"\b(?:on |in |to |onto |just )*(?:the |one |a |1 )*(?:more |further |another )?{_PLANE} (?:up|above|higher|further up|upwards|cranially)\b"),
    ("next", rf"(?<!the )\b(?:one|1) (?:{_PLANE} )?(?:up|further|above|higher)\b|\b(?:the )?{_PLANE} above\b|\bone more {_PLANE}\b|\banother {_PLANE}\b"),
    ("previous", rf"\b(?:on |in |to |onto |for |at )*(?:the |one |a |1 )*(?:previous|preceding|prior|last|earlier) (?:one )?{_PLANE}\b"),
    ("previous", rf"\b(?:on |in |to |onto |just )*(?:the |one |a |1 )*(?:more |further |another )?{_PLANE} (?:down|below|lower|before|earlier|back|downwards|caudally)\b"),
    ("previous", rf"(?<!the )\b(?:one|1) (?:{_PLANE} )?(?:down|below|lower|back)\b|\b(?:the )?{_PLANE} below\b"),
    ("view", r"\b(?:on|in|from|for|using|with)? ?(?:the |a )?(coronal|sagittal|axial|transverse|transversal)(?:ly)? (?:view|plane|slice|image|reformat|reformation|reconstruction|section|orientation|cut|mpr|reformats|views)s?\b"),
    ("view", r"\b(?:on|in|from) (?:the )?(coronal|sagittal|axial)s?\b"),
    ("view", r"(?<=[SXR\d] )(coronal|sagittal)(?:ly)?$|^(coronal|sagittal)(?= S\d)|\b(coronal|sagittal)ly\b"),
    ("plane", rf"\b(?:only )?(?:on|in|at|for)? ?(?:just )?(?:this|the current|current|that|this one|the present|the displayed|the shown|the visible|the same|this single|same) (?:one )?{_PLANE}(?: only| alone)?\b"),
    ("plane", r"\b(?:only |just )?(?:right )?here(?: only)?\b|\b(?:at|on) this level\b"),
    ("odd", rf"\b(?:in |on |for )?(?:the )?(?:lowest|highest|last|top|bottom|upper|lower|middle|central|every (?:second|other|third|fourth|\d+\w*)) (?:\d{{1,4}} )?{_PLANE}\b|\b(?:in |on )?(?:the )?last (\d{{1,4}}) {_PLANE}\b|\bevery (?:second|other|third|\d\w*) {_PLANE}\b|\b{_PLANE} (?:-|minus) ?\d+"),
    ("odd", r"\b(mip|minip|vrt|volume rendering|3d rendering|curved (?:mpr|reformat)|oblique (?:view|plane|mpr|reformat)|reformatted|double oblique|short axis view|long axis view|two chamber|four chamber view|2 chamber|4 chamber view|phase images?|subtraction image)\b"),
)  # fmt: skip


_COMPILED = tuple((kind, re.compile(pattern)) for kind, pattern in _RULES)


_ODD_FIRST = ("odd", "range")


def cut_scope(tokens: list[Token], situation: Situation) -> tuple[str | tuple[int, int], list[Token]]:
    """Return the planes that a step is about, and its tokens without the words for them.

    "" where nothing was said; "odd" where what was said is no set of planes that can be asked about.
    """
    text = " ".join(f"{t.kind}{i}" if t.kind in "SXRA" else t.word for i, t in enumerate(tokens))
    for kind, pattern in sorted(_COMPILED, key=lambda r: r[0] not in _ODD_FIRST):
        match = pattern.search(text)
        if not match:
            continue
        start = len(text[: match.start()].split())
        size = len(match[0].split())
        rest = [*tokens[:start], *tokens[start + size :]]
        numbers = [int(g) for g in match.groups() if g and g.isdigit()]
        if kind == "range":
            return (min(numbers), max(numbers)), rest
        if kind == "at":
            return (numbers[0], numbers[0]), rest
        if kind == "first":
            return (0, numbers[0] - 1), rest
        if kind == "view":
            word = next(g for g in match.groups() if g)
            return "axial" if word.startswith(("ax", "tr")) else word, rest
        if kind == "plane":
            return "plane", rest
        return kind, rest
    return "", tokens
