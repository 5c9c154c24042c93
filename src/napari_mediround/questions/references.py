"""What a question points at among earlier masks: "[1]", "it", "the previous one", a structure's name.

Decided by the words alone, before any model runs. Knows no image and no model; English only.

- ``[3]`` is the mask with that number (`Conversation.numbers`); of a mask that was carried through the stack,
  the one on the plane asked about. ``round 1`` is the mask of a round, ``[1.2]`` the second of round 1.
- A pronoun means the explicit reference before it in the same question, else the last round with masks.
- The name of a structure that has a mask is a reference where the question uses it to say *where* or *whose*
  ("the vessel behind the liver", "the liver's neighbour"), not where it asks for it ("segment the liver").
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.rounds import Conversation, Reference, Round, Target
from napari_mediround.errors import DanglingReferenceError

_LONGEST_NAME = 7

_ARTICLES = r"(?:(?:the|a|an|this|that|said|same|patient's|segmented|whole|entire|both|either|each|two)\s+)*"

# Words after which a name says where something lies, whose it is or what it does, and is not asked for.
_CUE = (
    r"\b(?:of|near|to|beside|besides|behind|above|below|under|underneath|beneath|over|between|around|before|"
    r"inside|within|in|into|from|through|along|across|toward|towards|beyond|against|past|opposite|alongside|"
    r"outside|than|(?:same|\w*(?<!well))\s+as|other|contralateral|"
    r"(?:suppli|drain|surround|cover|enclos|cross|bound|form|fed|follow|protect)\w*\s+by|"
    r"suppl(?:ies|y|ying)|(?:feed|drain|enter|exit|cross|surround|touch|border|join|connect)(?:s|es|ing)?|"
    r"leav(?:es?|ing)|neighbou?r(?:s|ing)?|mirror(?:s|ing)?|"
    r"(?:contain|cover|hold|adjoin|abutt?|flank|support|fill|mov|lin|link|fac|separat|includ|bath|carr|bear)"
    r"(?:i?e?s|ing)|follows|splits?|protect(?:s|ing)?|enclos(?:es?|ing)|makes?\s+up|"
    r"(?:that|which)(?:\s+only)?(?=\s+the\b)|"
    r"(?:overl|underl)(?:ies|ying)|empt(?:ies|ying)|encase[sd]?)\s+"
)

# "a mask of the liver" asks for the liver all the same.
_ASKED_FOR = (
    r"\b(?:masks?|segmentations?|outlines?|contours?|delineations?|all|whole|most|view|(?<!mirror )image|"
    r"picture|location|extent|position|instances?|shape|area|volume|size|both|each|either|one|out|me|us|"
    r"go|back|switch|on|over)\s+(?:of|to|in)\s+"
)

_NOUN = r"(?:mask|one|structure|organ|segmentation|result|contour|outline|answer|object|region)"
_POINTED = rf"(?:{_NOUN}|vessel|lesion|cavity|chamber|bone|muscle|thing|tumou?r|nodule|cyst)"
_STOP = r"(?=\s*(?:[.,;:?!)]|$|(?:is|was|and|or|on|in|at|but|from|too|as)\b))"

_EXPLICIT = re.compile(r"\[\s*(\d+)(?:\.(\d+))?\s*\]|\bround\s+(\d+)(?:\.(\d+))?\b(?!\s*(?:mm|cm|-))", re.I)
_SINGULAR = re.compile(
    rf"\b(?:it|its|(?:this|that)\s+{_POINTED}(?!\s+of\b)|"
    rf"the\s+(?:previous|last|latest|preceding)\s+(?:{_NOUN}|round)(?!\s+of\b)|"
    rf"the\s+{_NOUN}\s+(?:before|above){_STOP}|the\s+(?:previous|last){_STOP})\b",
    re.I,
)
_PLURAL = re.compile(rf"\b(?:them|their|(?:these|those)\s+(?:{_POINTED}s|two|three|four))\b", re.I)
_BARE = re.compile(rf"\b(?:this|that){_STOP}", re.I)
_OTHER_SIDE = re.compile(
    r"\bthe\s+same(?!\s+\w*\s*as\b)[^.?!]*\bon\s+the\s+(?:other|opposite|contralateral)\s+side\b|"
    r"^\W*(?:(?:and|now|then)\W+)*(?:on\s+)?the\s+(?:other|opposite)\s+(?:side|one)\W*$",
    re.I,
)
_EMPTY_IT = re.compile(
    r"\bis\s+it\s+(?:possible|ok|okay|fine|true|correct|likely|safe)\b|"
    r"\bit(?:\s+is|'s)\s+(?:possible|likely|clear|true)\b|\bit\s+(?:seems|appears)\s+that\b|\bif\s+it\s+helps\b",
    re.I,
)
_ORDER = (
    r"\b(?:segment|outline|mark|show|find|delineate|contour|label|trace|draw|highlight|mask)\s+(?:me\s+)?$"
)


@dataclass(frozen=True)
class _Mask:
    reference: Reference
    round: Round
    target: Target

    number: int

    @property
    def label(self) -> str:
        return f"[{self.number}] {self.target.structure}"


@dataclass(frozen=True)
class _Mention:
    """A stretch of the question and the masks it means."""

    start: int
    end: int
    phrase: str
    masks: tuple[_Mask, ...]


def resolve_references(
    text: str, conversation: Conversation, anatomy: Anatomy | None = None, plane: int | None = None
) -> tuple[Reference, ...]:
    """Return the earlier masks that a question points at.

    Parameters
    ----------
    text : str
        The question as typed.
    conversation : Conversation
        The rounds so far.
    anatomy : Anatomy, optional
        Lets synonyms, plurals and "the other kidney" stand for a structure.
    plane : int, optional
        0-based plane that is asked about: among masks of one name, those on this plane are meant.

    Returns
    -------
    tuple of Reference
        In the order of the text, each mask once, with the words that mean it.

    Raises
    ------
    DanglingReferenceError
        When the words point at no mask, or at several; its `choices` and its text list those there are.
    """
    masks = tuple(
        _Mask(m.reference, m.round, m.target, m.number)
        for m in conversation.masks()
        if m.target.verdict != "rejected"
    )
    explicit = [_read_number(match, conversation, masks, plane) for match in _EXPLICIT.finditer(text)]
    masks = tuple(mask for mask in masks if not mask.round.carried)  # only a number means one of those
    mentions = _names(text, masks, anatomy, plane, explicit)
    mentions = [mention for mention in mentions if mention.masks]
    mentions += _pronouns(text, masks, mentions)
    if not mentions and masks and (match := _OTHER_SIDE.search(text)):
        mentions = [_last(match, masks, several=False)]
    found: dict[tuple[int, int], Reference] = {}
    for mention in sorted(mentions, key=lambda m: m.start):
        for mask in mention.masks:
            if not mask.target.mask.area:
                why = f"points at nothing: no {mask.target.structure} was found in round {mask.round.index}"
                raise _fail(mention.phrase, why, masks)
            key = mask.reference.round, mask.reference.target
            found.setdefault(key, replace(mask.reference, phrase=mention.phrase))
    return tuple(found.values())


def _fail(phrase: str, why: str, choices: tuple[_Mask, ...]) -> DanglingReferenceError:
    choices = tuple({m.number: m for m in reversed(choices) if m.target.mask.area}.values())[::-1]
    if choices:
        remedy = f"Choose one of {', '.join(mask.label for mask in choices)}."
    else:
        remedy = "No round has a mask yet: name the structure itself."
    return DanglingReferenceError(f'"{phrase}" {why}. {remedy}', tuple(mask.reference for mask in choices))


def _read_number(
    match: re.Match, conversation: Conversation, masks: tuple[_Mask, ...], plane: int | None
) -> _Mention:
    """Return the mask of "[3]", "[1.2]" or "round 1"."""
    if match[1] and not match[2]:
        return _read_mask_number(match, conversation, masks, plane)
    number, target = int(match[1] or match[3]), match[2] or match[4]
    there = tuple(mask for mask in masks if mask.reference.round == number)
    if not 1 <= number <= len(conversation):
        raise _fail(match[0], f"points at nothing: there is no round {number}", masks)
    if not there and conversation.rounds[number - 1].targets:
        raise _fail(match[0], f"points at nothing: what round {number} found was rejected", masks)
    if not there:
        raise _fail(match[0], f"points at nothing: round {number} has no mask", masks)
    if target is None and len(there) > 1:
        raise _fail(match[0], f"could be any of {len(there)} masks", there)
    wanted = tuple(mask for mask in there if target is None or mask.reference.target == int(target))
    if not wanted:
        raise _fail(match[0], f"points at nothing: round {number} has no mask {int(target)}", there)
    return _Mention(match.start(), match.end(), match[0], wanted)


def _read_mask_number(
    match: re.Match, conversation: Conversation, masks: tuple[_Mask, ...], plane: int | None
) -> _Mention:
    """Return the mask with a number; of one carried through the stack, sooner the one on this plane."""
    number = int(match[1])
    named = tuple(mask for mask in masks if mask.number == number)
    if not named:
        rejected = bool(conversation.numbered(number))
        why = f"mask {number} was rejected" if rejected else f"there is no mask {number}"
        raise _fail(match[0], f"points at nothing: {why}", masks)
    shown = (
        tuple(mask for mask in named if mask.target.mask.area) or named
    )  # one may have given way to others
    wanted = next((mask for mask in shown if mask.round.plane == plane), shown[0])
    return _Mention(match.start(), match.end(), match[0], (wanted,))


def _last(match: re.Match, masks: tuple[_Mask, ...], several: bool) -> _Mention:
    """Return the mask, or masks, of the last round that has any."""
    if not masks:
        raise _fail(match[0], "points at nothing", ())
    latest = tuple(mask for mask in masks if mask.round is masks[-1].round)
    if len(latest) > 1 and not several:
        raise _fail(
            match[0], f"could be any of the {len(latest)} masks of round {latest[0].round.index}", latest
        )
    return _Mention(match.start(), match.end(), match[0], latest)


def _pronouns(text: str, masks: tuple[_Mask, ...], mentions: list[_Mention]) -> list[_Mention]:
    """Return the mentions by pronoun; each means the mention before it in the text, else the last round."""
    empty = [match.span() for match in _EMPTY_IT.finditer(text)]
    found = []
    for pattern, several in ((_SINGULAR, False), (_PLURAL, True), (_BARE, False)):
        for match in pattern.finditer(text):
            before = text[: match.start()]
            pointless = any(start <= match.start() < end for start, end in empty)
            if pointless or _means_the_question(match[0].lower(), before):
                continue
            after_cue = re.search(_CUE + "$", before, re.I)
            if pattern is _BARE and not after_cue and (not masks or match[0].lower() == "that"):
                continue
            if not any(mention.start < match.start() for mention in mentions):
                found.append(_last(match, masks, several))
    return found


def _means_the_question(pronoun: str, before: str) -> bool:
    """Whether a pronoun means something named in the question itself ("Find the liver and outline it")."""
    if pronoun in ("its", "their"):
        said = re.sub(r"\b(?:and|with|plus)\s+$", "", before, flags=re.I)
        return said != before and bool(re.search(r"\w", said))
    said = re.sub(_ORDER, "", before, flags=re.I)
    return said != before and bool(
        re.search(r"\b(?!(?:and|now|then|please|also|next|can|could|you)\b)\w", said, re.I)
    )


def _names(
    text: str,
    masks: tuple[_Mask, ...],
    anatomy: Anatomy | None,
    plane: int | None,
    explicit: list[_Mention],
) -> list[_Mention]:
    """Return the explicit mentions and those by a name that says where or whose."""
    accepted = list(explicit)
    position = 0
    words = [word.span() for word in re.finditer(r"[\w-]+", text)]
    while position < len(words):
        size, named, plural = _longest_name(text, words[position:], masks, anatomy)
        if named is None:
            position += size
            continue
        start, end = words[position][0], words[position + size - 1][1]
        if _says_where(text, start, end, accepted):
            chosen = named if plural or not named else _choose(text[start:end], named, plane)
            accepted.append(_Mention(start, end, text[start:end], chosen))
        position += size
    return accepted


def _says_where(text: str, start: int, end: int, accepted: list[_Mention]) -> bool:
    before = text[:start]
    if re.match(r"['’]s\b|\s+(?:is|are)\s+(?:made|composed|(?:a\s+)?part)\b", text[end:], re.I):
        return True
    if re.search(_ASKED_FOR + _ARTICLES + "$", before, re.I):
        return False
    if re.search(_CUE + _ARTICLES + "$", before, re.I):
        return True
    # "between [1] and the liver": the second of a pair is meant as the first.
    joined = r"\s*(?:,|,?\s*\b(?:and|or)\b)\s*" + _ARTICLES
    return any(re.fullmatch(joined, text[m.end : start], re.I) for m in accepted if m.end <= start)


def _longest_name(
    text: str, words: list[tuple[int, int]], masks: tuple[_Mask, ...], anatomy: Anatomy | None
) -> tuple[int, tuple[_Mask, ...] | None, bool]:
    """Return how many words the longest name here has, the masks it means, and whether it is plural.

    The masks are None where no name starts.

    A longer name hides a shorter one in it: "left kidney" is not "kidney".
    """
    if text[slice(*words[0])].lower() in ("the", "a", "an"):
        return 1, None, False
    for size in range(min(_LONGEST_NAME, len(words)), 0, -1):
        phrase = text[words[0][0] : words[size - 1][1]]
        if re.search(r"[^\w\s-]", phrase):
            continue
        if anatomy is None:
            plain = phrase.lower()
            named = tuple(m for m in masks if m.target.structure.lower() in (plain, plain.removesuffix("s")))
            if named:
                return size, named, plain not in {m.target.structure.lower() for m in named}
        elif structure := anatomy.find(phrase):
            named = tuple(m for m in masks if anatomy.normalise(m.target.structure) == structure.name)
            # "the kidney" is the left one where only that one has a mask; "the kidneys" are both.
            named = named or tuple(m for m in masks if _group(anatomy, m) == structure.name)
            return size, named, phrase.lower() == structure.plural.lower() != structure.name.lower()
    return 1, None, False


def _group(anatomy: Anatomy, mask: _Mask) -> str:
    structure = anatomy.find(mask.target.structure)
    return structure.parent if structure and structure.side and structure.mirror else ""


def _choose(phrase: str, named: tuple[_Mask, ...], plane: int | None) -> tuple[_Mask, ...]:
    """Return the one mask that a name means: on this plane if any is; of equal masks, the latest."""
    here = tuple(mask for mask in named if mask.round.plane == plane) or named
    here = tuple({mask.number: mask for mask in here}.values())  # planes of one structure are one mask
    last = here[-1]
    if any((m.target.mask, m.round.plane) != (last.target.mask, last.round.plane) for m in here):
        raise _fail(phrase, f"could be any of {len(here)} masks", here)
    return (last,)
