"""Text to tokens: names, masks that are pointed at, amounts and words, in controlled English. Knows no action."""

from __future__ import annotations

import re
from collections.abc import Mapping

from napari_mediround.questions.request import Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.words.lexicon import Lexicon, load_languages, load_lexicon
from napari_mediround.questions.words.plain_text import clean, fold, number
from napari_mediround.questions.words.pointing import (
    AMOUNT,
    ORDINAL_MASK,
    POINT,
    read_amount,
    read_nth,
    read_pointer,
)
from napari_mediround.questions.words.runs import decide_by_others, find_numbered, shared_head, shared_start
from napari_mediround.questions.words.token import Pointer, Token


def read(text: str, situation: Situation) -> list[Token]:
    """Return the tokens of a text, in its order."""
    lexicon = load_lexicon()
    text = re.sub(r"(?<=\w)\.(?=(?:nrrd|nii|gz|dcm|png)\b)", " ", clean(text), flags=re.I)
    values: list[Token] = []
    text = re.sub(
        r"(?<![\w.\[#])(\d+)\.(\d+)(?![\w.\]])(?!\s*(?:mm|cm|ml|cc|%|times|x\b|fold))",
        lambda m: (
            f"[{m[0]}]"
            if any((k.round, k.index) == (int(m[1]), int(m[2])) for k in situation.masks)
            else m[0]
        ),
        text,
    )

    def keep(token: Token) -> str:
        values.append(token)
        return f" §{len(values) - 1}§ "

    text = re.sub(
        r"\b([CTLS])(\d?)[oO](\d?)\b(?=\s*(?:vertebra|body|$|,|and))",
        lambda m: m[0] if not (m[2] or m[3]) else f"{m[1]}{m[2]}0{m[3]}",
        text,
    )
    text = POINT.sub(lambda m: read_pointer(m, situation, keep), text)
    text = ORDINAL_MASK.sub(lambda m: read_nth(m, situation, keep), text)
    text = AMOUNT.sub(lambda m: keep(read_amount(m)), text)
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
        lambda m: keep(_disc(m[0], lexicon)),
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
            if fits or (len(whole) == 1 and all(f in lexicon.entries for f in found)):
                found = (fits or list(found))[:1]
        if len(found) > 1 or (found and not sure):
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
        word, _, maybe = mended[i]
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
        if word in lexicon.sides and i + 1 < len(words) and find_numbered(words[i + 1 :], lexicon):
            out.append(Token("W", lexicon.sides[word], typed[i]))
            i += 1
            continue
        if expanded := find_numbered(words[i:], lexicon):
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
        if tail := shared_start(words, i, out, lexicon):
            out.append(Token("S", "S", word, tail))
            i += 1
            continue
        if joint := shared_head(words[i:], lexicon):
            size, tokens = joint
            out += tokens
            i += size
            continue
        size, token = _word(words, typed, i, maybe, situation)
        out.append(token)
        i += size
    return decide_by_others(out, lexicon, situation)


def _word(words, typed, i: int, maybe: tuple[str, ...], situation: Situation) -> tuple[int, Token]:
    """Return the token of what is no name, and of how many words it is."""
    lexicon = load_lexicon()
    word = words[i]
    two = " ".join(words[i : i + 2])
    if maybe:
        choices = tuple(w for m in maybe for e in lexicon.entries.get(m, [])[:1] for w in e.wanted)
        return 1, Token("X", "X", typed[i], (Wanted(described=word),), sure=False, choices=choices)
    if word in lexicon.ambiguous or two in lexicon.ambiguous:
        size = 2 if two in lexicon.ambiguous else 1
        side = next((w for w in reversed(words[max(0, i - 4) : i]) if w in ("left", "right")), "")
        said = " ".join(typed[i : i + size])
        return size, _open(two if size == 2 else word, said, lexicon, situation, side)
    ribs = re.match(r"\d+ ribs?", " ".join(words[i + 1 : i + 3]))
    if re.match(r"[lr] (-|:|\d)", two) and not ribs:  # "L 40 W 400"
        return 1, Token("W", word, typed[i])
    if special := _regional(word, typed[i], lexicon):
        return 1, Token("X", "X", typed[i], (Wanted(described=word),), sure=False, choices=special)
    if word in lexicon.sides and (len(word) > 1 or typed[i].isupper() or len(words) < 4):
        return 1, Token("W", lexicon.sides[word], typed[i])
    if not re.match(r"[^\W_]", word):
        return 1, Token("P", word, typed[i])
    value = number(word) if word != "one" else None
    whole = str(int(value)) if value is not None and value == int(value) else word
    return 1, Token("N" if value is not None and word != "half" else "W", whole, typed[i])


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


def _disc(typed: str, lexicon: Lexicon) -> Token:
    """Return the disc between two vertebrae, in any spelling, or a name that is not known."""
    levels = re.findall(r"([CTLS]?)(\d{1,2})", typed.upper())
    first, last = levels[0], levels[1]
    name = f"{first[0]}{first[1]}-{last[0] or first[0]}{last[1]} intervertebral disc"
    if lexicon.anatomy.find(name):
        return Token("S", "S", typed, (lexicon.wanted(name),))
    return Token("X", "X", typed, (Wanted(described=typed),))
