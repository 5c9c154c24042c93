"""Steps that measure or change masks. Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.request import Ref, Request
from napari_mediround.questions.verdict_export import left_out, pointed_out, strange
from napari_mediround.questions.words.grammar import first, fits
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.step_masks import (
    ALL,
    IT,
    Masks,
    Step,
    ask,
    by_pronoun,
    masks_of,
    text_of,
)
from napari_mediround.questions.words.token import Token


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
            by_pronoun(step, "it", False, tuple(m.ref for m in step.situation.alive), [])
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
    operation = _operation(step)
    if not operation:
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
        and not IT.search(text)
        and not ALL.search(text)
        and not step.situation.alive
    ):
        return None
    if left := left_out(step):
        refs = tuple(m.ref for m in step.situation.alive if m.ref not in left)
        masks = Masks(refs) if refs else Masks(problem="missing")
        spared = ()
    else:
        masks = masks_of(step, tokens=tokens, many=False)
    if (
        operation in ("union", "intersect")
        and sum(t.kind in "RS" for t in tokens) < 2
        and masks.problem == "several"
        and len(masks.choices) == 2
    ):
        masks = Masks(masks.choices)
    if masks.problem:
        return ask(masks, step)
    if masks.targets and not masks.refs:
        return ask(Masks(problem="missing", choices=tuple(m.ref for m in step.situation.alive)), step)
    refs = masks.refs
    refs = _with_pronoun(step, operation, refs, tokens)
    if step.before is None and not refs:
        return ask(Masks(problem="dangling"), step)
    if refs and not pointed_out(step) and not step.before and strange(step):
        return Request(
            "ask_back",
            choices=tuple(m.ref for m in step.situation.alive),
            topic="not_understood",
            read_from=step.text,
        )
    if bad or _odd_amount(step, operation, amount, tokens):
        return Request("ask_back", choices=refs, topic="amount", read_from=step.text)
    alive = tuple(m.ref for m in step.situation.alive)
    if operation == "union" and len(refs) < 2 and len(alive) == 2 and ALL.search(text):
        refs = alive
    if operation in _BINARY and len(refs) < 2 and step.before is None:
        return Request("ask_back", choices=alive, topic="second_mask", references=refs)
    if operation == "subtract" and _reversed(text) and len(refs) > 1:
        refs = (refs[-1], *refs[:-1])
    mm = amount[0] if amount and amount[1] == "mm" else None
    ml = amount[0] if amount and amount[1] == "ml" else None
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


_BINARY = ("subtract", "intersect", "clip", "union")
_OPERATIONS = (
    "mirror", "subtract", "clip", "union", "intersect", "islands", "largest", "fill", "smooth", "shrink", "grow",
)  # fmt: skip


def _operation(step: Step) -> str:
    """Return the operation that the words of a step mean, "" for none."""
    text = step.rest_text
    operation = next((name for name in _OPERATIONS if fits("edit", name, text)), "")
    if operation == "grow" and step.scope and re.search(r"\b(extend|continue)\b", text) and not step.amounts:
        return ""
    if operation in ("largest", "mirror", "grow", "shrink") and not (step.situation.alive or step.before):
        return ""
    return "" if operation == "largest" and re.search(r"\b(largest|biggest) of\b", text) else operation


def _odd_amount(step: Step, operation: str, amount: tuple | None, tokens: list[Token]) -> bool:
    """Whether an amount is absurd, of the wrong kind, or a number without a unit."""
    text = step.rest_text
    if amount and not 0 < amount[0] <= (50 if amount[1] == "mm" else 500):
        return True
    if amount and amount[1] == {"grow": "ml", "shrink": "ml", "islands": "mm"}.get(operation):
        return True
    if re.search(r"\b(N|\d+) ?(%|percent|times|fold|x)\b", text):
        return True
    if operation in ("grow", "shrink") and re.search(r"- A\d", text):
        return True
    bare = any(t.kind == "N" for t in tokens) and not step.amounts
    return bare and operation in ("grow", "shrink", "islands")


def _with_pronoun(step: Step, operation: str, refs: tuple[Ref, ...], tokens: list[Token]) -> tuple[Ref, ...]:
    """Return the masks of "clip it to [2]": the one that "it" means too, in the order of mention."""
    words = r"\b(it|that|this|mask|result)\b"
    if operation not in _BINARY or len(refs) != 1 or not re.search(words, text_of(tokens)):
        return refs
    pointed = by_pronoun(step, "it", False, tuple(m.ref for m in step.situation.alive), [])
    if len(pointed.refs) != 1 or pointed.refs[0] in refs:
        return refs
    first = re.search(words + r".*\b[RS]\d", text_of(tokens))
    return (*pointed.refs, *refs) if first else (*refs, *pointed.refs)


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
