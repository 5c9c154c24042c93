"""One step in words to a `Request`: which action, on which masks. Knows no pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_mediround.questions.request import Ref, Request, Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.nouns import Named, name_things
from napari_mediround.questions.words.plain_text import ordinal
from napari_mediround.questions.words.scopes import cut_scope
from napari_mediround.questions.words.token import Token

ALL = re.compile(
    r"\b(them all|all of them|all masks|all the masks|all (of )?these|all (of )?those|every mask|each mask|everything|all of it|all|them|both|these|those|each|they|their|the lot|every one|the rest|the others|others)\b"
)


IT = re.compile(
    r"\b(it|its|that|this|this one|that one|the mask|mask|the contour|contour|the outline|the result|the segmentation|the last|the previous|the latest)\b"
)


@dataclass
class Step:
    """One step being understood.

    Parameters
    ----------
    tokens : list of Token
        Its words.
    situation : Situation
        What it is asked in.
    before : Request or None
        The step before it in the same request.
    """

    tokens: list[Token]
    situation: Situation
    before: Request | None = None

    def __post_init__(self) -> None:
        self.text = text_of(self.tokens)
        self.scope, rest = cut_scope(self.tokens, self.situation)
        self.rest = rest
        self.rest_text = text_of(rest)
        self.named: Named = name_things(rest, self.situation)

    @property
    def amounts(self) -> list[Token]:
        """The lengths and volumes in it."""
        return [t for t in self.tokens if t.kind == "A"]

    @property
    def pointers(self) -> list[Token]:
        """The words that point at masks by number."""
        return [t for t in self.rest if t.kind == "R"]


def text_of(tokens: list[Token]) -> str:
    """Return tokens as the rules see them: S0, R1, A2 and words."""
    return " ".join(f"{t.kind}{i}" if t.kind in "SXRA" else t.word for i, t in enumerate(tokens))


@dataclass
class Masks:
    """Masks that a step is about, or what to ask back."""

    refs: tuple[Ref, ...] = ()
    problem: str = ""
    choices: tuple[Wanted | Ref, ...] = ()
    targets: tuple[Wanted, ...] = ()


def masks_of(step: Step, many: bool = False, tokens: list[Token] | None = None) -> Masks:
    """Return the masks that a step points at; those that a person chose where its words leave that open.

    Parameters as in `_masks_in_words`.
    """
    found = _masks_in_words(step, many, tokens)
    chosen = step.situation.pointed
    return Masks(chosen) if chosen and found.problem in ("several", "dangling") else found


def _masks_in_words(step: Step, many: bool = False, tokens: list[Token] | None = None) -> Masks:
    """Return the masks that a step points at, by number, name or pronoun; without any, those of the last round.

    Parameters
    ----------
    step : Step
        The step.
    many : bool
        Whether several masks do no harm (a measurement).
    tokens : list of Token, optional
        Some of its tokens.
    """
    situation = step.situation
    tokens = step.rest if tokens is None else tokens
    refs: list[Ref] = []
    missing: list[Wanted] = []
    everyone = tuple(m.ref for m in situation.alive)
    sides = [t.word for t in tokens if t.word in ("left", "right")]
    for i, token in enumerate(tokens):
        if token.kind == "R":
            if token.pointer.problem:
                return Masks(problem="dangling", choices=everyone)
            if token.pointer.several and not many:
                return Masks(problem="several", choices=token.pointer.masks)
            refs += [r for r in token.pointer.masks if r not in refs]
        elif token.kind in "SX" or token.word in load_lexicon().kinds:
            if token.kind == "W" and any(t.kind in "RS" for t in tokens):
                continue
            found, several = _by_name(step, token, tokens, i, sides)
            if several and not many:
                return Masks(problem="several", choices=several)
            if found or several:
                refs += [r for r in (found or several) if r not in refs]
            elif token.kind != "W":
                missing += token.wanted
    if refs or missing:
        if missing:
            return Masks(problem="missing", choices=everyone, targets=tuple(missing))
        return Masks(tuple(refs))
    text = text_of(tokens)
    if (numbered := _by_number(tokens, situation)) is not None:
        return numbered
    return by_pronoun(step, text, many, everyone, sides)


def _by_name(
    step: Step, token: Token, tokens: list[Token], place: int, sides: list[str]
) -> tuple[tuple[Ref, ...], tuple[Ref, ...]]:
    """Return the mask that a name means, or several that it may mean."""
    lexicon, situation = load_lexicon(), step.situation
    near = [t.word for t in tokens[max(0, place - 2) : place]]
    after = [t.word for t in tokens[place + 1 : place + 4]]
    side = next((w for w in reversed(near) if w in ("left", "right", "both")), "") or next(
        (w for w in after if w in ("left", "right")), ""
    )
    fits_: list = []
    words = (
        {token.typed.casefold().rstrip("s"), *(w.described for w in token.wanted if w.described)}
        if token.kind != "S"
        else set()
    )
    for mask in situation.alive:
        structure = lexicon.anatomy.find(mask.structure)
        if token.kind == "S" and structure:
            own = lexicon.wanted(structure.name)
            for wanted in token.wanted:
                wish = wanted.side if wanted.side in ("left", "right") else side or wanted.side
                if own.structure == wanted.structure and (
                    wish not in ("left", "right") or own.side in (wish, "")
                ):
                    fits_.append(mask)
        elif token.kind != "S":
            name = mask.structure.casefold()
            kind = lexicon.kinds.get(
                token.word if token.kind == "W" else token.typed.casefold().rstrip("s"), frozenset()
            )
            target = token.typed.upper() in ("GTV", "PTV", "CTV") and re.search(
                r"tumou?r|carcinoma|lesion|mass|nodule|metastas", name
            )
            if (
                any(w and re.search(rf"\b{re.escape(w)}", name) for w in words)
                or (structure and structure.name in kind)
                or target
            ) and not (side and structure and structure.side and structure.side != side):
                fits_.append(mask)
    here = situation.one_each([m for m in fits_ if m.plane == situation.here] or fits_)
    latest = {m.structure: m for m in here}
    if len(latest) == 1:
        return (here[-1].ref,) if len(here) == 1 or (
            len({m.plane for m in here}) == 1 and False
        ) else (), tuple(m.ref for m in here) if len(here) > 1 else ()
    refs = tuple(m.ref for m in here)
    plural = (
        bool(re.search(r"(s|ae|i)$", token.typed.casefold()))
        and not token.typed.casefold().endswith(("us", "pancreas"))
    ) or "both" in near
    return (refs, ()) if plural and len(latest) == len(here) else ((), refs)


def _by_number(tokens: list[Token], situation: Situation) -> Masks | None:
    """Return the masks of bare numbers: "accept 1 and 3", "the first and third"; None where there is none."""
    refs: list[Ref] = []
    for i, token in enumerate(tokens):
        before = tokens[i - 1].word if i else ""
        after = tokens[i + 1].word if i + 1 < len(tokens) else ""
        if (
            token.kind == "N"
            and token.word.isdigit()
            and before not in ("by", "than", "under", "below", "to", "level", "width", "w", "l", "-")
            and after
            not in (
                "of",
                "%",
                "times",
                "percent",
                "more",
                "step",
                "steps",
                "slices",
                "planes",
                "slice",
                "masks",
                "structures",
            )
            and before not in ("these", "those", "the", "all", "last", "both")
        ):
            found = situation.one_each(m for m in situation.alive if (m.number or m.round) == int(token.word))
            if not found:
                return Masks(problem="dangling", choices=tuple(m.ref for m in situation.alive))
            refs += [m.ref for m in found if m.ref not in refs]
        elif (
            (place := ordinal(token.word))
            and token.kind == "W"
            and after not in ("slice", "plane", "then", "slices")
            and (i + 1 == len(tokens) or after in ("and", ",", "one", "mask", "please", "&"))
            and before in ("the", "and", ",", "&")
        ):
            if place > len(situation.alive):
                return Masks(problem="dangling", choices=tuple(m.ref for m in situation.alive))
            ref = situation.alive[place - 1].ref
            refs += [ref] if ref not in refs else []
    return Masks(tuple(refs)) if refs else None


def by_pronoun(step: Step, text: str, many: bool, everyone: tuple[Ref, ...], sides: list[str]) -> Masks:
    """Return the masks that a pronoun, or no word at all, means."""
    situation = step.situation
    if step.before is not None and (
        step.before.action in ("segment", "edit", "measure", "verdict", "navigate", "export")
    ):
        if (step.before.action == "segment" and not step.before.references) or (
            step.before.references == () and step.before.action != "navigate"
        ):
            return Masks()
        if step.before.references:
            changed = step.before.references
            if step.before.operation in ("subtract", "union", "intersect", "clip") or step.before.not_into:
                changed = changed[:1]
            return Masks(changed)
    if not everyone:
        return Masks(problem="dangling")
    last = tuple(m.ref for m in situation.last)
    if re.search(r"\b(all|every|each|everything|the lot)\b", text) and not re.search(
        r"\ball (around|round|over|the way|sides|directions|holes|the holes|islands|the islands|small|specks)\b",
        text,
    ):
        return Masks(everyone)
    if many:
        picked = (
            [m.ref for m in situation.last if any(m.structure.startswith(s) for s in sides)] if sides else []
        )
        return Masks(tuple(picked) or last)
    if len(last) == 1:
        return Masks(last)
    if ALL.search(text) or re.search(r"\b(two|pair|couple)\b", text):
        return Masks(last)
    picked = (
        tuple(m.ref for m in situation.last if any(m.structure.startswith(s) for s in sides)) if sides else ()
    )
    if len(picked) == 1:
        return Masks(picked)
    return Masks(problem="several", choices=last)


def ask(masks: Masks, step: Step, topic: str = "") -> Request:
    """Return the question back, or the refusal, that a problem with masks needs."""
    if not masks.choices:
        return Request("refuse", topic="dangling", read_from=step.text)
    return Request("ask_back", choices=masks.choices, topic=topic or masks.problem, read_from=step.text)
