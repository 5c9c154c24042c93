"""Text to tokens: names, masks that are pointed at, amounts and words, in controlled English. Knows no action."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from napari_mediround.questions.lexicon import load_languages, load_lexicon
from napari_mediround.questions.request import Ref, Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.text import NUMBER, ORDINAL, clean, fold, number, ordinal


@dataclass(frozen=True)
class Pointer:
    """Masks that words point at, or why they point at none.

    Parameters
    ----------
    masks : tuple of (int, int)
        Rounds and masks in them.
    problem : str
        "" or "dangling".
    several : bool
        Whether one number means several masks.
    """

    masks: tuple[Ref, ...] = ()
    problem: str = ""
    several: bool = False


@dataclass(frozen=True)
class Token:
    """One word of controlled English.

    Parameters
    ----------
    kind : {"S", "X", "R", "A", "N", "W", "P"}
        A structure, a name of what is not known, a pointer, an amount, a number, a word, a mark.
    word : str
        Folded, as the rules see it.
    typed : str
        As typed.
    wanted : tuple of Wanted
        Of S and X.
    pointer : Pointer
        Of R.
    amount : (float or None, str)
        Of A: millimetres or millilitres, and which; None for a unit that means nothing here.
    sure : bool
        False where a misspelt word was mended far.
    choices : tuple of Wanted
        Where it may mean several.
    """

    kind: str
    word: str
    typed: str = ""
    wanted: tuple[Wanted, ...] = ()
    pointer: Pointer = Pointer()
    amount: tuple[float | None, str] = (None, "")
    sure: bool = True
    choices: tuple[Wanted, ...] = ()


_UNITS: Mapping[str, tuple[float, str]] = {
    "mm": (1, "mm"), "cm": (10, "mm"), "um": (0.001, "mm"), "m": (1000, "mm"), "in": (25.4, "mm"),
    "ml": (1, "ml"), "mm3": (0.001, "ml"), "l": (1000, "ml"), "ul": (0.001, "ml"), "mm2": (0, ""), "px": (0, ""),
}  # fmt: skip
_UNIT = (
    r"(?P<mm3>cubic\s+(?:mm|milli?met(?:er|re)s?)|mm\^?3|milli?met(?:er|re)s?\s+cubed)|"
    r"(?P<ml>mls?|ccs?|cm\^?3|cubic\s+(?:cm|centimet(?:er|re)s?)|milli?lit(?:er|re)s?)|"
    r"(?P<mm2>mm\^?2|cm\^?2|square\s+\w+)|(?P<mm>mms?|milli?met(?:er|re)s?|mils?)|"
    r"(?P<cm>cms?|centimet(?:er|re)s?)|(?P<um>um|micron\w*|micromet(?:er|re)s?)|(?P<ul>ul|microlit(?:er|re)s?)|(?P<l>lit(?:er|re)s?)|"
    r"(?P<in>inch(?:es)?)|(?P<m>met(?:er|re)s?)|(?P<px>px|pixels?|voxels?)"
)
_AMOUNT = re.compile(
    rf"(?<![\w.])(?P<n>{NUMBER}(?:\s+(?:and\s+a\s+half|point\s+{NUMBER}))?(?:\s+an?)?|an?)\s*-?\s*(?:{_UNIT})(?![a-z0-9])",
    re.I,
)
_SMALL = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve)"
_NUM = rf"(?:\d{{1,4}}|{_SMALL})"
_MASKWORD = r"(?:masks?|rounds?|contours?|outlines?|segmentations?|results?|answers?|proposals?|number|nr\.?|no\.|labels?|items?|entr(?:y|ies)|ref(?:erence)?s?)"
_POINT = re.compile(
    r"\[\s*(?P<from>\d+)\s*\]\s*(?:-|to|through|until|\.\.\.?)\s*\[\s*(?P<to>\d+)\s*\]"
    r"|\[\s*(?P<list>\d+(?:\.\d+)?(?:\s*(?:,|;|&|and|\+)\s*\d+(?:\.\d+)?)+)\s*\]"
    r"|\[\s*(?P<from2>\d+)\s*-\s*(?P<to2>\d+)\s*\]"
    r"|\[\s*(?P<bad>-?\d+(?:\.\d+){2,}|-\d+|\d+[a-z]+|\d{5,}|\d*\.\d*[a-z]\w*)\s*\]|\[\s*(?P<one>\d+)(?:\.(?P<two>\d+))?\s*\]"
    rf"|#\s*(?P<h>\d+)(?:\.(?P<h2>\d+))?(?:\s*(?:,|and|&)\s*#?(?P<h3>\d+)(?!\s*mm))?"
    rf"|\b(?:the\s+)?{_MASKWORD}\s*#?\s*(?P<mf>{_NUM})\s*(?:-|to|through)\s*#?(?P<mt>{_NUM})\b"
    rf"|\b(?:the\s+)?(?P<mw>{_MASKWORD})\s*#?\s*(?P<m>{_NUM})(?:\.(?P<m2>\d+))?(?P<more>(?:\s*(?:,|and|&)\s*(?:#|{_MASKWORD}\s*)?{_NUM})*)(?![\w.]|\s*(?:mm|cm|ml|cc|%))",
    re.I,
)
_ORDINAL_MASK = re.compile(
    rf"\b(?:the\s+)?(?P<o>{ORDINAL}|last|latest|previous|newest|most\s+recent|second(?:\s+to\s+last|\s+last)|penultimate)\s+"
    rf"(?:(?P<n>{_NUM})\s+)?(?P<w>masks?|ones?|contours?|outlines?|segmentations?|results?|rounds?|answers?|proposals?)\b"
    rf"|\b(?:the\s+)?(?P<o2>last|first|latest|previous|newest)\s+(?P<n2>two|three|four|five|[2-5])\b(?!\s*(?:slices?|planes?|mm|cm|images?|cuts?|levels?))",
    re.I,
)


def read(text: str, situation: Situation) -> list[Token]:
    """Return the tokens of a text, in its order."""
    lexicon = load_lexicon()
    text = clean(text)
    values: list[Token] = []

    def keep(token: Token) -> str:
        values.append(token)
        return f" §{len(values) - 1}§ "

    text = re.sub(
        r"\b([CTLS])(\d?)[oO](\d?)\b(?=\s*(?:vertebra|body|$|,|and))",
        lambda m: m[0] if not (m[2] or m[3]) else f"{m[1]}{m[2]}0{m[3]}",
        text,
    )
    text = _POINT.sub(lambda m: _pointer(m, situation, keep), text)
    text = _ORDINAL_MASK.sub(lambda m: _nth(m, situation, keep), text)
    text = _AMOUNT.sub(lambda m: keep(_amount(m)), text)
    for mask in situation.masks:  # a name that a person gave
        if (
            mask.verdict != "rejected"
            and lexicon.anatomy.find(mask.structure) is None
            and mask.structure.strip()
        ):
            text = re.sub(
                rf"\b{re.escape(mask.structure)}\b",
                lambda m, k=mask: keep(Token("R", "R", m[0], pointer=Pointer(((k.round, k.index),)))),
                text,
                flags=re.I,
            )
    text = re.sub(
        r"\b(?:[CTL]\d{1,2}\s*[-/]\s*[CTLS]?\d{1,2}\s+(?:inter ?vertebral\s+)?dis[ck]s?|dis[ck]s?\s+(?:at\s+)?[CTL]\d{1,2}\s*[-/]\s*[CTLS]?\d{1,2})\b",
        lambda m: (
            m[0] if lexicon.anatomy.find(m[0]) else keep(Token("X", "X", m[0], (Wanted(described=m[0]),)))
        ),
        text,
        flags=re.I,
    )
    text = load_languages().to_english(text)
    text = re.sub(r"(?<![\w.])([LRlr]|[LRlr]t)\.(?=\s|$|\w{3})", r"\1 ", text)
    text = re.sub(r"\(\s*([^()]*?)\s*\)", r" \1 ", text)
    text = re.sub(r"^\s*[-*•]\s+|\n\s*[-*•]\s*", " , ", text)
    text = re.sub(r"(?:^|(?<=[\s,;]))\(?\d{1,2}[).]\s+(?=[A-Za-z§])", " , ", text)
    text = re.sub(r"(?:^|(?<=[\s,;]))\(?[a-hA-H]\)\s+(?=[A-Za-z§])", " , ", text)
    text = re.sub(
        r"\b(left|right|lt|rt|l|r)[ -](?:hand(?:ed)?[ -]side|handed|hand(?= \w+)|sided)\b",
        r"\1",
        text,
        flags=re.I,
    )
    text = re.sub(
        r"\bw/o\b",
        "without",
        re.sub(r"\bb/l\b", "bilateral", re.sub(r"\bw/(?=\s)", "with", text, flags=re.I), flags=re.I),
        flags=re.I,
    )
    text = (
        re.sub(r"\n+", " . ", text)
        if "§" in text or re.search(r"[.!?]", text)
        else re.sub(r"\n+", " , ", text)
    )
    text = re.sub(r"(?<=[^\W\d])-(?=[^\W\d])", " ", text)
    text = re.sub(r"\b(new line|newline|next line)\b", " , ", text, flags=re.I)
    text = re.sub(r"\b(?<!the )comma\b", " , ", text, flags=re.I)
    text = re.sub(r"\b(full stop|period)\s*(?=$|[A-Z]|then|next)", " . ", text, flags=re.I)
    text = re.sub(
        r"\b([A-Za-z]{1,7})\.(?=\s|$|,|;)", lambda m: _full(m, lexicon.short | lexicon.dotted), text
    )
    text = re.sub(r"\b[A-Za-z]{2,7}\b", lambda m: _full(m, lexicon.short), text)
    raw = re.findall(r"§\d+§|[^\W_]+(?:'[^\W_]+)?|\d+[.,]\d+|[^\w\s]", text)
    words = [w if w.startswith("§") else fold(w) for w in raw]
    return _tokens(raw, _mended(words, lexicon), values, situation)


def _full(match: re.Match, words: Mapping[str, str]) -> str:
    """Return a shortened word in full; others as they stand."""
    word = match[0].removesuffix(".")
    alone = not match.string[: match.start()].strip() and word.casefold() in ("a", "v", "n", "m")
    return words.get(word.casefold(), match[0]) if not word.isupper() and not alone else match[0]


def _mended(words: list[str], lexicon) -> list[tuple[str, bool, tuple[str, ...]]]:
    """Return for each word what it means, whether that is sure, and what else it may mean."""
    out = []
    for place, word in enumerate(words):
        found, sure = lexicon.mend(word)
        if len(found) > 1:  # a neighbour may decide: "lateral ventricel"
            before = words[place - 1] if place else ""
            after = words[place + 1] if place + 1 < len(words) else ""
            fits = [
                f for f in found if f"{before} {f}" in lexicon.entries or f"{f} {after}" in lexicon.entries
            ]
            whole = {lexicon.entries[f][0].wanted for f in found if f in lexicon.entries}
            if fits or len(whole) == 1 and all(f in lexicon.entries for f in found):
                found = (fits or list(found))[:1]
        if len(found) > 1 or found and not sure:
            out.append((word, False, found))
        elif found:
            out += [(part, len(word) > 3, ()) for part in found[0].split()]
        else:
            out.append((word, True, ()))
    return out


def _tokens(raw, mended, values: list[Token], situation: Situation) -> list[Token]:
    lexicon = load_lexicon()
    words = [w for w, _, _ in mended]
    typed = raw if len(raw) == len(words) else words
    out: list[Token] = []
    i = 0
    while i < len(words):
        word, sure, maybe = mended[i]
        if word.startswith("§"):
            out.append(values[int(word.strip("§"))])
            i += 1
            continue
        if sequence := re.match(
            r"t[12](?: ?(?:star|\*))? (?:axial|sagittal|coronal|weighted|w|tse|fse|flair|fs|fat|stir|map|mapping|sequence|image|images|series|scan|tirm|dixon|vibe|space|haste|spir|spair|gre|ffe)\b",
            " ".join(words[i : i + 3]),
        ):
            out += [Token("W", w, w) for w in sequence[0].split()[:1]]
            i += 1
            continue
        if word in lexicon.sides and i + 1 < len(words) and _numbered(words[i + 1 :], lexicon):
            out.append(Token("W", lexicon.sides[word], typed[i]))
            i += 1
            continue
        if expanded := _numbered(words[i:], lexicon):
            size, wanted = expanded
            out.append(Token("S", "S", " ".join(typed[i : i + size]), wanted))
            i += size
            continue
        run = next((k for k, w in enumerate(words[i:]) if not re.match(r"[^\W_]", w)), len(words) - i)
        size, wanted, known = lexicon.find(
            words[i : i + run], typed[i : i + run] if len(typed) > 1 else typed, situation.regions
        )
        if wanted:
            good = all(s for _, s, _ in mended[i : i + size])
            out.append(
                Token(
                    "S" if known else "X",
                    "S" if known else "X",
                    " ".join(typed[i : i + size]),
                    wanted,
                    sure=good,
                )
            )
            i += size
            continue
        if size > 1:  # words that only look like a name
            out += [Token("W", w, t) for w, t in zip(words[i : i + size], typed[i : i + size], strict=True)]
            i += size
            continue
        if tail := _shared_start(words, i, out, lexicon):
            out.append(Token("S", "S", word, tail))
            i += 1
            continue
        if joint := _shared_head(words[i:], lexicon):
            size, tokens = joint
            out += tokens
            i += size
            continue
        if maybe:
            choices = tuple(w for m in maybe for e in lexicon.entries.get(m, [])[:1] for w in e.wanted)
            out.append(Token("X", "X", typed[i], (Wanted(described=word),), sure=False, choices=choices))
        elif word in lexicon.ambiguous or " ".join(words[i : i + 2]) in lexicon.ambiguous:
            two = " ".join(words[i : i + 2])
            size = 2 if two in lexicon.ambiguous else 1
            side = next((w for w in reversed(words[max(0, i - 4) : i]) if w in ("left", "right")), "")
            out.append(
                _open(two if size == 2 else word, " ".join(typed[i : i + size]), lexicon, situation, side)
            )
            i += size
            continue
        elif (
            re.fullmatch(r"[lr]", word)
            and i + 1 < len(words)
            and re.match(r"-|:|\d", words[i + 1])
            and not re.match(r"\d+ ribs?", " ".join(words[i + 1 : i + 3]))
        ):
            out.append(Token("W", word, typed[i]))
        elif special := _regional(word, typed[i], lexicon):
            out.append(Token("X", "X", typed[i], (Wanted(described=word),), sure=False, choices=special))
        elif word in lexicon.sides and (len(word) > 1 or typed[i].isupper() or len(words) < 4):
            out.append(Token("W", lexicon.sides[word], typed[i]))
        elif re.match(r"[^\W_]", word):
            value = number(word) if word != "one" else None
            out.append(
                Token(
                    "N" if value is not None and word != "half" else "W",
                    str(int(value)) if value is not None and value == int(value) else word,
                    typed[i],
                )
            )
        else:
            out.append(Token("P", word, typed[i]))
        i += 1
    return _decide_by_others(out, lexicon, situation)


def _open(key: str, typed: str, lexicon, situation: Situation, side: str) -> Token:
    """Return a name that means several structures; the one that fits what the image shows, where there is one."""
    wanted = lexicon.ambiguous[key]
    own = [w for w in wanted if side and w.structure == f"{side} {key}"]
    if own:  # "left atrium and ventricle"
        return Token("S", "S", typed, tuple(own))
    regions = situation.regions & set(lexicon.anatomy.adjacent)
    own = [w for w in wanted if lexicon.anatomy[lexicon.name_of(w)].region in regions]
    if len(own) == 1:
        return Token("S", "S", typed, tuple(own))
    return Token("X", "X", typed, (Wanted(described=key),), choices=tuple(own) or wanted)


def _regional(word: str, typed: str, lexicon) -> tuple[Wanted, ...]:
    """Return what an abbreviation may mean where the image does not decide."""
    there = [e for e in lexicon.entries.get(word, []) if e.regions]
    found = dict.fromkeys(
        w for e in there if not e.short or typed.isupper() or word not in lexicon.words for w in e.wanted
    )
    return tuple(found)


def _numbered(words: list[str], lexicon) -> tuple[int, tuple[Wanted, ...]] | None:
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


def _shared_start(words: list[str], i: int, out: list[Token], lexicon) -> tuple[Wanted, ...]:
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


def _shared_head(words: list[str], lexicon) -> tuple[int, list[Token]] | None:
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


def _decide_by_others(tokens: list[Token], lexicon, situation: Situation) -> list[Token]:
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
            if len(own) == 1 or own and plural and len(own) < len(token.choices)
            else token
        )
    return out


def _amount(match: re.Match) -> Token:
    said = match["n"].casefold()
    value = 0.0
    for part in re.findall(r"\d+[.,]\d+|\d+|[a-z]+", said):
        value += 0 if part in ("a", "an", "and", "point") else 0.5 if part == "half" else number(part) or 0
    if point := re.search(rf"({NUMBER})\s+point\s+({NUMBER})", said):
        value = float(f"{int(number(point[1]) or 0)}.{int(number(point[2]) or 0)}")
    if value == 0 and not re.search(r"\d|zero", said):
        value = 1.0
    unit = next(k for k, v in match.groupdict().items() if k != "n" and v)
    factor, kind = _UNITS[unit]
    return Token("A", "A", match[0], amount=(value * factor if kind else None, kind or unit))


def _pointer(match: re.Match, situation: Situation, keep) -> str:
    g = match.groupdict()
    if g["bad"] is not None:
        return keep(Token("R", "R", match[0], pointer=Pointer(problem="dangling")))
    rounds: list[tuple[int, int | None]] = []
    whole = bool(g["mw"] and g["mw"].casefold().startswith("round"))
    if g["from"] or g["from2"] or g["mf"]:
        a, b = (
            _int(g[k])
            for k in (("from", "to") if g["from"] else ("from2", "to2") if g["from2"] else ("mf", "mt"))
        )
        a, b = sorted((a, b))
        rounds = [(n, None) for n in range(a, min(b, a + 50) + 1)]
    elif g["list"]:
        rounds = [
            (int(n.split(".")[0]), int(n.split(".")[1]) if "." in n else None)
            for n in re.findall(r"\d+(?:\.\d+)?", g["list"])
        ]
    elif g["one"]:
        rounds = [(int(g["one"]), int(g["two"]) if g["two"] else None)]
    elif g["h"]:
        rounds = [(int(g["h"]), int(g["h2"]) if g["h2"] else None)] + (
            [(int(g["h3"]), None)] if g["h3"] else []
        )
    else:
        if g["mw"].casefold() in ("number", "no.", "nr", "nr.", "label", "labels") and not situation.masks:
            return match[0]
        rounds = [(_int(g["m"]), int(g["m2"]) if g["m2"] else None)]
        rounds += [(_int(n), None) for n in re.findall(rf"\d+|{_SMALL}", g["more"] or "")]
    return keep(Token("R", "R", match[0], pointer=_look_up(rounds, situation, whole or len(rounds) > 1)))


def _int(text: str) -> int:
    return int(number(text.casefold()) or 0)


def _look_up(rounds: list[tuple[int, int | None]], situation: Situation, all_of_round: bool) -> Pointer:
    found: list[Ref] = []
    several = False
    for round_, index in rounds:
        there = [m for m in situation.masks if m.round == round_ and index in (None, m.index)]
        alive = [m for m in there if m.verdict != "rejected"]
        if not alive:
            return Pointer(tuple(found), "dangling")
        several |= len(alive) > 1 and not all_of_round
        found += [(m.round, m.index) for m in alive if (m.round, m.index) not in found]
    return Pointer(tuple(found), several=several)


def _nth(match: re.Match, situation: Situation, keep) -> str:
    g = match.groupdict()
    said = (g["o"] or g["o2"]).casefold()
    count = _int(g["n"] or g["n2"] or "0")
    alive = situation.alive
    if not alive:
        return (
            match[0]
            if said not in ("last", "previous", "latest") or g["w"] is None
            else keep(Token("R", "R", match[0], pointer=Pointer(problem="dangling")))
        )
    word = (g["w"] or "").casefold()
    if word.startswith(("round", "answer")) and not count and ordinal(said):
        return keep(Token("R", "R", match[0], pointer=_look_up([(ordinal(said), None)], situation, True)))
    if said.startswith(("last", "latest", "previous", "newest", "most")):
        if count or word.endswith("s") and not word.startswith("one"):
            masks = alive[-count:] if count else situation.last
        else:
            masks = situation.last
        several = len(masks) > 1 and not count and not word.endswith("s")
        return keep(
            Token(
                "R", "R", match[0], pointer=Pointer(tuple((m.round, m.index) for m in masks), several=several)
            )
        )
    if said == "first" and count:
        return keep(
            Token("R", "R", match[0], pointer=Pointer(tuple((m.round, m.index) for m in alive[:count])))
        )
    if (
        word.startswith("one")
        and len({m.round for m in situation.masks}) <= 1
        and len(situation.masks) == 1
        and ordinal(said) not in (1,)
    ):
        return match[0]
    place = len(alive) - 1 if said.startswith(("second to", "second last", "penult")) else ordinal(said)
    if place and 1 <= place <= len(alive):
        mask = alive[place - 1]
        return keep(Token("R", "R", match[0], pointer=Pointer(((mask.round, mask.index),))))
    return keep(Token("R", "R", match[0], pointer=Pointer(problem="dangling")))
