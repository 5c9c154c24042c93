"""Steps that judge or export masks. Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.request import Ref, Request
from napari_mediround.questions.words.grammar import first, fits
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.step_masks import IT, Masks, Step, ask, masks_of


def verdict(step: Step) -> Request | None:
    """Return the verdict that a step gives."""
    if len(strange(step)) > 2 and not step.pointers:
        return None  # among words that nobody knows, a verdict is an accident
    if found := _undo(step):
        return found
    for name in ("fix", "reject", "accept"):
        match = fits("verdict", name, step.rest_text)
        if match:
            return _given(step, name, match)
    return None


def _undo(step: Step) -> Request | None:
    text = step.text
    for name in ("redo", "undo"):
        if fits("verdict", name, text):
            if re.search(rf"\b(not|don't|dont|never|without|no need to)\b.*\b{name}", text):
                return Request("answer", topic="nothing_done", read_from=text)
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
    return None


def _given(step: Step, name: str, match: re.Match) -> Request | None:
    """Return the verdict of a name, or what to ask back."""
    text = step.text
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
    if (
        name == "reject"
        and re.search(r"\b(accept|keep|want)\b", match[0])
        and re.search(r"\b(yet|now|until|till|before|unless|so fast|right away)\b", text)
    ):
        return Request("answer", topic="nothing_done", read_from=text)
    if name == "reject" and re.search(r"\b(not|don't|dont|never|do not)\b", step.rest_text[: match.start()]):
        return Request("answer", topic="nothing_done", read_from=text)
    if not (step.situation.alive or step.before is not None):
        if name == "reject" and step.named.targets:
            return None
        if name == "accept" and re.match(
            r"^\W*(yes|yep|yeah|ok|okay|perfect|correct|good|great|fine|right|looks? good)\b",
            step.rest_text,
        ):
            return Request("answer", topic="ack")
        if not step.situation.masks and not step.pointers and name == "fix" and not IT.search(text):
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
        and not pointed_out(step)
        and (
            strange(step)
            or (
                re.match(r"^\W*(you|i|we|he|she)\b", text) and not re.search(r"\b(it|this|that|mask)\b", text)
            )
        )
    ):
        masks = Masks(problem="several", choices=tuple(m.ref for m in step.situation.alive))
    if masks.problem and step.named.plural and masks.problem == "several" and name != "reject":
        masks = Masks(tuple(c for c in masks.choices if isinstance(c, tuple)))
    if masks.problem:
        return ask(masks, step)
    refs = masks.refs
    if out := left_out(step):
        refs = tuple(m.ref for m in step.situation.alive if m.ref not in out)
    if name == "reject" and (
        (len(refs) > 2 and not step.pointers and not step.named.targets)
        or re.search(r"\b(everything|start over|from scratch|anew)\b", text)
    ):
        return Request("ask_back", topic="wide", choices=tuple(m.ref for m in step.situation.alive))
    return Request("verdict", references=refs, verdict=name, topic="" if refs else "result", read_from=text)


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


def pointed_out(step: Step) -> bool:
    """Whether a step names or points at something."""
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


def left_out(step: Step) -> tuple[Ref, ...]:
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
    if out := left_out(step):
        masks = Masks(tuple(m.ref for m in step.situation.alive if m.ref not in out))
    return Request("export", references=masks.refs, export=kind, read_from=text)
