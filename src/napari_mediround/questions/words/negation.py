"""What a clause rules out: "not the liver", "everything except the spleen". Knows no action."""

from __future__ import annotations

import re

from napari_mediround.questions.words.token import Token

NEG = (
    "not",
    "without",
    "except",
    "excluding",
    "exclude",
    "ignore",
    "ignoring",
    "avoid",
    "avoiding",
    "omit",
    "omitting",
    "skip",
    "skipping",
    "minus",
    "nor",
    "neither",
    "never",
    "don't",
    "dont",
    "cannot",
    "sparing",
    "spare",
    "didn't",
    "didnt",
    "barring",
    "bar",
    "sans",
    "isnot",
    "excepting",
    "disregard",
    "disregarding",
    "excl",
)


_NEG_PHRASES = (
    "all but",
    "everything but",
    "anything but",
    "leave out",
    "leaving out",
    "other than",
    "apart from",
    "rather than",
    "instead of",
    "but not",
    "never mind",
    "no need for",
    "not interested in",
    "nothing of",
    "aside from",
    "save for",
    "do not",
    "stay away from",
    "keep out",
    "keep away from",
    "steer clear of",
    "free of",
    "exclusive of",
    "less the",
    "forget about",
    "forget the",
    "no more",
    "leave the",
    "not include",
    "not including",
    "as opposed to",
    "save the",
    "nothing to do with",
    "hold the",
)


_STOP_NEG = (
    "but",
    "only",
    "just",
    "segment",
    "outline",
    "show",
    "draw",
    "mark",
    "find",
    "contour",
    "delineate",
    "label",
    "want",
    "do",
    "give",
    "take",
    "trace",
    "instead",
    "keep",
    "yes",
    "highlight",
    "need",
    "however",
    "please",
)


def mark_ruled_out(tokens: list[Token]) -> list[bool]:
    """Return for each token whether the words rule it out."""
    words = [t.word for t in tokens]
    negative = [False] * len(words)
    on, seen = False, False
    i = 0
    while i < len(words) and (
        (
            words[i] in ("no", ",", "nope", "nah", "-", ".")
            and i + 1 < len(words)
            and words[i + 1] in (",", "-", ".", "not", "no")
        )
        or words[i] == ","
    ):
        i += 1  # "no, not the aorta": the first no only answers
    while i < len(words):
        two = " ".join(words[i : i + 2])
        three = " ".join(words[i : i + 3])
        word = words[i]
        rest = " ".join(words[i : i + 6])
        if skip := _no_negation(rest):
            i += abs(skip)
            on = on and skip < 0
            continue
        if _marks_before(tokens, i):
            negative[i - 1 if tokens[i - 1].kind in "SXR" else i - 2] = True
            i += 1
            continue
        hit = 2 if two in _NEG_PHRASES else 3 if three in _NEG_PHRASES else 1 if word in NEG else 0
        after = words[i + 1] if i + 1 < len(words) else ""
        named = tokens[i + 1].kind in "SXR" if after else False
        sided = after in ("left", "right") and i + 2 < len(words) and tokens[i + 2].kind in "SXR"
        if not hit and word == "no" and (named or sided):
            hit = 1
        if not hit and two in ("no longer", "never the"):
            hit = 2
        if hit:
            if word == "isnot" or (
                word in ("not", "without")
                and not any(t.kind in "SXR" or t.word in ("left", "right") for t in tokens[i + hit :])
            ):
                for back in range(i - 1, -1, -1):  # "X ではなく", "die Leber nicht"
                    if tokens[back].kind in "SXR":
                        negative[back] = True
                        break
                    if tokens[back].word in (",", "and", "but"):
                        break
                on = False
            elif on and not seen and word in ("not", "without", "except"):
                on = False  # twice no
            else:
                on, seen = True, False
            i += hit
            continue
        if on and seen:
            following = next(
                (t for t in tokens[i + 1 :] if t.word not in ("the", "a", "an", "please", "also")), None
            )
            if (
                word in _STOP_NEG
                or word in (";", ".", ":")
                or (word == "," and not _list_goes_on(tokens, i))
                or (word == "and" and following is not None and following.word in _STOP_NEG)
            ):
                on = False
        if tokens[i].kind in "SXR" or word in ("left", "right"):
            negative[i] = on
            seen |= on and tokens[i].kind in "SXR"
        i += 1
    return negative


_NOT_WANTED = re.compile(
    r"^(?:(?:is|are|was) )?(?:not|isn't|aren't) (?:needed|wanted|required|necessary|relevant|included|of interest|asked)\b|"
    r"^(?:is |are )?(?:excluded|omitted|unnecessary|unwanted)\b|^no(?: [,.;]| but| and|$)"
)


def _marks_before(tokens: list[Token], i: int) -> bool:
    """Whether words rule out the name right before them: "liver no", "the spleen is not needed"."""
    if not i or not any(t.kind in "SXR" for t in tokens[max(i - 2, 0) : i]):
        return False
    if tokens[i - 1].kind not in "SXR" and tokens[i - 1].word not in ("is", "are"):
        return False
    return bool(_NOT_WANTED.match(" ".join(t.word for t in tokens[i : i + 4])))


_ONLY = re.compile(r"(not|nothing|no) (only|just|merely|but)\b")
_FORGET = re.compile(
    r"(don't|dont|do not|never|not to) (forget|miss|skip|omit|leave out|ignore|overlook|exclude)\b"
)
_ASKS = re.compile(
    r"(can't|cannot|couldn't|could not|can not|cant|won't|why not|why don't|why can't|doesn't|isn't|wasn't|not (sure|certain|visible|clear|found|seen|there|yet|easy|good|great)|do not see|don't see|don't mind|would not mind|wouldn't mind|not bad|no (contrast|iv|oral|problem|rush|hurry|worries|idea|doubt|motion|artefact|artifact))\b"
)


def only_sounds_negative(rest: str) -> bool:
    """Whether words begin with what only sounds like a negation: "not only", "don't forget", "can't see"."""
    return bool(_no_negation(rest))


def _no_negation(rest: str) -> int:
    """Return how many words only sound like a negation, 0 for none; below 0 where one before them goes on."""
    if _ONLY.match(rest) or _FORGET.match(rest):
        return 3 if rest.startswith(("do not", "not to")) else 2
    return -2 if _ASKS.match(rest) else 0


def _list_goes_on(tokens: list[Token], comma: int) -> bool:
    """Whether after a comma the list of what is ruled out goes on: "without liver, spleen or kidneys"."""
    words = [t.word for t in tokens[comma + 1 :]]
    nouns = [i for i, t in enumerate(tokens[comma + 1 :]) if t.kind in "SXR"]
    if not nouns:
        return False
    positive_before = (
        any(t.kind in "SX" for t in tokens[:comma]) and sum(t.kind in "SXR" for t in tokens[:comma]) > 1
    )
    joined = (
        any(w in ("or", "nor", "and") for w in words[: nouns[-1]])
        if len(nouns) > 1
        else words[0] in ("or", "nor", "and")
    )
    return joined and (positive_before or "or" in words or "nor" in words)
