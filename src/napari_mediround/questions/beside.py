"""A place beside masks or structures: "the vessel behind [1]". Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.followups import plane_scope
from napari_mediround.questions.meaning import describe
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.nouns import RELATION
from napari_mediround.questions.words.step_masks import Step, ask, masks_of
from napari_mediround.questions.words.token import Token


def beside(step: Step) -> Request | None:
    """Return the request for a place beside masks or structures: "the vessel behind [1]"."""
    text, named = step.rest_text, step.named
    match = RELATION.search(re.sub(r"\b(all|both) (over|around)\b", "", text))
    if not match:
        return None
    anchors = [t for t in step.rest if t.kind == "R" or (t.kind in "SX" and not is_open(t))]
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
                "segment", tuple(lead), masks.refs, tuple(named.excluded), plane_scope(step), read_from=text
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


def is_open(token: Token) -> bool:
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
        if token.kind == "S" and not is_open(token):
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
    return Request(
        "segment",
        (Wanted(described=described),),
        tuple(refs),
        tuple(step.named.excluded),
        plane_scope(step),
        sure=False,
        read_from=step.text,
    )
