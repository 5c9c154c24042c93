"""Structures by description: which of the anatomy's functions share the rare words of a question. Knows no model.

Weighs words by how few structures they describe (inverse document frequency). What it finds is never sure.
"""

from __future__ import annotations

import math
import re
from functools import cache

from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon, read_words
from napari_mediround.questions.words.plain_text import fold
from napari_mediround.questions.words.step_masks import Step

_EMPTY = frozenset(
    [
        "the",
        "a",
        "an",
        "of",
        "to",
        "in",
        "on",
        "at",
        "and",
        "or",
        "for",
        "with",
        "from",
        "by",
        "that",
        "which",
        "what",
        "where",
        "who",
        "whose",
        "it",
        "its",
        "is",
        "are",
        "be",
        "was",
        "when",
        "into",
        "than",
        "as",
        "this",
        "these",
        "those",
        "does",
        "do",
        "has",
        "have",
        "i",
        "you",
        "me",
        "my",
        "us",
        "we",
        "can",
        "could",
        "would",
        "will",
        "please",
        "show",
        "segment",
        "outline",
        "draw",
        "mark",
        "find",
        "give",
        "see",
        "need",
        "want",
        "thing",
        "one",
        "back",
        "first",
        "second",
        "last",
        "time",
        "no",
        "not",
        "yes",
        "make",
        "makes",
        "made",
        "used",
        "use",
        "using",
        "part",
        "so",
        "also",
        "other",
        "all",
        "any",
        "some",
        "most",
        "more",
        "very",
    ]
)


LEAST, MARGIN = 7.0, 1.5


"""Weight of shared words from which on a description counts, and how much more than the next structure's."""


def stem(word: str) -> str:
    """Return a word without its ending: "stores", "stored" and "storing" are one."""
    for ending in ("ations", "ation", "ings", "ing", "ers", "ies", "ed", "er", "es", "ly", "s", "e", "y"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word


def stems(text: str) -> list[str]:
    """Return the stems of a text's content words."""
    words = re.findall(r"[^\W_]+", fold(text.replace("'s", "")))
    return [_SAME.get(s, s) for w in words if w not in _EMPTY for s in (stem(w),)]


_SAME: dict[str, str] = {}


@cache
def _index() -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Return for each structure the weight of each stem that describes it, and for each stem how rare it is."""
    lexicon = load_lexicon()
    for group in read_words("descriptions").get("alike", []):
        for word in group:
            _SAME[stem(word)] = stem(group[0])
    texts: dict[str, list[str]] = {}
    for structure in lexicon.anatomy:
        base = lexicon.wanted(structure.name).structure
        texts.setdefault(base, []).extend(structure.functions)
    for name, hints in read_words("descriptions")["structures"].items():
        texts.setdefault(name, []).extend(hints)
    bags: dict[str, dict[str, float]] = {}
    for base, phrases in texts.items():
        bag: dict[str, float] = {}
        for phrase in phrases:
            for one in set(stems(phrase)):
                bag[one] = bag.get(one, 0) + 1
        bags[base] = {one: 1 + 0.25 * min(count - 1, 4) for one, count in bag.items()}
    total = len(bags)
    frequency: dict[str, int] = {}
    for bag in bags.values():
        for one in bag:
            frequency[one] = frequency.get(one, 0) + 1
    return bags, {one: math.log(total / n) for one, n in frequency.items()}


@cache
def _texts() -> dict[str, tuple[frozenset[str], ...]]:
    """Return for each structure the stems of each of its phrases."""
    lexicon = load_lexicon()
    found: dict[str, list[frozenset[str]]] = {}
    for structure in lexicon.anatomy:
        base = lexicon.wanted(structure.name).structure
        found.setdefault(base, []).extend(frozenset(stems(f)) for f in structure.functions)
    for name, hints in read_words("descriptions")["structures"].items():
        found.setdefault(name, []).extend(frozenset(stems(h)) for h in hints)
    return {name: tuple(phrases) or (frozenset(),) for name, phrases in found.items()}


@cache
def _phrases() -> dict[str, str]:
    """Return each function of the anatomy, as stems, and its structure's name."""
    lexicon = load_lexicon()
    found = {
        " ".join(stems(f)): lexicon.wanted(s.name).structure for s in lexicon.anatomy for f in s.functions
    }
    return {k: v for k, v in found.items() if k}


def rank(text: str) -> list[tuple[float, str]]:
    """Return structures by how well a description fits, the best first."""
    bags, rare = _index()
    own = dict.fromkeys(stems(text))
    if exact := _phrases().get(" ".join(stems(text))):
        return [(99.0, exact)]
    scores = []
    for name, bag in bags.items():
        shared = [s for s in own if s in bag]
        if shared:  # words of one phrase together say more than words of several
            together = max(sum(rare[s] for s in shared if s in phrase) for phrase in _texts()[name])
            scores.append((sum(rare[s] * bag[s] for s in shared) + together, name))
    return sorted(((s, n) for s, n in scores if s > 0), key=lambda x: (-x[0], x[1]))


def _is_kind(word: str, lexicon) -> bool:
    return (
        any(w in lexicon.kinds or w in ("organ", "fat", "gut") for w in (word, word.removesuffix("s")))
        or word in lexicon.ambiguous
    )


_TALKS = re.compile(
    r"^\W*(can|could|when|who|why|how|has|have|had|is|are|was|do|does|did|that|let|let's|i|you|we|it|this|he|she|they|there|if|would|should|will|may)\b(?! (i|you|we) (see|have|get)\b)"
)


_ACTS = re.compile(
    r"\b(that|which|where|what|who|whose|used|with|we|you|when|through|behind|between|after|before|into|under|above|"
    r"below|over|on top|beside|next to|near|around|\w+ing|\w+ed)\b"
)
"""Words that tell more of a thing than that it belongs to a structure."""
_TELLS = re.compile(
    r"\b(that|which|where|what|who|whose|used|with|we|you|when|for|from|through|by|to|between|in|of|behind|after|before|into)\b"
)
"""Words that tell what a thing does or where it is."""


def describe(step: Step, strict: bool = False) -> Request | None:
    """Return the request for a structure that a step describes, or the question back; None for no description."""
    lexicon = load_lexicon()
    words = [
        t.typed if t.kind in "SX" else t.word
        for t in step.rest
        if t.kind in "SXWN" and t.word not in ("left", "right", "both")
    ]
    text = " ".join(words)
    content = [s for s in dict.fromkeys(stems(text))]
    own = stems(
        " ".join(
            t.word
            for t in step.rest
            if t.kind == "W" and t.word not in lexicon.sides and t.word not in lexicon.plain
        )
        + " "
        + " ".join(t.typed for t in step.rest if t.kind == "X")
    )
    if len(own) < 1 + bool(step.named.targets) or step.named.excluded or step.pointers:
        return None
    ranked = rank(text) if len(content) > 1 and not _TALKS.match(step.rest_text) else []
    if not ranked:
        return None
    best, name = ranked[0]
    bag = _index()[0].get(name, {})
    known = sum(s in bag for s in content)
    firm = {s for t in step.rest if t.word not in lexicon.plain for s in stems(t.typed or t.word)}
    told = best >= 99 or _TELLS.search(step.rest_text) or sum(s in bag and s in firm for s in content) > 1
    second = ranked[1][0] if len(ranked) > 1 else 0.0
    if known < 2 or not told or best < LEAST or known < 0.5 * len(content):
        return None
    owned = any(t.kind == "S" and not _is_kind(t.typed.casefold(), lexicon) for t in step.rest)
    if owned and best < 99 and not _ACTS.search(step.rest_text):
        return None  # "lower half of the liver", "stent in the aorta"
    side = next((t.word for t in step.rest if t.word in ("left", "right", "both")), "")
    pair = lexicon.is_pair(name)

    def wanted(structure: str) -> Wanted:
        return Wanted(structure, (side or "both") if lexicon.is_pair(structure) else "")

    says = _TELLS.search(step.rest_text)
    special = [t for t in step.rest if t.kind == "X" and not _is_kind(t.typed.casefold(), lexicon)]
    if special and (not says or not set(content) - set(stems(" ".join(t.typed for t in special)))):
        return None  # what is known not to be known is not guessed at
    if len(content) < 3 and not says:
        return (
            None
            if strict or not pair
            else Request(
                "ask_back", choices=(wanted(name),), topic="described", sure=False, read_from=step.text
            )
        )
    if best >= MARGIN * second and (not strict or best >= 1.4 * second):
        return Request(
            "segment",
            (wanted(name),),
            excluded=tuple(w for w in step.named.excluded if w.structure != name),
            scope="" if step.scope == "odd" else step.scope,
            sure=False,
            read_from=step.text,
        )
    if strict:
        return None
    near = [n for s, n in ranked[:4] if s >= 0.6 * best]
    return (
        Request(
            "ask_back",
            choices=tuple(wanted(n) for n in near),
            topic="described",
            sure=False,
            read_from=step.text,
        )
        if pair or near
        else None
    )
