"""Names that share words: "ribs 3 to 5", "upper and lower lobes". Knows no action."""

from __future__ import annotations

import re
from dataclasses import replace

from napari_mediround.questions.request import Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.words.plain_text import fold, number, ordinal
from napari_mediround.questions.words.token import Token


def find_numbered(words: list[str], lexicon) -> tuple[int, tuple[Wanted, ...]] | None:
    """Return the vertebrae or ribs of "T10 to L2", "L1-5", "ribs 3, 4 and 6", "third to fifth ribs"."""
    if not re.match(
        r"cervical$|thoracic$|dorsal$|lumbar$|[ctl]\d|ribs?$|costae?$|\d|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|twelfth",
        words[0],
    ):
        return None
    text = " ".join(words[:14])
    if match := re.match(
        r"([ctl]\d{1,2})(?: vertebra)? ?(?:-|to|through|until|down to|up to) ?(?:[ctls]? ?)(\d{1,2}|[ctls]\d{1,2})\b",
        text,
    ):
        first, last = match[1], match[2] if match[2][0].isalpha() else match[1][0] + match[2]
        prefix = re.search(r"([ctls]) ?\d+$", match[0])
        last = prefix[1] + re.search(r"\d+$", match[0])[0] if prefix else last
        known = lexicon.spine
        if first in known and last in known and abs(known.index(first) - known.index(last)) < 25:
            a, b = sorted((known.index(first), known.index(last)))
            return len(match[0].split()), tuple(lexicon.wanted(f"{o} vertebra") for o in known[a : b + 1])
    if match := re.match(
        r"(cervical|thoracic|dorsal|lumbar) (?:vertebra|vertebrae|vertebral body|vertebral bodies|spine|body|level)s? (\d{1,2}(?: ?(?:-|to|through|until|,|and|&) ?\d{1,2})*)\b",
        text,
    ):
        names = [
            f"{'T' if match[1][0] in 'td' else match[1][0].upper()}{n} vertebra"
            for n in _numbers_in(match[2])
        ]
        if all(lexicon.anatomy.find(n) for n in names):
            return len(match[0].split()), tuple(lexicon.wanted(n) for n in names)
    one = r"(?:\d{1,2}(?:st|nd|rd|th)?|first|second|third|fourth|fifth|sixth|seventh|eighth|ninth|tenth|eleventh|twelfth|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
    link = r" ?(?:-|to|through|until|,|and|, and|&|\+|/) ?"
    for pattern in (
        rf"(?P<h>ribs?|costae?)(?: number| no)? (?P<n>{one}(?:{link}{one})*)\b(?! ?(?:mm|ml|cm))",
        rf"(?P<n>{one}(?:{link}{one})+) (?:(?P<side>left|right|lt|rt) )?(?P<h>ribs?|ventricles?)\b",
        rf"(?P<n>{one}) (?P<side>left|right|lt|rt|l|r) (?P<h>rib)\b",
    ):
        if match := re.match(pattern, text):
            numbers = _numbers_in(match["n"])
            names = [
                f"rib {n}"
                if match["h"][0] in "rc"
                else f"{('third', 'fourth')[n - 3]} ventricle"
                if n in (3, 4)
                else ""
                for n in numbers
            ]
            side = lexicon.sides.get(match.groupdict().get("side") or "", "")
            if names and all(n and lexicon.anatomy.find(n) for n in names):
                wanted = tuple(lexicon.wanted(n) for n in names)
                return len(match[0].split()), tuple(Wanted(w.structure, side or w.side) for w in wanted)
            if names and match["h"][0] in "rc":
                return None
    return None


def _numbers_in(text: str) -> list[int]:
    pieces = re.findall(r"[a-z0-9]+|-", text)
    out: list[int] = []
    through = False
    for piece in pieces:
        if piece in ("-", "to", "through", "until"):
            through = True
            continue
        value = ordinal(piece) or (int(number(piece)) if number(piece) is not None else None)
        if value is None:
            continue
        if through and out:
            out += range(out[-1] + 1, value + 1) if value > out[-1] else range(out[-1] - 1, value - 1, -1)
        else:
            out.append(value)
        through = False
    return list(dict.fromkeys(out))


def shared_start(words: list[str], i: int, out: list[Token], lexicon) -> tuple[Wanted, ...]:
    """Return the structure of "medius" in "gluteus maximus, medius and minimus": the name begins as the last one."""
    last = next((t for t in reversed(out) if t.kind == "S"), None)
    if (
        last is None
        or not out
        or out[-1].word not in (",", "and", "&", "+", "/", "or")
        or words[i] in lexicon.plain
    ):
        return ()
    first = fold(last.typed).split()[0]
    found = lexicon.entries.get(f"{first} {words[i]}") if len(first) > 3 else None
    return found[0].wanted if found and not found[0].regions else ()


def shared_head(words: list[str], lexicon) -> tuple[int, list[Token]] | None:
    """Return the structures of "upper, middle and lower lobes": several beginnings of one name."""
    leads: list[str] = []
    place = 0
    while place + 1 < len(words) and len(leads) < 4:
        size = next(
            (
                n
                for n in (1, 2)
                if place + n < len(words) and words[place + n] in ("and", "&", "+", "or", "/", ",")
            ),
            0,
        )
        if not size or " ".join(words[place : place + size]) in lexicon.entries:
            break
        leads.append(" ".join(words[place : place + size]))
        place += size + 1
        while place < len(words) and words[place] in ("and", "&", "the", "or"):
            place += 1
    if not leads or any(lead in lexicon.entries for lead in leads):
        return None
    for size in range(min(6, len(words) - place), 1, -1):
        rest = words[place : place + size]
        last = lexicon.entries.get(" ".join(rest))
        if not last or last[0].regions:
            continue
        for cut in range(1, size):
            heads = [" ".join([lead, *rest[cut:]]) for lead in leads]
            found = [lexicon.entries.get(h) or lexicon.entries.get(h.removesuffix("s")) for h in heads]
            sided = any(lead in lexicon.sides for lead in leads) and lexicon.is_pair(
                last[0].wanted[0].structure
            )
            if all(found) and not sided and all(f[0].wanted != last[0].wanted for f in found):
                tokens: list[Token] = []
                for head, one in zip(heads, found, strict=True):
                    tokens += [
                        Token("S", "S", head.removesuffix("s"), one[0].wanted),
                        Token("W", "and", "and"),
                    ]
                return place + size, [
                    *tokens,
                    Token("S", "S", " ".join(rest).removesuffix("s"), last[0].wanted),
                ]
    return None


def decide_by_others(tokens: list[Token], lexicon, situation: Situation) -> list[Token]:
    """Decide names that mean several structures by the others of the text: "both ventricles and both atria"."""
    regions = {lexicon.anatomy[lexicon.name_of(w)].region for t in tokens if t.kind == "S" for w in t.wanted}
    regions = (regions | situation.regions) - {"general"}
    out = []
    for token in tokens:
        own = (
            tuple(w for w in token.choices if lexicon.anatomy[lexicon.name_of(w)].region in regions)
            if token.kind == "X" and token.sure
            else ()
        )
        plural = token.typed.casefold().endswith("s")
        out.append(
            replace(token, kind="S", word="S", wanted=own, choices=())
            if len(own) == 1 or (own and plural and len(own) < len(token.choices))
            else token
        )
    return out
