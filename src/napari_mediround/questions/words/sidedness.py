"""Left and right in words: whose side stands where, and which name it belongs to. Knows no action."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from napari_mediround.questions.request import Wanted
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.token import Token


@dataclass
class Mention:
    """A name in a clause: where it stands, its side, whether it is ruled out."""

    wanted: tuple[Wanted, ...]
    token: Token
    place: int
    negative: bool
    side: str = ""
    bad: str = ""
    ruled: str = ""


def turn_image_sides(tokens: list[Token]) -> list[Token]:
    """Turn "left of the image", "screen left" and "viewer's left" into the patient's side."""
    words = [t.word for t in tokens]
    out = list(tokens)
    screen = r"(?:image|screen|picture|monitor|display|viewer|viewers|viewer's|viewing|slice|scan|film|frame|page|view|photo|display's|observer|observer's|my|reader's|reader)"
    text = " ".join(words)
    drop: set[int] = set()
    for pattern in (
        rf"\b(left|right)(?: hand)?(?: side| half| part| edge| border| margin| one)?(?: side)?,?(?: of| on| in| as seen on| as displayed on| as seen in| in terms of)(?: the| this| my)? {screen}\b(?: side)?",
        rf"\b(?:the )?{screen}(?: 's)?(?: s)?,? (?:own )?(left|right)\b(?: hand)?(?: side)?",
        rf"\bon {screen} (left|right)\b",
    ):
        for match in re.finditer(pattern, text):
            if re.match(r"my", match[0]):
                pass
            start = text[: match.start()].count(" ")
            size = match[0].count(" ") + 1
            for k in range(start, min(start + size, len(out))):
                if words[k] == match[1]:
                    turned = "right" if match[1] == "left" else "left"
                    out[k] = replace(out[k], word=turned)
                elif k not in drop and out[k].kind == "W":
                    drop.add(k)
            text = text[: match.start()] + re.sub(r"\S+", "_", match[0]) + text[match.end() :]
    return [replace(t, word="of") if i in drop else t for i, t in enumerate(out)]


def give_sides(tokens: list[Token], items: list[Mention], negative: list[bool]) -> None:
    """Give each name the side that stands before or after it, or after the list that it is in."""
    at = {item.place: item for item in items}
    pending: list[tuple[str, bool]] = []
    carried = ""
    for i, token in enumerate(tokens):
        if token.word in ("left", "right", "both") and token.kind == "W":
            if (
                token.word != "both"
                and i + 1 < len(tokens)
                and tokens[i + 1].word in ("away", "now", "here", "out", "over")
            ):
                continue
            if _name_ahead(tokens, i, at) is None:
                _give_back(tokens, i, items, token.word, negative[i])
            else:
                pending.append((token.word, negative[i]))
        elif i in at:
            item = at[i]
            wished = [side for side, no in pending if not no]
            ruled = [side for side, no in pending if no]
            if wished and ruled:  # "left, not right kidney"
                item.negative, item.side, item.ruled = False, wished[-1], ruled[-1]
            own = (
                "both" if {"left", "right"} <= {s for s, _ in pending} else pending[-1][0] if pending else ""
            )
            if item.ruled:
                pass
            elif own:
                item.side, carried = _join(item.side, own), own
            elif carried and i and tokens[i - 1].word in ("and", "&", "+", ",", "/") and _singular_pair(item):
                item.side = carried
            elif not pending:
                carried = carried if i and tokens[i - 1].word in ("and", ",", "+") else ""
            pending = []
        elif token.word in (".", ";") or (token.word in ("the", "a") and carried):
            carried = ""


def _singular_pair(item: Mention) -> bool:
    typed = item.token.typed.casefold()
    return (
        all(load_lexicon().is_pair(w.structure) and w.side == "both" for w in item.wanted)
        and not re.search(
            r"(s|ae|i|ra|na|da)$", typed.removesuffix("nucleus accumbens").removesuffix("pancreas")
        )
    ) or typed.endswith(("hippocampus", "thalamus", "humerus"))


def _name_ahead(tokens: list[Token], i: int, at: dict[int, Mention]) -> int | None:
    """Return the place of the name that a side stands before: only other sides and small words between."""
    lexicon = load_lexicon()
    links = 0
    for k in range(i + 1, len(tokens)):
        word = tokens[k].word
        if k in at:
            return k if not links or any(t.word in ("left", "right") for t in tokens[i + 1 : k]) else None
        if word in ("and", "or", "&", "/", "+", ",", "then", "not", "but"):
            links += 1
        elif word == "the":
            if not links and tokens[k - 1].word != "of":
                return None
        elif (
            word not in ("left", "right", "side", "patient's", "one", "of", "-", "first")
            and word not in lexicon.qualities
        ):
            return None
    return None


def _give_back(tokens: list[Token], i: int, items: list[Mention], side: str, negative: bool) -> None:
    """Give a side that follows to the name before it, or to all of its list: "A, B and C on the right"."""
    before = [item for item in items if item.place < i]
    if not before:
        after = [item for item in items if item.place > i]
        for item in after if not negative else ():  # "on the left: kidney and adrenal"
            item.side = item.side or side
        return
    last = before[-1]
    if negative and not last.negative:
        last.ruled = side
        other = {"left": "right", "right": "left"}.get(side, "")
        last.side = (
            other
            if last.side in ("", "both") and all(load_lexicon().is_pair(w.structure) for w in last.wanted)
            else last.side
        )
        return
    between = [t.word for t in tokens[last.place + 1 : i]]
    whole = (
        "on" in between
        or "side" in [t.word for t in tokens[i : i + 2]]
        or "," in between
        or ":" in between
        or side == "both"
    )
    only = "only" in between or "just" in between
    if (
        not any(
            load_lexicon().is_pair(w.structure) or w.described or re.match(r"(left|right) ", w.structure)
            for w in last.wanted
        )
        and len(before) < 2
    ):
        return
    last.side = side if only else _join(last.side, side) if last.side else side
    sided = any(item.side for item in before[:-1])
    if (whole or not sided) and not sided and not any(w in ("and", "then") for w in between):
        for item in before[:-1]:
            if (
                any(load_lexicon().is_pair(w.structure) for w in item.wanted)
                and item.negative == last.negative
                and _same_list(tokens, item.place, last.place)
            ):
                item.side = side


def _same_list(tokens: list[Token], start: int, end: int) -> bool:
    return not any(t.word in (".", ";", "but", "not") for t in tokens[start:end])


def _join(old: str, new: str) -> str:
    return new if old in ("", new) else "both"
