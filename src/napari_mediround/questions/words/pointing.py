"""Words that point at masks, and amounts with their units. Knows no name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from napari_mediround.questions.request import Ref
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.words.plain_text import NUMBER, ORDINAL, number, ordinal
from napari_mediround.questions.words.token import Pointer, Token

_UNITS: Mapping[str, tuple[float, str]] = {
    "mm": (1, "mm"), "cm": (10, "mm"), "um": (0.001, "mm"), "m": (1000, "mm"), "in": (25.4, "mm"),
    "ml": (1, "ml"), "mm3": (0.001, "ml"), "l": (1000, "ml"), "ul": (0.001, "ml"), "mm2": (0, ""), "px": (0, ""),
}  # fmt: skip


_UNIT = (
    r"(?P<mm3>cubic\s+(?:mm|milli?met(?:er|re)s?)|mm\^?3|milli?met(?:er|re)s?\s+cubed)|"
    r"(?P<ml>mls?|ccs?|cm\^?3|cubic\s+(?:cm|centimet(?:er|re)s?)|milli?lit(?:er|re)s?)|"
    r"(?P<mm2>mm\^?2|cm\^?2|square\s+\w+)|(?P<mm>mms?|milli?met(?:er|re)s?|mils?)|"
    r"(?P<cm>cms?|centimet(?:er|re)s?)|(?P<um>um|micron\w*|micromet(?:er|re)s?)|(?P<ul>ul|microlit(?:er|re)s?)|(?P<l>lit(?:er|re)s?)|"
    r"(?P<in>inch(?:es)?)|(?P<m>met(?:er|re)s?)|(?P<px>px|pixels?|voxels?)"
)


AMOUNT = re.compile(
    rf"(?<![\w.])(?P<n>{NUMBER}(?:\s+(?:and\s+a\s+half|point\s+{NUMBER}))?(?:\s+an?)?|an?)\s*-?\s*(?:{_UNIT})(?![a-z0-9])",
    re.I,
)


_SMALL = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"


_NUM = rf"(?:\d{{1,4}}|{_SMALL})"


_MASKWORD = r"(?:masks?|rounds?|contours?|outlines?|segmentations?|results?|answers?|proposals?|number|nr\.?|no\.|labels?|items?|entr(?:y|ies)|ref(?:erence)?s?)"


POINT = re.compile(
    rf"\b(?:the\s+)?(?P<on>{ORDINAL}|last)\s+(?:mask|one|contour|outline|structure|segmentation|result)\s+(?:of|in|from)\s+(?:the\s+)?round\s+(?P<or>{_NUM})\b|"
    rf"\b(?:the\s+)?(?:mask|contour|outline|structure|number)\s+#?(?P<in>{_NUM})\s+(?:of|in|from)\s+(?:the\s+)?round\s+(?P<ir>{_NUM})\b|"
    rf"\bround\s+(?P<rr>{_NUM})(?:\s*,)?(?:\s+'?s)?\s+(?:the\s+)?(?:(?P<ro>{ORDINAL})\s+(?:mask|one|contour|structure)|(?:mask|contour|structure)\s+#?(?P<rn>{_NUM}))\b|"
    r"\[\s*(?P<from>\d+)\s*\]\s*(?:-|to|through|until|\.\.\.?)\s*\[\s*(?P<to>\d+)\s*\]"
    r"|\[\s*(?P<list>\d+(?:\.\d+)?(?:\s*(?:,|;|&|and|\+)\s*\d+(?:\.\d+)?)+)\s*\]"
    r"|\[\s*(?P<from2>\d+)\s*-\s*(?P<to2>\d+)\s*\]"
    r"|\[\s*(?P<bad>-?\d+(?:\.\d+){2,}|-\d+|\d+[a-z]+|\d{5,}|\d*\.\d*[a-z]\w*)\s*\]|\[\s*(?P<one>\d+)(?:\.(?P<two>\d+))?\s*\]"
    rf"|#\s*(?P<h>\d+)(?:\.(?P<h2>\d+))?(?:\s*(?:,|and|&)\s*#?(?P<h3>\d+)(?!\s*mm))?"
    rf"|\b(?:the\s+)?{_MASKWORD}\s*#?\s*(?P<mf>{_NUM})\s*(?:-|to|through)\s*#?(?P<mt>{_NUM})\b"
    rf"|\b(?:the\s+)?(?P<mw>{_MASKWORD})\s*#?\s*(?P<m>{_NUM})(?:\.(?P<m2>\d+))?(?P<more>(?:\s*(?:,|and|&)\s*(?:#|{_MASKWORD}\s*)?{_NUM})*)(?![\w.]|\s*(?:mm|cm|ml|cc|%))",
    re.I,
)


ORDINAL_MASK = re.compile(
    rf"\b(?:the\s+)?(?P<o>{ORDINAL}|last|latest|previous|newest|most\s+recent|second(?:\s+to\s+last|\s+last)|penultimate)\s+"
    rf"(?:(?P<n>{_NUM})\s+)?(?P<w>masks?|ones?|contours?|outlines?|segmentations?|results?|rounds?|answers?|proposals?)\b"
    rf"|\b(?:the\s+)?(?P<o2>last|first|latest|previous|newest)\s+(?P<n2>two|three|four|five|[2-5])\b(?!\s*(?:slices?|planes?|mm|cm|images?|cuts?|levels?))",
    re.I,
)


_NO_RANGE = re.compile(
    r"\b(clip|crop|restrict|limit|confine|constrain|add|join|merge|compare|copy|cut|trim|move|from|distance|close|near|"
    r"next|related|similar|attach|bring|bound|mask|rename|call)\b[^.;]*$",
    re.I,
)
"""Words before "[1] to [3]" after which two masks are meant, not three."""


def read_amount(match: re.Match) -> Token:
    """Return the amount that words say, in millimetres or millilitres."""
    said = match["n"].casefold()
    value = 0.0
    for part in re.findall(r"\d+[.,]\d+|\d+|[a-z]+", said):
        value += 0 if part in ("a", "an", "and", "point") else 0.5 if part == "half" else number(part) or 0
    if point := re.search(rf"({NUMBER})\s+point\s+({NUMBER})", said):
        value = float(f"{int(number(point[1]) or 0)}.{int(number(point[2]) or 0)}")
    if value == 0 and not re.search(r"\d|zero", said):
        value = 1.0
    unit = next(k for k, v in match.groupdict().items() if k != "n" and v)
    factor, kind = _UNITS[unit]
    return Token("A", "A", match[0], amount=(value * factor if kind else None, kind or unit))


def read_pointer(match: re.Match, situation: Situation, keep) -> str:
    """Keep the masks that a number means and return their place holder."""
    g = match.groupdict()
    if g["bad"] is not None:
        return keep(Token("R", "R", match[0], pointer=Pointer(problem="dangling")))
    rounds: list[tuple[int, int | None]] = []
    if g["from"] and (int(g["from"]) > int(g["to"]) or _NO_RANGE.search(match.string[: match.start()])):
        ends = [_look_up([(int(g[k]), None)], situation, False) for k in ("from", "to")]
        one, other = (
            keep(Token("R", "R", f"[{g[k]}]", pointer=p)) for k, p in zip(("from", "to"), ends, strict=True)
        )
        return f"{one} to {other}"
    whole = bool(g["mw"] and g["mw"].casefold().startswith("round"))
    if g["from"] or g["from2"] or g["mf"]:
        a, b = (
            _int(g[k])
            for k in (("from", "to") if g["from"] else ("from2", "to2") if g["from2"] else ("mf", "mt"))
        )
        a, b = sorted((a, b))
        rounds = [(n, None) for n in range(a, min(b, a + 50) + 1)]
    elif g["list"]:
        rounds = [
            (int(n.split(".")[0]), int(n.split(".")[1]) if "." in n else None)
            for n in re.findall(r"\d+(?:\.\d+)?", g["list"])
        ]
    elif g["or"] or g["ir"] or g["rr"]:
        rounds = [(_int(g["or"] or g["ir"] or g["rr"]), _place_in(g, situation))]
    elif g["one"]:
        rounds = [(int(g["one"]), int(g["two"]) if g["two"] else None)]
    elif g["h"]:
        rounds = [(int(g["h"]), int(g["h2"]) if g["h2"] else None)] + (
            [(int(g["h3"]), None)] if g["h3"] else []
        )
    else:
        if g["mw"].casefold() in ("number", "no.", "nr", "nr.", "label", "labels") and not situation.masks:
            return match[0]
        rounds = [(_int(g["m"]), int(g["m2"]) if g["m2"] else None)]
        rounds += [(_int(n), None) for n in re.findall(rf"\d+|{_SMALL}", g["more"] or "")]
    return keep(
        Token("R", "R", match[0], pointer=_look_up(rounds, situation, whole or len(rounds) > 1, whole))
    )


def _place_in(g: dict, situation: Situation) -> int:
    """Return which mask of a round "the second mask of round 3" means."""
    if said := g["on"] or g["ro"]:
        if said.casefold() == "last":
            return max((m.index for m in situation.masks if m.round == _int(g["or"])), default=0)
        return ordinal(said.casefold()) or 0
    return _int(g["in"] or g["rn"])


def _int(text: str) -> int:
    return int(number(text.casefold()) or 0)


def _look_up(
    rounds: list[tuple[int, int | None]], situation: Situation, all_of_round: bool, by_round: bool = False
) -> Pointer:
    found: list[Ref] = []
    several = False
    for round_, index in rounds:
        numbered = index is None and not by_round and any(m.number for m in situation.masks)
        there = [
            m
            for m in situation.masks
            if (m.number == round_ if numbered else m.round == round_ and index in (None, m.index))
        ]
        alive = [m for m in there if m.verdict != "rejected"]
        if not alive:
            return Pointer(tuple(found), "dangling")
        alive = situation.one_each(alive) if numbered else alive
        several |= len(alive) > 1 and not all_of_round
        found += [(m.round, m.index) for m in alive if (m.round, m.index) not in found]
    return Pointer(tuple(found), several=several)


def read_nth(match: re.Match, situation: Situation, keep) -> str:
    """Keep the masks that an ordinal means ("the last two") and return their place holder."""
    g = match.groupdict()
    said = (g["o"] or g["o2"]).casefold()
    count = _int(g["n"] or g["n2"] or "0")
    alive = situation.alive
    if not alive:
        return (
            match[0]
            if said not in ("last", "previous", "latest") or g["w"] is None
            else keep(Token("R", "R", match[0], pointer=Pointer(problem="dangling")))
        )
    word = (g["w"] or "").casefold()
    if word.startswith(("round", "answer")) and not count and ordinal(said):
        return keep(
            Token("R", "R", match[0], pointer=_look_up([(ordinal(said), None)], situation, True, True))
        )
    if said.startswith(("last", "latest", "previous", "newest", "most")):
        if count or (word.endswith("s") and not word.startswith("one")):
            masks = alive[-count:] if count else situation.last
        else:
            masks = situation.last
        several = len(masks) > 1 and not count and not word.endswith("s")
        return keep(
            Token(
                "R", "R", match[0], pointer=Pointer(tuple((m.round, m.index) for m in masks), several=several)
            )
        )
    if said == "first" and count:
        return keep(
            Token("R", "R", match[0], pointer=Pointer(tuple((m.round, m.index) for m in alive[:count])))
        )
    if (
        word.startswith("one")
        and len({m.round for m in situation.masks}) <= 1
        and len(situation.masks) == 1
        and ordinal(said) not in (1,)
    ):
        return match[0]
    place = len(alive) - 1 if said.startswith(("second to", "second last", "penult")) else ordinal(said)
    if place and 1 <= place <= len(alive):
        mask = alive[place - 1]
        return keep(Token("R", "R", match[0], pointer=Pointer(((mask.round, mask.index),))))
    return keep(Token("R", "R", match[0], pointer=Pointer(problem="dangling")))
