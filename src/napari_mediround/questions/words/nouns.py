"""What a clause names: structures, sides, what it rules out, what it leaves to a place. Knows no action."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from napari_mediround.questions.request import Ref, Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.negation import NEG, mark_ruled_out
from napari_mediround.questions.words.sidedness import Mention, give_sides
from napari_mediround.questions.words.token import Token

RELATION = re.compile(
    r"\b(behind|in front of|front of|anterior|posterior|ventral|dorsal|above|below|beneath|under|underneath|over|superior|inferior|cranial|caudal|"
    r"lateral|medial|deep to|superficial|next to|adjacent|beside|alongside|near|nearest|closest|touching|touches|touch|abut\w*|neighbou?r\w*|between|around|surround\w*|"
    r"inside|within|outside|outer|inner|opposite|bulging|hugging|crossing|crosses|leading|supplies|supplying|drains|draining|enters|entering|leaves|leaving|"
    r"wrapped|wraps|borders|bordering|contacts?|in contact|against|on top of|concavity|convexity|sandwiched|separates?|separating|encas\w+|enclos\w+|contains?|containing|"
    r"largest|smallest|biggest|larger|smaller|bigger|topmost|lowest|highest|uppermost|lowermost|leftmost|rightmost|up from|down from|left of|right of|to the left|to the right|attached|connect\w+|joins?|joining|runs?|running|lying|lies|sits?|sitting|resting|rests|directly|immediately|just|further)\b"
)


@dataclass
class Named:
    """What a clause names, gathered word by word."""

    targets: list[Wanted] = field(default_factory=list)
    excluded: list[Wanted] = field(default_factory=list)
    unknown: list[Wanted] = field(default_factory=list)
    choices: list[Wanted] = field(default_factory=list)
    out_refs: list[Ref] = field(default_factory=list)
    sure: bool = True
    plural: bool = False
    odd_side: str = ""


def name_things(tokens: list[Token], situation: Situation) -> Named:
    """Return what a clause names."""
    negative = mark_ruled_out(tokens)
    named = Named()
    items = [
        Mention(t.wanted, t, i, negative[i], bad=_not_that(tokens, i) if t.kind == "S" else "")
        for i, t in enumerate(tokens)
        if t.kind in "SX" and t.wanted
    ]
    items = _narrowed(tokens, _located(tokens, items))
    give_sides(tokens, items, negative)
    for item in items:
        token = item.token
        named.sure &= token.sure
        if token.kind == "X" and item.negative:
            named.excluded += _ruled_out(token, items)
            continue
        if token.choices:
            if not any(i.token.kind == "S" and not i.negative for i in items):
                pass
            elif token.sure:
                named.unknown.append(Wanted(described=token.wanted[0].described))
            named.choices += [_with_side(w, item.side, named) for w in token.choices]
            continue
        for wanted in item.wanted:
            one = _with_side(wanted, item.side, named)
            if item.bad and not item.negative:
                named.unknown.append(
                    Wanted(described=item.bad, side=item.side if item.side != "both" else "")
                )
                named.choices.append(one)
            elif token.kind == "X":
                if not item.negative:
                    named.unknown.append(
                        Wanted(described=wanted.described, side=item.side if item.side != "both" else "")
                    )
            else:
                (named.excluded if item.negative else named.targets).append(one)
            if item.ruled and one.structure and one.side != item.ruled:
                named.excluded.append(Wanted(one.structure, item.ruled))
        named.plural |= bool(re.search(r"(s|ae|i)$", token.typed.casefold())) or item.side == "both"
    for i, token in enumerate(tokens):
        if token.kind == "R" and negative[i]:
            for ref in token.pointer.masks:
                named.out_refs.append(ref)
                mask = next(m for m in situation.masks if m.ref == ref)
                structure = load_lexicon().anatomy.find(mask.structure)
                named.excluded.append(
                    load_lexicon().wanted(structure.name) if structure else Wanted(described=mask.structure)
                )
    named.excluded = _merge(named.excluded)
    named.targets = [left for w in _merge(named.targets) if (left := _less(w, named.excluded))]
    named.unknown = list(dict.fromkeys(named.unknown))
    return named


def _ruled_out(token: Token, items: list[Mention]) -> list[Wanted]:
    """Return the structures of a kind that are ruled out: "the lungs without the nodule"."""
    lexicon = load_lexicon()
    word = token.typed.casefold()
    for item in items:
        for wanted in item.wanted:
            for whole in (wanted.structure, wanted.structure.removesuffix("s")):
                if found := lexicon.anatomy.find(f"{whole} {word}"):
                    return [lexicon.wanted(found.name)]
    kind = lexicon.kinds.get(word) or lexicon.kinds.get(word.removesuffix("s"), frozenset())
    return list(dict.fromkeys(token.choices or (lexicon.wanted(n) for n in kind)))


def _with_side(wanted: Wanted, side: str, named: Named) -> Wanted:
    lexicon = load_lexicon()
    if not wanted.structure or not side:
        return wanted
    if not lexicon.is_pair(wanted.structure):
        own = re.match(r"(left|right) ", wanted.structure)
        if side in ("left", "right") and own and own[1] != side:
            swapped = lexicon.anatomy.find(wanted.structure.replace(own[1], side, 1))
            if swapped:
                return lexicon.wanted(swapped.name)
            named.odd_side = f"{side} {wanted.structure.removeprefix(own[1]).strip()}"
        elif (
            not own
            and side in ("left", "right")
            and load_lexicon().anatomy[wanted.structure].region not in ("general", "breast")
        ):
            named.odd_side = f"{side} {wanted}"
        return wanted
    if wanted.side in ("left", "right") and side in ("left", "right") and wanted.side != side:
        named.odd_side = f"{side} {wanted}"
        return wanted
    return replace(wanted, side=side if wanted.side not in ("left", "right") else wanted.side)


def _less(wanted: Wanted, excluded: list[Wanted]) -> Wanted | None:
    """Return what is left of a target without what is ruled out: the other side of a pair, or nothing."""
    ruled = {w.side for w in excluded if w.structure == wanted.structure and w.structure}
    if not ruled:
        return wanted
    if wanted.side == "both" and ruled in ({"left"}, {"right"}):
        return replace(wanted, side="right" if ruled == {"left"} else "left")
    return (
        wanted
        if wanted.side and ruled <= {"left", "right"} and wanted.side not in ruled and wanted.side != "both"
        else None
    )


def _merge(wanted: list[Wanted]) -> list[Wanted]:
    """Return targets once each; left and right of one pair are both of it."""
    found = dict.fromkeys(wanted)
    for one in list(found):
        sides = {w.side for w in found if w.structure == one.structure and one.structure}
        if one.structure and ({"left", "right"} <= sides or ("both" in sides and len(sides) > 1)):
            both = Wanted(one.structure, "both")
            found = dict.fromkeys(both if w.structure == one.structure else w for w in found)
    return list(found)


def _located(tokens: list[Token], items: list[Mention]) -> list[Mention]:
    """Leave out structures that only say where: "the nodule in the lung", "muscle at L3", "at the level of T12"."""
    kept: list[Mention] = []
    lexicon = load_lexicon()
    for item in items:
        before = [t.word for t in tokens[: item.place]]
        while (
            before
            and before[-1]
            in (
                "the",
                "a",
                "an",
                "left",
                "right",
                "both",
                "this",
                "his",
                "her",
                "my",
                "your",
                "level",
                "of",
                "height",
            )
            and not (before[-1] == "of" and len(before) > 1 and before[-2] not in ("level", "height"))
        ):
            before.pop()
        prep = before[-1] if before else ""
        if (
            kept
            and prep in ("in", "within", "inside", "on", "of", "at", "from", "into", "near")
            and item.place - kept[-1].place <= 5
            and not item.negative
        ):
            head = kept[-1]
            joined = [
                f"{w.structure.removesuffix('s')} {h.structure or h.described}"
                for w in item.wanted
                for h in head.wanted
            ]
            last = head.wanted[0].structure.split()[-1:] if head.wanted[0].structure else []
            joined += [f"{w.structure.removesuffix('s')} {word}" for w in item.wanted for word in last]
            typed = f"{item.token.typed} {head.token.typed}".casefold()
            joined += [f"left {name}" for name in (typed, *joined)]
            found = next((lexicon.anatomy.find(j) for j in (typed, *joined) if lexicon.anatomy.find(j)), None)
            if found and prep != "at":
                own = lexicon.wanted(found.name)
                sided = lexicon.is_pair(own.structure) and found.name.startswith("left ")
                head.wanted, head.bad = (replace(own, side="both") if sided else own,), ""
                head.token = replace(head.token, kind="S", choices=())
                continue
            if last and last[0] in _GROWTHS and head.token.typed.split()[1:] == [] and item.token.kind == "S":
                head.bad = f"{head.token.typed} {prep} {item.token.typed}"  # "tumour of the spleen"
                continue
            wholes = {
                lexicon.wanted(a).structure
                for h in head.wanted
                if h.structure
                for a in lexicon.anatomy.ancestors(lexicon.name_of(h))
            }
            if prep == "of" and {w.structure for w in item.wanted} & wholes:
                continue  # "the lower lobe of the right lung": the side is the lobe's
            if (
                prep in ("in", "within", "inside", "on", "at")
                and head.token.kind == "S"
                and item.token.kind == "S"
            ):
                continue
            if item.token.kind == "X" and head.token.kind == "S" and not head.negative:
                if item.wanted[0].described in ("thorax", "chest", "abdomen", "neck", "head", "pelvis"):
                    continue
                head.bad = f"{head.token.typed} {prep} {item.token.typed}"
                continue
            if head.token.kind == "X" and prep in ("of", "in", "on", "within", "from"):
                head.wanted = (Wanted(described=f"{head.wanted[0].described} {prep} the {item.token.typed}"),)
                continue
        if not kept and prep == "at" and len(items) > 1:
            continue
        kept.append(item)
    return kept


_GROWTHS = ("tumour", "cyst", "nodule", "lesion", "metastasis", "stone", "abscess", "aneurysm")


def _narrowed(tokens: list[Token], items: list[Mention]) -> list[Mention]:
    """Leave out wholes that their parts follow at once: "vertebrae from C3 to C6" are these four."""
    lexicon = load_lexicon()
    kept: list[Mention] = []
    for item, after in zip(items, [*items[1:], None], strict=False):
        if kept and item.place == kept[-1].place + 1 and item.negative == kept[-1].negative:
            wholes = {
                a
                for w in kept[-1].wanted
                if w.structure
                for a in lexicon.anatomy.ancestors(lexicon.name_of(w))
            }
            if {w.structure for w in item.wanted} & wholes - {w.structure for w in kept[-1].wanted}:
                continue  # "L1 to L4 vertebrae" are these four
        between = {t.word for t in tokens[item.place + 1 : after.place]} if after else set()
        whole = after and {w.structure for w in item.wanted} & {
            a for w in after.wanted if w.structure for a in lexicon.anatomy.ancestors(lexicon.name_of(w))
        } - {w.structure for w in after.wanted}
        if not (
            whole
            and not between & {"and", ",", "+", "&", "plus", "/", "with", "not", "without", "also", ";", "or"}
            and item.negative == after.negative
        ):
            kept.append(item)
    return kept


def _not_that(tokens: list[Token], place: int) -> str:
    """Return the words of a part or of another thing that a name only belongs to, "" where it is itself meant."""
    lexicon = load_lexicon()
    before = tokens[:place][::-1]
    after = tokens[place + 1 :]
    name = tokens[place].typed
    if after and after[0].kind in ("W", "N"):
        word = after[0].word
        if word in lexicon.parts and word != "side":
            return f"{name} {' '.join(t.typed for t in after[:2] if t.kind in 'WN')}".strip()
        if after[0].kind == "N" and not (len(after) > 1 and after[1].kind in "A"):
            return (
                f"{name} {word}"
                if re.search(r"ribs?$|vertebra$|disc$", name, re.I)
                or (len(after) == 1 and not name.isupper())
                else ""
            )
        if (
            word not in lexicon.plain
            and word not in lexicon.qualities
            and word not in lexicon.common
            and word not in lexicon.words
            and word not in lexicon.sides
        ):
            return f"{name} {word}"
    if after and after[0].kind == "X":
        return f"{name} {after[0].typed}"
    if before and before[0].kind == "X" and tokens[place].typed:
        return f"{before[0].typed} {name}"
    k = 0
    while k < len(before) and before[k].word in (
        "left",
        "right",
        "both",
        "side",
        "one",
        "the",
        "a",
        "an",
        "this",
        "my",
        "his",
        "her",
        "patient's",
    ):
        k += 1
    if k < len(before) and before[k].word in ("of", "in", "on", "from") and k + 1 < len(before):
        head = before[k + 1]
        if head.kind == "N" and k + 2 < len(before):
            head = before[k + 2]
            if head.word in lexicon.parts:
                return f"{head.word} {before[k + 1].word} of the {name}"
            head = before[k + 1]
        if head.kind == "W" and (
            (head.word in lexicon.parts and head.word not in ("border", "surface", "side"))
            or (head.word not in lexicon.words and len(head.word) > 3 and head.word.isalpha())
        ):
            more = [t.word for t in before[k + 2 : k + 4] if t.kind == "W" and t.word not in lexicon.plain]
            return f"{' '.join(more[::-1])} {head.word} {before[k].word} the {name}".strip()
        if head.kind == "W" and re.fullmatch(r"\d+[a-z]", head.word):
            return f"segment {head.word} of the {name}"
        return ""
    if k < len(before) and before[0].kind == "W":
        word = before[k].word if before[k].kind == "W" else ""
        strange = (
            word
            and word not in lexicon.plain
            and word not in lexicon.qualities
            and word not in lexicon.sides
            and word.isalpha()
        )
        if strange and k == 0 and word not in lexicon.words and word not in NEG and len(word) > 2:
            return f"{word} {name}"
        if word in _CHANGING:
            return f"{word} {name}"
    return ""


_CHANGING = frozenset(
    [
        "renal",
        "hepatic",
        "splenic",
        "gastric",
        "retinal",
        "upper",
        "lower",
        "anterior",
        "posterior",
        "superior",
        "inferior",
        "medial",
        "lateral",
        "middle",
        "distal",
        "proximal",
        "central",
        "outer",
        "inner",
        "ascending",
        "descending",
        "transverse",
        "terminal",
        "internal",
        "external",
        "common",
        "accessory",
        "ectopic",
        "supernumerary",
        "artificial",
        "cervical",
        "thoracic",
        "lumbar",
        "sacral",
        "abdominal",
        "pelvic",
        "cranial",
        "caudal",
        "dorsal",
        "ventral",
        "half",
        "superficial",
        "deep",
        "primary",
        "secondary",
        "fetal",
        "foetal",
        "maternal",
        "donor",
        "transplant",
    ]
)
