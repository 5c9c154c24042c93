"""Steps that ask for structures: by name, by a place beside a mask, by what they do, "the other side". Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.frames import Masks, Step, ask, masks_of
from napari_mediround.questions.lexicon import load_lexicon
from napari_mediround.questions.meaning import describe
from napari_mediround.questions.nouns import RELATION
from napari_mediround.questions.reading import Token
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.text import number, ordinal

_SEGMENT = re.compile(
    r"\b(segment\w*|outlin\w*|draw\w*|contour\w*|delineat\w*|trac(e|ed|ing)|mark\w*|label\w*|highlight\w*|find|locate|show|see|where|identify|mask|visuali[sz]e|display|paint|circle|pick out|point out|map|need|want|give|get|do|like|look for|isolate|extract|try|what about|how about|carry|propagate|extend|continue|repeat|again|redo|follow)\b"
)
_CARRY = re.compile(
    r"\b(carry|propagate|extend|continue|track|follow|interpolate|copy|spread|push|take|repeat|run|apply|transfer|do|go on|same|also|too|and|more|segment|again)\b"
)
_OTHER = re.compile(
    r"\b(other side|opposite side|contralateral( side| one)?|the other( one)?|other one|counterpart|mirror side|opposite( one)?|its twin|the twin|other hand side|across the midline|wrong side|other)\b"
)
_SAME = re.compile(r"\b(ipsilateral|same side|that side|this side)\b")
_AGAIN = re.compile(
    r"\b(again|once more|one more time|redo|repeat|retry|try (it )?(once )?(again|more)|another (go|try|attempt)|have another|re ?do|re ?segment|from scratch|a second time|rerun|re ?run|anew|over again|same again)\b"
)


def draw(step: Step) -> Request | None:
    """Return the request to draw that a step is, or what to say instead; None where it asks for nothing."""
    text, named, situation = step.rest_text, step.named, step.situation
    for asked in (_of_other_side, _carried, _beside, _named, _ellipsis, _described):
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


def _base(name: str) -> Wanted | None:
    structure = load_lexicon().anatomy.find(name)
    return load_lexicon().wanted(structure.name) if structure else None


def _of_other_side(step: Step) -> Request | None:
    """ "The other side of [1]", "contralateral kidney", "adrenal ipsilateral to [2]", "wrong side"."""
    text, named, lexicon = step.rest_text, step.named, load_lexicon()
    other, same = _OTHER.search(text), _SAME.search(text)
    if not (other or same) or re.search(
        r"\b(hide|other (masks?|structures?|organs?|slices?|planes?))\b", text
    ):
        return None
    masks = (
        masks_of(
            step,
            many=True,
            tokens=[t for t in step.rest if t.kind == "R"] or [t for t in step.rest if t.word == "it"],
        )
        if step.pointers
        else masks_of(step, many=True, tokens=[])
    )
    if masks.problem or not masks.refs:
        if named.targets and any(lexicon.is_pair(w.structure) for w in named.targets):
            return Request(
                "ask_back",
                choices=tuple(
                    Wanted(w.structure, s)
                    for w in named.targets
                    if lexicon.is_pair(w.structure)
                    for s in ("left", "right")
                ),
                topic="side",
            )
        return ask(masks, step) if step.pointers else None
    anchors = [next(m for m in step.situation.masks if m.ref == r) for r in masks.refs]
    wanted = [_base(a.structure) for a in anchors]
    sides = {w.side for w in wanted if w and w.side in ("left", "right")}
    refs = masks.refs if step.pointers else ()
    if len(sides) != 1:
        pairs = [w for w in (*wanted, *named.targets) if w and lexicon.is_pair(w.structure)]
        if len(sides) == 2 or pairs:
            return Request(
                "ask_back",
                choices=tuple(Wanted(w.structure, s) for w in pairs for s in ("left", "right")) or masks.refs,
                topic="side",
            )
        if not other:
            return None
        return Request("refuse", topic="no_other_side", references=refs, read_from=text)
    (side,) = sides
    new = side if same else "right" if side == "left" else "left"
    heads = [w for w in named.targets if lexicon.is_pair(w.structure)] or (
        [] if named.targets else [w for w in wanted if w and lexicon.is_pair(w.structure)]
    )
    own = [w for w in named.targets if w.side in ("left", "right") and w in wanted]
    heads = [w for w in heads if w not in own] or [w for w in wanted if w]
    if not heads:
        return None
    return Request(
        "segment",
        tuple(dict.fromkeys(Wanted(w.structure, new) for w in heads)),
        refs,
        scope=_scope(step),
        read_from=text,
    )


def _scope(step: Step):
    return "" if step.scope == "odd" else step.scope


def _odd(step: Step) -> Request | None:
    if step.scope != "odd":
        return None
    return Request("ask_back", choices=tuple(step.named.targets), topic="no_such_planes", read_from=step.text)


def _carried(step: Step) -> Request | None:
    """A mask on other planes, or drawn again: "carry [1] through the stack", "[1] again"."""
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
            Request("segment", references=masks.refs, scope=_scope(step) or "stack", read_from=text)
            if masks.refs
            else None
        )
    if pointed and (not named.targets):
        masks = masks_of(step)
        if masks.problem:
            return ask(masks, step)
        return Request("segment", references=masks.refs, scope=_scope(step), read_from=text)
    return None


def _beside(step: Step) -> Request | None:
    """A place beside masks or structures: "the vessel behind [1]"."""
    text, named = step.rest_text, step.named
    match = RELATION.search(re.sub(r"\b(all|both) (over|around)\b", "", text))
    if not match:
        return None
    anchors = [t for t in step.rest if t.kind == "R" or t.kind in "SX" and not _is_open(t)]
    if not anchors:
        if (
            re.search(r"\b(it|them|that|this|neighbou?ring|adjacent)\b", text)
            and step.situation.alive
            and _leaves_open(step)
        ):
            return _place(step, masks_of(step, many=True).refs)
        if (
            re.match(
                r"^\W*(show me |outline |segment |mark |find )?(what|whatever|which|the (structure|thing|organ|one))\b",
                text,
            )
            and not named.targets
        ):
            return describe(step, strict=True) or _place(step, ())
        return None
    if step.pointers:
        masks = masks_of(step, many=True, tokens=[t for t in step.rest if t.kind == "R"])
        if masks.problem:
            return ask(masks, step)
        heads = [w for w in named.targets]
        lead = _head_before(step)
        if heads and lead and not _leaves_open(step):
            return Request(
                "segment", tuple(lead), masks.refs, tuple(named.excluded), _scope(step), read_from=text
            )
        refs = list(masks.refs)
        refs += [r for r in _anchor_masks(step) if r not in refs]
        return _place(step, tuple(refs))
    first = next(i for i, t in enumerate(step.rest) if t in anchors)
    before = text_of_words([t.typed.casefold() if t.kind in "SX" else t.word for t in step.rest[:first]])
    if RELATION.search(before) and (
        _leaves_open(step) or re.search(r"\b(what|which|whatever|anything|something|thing)\b", before)
    ):
        if known := describe(step, strict=True):
            return known
        return _place(step, tuple(_anchor_masks(step)))
    return None


def text_of_words(words: list[str]) -> str:
    """Return words as one text."""
    return " ".join(words)


def _head_before(step: Step) -> list[Wanted]:
    """Return the names that stand before the word for the place."""
    for i, token in enumerate(step.rest):
        if token.kind == "S" and not any(RELATION.fullmatch(t.word) for t in step.rest[:i]):
            return list(step.named.targets[:1])
        if RELATION.fullmatch(token.word):
            return []
    return []


def _is_open(token: Token) -> bool:
    """Whether a name is only that of a kind: "vessel", "organ", "gland"."""
    word = token.typed.casefold()
    return (
        word.removesuffix("s") in load_lexicon().kinds
        or word.removesuffix("ies") + "y" in load_lexicon().kinds
        or word.removesuffix("s") in ("organ", "structure", "fat", "septum")
        or word.endswith((" matter", " tissue", " fat", " muscle"))
    )


def _leaves_open(step: Step) -> bool:
    """Whether it is a kind or a thing that is asked for, not a structure by its name."""
    words = []
    for token in step.rest:
        if token.kind == "S" and not _is_open(token):
            break
        words.append(token.typed.casefold() if token.kind in "SX" else token.word)
    text = " ".join(words)
    kinds = "|".join(sorted(map(re.escape, load_lexicon().kinds), key=len, reverse=True))
    return bool(
        re.search(
            rf"\b({kinds})s?\b|\b(what|which|whatever|anything|something|thing|things|structures?|organs?|one|ones|airway|cavity|space|tube|cord|matter|part|tissue|neighbou?rs?|region|area|it|bit|stuff|vessels|largest|smallest|biggest|topmost|lowest|larger|smaller|bigger|fluid|layer|pouch|sac|lump|blob|body|component|half|side)\b",
            text,
        )
    )


def _anchor_masks(step: Step) -> list:
    """Return the masks of the structures that a place is beside, where there is one of each."""
    found = []
    for token in step.rest:
        if token.kind == "S":
            masks = masks_of(step, tokens=[token])
            if not masks.problem:
                found += masks.refs
    return found


def _place(step: Step, refs) -> Request:
    words = []
    pointers = iter(f"[{i}]" for i in range(1, 99))
    for token in step.rest:
        if token.kind == "R":
            words += [
                ", ".join(f"[{r[0]}]" if r[1] == 1 else f"[{r[0]}.{r[1]}]" for r in token.pointer.masks)
                or next(pointers)
            ]
        elif token.kind == "P":
            continue
        elif token.word not in (
            "segment",
            "outline",
            "show",
            "me",
            "please",
            "draw",
            "mark",
            "find",
            "can",
            "you",
            "could",
            "the",
            "a",
            "is",
            "what's",
            "whats",
            "without",
        ):
            words.append(token.typed if token.kind in "SX" else token.word)
    described = " ".join(w.casefold() for w in words) or step.rest_text
    side = next((t.word for t in step.rest if t.word in ("left", "right") and False), "")
    return Request(
        "segment",
        (Wanted(described=described, side=side),),
        tuple(refs),
        tuple(step.named.excluded),
        _scope(step),
        sure=False,
        read_from=step.text,
    )


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
    loose = _unexplained(step)
    parted = [w for w in loose if w not in lexicon.parts] == [] and bool(named.choices)
    if parted and named.unknown and not named.targets:
        return Request(
            "ask_back", choices=tuple(dict.fromkeys(named.choices)), topic="part", read_from=step.text
        )
    if loose and named.targets and all(_is_open(t) for t in step.rest if t.kind == "S"):
        if known := describe(step):
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
    if not named.targets and situation.alive and all(_is_open(t) for t in step.rest if t.kind == "X"):
        last = [w for m in situation.last if (w := _base(m.structure))]
        words = [w for t in step.rest if t.kind in "WX" for w in t.typed.casefold().split()]
        if near := _near_name(words, last):
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
        "segment", targets, references, tuple(named.excluded), _scope(step), sure=sure, read_from=step.text
    )


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
        if i < start or i < names[0] and ordered_outright:
            continue
        if i > names[-1] and ordered_outright and token.word in lexicon.words:
            continue
        loose.append(token.word)
    return loose


_ORDER = re.compile(
    r"have|do|try|take|grab|add|include|analy[sz]e|process|handle|tackle|plot|chart|map|extract|isolate|circle|segment\w*|outlin\w*|draw\w*|contour\w*|delineat\w*|trace|mark|label|highlight|find|locate|show|see|identify|visuali[sz]e|want|need|get|me|about|is|are|be|for|like|to"
)
_LINKS = frozenset(
    "don't dont do didn't mean meant just and or not without except but plus with also then isnot minus nor neither other than apart from rather instead avoid ignore exclude excluding skip sided side hand inclusive sparing including include sides each only level one ones ignoring omit omitting never forget leave out".split()
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


def _ellipsis(step: Step) -> Request | None:
    """What only makes sense after the round before: "left as well", "now both", "internal this time", "again"."""
    text, situation, lexicon = step.rest_text, step.situation, load_lexicon()
    if not situation.alive or step.named.excluded:
        return None
    last = [w for m in situation.last if (w := _base(m.structure))]
    words = [t.word for t in step.rest if t.kind in "WN"]
    if _AGAIN.search(text):
        masks = masks_of(step)
        return (
            ask(masks, step)
            if masks.problem
            else Request("segment", references=masks.refs, scope=_scope(step), read_from=text)
        )
    sides = [w for w in words if w in ("left", "right", "both")]
    pairs = [w for w in last if lexicon.is_pair(w.structure)]
    if sides and pairs and len(words) <= 9:
        if "instead" in words and len(sides) > 1:
            sides = sides[:1]
        side = "both" if len(set(sides)) > 1 else sides[0]
        return Request(
            "segment",
            tuple(dict.fromkeys(Wanted(w.structure, side) for w in pairs)),
            scope=_scope(step),
            read_from=text,
        )
    if sides and last and len(words) <= 5:
        names = [
            lexicon.anatomy.find(re.sub(r"^(left|right)", sides[0], w.structure))
            for w in last
            if re.match(r"(left|right) ", w.structure)
        ]
        if names and all(names):
            return Request(
                "segment", tuple(lexicon.wanted(n.name) for n in names), scope=_scope(step), read_from=text
            )
        return Request("refuse", topic="no_other_side", read_from=text)
    content = [w for w in words if w not in lexicon.plain and w not in lexicon.qualities]
    if content and all(w in lexicon.parts for w in content) and len(last) == 1:
        return Request(
            "refuse",
            (Wanted(described=f"{' '.join(content)} of the {last[0]}"),),
            topic="unknown_structure",
            read_from=text,
        )
    if len(words) <= 6 and (near := _near_name(words, last)):
        return near
    return None


def _near_name(words: list[str], last: list[Wanted]) -> Request | None:
    """Return a structure that shares its name's rest with the last one: "internal" after the common carotid."""
    lexicon = load_lexicon()
    if not last:
        return None
    one = last[-1]
    side = one.side if one.side in ("left", "right") and len(last) == 1 else "both" if one.side else ""
    if step_of := next((s for s in ("above", "below", "up", "down", "next", "previous") if s in words), ""):
        if match := re.match(r"(rib |[CTL])(\d+)", one.structure):
            way = -1 if step_of in ("above", "up", "previous") else 1
            name = one.structure.replace(match[0], f"{match[1]}{int(match[2]) + way}")
            if lexicon.anatomy.find(name):
                return Request("segment", (Wanted(lexicon.wanted(name).structure, one.side),), sure=False)
        return None
    if match := re.match(r"(rib |[CTL])(\d+)", one.structure):
        for word in words:
            value = ordinal(word) or (
                int(number(word)) if number(word) is not None and word not in ("one", "zero") else 0
            )
            name = one.structure.replace(match[0], f"{match[1]}{value}")
            if value and lexicon.anatomy.find(name):
                return Request("segment", (Wanted(lexicon.wanted(name).structure, one.side),), sure=False)
    content = [
        w
        for w in words
        if w not in lexicon.plain
        and w not in lexicon.qualities
        or w in ("third", "fourth", "first", "second")
    ]
    found = []
    rest = [w for w in one.structure.casefold().split() if w not in ("left", "right")]
    for word in content:
        for name in {w.structure for s in lexicon.anatomy if (w := lexicon.wanted(s.name))}:
            other = [w for w in name.casefold().split() if w not in ("left", "right")]
            if (
                name != one.structure
                and word in other
                and set(other) & set(rest) - {word}
                and len(other) == len(rest)
            ):
                found.append(name)
            single = word.removesuffix("ies") + "y" if word.endswith("ies") else word.removesuffix("s")
            if (
                name != one.structure
                and single in other
                and single not in rest
                and len(other) == len(rest)
                and len(set(other) & set(rest)) == len(rest) - 1
            ):
                found.append(name)
    found = list(dict.fromkeys(found))
    if len(found) == 1:
        wanted = Wanted(found[0], (side or "both") if lexicon.is_pair(found[0]) else "")
        return Request("segment", (wanted,), sure=False)
    if 1 < len(found) <= 6:
        return Request(
            "ask_back",
            choices=tuple(Wanted(n, (side or "both") if lexicon.is_pair(n) else "") for n in found),
            topic="which",
        )
    return None


def _described(step: Step) -> Request | None:
    """A structure by what it does, where it lies or how it looks."""
    return describe(step)


__all__ = ["draw", "possible", "Masks"]
