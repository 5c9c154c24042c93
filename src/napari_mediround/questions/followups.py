"""What only makes sense after the round before: "left as well", "the other side". Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.plain_text import number, ordinal
from napari_mediround.questions.words.step_masks import Step, ask, masks_of

_OTHER = re.compile(
    r"\b(other side|opposite side|contralateral( side| one)?|the other( one)?|other one|counterpart|mirror side|opposite( one)?|its twin|the twin|other hand side|across the midline|wrong side|other)\b"
)


_SAME = re.compile(r"\b(ipsilateral|same side|that side|this side)\b")


_AGAIN = re.compile(
    r"\b(again|once more|one more time|redo|repeat|retry|try (it )?(once )?(again|more)|another (go|try|attempt)|have another|re ?do|re ?segment|from scratch|a second time|rerun|re ?run|anew|over again|same again)\b"
)


def base_of(name: str) -> Wanted | None:
    """Return a structure, by any of its names, as a target; None for an unknown name."""
    structure = load_lexicon().anatomy.find(name)
    return load_lexicon().wanted(structure.name) if structure else None


def of_other_side(step: Step) -> Request | None:
    """Return the request for "the other side of [1]", "contralateral kidney", "adrenal ipsilateral to [2]", "wrong side"."""
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
    wanted = [base_of(a.structure) for a in anchors]
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
        if not other or _names_a_kind(step):
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
        scope=plane_scope(step),
        read_from=text,
    )


def plane_scope(step: Step) -> str | tuple[int, int]:
    """Return the planes that a step is about, "" where they make no sense."""
    return "" if step.scope == "odd" else step.scope


def ellipsis(step: Step) -> Request | None:
    """Return what only makes sense after the round before: "left as well", "now both", "again"."""
    text, situation, lexicon = step.rest_text, step.situation, load_lexicon()
    if not situation.alive or step.named.excluded:
        return None
    last = [w for m in situation.last if (w := base_of(m.structure))]
    words = [t.word for t in step.rest if t.kind in "WN"]
    if _AGAIN.search(text):
        masks = masks_of(step)
        return (
            ask(masks, step)
            if masks.problem
            else Request("segment", references=masks.refs, scope=plane_scope(step), read_from=text)
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
            scope=plane_scope(step),
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
                "segment",
                tuple(lexicon.wanted(n.name) for n in names),
                scope=plane_scope(step),
                read_from=text,
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
    if len(words) <= 6 and (near := near_name(words, last)):
        return near
    return None


def near_name(words: list[str], last: list[Wanted]) -> Request | None:
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
        if (w not in lexicon.plain and w not in lexicon.qualities)
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


def _names_a_kind(step: Step) -> bool:
    """Whether another thing is asked for, opposite of a mask: "the largest organ opposite to it"."""
    return bool(re.search(r"\b(organ|structure|thing|gland|vessel|artery|vein|bone|muscle|what|whatever)\b",
                          " ".join(t.typed.casefold() if t.kind in "SX" else t.word for t in step.rest)))  # fmt: skip
