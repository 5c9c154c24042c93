"""One step in words to a `Request`: which action, on which masks. Knows no pixel."""

from __future__ import annotations

import re
from dataclasses import dataclass

from napari_mediround.questions.grammar import first, fits
from napari_mediround.questions.lexicon import load_lexicon
from napari_mediround.questions.nouns import Named, name_things
from napari_mediround.questions.reading import Token
from napari_mediround.questions.request import Ref, Request, Wanted
from napari_mediround.questions.scopes import cut_scope
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.text import ordinal

_ALL = re.compile(
    r"\b(them all|all of them|all masks|all the masks|all (of )?these|all (of )?those|every mask|each mask|everything|all of it|all|them|both|these|those|each|they|their|the lot|every one|the rest|the others|others)\b"
)
_IT = re.compile(
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
        if missing and not refs:
            return Masks(problem="missing", choices=everyone, targets=tuple(missing))
        return Masks(tuple(refs))
    text = text_of(tokens)
    if (numbered := _by_number(tokens, situation)) is not None:
        return (
            numbered
            if numbered.problem or many or len(numbered.refs) == len(set(numbered.refs))
            else numbered
        )
    return _by_pronoun(step, text, many, everyone, sides)


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
            ):
                if not (side and structure and structure.side and structure.side != side):
                    fits_.append(mask)
    here = [m for m in fits_ if m.plane == situation.here] or fits_
    latest = {m.structure: m for m in here}
    if len(latest) == 1:
        return (here[-1].ref,) if len(here) == 1 or len(
            {m.plane for m in here}
        ) == 1 and False else (), tuple(m.ref for m in here) if len(here) > 1 else ()
    refs = tuple(m.ref for m in here)
    plural = (
        bool(re.search(r"(s|ae|i)$", token.typed.casefold()))
        and not token.typed.casefold().endswith(("us", "pancreas"))
        or "both" in near
    )
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
            found = [m for m in situation.alive if m.round == int(token.word)]
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


def _by_pronoun(step: Step, text: str, many: bool, everyone: tuple[Ref, ...], sides: list[str]) -> Masks:
    situation = step.situation
    if step.before is not None and (
        step.before.action in ("segment", "edit", "measure", "verdict", "navigate", "export")
    ):
        if (
            step.before.action == "segment"
            and not step.before.references
            or step.before.references == ()
            and step.before.action != "navigate"
        ):
            return Masks(
                problem="" if step.before.action == "segment" or step.before.topic == "result" else "",
                targets=(),
            )
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
    if _ALL.search(text) or re.search(r"\b(two|pair|couple)\b", text):
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


def measure(step: Step) -> Request | None:
    """Return the measurement that a step asks for."""
    text = step.rest_text
    what = first("measure", text, ("refuse",))
    refused = fits("measure", "refuse", step.text)
    if not what and not refused:
        return None
    if refused and (what in ("", "mean", "area", "volume", "diameter", "count") or not what):
        if what == "diameter" and refused[0] in ("max", "min", "maximum", "minimum"):
            refused = None
        else:
            return Request("refuse", topic="not_measurable", read_from=step.text)
    if what == "short_axis" and re.search(r"\blong(est)?[ -]?axis\b", text):
        what = "diameter"
    if what == "count":
        if re.search(
            r"\b(mask|masks|contour|contours|outlines?|segmentations?|rounds?|structures?|of them|have we|do we have|so far|results?|accepted|rejected|drawn)\b",
            text,
        ) or not re.search(r"\b(S|X)\d", text):
            return Request("measure", measure="count", read_from=step.text)
        if step.situation.alive and not masks_of(step, True).problem:
            return Request(
                "measure", masks_of(step, True).targets, masks_of(step, True).refs, measure="count"
            )
        return Request("refuse", topic="not_measurable", read_from=step.text)
    masks = masks_of(step, many=True)
    scope = step.scope
    if what in ("distance", "compare") and len(masks.refs) == 1 and re.search(r"\b(it|this|that)\b", text):
        other = (
            _by_pronoun(step, "it", False, tuple(m.ref for m in step.situation.alive), [])
            if step.situation.alive
            else Masks()
        )
        if len(other.refs) == 1 and other.refs[0] not in masks.refs:
            masks = Masks((*other.refs, *masks.refs))
    if what == "distance" and len(masks.refs) == 1 and not masks.problem and step.before is None:
        return Request("ask_back", choices=tuple(m.ref for m in step.situation.alive), topic="second_mask")
    if (
        what == "compare"
        and len(masks.refs) == 1
        and len(step.situation.alive) == 2
        and not step.named.targets
    ):
        masks = Masks(tuple(m.ref for m in step.situation.alive))
    if what == "compare" and len(masks.refs) == 1 and {"left", "right"} <= {t.word for t in step.tokens}:
        masks = Masks((*masks.refs, *(r for r in _mirrored(step, masks.refs[0]))))
    if masks.problem == "missing":
        known = tuple(w for w in step.named.targets)
        if not known:
            if step.named.choices:
                return Request("ask_back", choices=tuple(step.named.choices), topic="not_understood")
            return (
                Request("ask_back", choices=masks.choices, topic="missing")
                if masks.choices
                else Request("refuse", topic="unknown_structure")
            )
        return Request(
            "measure",
            known,
            measure=what,
            scope=scope,
            excluded=tuple(step.named.excluded),
            sure=step.named.sure,
        )
    if masks.problem:
        return ask(masks, step)
    if not masks.refs and step.before is None:
        return ask(Masks(problem="dangling"), step)
    return Request(
        "measure", references=masks.refs, measure=what, scope=scope, topic="" if masks.refs else "result"
    )


def _mirrored(step: Step, ref: Ref) -> list[Ref]:
    """Return the masks of the other side of a masked structure."""
    anatomy = load_lexicon().anatomy
    structure = anatomy.find(next(m for m in step.situation.masks if m.ref == ref).structure)
    return [
        m.ref
        for m in step.situation.alive
        if structure and structure.mirror and m.structure == structure.mirror
    ][-1:]


def edit(step: Step) -> Request | None:
    """Return the change of a mask that a step asks for."""
    text = step.rest_text
    operation = ""
    for name in (
        "mirror",
        "subtract",
        "clip",
        "union",
        "intersect",
        "islands",
        "largest",
        "fill",
        "smooth",
        "shrink",
        "grow",
    ):
        if fits("edit", name, text):
            operation = name
            break
    if not operation:
        return None
    if operation == "grow" and step.scope and re.search(r"\b(extend|continue)\b", text) and not step.amounts:
        return None
    if operation in ("largest", "mirror", "grow", "shrink") and not (step.situation.alive or step.before):
        return None
    if operation == "largest" and re.search(r"\b(largest|biggest) of\b", text):
        return None
    bad = [t for t in step.amounts if t.amount[0] is None]
    amount = next((t.amount for t in step.amounts if t.amount[0] is not None), None)
    if (
        operation == "islands"
        and fits("edit", "largest", text)
        and re.search(r"\b(but|except|apart from) the (largest|biggest|main)\b", text)
    ):
        operation = "largest"
    tokens, spared = step.rest, ()
    if operation in ("grow", "smooth", "fill") and (cut := _spared_from(tokens)):
        spare = masks_of(step, many=True, tokens=tokens[cut:])
        if spare.problem:
            return ask(spare, step)
        spared, tokens = spare.refs, tokens[:cut]
    if (
        operation == "largest"
        and step.before is None
        and not any(t.kind in "RS" for t in tokens)
        and not _IT.search(text)
        and not _ALL.search(text)
        and not step.situation.alive
    ):
        return None
    masks = masks_of(step, tokens=tokens, many=False)
    if masks.problem:
        if (
            operation in ("subtract", "intersect", "clip", "union")
            and masks.problem == "several"
            and len(masks.choices) == 2
        ):
            masks = Masks(masks.choices) if operation in ("union", "intersect") else masks
        if masks.problem:
            return ask(masks, step)
    if masks.targets and not masks.refs:
        return ask(Masks(problem="missing", choices=tuple(m.ref for m in step.situation.alive)), step)
    refs = masks.refs
    if (
        operation in ("subtract", "intersect", "clip", "union")
        and len(refs) == 1
        and re.search(r"\b(it|that|this|mask|result)\b", text_of(tokens))
    ):
        pointed = _by_pronoun(step, "it", False, tuple(m.ref for m in step.situation.alive), [])
        if len(pointed.refs) == 1 and pointed.refs[0] not in refs:
            after = re.search(r"\b(it|that|this|mask|result)\b.*\b[RS]\d", text_of(tokens))
            refs = (*pointed.refs, *refs) if after else (*refs, *pointed.refs)
    if step.before is None and not refs:
        return ask(Masks(problem="dangling"), step)
    if refs and not _pointed_out(step) and not step.before and strange(step):
        return Request(
            "ask_back",
            choices=tuple(m.ref for m in step.situation.alive),
            topic="not_understood",
            read_from=step.text,
        )
    if bad or (amount and not 0 < amount[0] <= (50 if amount[1] == "mm" else 500)):
        return Request("ask_back", choices=refs, topic="amount", read_from=step.text)
    if (
        re.search(r"\b(N|\d+) ?(%|percent|times|fold|x)\b", text)
        or re.search(r"- A\d", text)
        and operation in ("grow", "shrink")
    ):
        return Request("ask_back", choices=refs, topic="amount", read_from=step.text)
    if any(t.kind == "N" for t in tokens) and operation in ("grow", "shrink", "islands") and not step.amounts:
        return Request("ask_back", choices=refs, topic="amount", read_from=step.text)
    if operation in ("subtract", "intersect", "clip"):
        if step.before is None and len(refs) < 2:
            rest = tuple(m.ref for m in step.situation.alive if m.ref not in refs)
            return (
                Request(
                    "ask_back",
                    choices=tuple(m.ref for m in step.situation.alive),
                    topic="second_mask",
                    references=refs,
                )
                if len(rest) != 1 or True
                else None
            )
        if operation == "subtract" and _reversed(text):
            refs = (refs[-1], *refs[:-1])
    if operation == "union" and len(refs) < 2 and step.before is None:
        alive = tuple(m.ref for m in step.situation.alive)
        if _ALL.search(text) and len(alive) == 2:
            refs = alive
        else:
            return Request("ask_back", choices=alive, topic="second_mask")
    mm = amount[0] if amount and amount[1] == "mm" else None
    ml = amount[0] if amount and amount[1] == "ml" else None
    if operation in ("grow", "shrink") and ml or operation == "islands" and mm:
        return Request("ask_back", choices=refs, topic="amount", read_from=step.text)
    refs = (*refs, *(r for r in spared if r not in refs))
    return Request(
        "edit",
        references=refs,
        operation=operation,
        mm=mm,
        ml=ml,
        not_into=spared,
        topic="" if refs else "result",
        scope=step.scope,
        read_from=step.text,
    )


def _spared_from(tokens: list[Token]) -> int:
    """Return where the masks begin that a growth must spare, 0 for none."""
    text = " ".join(t.word for t in tokens)
    match = re.search(
        r"\b(not (in|into|over|onto|past|beyond|across|through|touch\w*|overlap\w*|cross\w*|enter\w*|inside|invade\w*)|without (touching|entering|going|overlapping|crossing|invading|growing|leaking|spilling|running|hitting|covering|eating)|avoid\w*|spar\w+|stay out|keep out|keeping out|staying out|stop(ping)? (at|before|short)|except|excluding|up to|but not|don't (touch|enter|go|cross)|do not (touch|enter|go|cross)|never into|clear of|away from|outside|leaving|leave|respecting|limited by|bounded by|exclude)\b",
        text,
    )
    return (
        len(text[: match.start()].split())
        if match
        and any(t.kind in "RS" for t in tokens[len(text[: match.start()].split()) :])
        and match.start()
        else 0
    )


def _reversed(text: str) -> bool:
    """Whether the changed mask is named last: "subtract [2] from [1]"."""
    return bool(
        re.search(r"\b(from|out of|off|off of|in) (?:the |left |right |whole )*[RS]\d+", text)
    ) and not re.search(r"\b(minus|less)\b", text)


def verdict(step: Step) -> Request | None:
    """Return the verdict that a step gives."""
    text = step.text
    for name in ("redo", "undo"):
        if fits("verdict", name, text):
            text = " ".join(t.typed or t.word for t in step.tokens).casefold()
            steps = next(
                (
                    int(t.word)
                    for t in step.tokens
                    if t.kind == "N" and t.word.isdigit() and 0 < int(t.word) < 100
                ),
                1,
            )
            if re.search(r"\b(twice|last two|two)\b", text):
                steps = 2
            if re.search(r"\b(thrice|three times|three)\b", text):
                steps = 3
            if re.search(r"\b(everything|all)\b", text):
                return Request("ask_back", topic="wide", choices=tuple(m.ref for m in step.situation.alive))
            return Request("verdict", verdict=name, steps=steps, read_from=text)
    if fits("verdict", "cancel", text):
        return Request("verdict", verdict="cancel", read_from=text)
    for name in ("fix", "reject", "accept"):
        match = fits("verdict", name, step.rest_text)
        if not match:
            continue
        if re.search(r"\b(not|don't|dont|never|no)\b", step.rest_text[: match.start()]) and name != "reject":
            return (
                Request(
                    "ask_back",
                    topic="negated",
                    choices=tuple(m.ref for m in step.situation.alive),
                    read_from=text,
                )
                if step.situation.alive
                else Request("answer", topic="nothing_done")
            )
        if name == "reject" and re.search(
            r"\b(not|don't|dont|never|do not)\b", step.rest_text[: match.start()]
        ):
            return Request("answer", topic="nothing_done", read_from=text)
        if not (step.situation.alive or step.before is not None):
            if name == "reject" and step.named.targets:
                return None
            if name == "accept" and re.match(
                r"^\W*(yes|yep|yeah|ok|okay|perfect|correct|good|great|fine|right|looks? good)\b",
                step.rest_text,
            ):
                return Request("answer", topic="ack")
            if not step.situation.masks and not step.pointers and name == "fix" and not _IT.search(text):
                return None
            return Request("refuse", topic="dangling", read_from=text)
        if _asks_about(step) or re.search(r"\b(none|nobody|if|unless|when|would|should|might)\b", text):
            return (
                Request(
                    "ask_back",
                    topic="verdict",
                    choices=tuple(m.ref for m in step.situation.alive),
                    read_from=text,
                )
                if step.situation.alive
                else Request("answer", topic="help")
            )
        masks = masks_of(step)
        if (
            masks.refs
            and not _pointed_out(step)
            and (
                strange(step)
                or re.match(r"^\W*(you|i|we|he|she)\b", text)
                and not re.search(r"\b(it|this|that|mask)\b", text)
            )
        ):
            masks = Masks(problem="several", choices=tuple(m.ref for m in step.situation.alive))
        if masks.problem and step.named.plural and masks.problem == "several" and name != "reject":
            masks = Masks(tuple(c for c in masks.choices if isinstance(c, tuple)))
        if masks.problem:
            return ask(masks, step)
        refs = masks.refs
        if out := _left_out(step):
            refs = tuple(m.ref for m in step.situation.alive if m.ref not in out)
        if name == "reject" and (
            len(refs) > 2
            and not step.pointers
            and not step.named.targets
            or re.search(r"\b(everything|start over|from scratch|anew)\b", text)
        ):
            return Request("ask_back", topic="wide", choices=tuple(m.ref for m in step.situation.alive))
        return Request(
            "verdict", references=refs, verdict=name, topic="" if refs else "result", read_from=text
        )
    return None


def _asks_about(step: Step) -> bool:
    """Whether a verdict is only spoken of: "what does accept do?"."""
    text = step.text
    if re.match(r"^\W*(please )?(can|could|would|will) (you|we|i)\b", text):
        return False
    return bool(
        re.match(
            r"^\W*(what|why|who|how|when|where|which|does|do|did|is|are|was|has|have|can|could|should)\b",
            text,
        )
    ) and not re.search(r"\b(please|fix|wrong)\b", text)


def _pointed_out(step: Step) -> bool:
    return bool(step.pointers or step.named.targets or any(t.kind in "X" for t in step.rest))


def strange(step: Step) -> list[str]:
    """Return words of a step about masks that no rule knows: what they change is not guessed at."""
    lexicon = load_lexicon()
    return [
        t.word
        for t in step.rest
        if t.kind == "W"
        and t.word not in lexicon.plain
        and t.word not in lexicon.qualities
        and t.word not in lexicon.ruled
        and t.word not in ("left", "right", "both")
    ]


def _left_out(step: Step) -> tuple[Ref, ...]:
    """Return the masks of "accept all but [2]" that are not meant."""
    text = step.rest_text
    match = re.search(
        r"\b(all|everything|every mask|each|them)\b.*?\b(but|except|apart from|other than|save|besides|not|without|minus|excluding)\b",
        text,
    )
    if not match:
        return ()
    cut = len(text[: match.end()].split())
    masks = masks_of(step, many=True, tokens=step.rest[cut:])
    return masks.refs if not masks.problem else ()


def export(step: Step) -> Request | None:
    """Return the export that a step asks for."""
    text = step.text
    if not fits("export", "rules", text):
        return None
    if not re.search(r"\b(png|nifti|nii|dicom|rt ?struct\w*|nrrd)\b", text) and fits(
        "export", "refuse", text
    ):
        return Request("refuse", topic="not_possible", read_from=text)
    kind = first("export", text, ("rules", "refuse"))
    refused = fits("export", "refuse", text)
    if refused and not (kind and kind != "png" and refused[0] in ("drive", "server", "usb", "phone")):
        return Request("refuse", topic="not_possible", read_from=text)
    if not kind:
        return Request("ask_back", topic="format", read_from=text)
    pointed = step.pointers or step.named.targets
    pronoun = re.search(r"\b(it|them|that|this|these|those|both)\b", step.rest_text) and not re.search(
        r"\b(everything|all)\b", text
    )
    masks = masks_of(step, many=True) if pointed or pronoun else Masks()
    if masks.problem:
        return ask(masks, step)
    if out := _left_out(step):
        masks = Masks(tuple(m.ref for m in step.situation.alive if m.ref not in out))
    return Request("export", references=masks.refs, export=kind, read_from=text)
