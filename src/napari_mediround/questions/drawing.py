"""Steps that ask for structures: by name, by a place beside a mask, by what they do, "the other side". Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.beside import beside, is_open, text_of_words
from napari_mediround.questions.followups import base_of, ellipsis, near_name, of_other_side, plane_scope
from napari_mediround.questions.meaning import describe
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.nouns import RELATION
from napari_mediround.questions.words.step_masks import Masks, Step, ask, masks_of, text_of

_SEGMENT = re.compile(
    r"\b(segment\w*|outlin\w*|draw\w*|contour\w*|delineat\w*|trac(e|ed|ing)|mark\w*|label\w*|highlight\w*|find|locate|show|see|where|identify|mask|visuali[sz]e|display|paint|circle|pick out|point out|map|need|want|give|get|do|like|look for|isolate|extract|try|what about|how about|carry|propagate|extend|continue|repeat|again|redo|follow)\b"
)


def draw(step: Step) -> Request | None:
    """Return the request to draw that a step is, or what to say instead; None where it asks for nothing."""
    text, named, situation = step.rest_text, step.named, step.situation
    for asked in (of_other_side, _carried, beside, _named, ellipsis, _described):
        found = asked(step)
        if found is not None:
            return found
    if named.excluded:
        return Request(
            "answer",
            topic="nothing_drawn",
            excluded=tuple(named.excluded),
            references=tuple(named.out_refs),
            read_from=text,
        )
    if (
        step.scope
        and step.scope != "odd"
        and situation.alive
        and (step.scope in ("next", "previous", "stack") or isinstance(step.scope, tuple))
    ):
        masks = masks_of(step, many=True)
        return Request("segment", references=masks.refs, scope=step.scope) if masks.refs else None
    return None


def _odd(step: Step) -> Request | None:
    if step.scope != "odd":
        return None
    return Request("ask_back", choices=tuple(step.named.targets), topic="no_such_planes", read_from=step.text)


def _carried(step: Step) -> Request | None:
    """Return the request for a mask on other planes, or again: "carry [1] through the stack", "[1] again"."""
    text, named = step.rest_text, step.named
    if named.unknown or named.choices:
        return None
    carries = re.search(r"\b(carry|propagate|extend|continue|track|interpolate|follow)\b", text)
    pointed = (
        step.pointers
        and not RELATION.search(re.sub(r"\b(over|through|across|just|further|runs?|running)\b", " ", text))
        and not named.excluded
    )
    if carries and step.situation.alive:
        masks = masks_of(step)
        if masks.problem == "missing":
            return None
        if masks.problem:
            return ask(masks, step)
        return (
            Request("segment", references=masks.refs, scope=plane_scope(step) or "stack", read_from=text)
            if masks.refs
            else None
        )
    if pointed and (not named.targets):
        masks = masks_of(step)
        if masks.problem:
            return ask(masks, step)
        return Request("segment", references=masks.refs, scope=plane_scope(step), read_from=text)
    return None


def _named(step: Step) -> Request | None:
    """Structures by their names."""
    named, lexicon, situation = step.named, load_lexicon(), step.situation
    if not (named.targets or named.unknown or named.choices):
        return None
    if odd := _odd(step):
        return (
            odd
            if not re.search(r"\b(mip|minip|vrt|rendering|phase)\b", step.text)
            else Request("refuse", topic="no_such_view", read_from=step.text)
        )
    if named.odd_side:
        return Request("ask_back", choices=tuple(named.targets), topic="no_such_side", read_from=step.text)
    if named.targets and _ANCHORED.search(text_of(step.rest)):
        return describe(step) or Request(
            "ask_back", choices=tuple(named.targets), topic="not_understood", sure=False, read_from=step.text
        )
    loose = _unexplained(step)
    parted = [w for w in loose if w not in lexicon.parts] == [] and bool(named.choices)
    if parted and named.unknown and not named.targets:
        return Request(
            "ask_back", choices=tuple(dict.fromkeys(named.choices)), topic="part", read_from=step.text
        )
    kinds = loose and named.targets and all(is_open(t) for t in step.rest if t.kind == "S")
    if kinds and (known := describe(step)):
        return known
    if (not named.targets or loose) and (known := describe(step, strict=not loose or bool(named.targets))):
        return known
    if loose and named.targets:
        return Request(
            "ask_back", choices=tuple(named.targets), topic="not_understood", sure=False, read_from=step.text
        )
    if named.choices and not named.targets:
        return Request(
            "ask_back", choices=tuple(dict.fromkeys(named.choices)), topic="which", read_from=step.text
        )
    if not named.targets and situation.alive and all(is_open(t) for t in step.rest if t.kind == "X"):
        last = [w for m in situation.last if (w := base_of(m.structure))]
        words = [w for t in step.rest if t.kind in "WX" for w in t.typed.casefold().split()]
        if near := near_name(words, last):
            return near
    if not named.targets:
        return Request("refuse", tuple(named.unknown), topic="unknown_structure", read_from=step.text)
    wrong = [w for w in named.targets if not possible(w, situation)]
    right = [w for w in named.targets if w not in wrong]
    if not right:
        return Request("refuse", tuple(wrong), topic="not_in_image", read_from=step.text)
    targets = (*right, *(w for w in named.unknown))
    sure = named.sure and not named.unknown
    references = _corrects(step)
    return Request(
        "segment",
        targets,
        references,
        tuple(named.excluded),
        plane_scope(step),
        sure=sure,
        read_from=step.text,
    )


_ANCHORED = re.compile(
    r"\b(?:X\d+|chamber|pipe|tube|duct|sac|pouch|valve|thing|bit|stuff|whatever|what|one|organ|gland|vessel|nerve|muscle|bone|cord|tract|layer|wall) "
    r"(?:\w+ )?(?:which|that|who|where|whose|\w+ing|to|into|from|between)\b[^,;&]*\bS\d"
)
"""A thing that is only told by what it has to do with another: "the chamber which pumps blood into the lungs"."""


_PURPOSE = re.compile(
    r"\b(for(?! (?:both|the left|the right))|because|since|so that|so i|so we|in order|as i|as we|as he|as she|as part|needed|required|requested|wanted|to (?:plan|check|see|measure|get|know|compare|show|use|be|make|rule|assess|evaluate|calculate|compute|do|help|document)|if|when|while|which|who|with contrast|that (?:is|was|i|we)|thanks|please|pls|before|after|during|on (?:this|the)|in (?:this|the))\b"
)


def _unexplained(step: Step) -> list[str]:
    """Return the words round the names that say more than that a structure is wanted.

    An order right before a name ("outline the …") explains itself; what follows "for", "because" or "so that"
    says what the mask is for.
    """
    lexicon = load_lexicon()
    names = [i for i, t in enumerate(step.rest) if t.kind in "SX"]
    if not names:
        return []
    ordered = [t.word for t in step.rest[: names[0]] if t.kind == "W"]
    core = [
        w
        for w in ordered
        if w not in lexicon.qualities and w not in ("the", "a", "an", "left", "right", "both", "of", "all")
    ]
    ordered_outright = (
        bool(core)
        and bool(_ORDER.fullmatch(core[-1]))
        and (core[-1] != "about" or core[-2:-1] in (["what"], ["how"]))
    )
    if ordered_outright and core[-1] in ("to", "for", "is", "are", "be", "like"):
        ordered_outright = all(
            w in lexicon.plain or _SEGMENT.fullmatch(w) or _ORDER.fullmatch(w) for w in core
        )
    comma = max((i for i, t in enumerate(step.rest[: names[0]]) if t.word in (",", ":", "-")), default=-1)
    opening = text_of_words([t.word for t in step.rest[: max(comma, 0)]])
    start = comma + 1 if comma > 0 and not RELATION.search(opening) else 0
    loose = []
    for i, token in enumerate(step.rest):
        if (
            token.kind != "W"
            or token.word in lexicon.plain
            or token.word in lexicon.qualities
            or token.word in ("left", "right", "both")
            or _SEGMENT.fullmatch(token.word)
            or token.word in _LINKS
        ):
            if i > names[0] and _PURPOSE.match(token.word):
                break
            continue
        if i < start or (i < names[0] and ordered_outright):
            continue
        if i > names[-1] and ordered_outright and token.word in lexicon.words:
            continue
        loose.append(token.word)
    return loose


_ORDER = re.compile(
    r"have|do|try|take|grab|add|include|analy[sz]e|process|handle|tackle|plot|chart|map|extract|isolate|circle|segment\w*|outlin\w*|draw\w*|contour\w*|delineat\w*|trace|mark|label|highlight|find|locate|show|see|identify|visuali[sz]e|want|need|get|me|about|is|are|be|for|like|to"
)


_LINKS = frozenset(
    [
        "don't",
        "dont",
        "do",
        "didn't",
        "mean",
        "meant",
        "just",
        "and",
        "or",
        "not",
        "without",
        "except",
        "but",
        "plus",
        "with",
        "also",
        "then",
        "isnot",
        "minus",
        "nor",
        "neither",
        "other",
        "than",
        "apart",
        "from",
        "rather",
        "instead",
        "avoid",
        "ignore",
        "exclude",
        "excluding",
        "skip",
        "sided",
        "side",
        "hand",
        "inclusive",
        "sparing",
        "including",
        "include",
        "sides",
        "each",
        "only",
        "level",
        "one",
        "ones",
        "ignoring",
        "omit",
        "omitting",
        "never",
        "forget",
        "leave",
        "out",
    ]
)


def _corrects(step: Step):
    """Return the masks that a name goes with: "[1] again, the liver" says which mask is drawn anew."""
    if step.pointers:
        masks = masks_of(step, many=True, tokens=[t for t in step.rest if t.kind == "R"])
        out = set(step.named.out_refs)
        return tuple(r for r in masks.refs if r not in out)
    return ()


def possible(wanted: Wanted, situation) -> bool:
    """Whether a structure may lie in what the image is known to show."""
    lexicon = load_lexicon()
    structure = lexicon.anatomy.find(lexicon.name_of(wanted))
    if structure is None or structure.region == "general":
        return True
    known = [r for r in situation.regions if r in lexicon.anatomy.adjacent]
    if known and all(lexicon.anatomy.apart(r, structure.region) for r in known):
        return False
    special = structure.region in ("eye", "bowel", "fetus") and bool(situation.modality)
    return not special or structure.shows_in(situation.modality) or structure.region == "fetus"


def _described(step: Step) -> Request | None:
    """Return the request for a structure by what it does, where it lies or how it looks."""
    return describe(step)


__all__ = ["Masks", "draw", "possible"]
