"""A last look at a step: where its words say more than was understood, it is asked back. Knows no pixel.

The readers of the other modules look for what they know. This one looks for what they passed over and what
would do harm: a negation that ruled nothing out, a mask that stands in a second clause, an order to do
something else with a structure than to draw it.
"""

from __future__ import annotations

import re
from itertools import pairwise

from napari_mediround.questions.clauses import IMPERATIVES
from napari_mediround.questions.request import Request
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.negation import NEG, only_sounds_negative
from napari_mediround.questions.words.nouns import RELATION
from napari_mediround.questions.words.step_masks import Step

_JOINS = frozenset(
    (
        *(
            "and",
            ",",
            "&",
            "+",
            "plus",
            "/",
            "also",
            "the",
            "a",
            "my",
            "left",
            "right",
            "both",
            "mask",
            "masks",
        ),
        *("contour", "contours", "outline", "outlines", "number", "as", "well", "together", "with", "then"),
        *("too", "each", "of", "one", "ones", "first", "second", "third", "last"),
    )
)
"""Words that may stand between the masks of a list."""

_NO = (*NEG, "off limits", "out of it", "stay out", "keep out", "leave out", "hands off", "nothing", "none")

_BINARY = ("subtract", "intersect", "clip", "union")

_OTHER_ORDERS = re.compile(
    r"\b(export|save as|write out|send|print|upload|download|e ?mail|delete|erase|discard|reject|approve|undo|redo|"
    r"rename|unhide|merge|subtract|intersect|mirror|flip|dilate|erode|shrink|enlarge|inflate|despeckle|"
    r"burn|wipe|trash|dispose|undelete|restore|duplicate|archive)\b"
)


_EDITS = re.compile(
    r"\b(clip|crop|trim|grow|expand|smooth|fill|union|combine|join|cut|restrict|limit|accept|hide|zoom|scratch|reset)\b"
)


def be_cautious(step: Step, request: Request) -> Request:
    """Return a step's request, or the question back where its words do not bear it out."""
    if request.action in ("edit", "verdict") and (
        _in_two_clauses(step, request)
        or _denies(step, request)
        or _has_no_such_side(step, request)
        or _says_more(step, request)
        or _wants_two(step, request)
        or _rules_out_its_own(step, request)
        or _is_bound(step, request)
    ):
        alive = tuple(m.ref for m in step.situation.alive)
        choices = request.references or alive
        if not choices:
            return Request("refuse", topic="not_understood", read_from=step.text)
        return Request("ask_back", choices=choices, topic="not_understood", read_from=step.text)
    if request.action == "export" and (_denies(step, request) or _rules_out_its_own(step, request)):
        return Request("ask_back", choices=request.references, topic="not_understood", read_from=step.text)
    if (
        request.action == "navigate"
        and dict(request.navigate).get("show")
        and _has_no_such_side(step, request)
    ):
        return Request("ask_back", choices=request.references, topic="not_understood", read_from=step.text)
    if request.action == "segment" and (
        _holds_something(step)
        or _denies(step, request)
        or _orders_else(step, request)
        or _is_anchored(step, request)
    ):
        choices = (*request.targets, *request.references)
        return Request("ask_back", choices=choices, topic="not_understood", sure=False, read_from=step.text)
    return request


def _in_two_clauses(step: Step, request: Request) -> bool:
    """Whether what is done to each mask alike names masks that stand in no list: "grow [2], [1] stays"."""
    if request.operation in _BINARY or request.verdict in ("undo", "redo", "cancel", "rename"):
        return False
    if len(request.references) - len(request.not_into) < 2:
        return False
    places = [i for i, t in enumerate(step.rest) if t.kind in "RS"]
    if len(places) < 2:
        return False
    between = [t.word for t in step.rest[places[0] : places[-1]] if t.kind in "WPN"]
    ends = _spared_place(step, request)
    if ends:
        inner = [i for i in places if i < ends]
        between = [t.word for t in step.rest[inner[0] : inner[-1]] if t.kind in "WPN"] if inner else []
    plain = load_lexicon().plain
    after = [t.word for t in step.rest[places[-1] + 1 :] if t.kind == "W"]
    if not ends and any(w not in _JOINS and w not in plain and w not in IMPERATIVES for w in after):
        return True  # "expand [1] 3 mm, [2] excluded"
    return any(w not in _JOINS and not w.isdigit() for w in between)


def _spared_place(step: Step, request: Request) -> int:
    """Return where the masks begin that a growth spares; 0 for none."""
    if not request.not_into:
        return 0
    for i, token in enumerate(step.rest):
        if token.kind == "R" and set(token.pointer.masks) & set(request.not_into):
            return i
        if token.kind == "S" and i and any(t.kind in "RS" for t in step.rest[:i]):
            return i
    return 0


def _denies(step: Step, request: Request) -> bool:
    """Whether a negation stands there that nothing was ruled out by."""
    if request.excluded or request.not_into or step.named.excluded:
        return False
    if request.verdict in ("undo", "redo", "cancel", "reject", "rename"):
        return False
    if request.operation in ("subtract", "clip", "largest", "islands", "fill", "smooth", "intersect"):
        return False
    words = [t.word for t in step.rest]
    text = " ".join(words)
    if request.action == "verdict" and request.references and re.search(r"\b(but|except|apart|not)\b", text):
        left = {m.ref for m in step.situation.alive} - set(request.references)
        if left:
            return False  # "accept all but [2]": what is left out was understood
    for i in range(len(words)):
        rest = " ".join(words[i : i + 6])
        if only_sounds_negative(rest) or (i and only_sounds_negative(" ".join(words[i - 1 : i + 5]))):
            continue
        if any(rest == no or rest.startswith(no + " ") for no in _NO):
            return True
    return False


def _has_no_such_side(step: Step, request: Request) -> bool:
    """Whether a side is said that none of the masks has: "accept the left one" where there is a spleen."""
    sides = {t.word for t in step.rest if t.kind == "W" and t.word in ("left", "right")}
    if not sides or not request.references or request.operation == "mirror" or request.verdict == "rename":
        return False
    anatomy = load_lexicon().anatomy
    names = [m.structure for m in step.situation.masks if m.ref in request.references]
    own = {
        (found.side if found else "") or name.split()[0] for name in names for found in (anatomy.find(name),)
    }
    return not sides <= own


def _wants_two(step: Step, request: Request) -> bool:
    """Whether "both" is said where there is one mask."""
    said = re.search(r"\b(both|(the|these|those) (two|2|three|3)|the pair|these|those)\b", step.rest_text)
    return bool(said) and len(request.references) == 1 and not step.pointers


def _rules_out_its_own(step: Step, request: Request) -> bool:
    """Whether a mask that the words rule out is among those that are changed: "both kidneys except the left"."""
    ruled = {str(w) for w in step.named.excluded}
    own = set(request.references) - set(request.not_into)
    if request.operation in _BINARY or request.verdict == "reject":
        return False
    return any(m.structure in ruled for m in step.situation.masks if m.ref in own)


_CONDITIONS = re.compile(r"\b(after|before|until|till|unless|provided|as soon as|in case)\b")
_OTHERS = re.compile(r"\b(the )?(rest|others?|remaining)\b")
_WHICH = re.compile(
    r"\b(former|latter|organ|(bigger|smaller|larger|largest|biggest|smallest|brighter|darker|upper|lower|red|green|blue|"
    r"yellow|orange|purple|pink|cyan|white)(er|est)? (one|mask|contour|outline|of (the|them|these|those)))\b"
)
"""Words that tell masks apart by what the record does not say."""
_DIRECTIONS = re.compile(
    r"\b((?:up|down|for|back)wards?|superior(?:ly)?|inferior(?:ly)?|medial(?:ly)?|lateral(?:ly)?|anterior(?:ly)?|"
    r"posterior(?:ly)?|cranial(?:ly)?|caudal(?:ly)?|ventral(?:ly)?|dorsal(?:ly)?|top|bottom|upper|lower|poles?|"
    r"towards?|tip|front|corner|one side|this side|that side)\b"
)


def _is_bound(step: Step, request: Request) -> bool:
    """Whether an order has a condition, another order of steps, a direction, or means "the others"."""
    if request.verdict in ("undo", "redo", "cancel", "rename", "fix"):
        return False
    text = step.rest_text
    if _CONDITIONS.search(text) or (_WHICH.search(text) and len(step.situation.alive) > 1):
        return True
    if re.search(r"\b[SX]\d.*\b(first|earlier|originally|initially|previously|(start|beginning))\W*$", text):
        return True
    if isinstance(step.scope, tuple):
        planes = {m.plane for m in step.situation.masks if m.ref in request.references}
        return not all(step.scope[0] <= plane <= step.scope[1] for plane in planes)
    if request.operation in ("grow", "shrink") and _DIRECTIONS.search(text):
        return True
    if _OTHERS.search(text) and not re.search(r"\b(all|every|each|everything)\b", text):
        return True
    several = re.search(r"\b(one|1|first) (and|,|&) (two|2|three|3|second|third)\b", text)
    return bool(several) and len(request.references) < 2


def _says_more(step: Step, request: Request) -> bool:
    """Whether an edit has an amount that was passed over: a second one, or "by a third"."""
    if request.action != "edit":
        return False
    amount = request.mm is not None or request.ml is not None
    relative = re.search(
        r"\b(by|to) (a |one |the )?(third|half|quarter|fifth|tenth|double|twice|factor|percent|few|lot)\b|\b(double|twice|triple|halve|half) (of |the |its |as )",
        step.text,
    )
    return len(step.amounts) > 1 or (bool(relative) and not amount)


def _is_anchored(step: Step, request: Request) -> bool:
    """Whether a structure only says where another lies: "the kidney next to the spleen"."""
    names = [i for i, t in enumerate(step.rest) if t.kind == "S"]
    if len(request.targets) < 2 or len(names) < 2:
        return False
    for one, other in pairwise(names):
        between = [t.word for t in step.rest[one + 1 : other]]
        if RELATION.search(" ".join(between)) and not {",", "and", "&", "+", "plus", "/"} & set(between):
            return True
    return False


def _holds_something(step: Step) -> bool:
    """Whether what is in a structure is asked for, or a side is taken back: "contrast in the bladder"."""
    return bool(
        re.search(
            r"(?<!no )\b(contrast|air|gas|fluid|liquid|stool|urine|blood|clot|thrombus|contents?|food|stones?|stent|catheter)\b"
            r"(?: \w+)? (in|within|inside|around|of) (?:the |left |right )*S\d",
            step.rest_text,
        )
        or re.search(r"S\d.*\bno (left|right)\W*$", step.rest_text)
    )


def _orders_else(step: Step, request: Request) -> bool:
    """Whether something else is ordered than to draw: what a reader of orders did not understand."""
    shape = re.match(
        r"\W*(please )?(move|shift|rotate|scale|split|divide|resize|translate|flip)\b", step.text
    )
    if request.references and shape:
        return True
    if not request.targets and request.references and not request.scope:
        return bool(_OTHER_ORDERS.search(step.text) or _EDITS.search(step.text))
    if not request.targets or all(not w.structure for w in request.targets):
        return False
    ordered = _OTHER_ORDERS.search(step.text)
    lexicon = load_lexicon()
    return bool(ordered) and ordered[0] not in lexicon.qualities
