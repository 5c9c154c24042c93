"""A text's tokens as steps: sentences, what follows "then", what a person took back. Knows no action."""

from __future__ import annotations

import re

from napari_mediround.questions.words.token import Token

IMPERATIVES = frozenset(
    [
        "segment",
        "outline",
        "draw",
        "contour",
        "delineate",
        "trace",
        "mark",
        "label",
        "highlight",
        "find",
        "locate",
        "show",
        "display",
        "hide",
        "unhide",
        "accept",
        "approve",
        "confirm",
        "reject",
        "delete",
        "remove",
        "discard",
        "bin",
        "trash",
        "undo",
        "redo",
        "revert",
        "grow",
        "shrink",
        "expand",
        "dilate",
        "erode",
        "smooth",
        "fill",
        "enlarge",
        "trim",
        "clip",
        "crop",
        "mirror",
        "flip",
        "union",
        "merge",
        "intersect",
        "subtract",
        "combine",
        "join",
        "keep",
        "measure",
        "tell",
        "compute",
        "calculate",
        "compare",
        "count",
        "export",
        "save",
        "go",
        "jump",
        "scroll",
        "move",
        "zoom",
        "switch",
        "carry",
        "propagate",
        "rename",
        "relabel",
        "relabel",
        "call",
        "select",
        "stop",
        "cancel",
        "repeat",
        "redraw",
        "fix",
        "correct",
        "edit",
        "open",
        "center",
        "centre",
        "set",
        "change",
        "make",
        "clean",
        "drop",
        "get",
        "add",
        "list",
        "report",
        "give",
        "how",
        "what",
        "which",
        "does",
        "is",
        "are",
        "close",
        "write",
        "send",
        "next",
    ]
)


_FILL = frozenset(
    [
        "please",
        "then",
        "also",
        "i",
        "want",
        "to",
        "you",
        "can",
        "could",
        "would",
        "like",
        "now",
        "next",
        "just",
        "afterwards",
        "after",
        "that",
        "finally",
        "and",
        "we",
        "need",
        "let's",
        "lets",
        "me",
        "kindly",
        "i'd",
        "id",
        "if",
    ]
)


_TOOK_BACK = re.compile(
    r"(?:^| )(?:[,.;:-]+ )*(?:no wait|wait no|no sorry|sorry no|oh no|no no|er no|uh no|um no|scratch that|strike that|delete that comma|correction|make that|or rather|i mean|i meant|"
    r"just kidding|my mistake|wait|sorry|oops|actually|rather(?! than)|no ,|no -|no \.|(?:,|-|\.) no(?= (?:the|left|right|its|it|i|both|[,.-]) ))(?: [,.:;-]+)*(?= )"
)


def split_steps(tokens: list[Token]) -> list[list[Token]]:
    """Return the tokens of each step."""
    tokens = _without_header(tokens)
    steps: list[list[Token]] = [[]]
    for i, token in enumerate(tokens):
        rest = tokens[i + 1 :]
        if token.word in (";", "!", "?", ".") and token.kind == "P":
            if token.word == "?":
                steps[-1].append(token)
            steps.append([])
        elif (
            token.word in ("then", "afterwards", "subsequently", "thereafter") and (not rest or steps[-1])
        ) or (
            token.word in ("and", ",", "but", "otherwise", "&", "also", "plus", "-", ":")
            and steps[-1]
            and _starts_step(token, rest, steps[-1])
        ):
            steps.append([])
        else:
            steps[-1].append(token)
    return [step for step in steps if any(t.kind != "P" or t.word == "?" for t in step)]


_HISTORY = frozenset(
    (
        *("patient", "pt", "man", "woman", "male", "female", "history", "known", "suspected", "status", "hx"),
        *("previous", "prior", "given", "presenting", "admitted", "diagnosed", "lady", "gentleman"),
    )
)


def _without_history(tokens: list[Token]) -> list[Token]:
    """Return the tokens without what is told of a patient before an order: "patient with X, outline Y"."""
    for i, token in enumerate(tokens):
        after = next((t for t in tokens[i + 1 :] if t.word not in _FILL), None)
        before = [t.word for t in tokens[:i] if t.kind == "W"]
        if token.word in (",", ";", ":", ".", "-") and after is not None and after.word in IMPERATIVES:
            told = _HISTORY & set(before[:4]) and not IMPERATIVES & set(before)
            return tokens[i + 1 :] if told else tokens
    return tokens


def _without_header(tokens: list[Token]) -> list[Token]:
    """Return the tokens without what stands before a colon only as a heading: "LV level: outline the aorta"."""
    tokens = _without_history(tokens)
    place = next((i for i, t in enumerate(tokens) if t.word == ":"), 0)
    if any(t.kind == "R" for t in tokens[:place]):
        return tokens  # "the last one: accept"
    after = [t for t in tokens[place + 1 :] if t.word not in _FILL]
    before = {t.word for t in tokens[:place] if t.kind == "W"}
    if not place or not after or after[0].word not in IMPERATIVES or after[0].kind != "W":
        return tokens
    ordering = before & (
        IMPERATIVES - {"is", "are", "next", "level", "contour", "label", "mark", "report"}
    ) or before & {"not", "without", "except", "left", "right", "also"}
    return tokens if ordering else tokens[place + 1 :]


def _starts_step(token: Token, rest: list[Token], before: list[Token]) -> bool:
    k = 0
    while (
        k < len(rest)
        and not (
            rest[k].word == "next" and rest[k + 1 : k + 2] and rest[k + 1].word in ("slice", "plane", "image")
        )
        and rest[k].word in _FILL
        and rest[k].kind == "W"
    ):
        k += 1
    if k == len(rest):
        return False
    if token.word in (",", "and") and any(t.word == "window" for t in rest[k : k + 3]):
        return True
    if (
        token.word in ("and", "plus", ",", "with")
        and rest[k].word in ("its", "their")
        and k + 1 < len(rest)
        and re.fullmatch(
            r"volumes?|areas?|diameters?|sizes?|density|mean|hu|length|width|dimensions?|attenuation|axis|recist|thickness|distance",
            rest[k + 1].word,
        )
    ):
        return any(t.kind in "SXR" for t in before)
    head, after = rest[k].word, rest[k + 1].word if k + 1 < len(rest) else ""
    if head not in IMPERATIVES or rest[k].kind != "W":
        return False
    if token.word == "but" and (head in ("is", "are", "keep") or after == "not"):
        return False
    if head in ("is", "are", "does"):
        return (
            any(t.kind in "RS" for t in rest[k + 1 : k + 3])
            and any(t.kind in "RS" for t in before)
            and any(t.word in ("how", "is", "what", "are") for t in before)
        )
    if head == "next":
        return after in ("slice", "plane", "image", "one")
    if head == "keep" and after in ("out", "away"):
        return False
    if head in (
        "get",
        "make",
        "open",
        "close",
        "list",
        "report",
        "set",
        "change",
        "call",
        "label",
        "mark",
        "contour",
        "outline",
        "trace",
        "switch",
        "clip",
        "trim",
        "crop",
        "count",
        "stop",
        "fill",
    ):
        return k + 1 < len(rest) or head == "stop"
    if head == "clean" or head == "move":
        return True
    if head in ("which", "what", "how"):
        return True
    return True


def take_back(tokens: list[Token]) -> list[Token]:
    """Return the tokens without what the speaker took back: "the right, no, the left kidney"."""
    text = " ".join(t.word for t in tokens)
    marks = [m for m in _TOOK_BACK.finditer(text) if m.start() > 0]
    for mark in reversed(marks):
        start = len(text[: mark.start()].split())
        end = len(text[: mark.end()].split())
        before, after = tokens[:start], tokens[end:]
        before = [t for t in before]
        if re.search(r"just kidding|scratch that|strike that", mark[0]) and after:
            return after
        kinds = {_kind(t) for t in before} & {_kind(t) for t in after} - {""}
        if not before or not after or not any(_kind(t) for t in after):
            continue
        if re.search(r"no$|no [,.-]$", mark[0].strip()) and not any(_kind(t) for t in before):
            continue
        alone = any(
            t.word in IMPERATIVES
            and t.kind == "W"
            and t.word not in ("is", "are", "how", "what", "next", "no")
            for t in after
        )
        if alone:
            return after
        if not kinds:
            if {_kind(t) for t in before} & {"S", "R"}:
                return tokens
            return after if any(_kind(t) in "SR" for t in after if _kind(t)) else tokens
        if "S" in {_kind(t) for t in after}:
            kinds |= {"S", "side"}
            verbs = [t for t in before if not _kind(t) and t.kind == "W"]
            return [*verbs, *after]
        kept = [t for t in before if _kind(t) not in kinds]
        return [*kept, *after]
    return tokens


def _kind(token: Token) -> str:
    if token.kind in "SX":
        return "S"
    if token.kind in "RAN":
        return token.kind
    return "side" if token.word in ("left", "right", "both") else ""
