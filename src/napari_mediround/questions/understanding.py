"""`understand`: a question, the conversation and the study to one `Request`. The face of the package."""

from __future__ import annotations

import re
from dataclasses import replace

from napari_mediround.domain.rounds import Conversation
from napari_mediround.domain.study import Study
from napari_mediround.questions.caution import be_cautious
from napari_mediround.questions.clauses import split_steps, take_back
from napari_mediround.questions.drawing import draw
from napari_mediround.questions.measure_edit import edit, measure
from napari_mediround.questions.navigation import navigate, window
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.talk import clinical_first, is_question, judgement, orders, talk, talk_first
from napari_mediround.questions.verdict_export import export, verdict
from napari_mediround.questions.words.grammar import fits
from napari_mediround.questions.words.plain_text import clean
from napari_mediround.questions.words.sidedness import turn_image_sides
from napari_mediround.questions.words.step_masks import Masks, Step, ask, masks_of
from napari_mediround.questions.words.token import Token
from napari_mediround.questions.words.tokenizing import read

LONGEST = 2000


"""Characters that are read."""


_RENAME = re.compile(
    r"^\W*(?:(?:please|can you|could you|now|and|then|ok)\W+)*(?:rename|relabel|re-label|rebaptise|call|name|label|retitle)\s+"
    r"(?P<what>\[[\d.]+\]|#\d+|it|this|that|(?:the\s+)?(?:mask|round|number|contour)\s*#?\d+|(?:the\s+)?(?:last|latest|previous|first|second|third|fourth|fifth|\d(?:st|nd|rd|th))\s+(?:one|mask|contour|outline)|(?:the\s+)?mask|(?:the\s+)?[\w ]{3,40}?)"
    r"(?:\s+mask)?\s*(?:\s+(?:to|as|into|by the name of)\s+|\s*(?:->|=>|=|:)\s*|\s+(?=[\"'\[(A-Za-z]))(?P<name>.{1,80}?)\W*$",
    re.I,
)


def understand(
    text: str, conversation: Conversation | None = None, study: Study | None = None, plane: int | None = None
) -> Request:
    """Return what a question asks for.

    Parameters
    ----------
    text : str
        As typed, dictated or pasted; any length, any characters.
    conversation : Conversation, optional
        The rounds so far.
    study : Study, optional
        The image.
    plane : int, optional
        0-based plane that is asked about.

    Returns
    -------
    Request
        Never a drawing, an edit or a verdict unless the words ask for one.
    """
    return understand_in(text, Situation.of(conversation or Conversation(), study, plane))


def understand_in(text: str, situation: Situation) -> Request:
    """Return what a question asks for in a situation; as `understand`."""
    if len(text) > LONGEST:
        return Request("refuse", topic="too_long")
    if _is_hostile(text):
        return Request("refuse", topic="injection", read_from=text[:80])
    plain = clean(text)
    if not re.search(r"[^\W_]", plain):
        return Request("answer" if "?" in plain else "refuse", topic="nothing_asked")
    if renamed := _renamed(plain, situation):
        return renamed
    tokens = turn_image_sides(read(_quoted(text), situation))
    steps = split_steps(take_back(tokens))
    if not steps:
        return Request("refuse", topic="nothing_asked")
    found: list[Request] = []
    for step in steps:
        one = _understand_step(step, situation, _previous(found))
        if one is not None:
            one = be_cautious(Step(step, situation, _previous(found)), one)
        if one is not None:
            found.append(one)
    return _chain(_kept(found))


def _is_hostile(text: str) -> bool:
    return bool(fits("hostile", "rules", text.casefold()) or fits("hostile", "rules", clean(text).casefold()))


def _quoted(text: str) -> str:
    """Return a text without quoted orders; quotes round a name alone, or round all, are only taken off."""

    def open_up(match: re.Match) -> str:
        inside = match[1]
        whole = not re.search(r"[^\W_]", text[: match.start()] + text[match.end() :])
        ordered = re.search(
            r"\b(accept|reject|delete|remove|segment|export|undo|approve|draw|outline|rename|grow|shrink|hide|show)\b",
            inside,
            re.I,
        )
        return f" {inside} " if whole or not ordered else " "

    return re.sub(r"[\"“„]([^\"“”„]{1,400})[\"”“]", open_up, text)


def _renamed(text: str, situation: Situation) -> Request | None:
    """Return a request for another name, "" where none is asked for."""
    match = _RENAME.match(text)
    if not match:
        return None
    verb = re.search(r"rename|relabel|re-label|call|name|label|retitle|rebaptise", match[0], re.I)
    tokens = read(match["what"], situation)
    pointed = any(t.kind in "R" for t in tokens) or re.fullmatch(
        r"(it|this|that|(the )?mask)", match["what"].strip(), re.I
    )
    named = any(t.kind in "SX" for t in tokens)
    if verb and verb[0].casefold() in ("call", "name", "label") and not pointed:
        return None
    if not (pointed or named):
        return None
    step = Step(tokens, situation)
    masks = masks_of(step)
    if masks.problem or not masks.refs:
        return ask(masks, step)
    name = match["name"].strip().strip("\"'“”").strip()
    name = re.sub(r"\s+(please|thanks|thank you)$", "", name, flags=re.I)
    if len(masks.refs) > 1:
        return Request("ask_back", choices=masks.refs, topic="several")
    return (
        Request("verdict", references=masks.refs, verdict="rename", rename=name, read_from=text)
        if name
        else None
    )


def _previous(found: list[Request]) -> Request | None:
    """Return the step before, where a further one may work on what it gave."""
    return next((r for r in reversed(found) if r.action not in ("answer", "ask_back", "refuse")), None)


def _understand_step(tokens: list[Token], situation: Situation, before: Request | None) -> Request | None:
    step = Step(tokens, situation, before)
    text = step.text
    if (
        before is not None
        and not step.named.targets
        and not step.pointers
        and re.fullmatch(
            r"\W*(please|pls|thanks|thank you|thx|cheers|ok|okay|ta)?( very much| a lot)?\W*", text
        )
    ):
        return None
    if any(t.kind == "R" and t.pointer.problem for t in step.rest):
        return ask(Masks(problem="dangling", choices=tuple(m.ref for m in situation.alive)), step)
    if _wants_all(step):
        return Request(
            "answer", topic="name_what_you_want", excluded=tuple(step.named.excluded), read_from=text
        )
    question = is_question(tokens)
    if fits("help", "rules", text) and not orders(step):
        return Request("answer", topic="help", read_from=text)
    for reader in (
        window,
        clinical_first,
        export,
        _undo_or_stop,
        _measured,
        judgement,
        _judged,
        edit,
        navigate,
        verdict,
    ):
        found = reader(step)
        if found is not None:
            return found
    if fits("record", "rules", text):
        pointed = masks_of(step, many=True) if step.pointers else Masks()
        said = " ".join(t.typed or t.word for t in tokens)
        return Request("answer", references=pointed.refs, topic="record", read_from=said)
    if question and (fits("clinical", "rules", text)):
        return Request("refuse", topic="no_diagnosis", read_from=text)
    if (
        fits("greeting", "rules", text.strip(" ,.!?"))
        and not (step.named.targets or step.named.unknown or step.pointers or step.named.choices)
        and len(tokens) < 12
    ):
        return Request("answer", topic="ack", read_from=text)
    found = talk_first(step) or draw(step)
    if found is not None:
        return found
    return talk(step)


def _undo_or_stop(step: Step) -> Request | None:
    if (
        fits("verdict", "undo", step.text)
        or fits("verdict", "redo", step.text)
        or fits("verdict", "cancel", step.text)
    ):
        return verdict(step)
    return None


def _wants_all(step: Step) -> bool:
    """Whether everything is to be drawn: that is not done."""
    text = step.text
    other = r"\b(hide|accept|reject|approve|export|save|delete|remove|discard|undo|grow|shrink|measure|volume|area|cancel|stop|keep|drop|clear|opacity|unhide)\b"
    if not fits("everything", "rules", text) or re.search(other, text):
        return False
    shown = re.search(r"\bshow\b", text) and re.search(r"\b(everything|all) ?(again)?\W*$", text)
    only_named = step.named.targets and not step.named.excluded
    return not only_named and not (step.situation.alive and shown)


def _judged(step: Step) -> Request | None:
    """Return a verdict in so many words, before what might move the view."""
    if re.search(r"\b(accept|approve|reject|confirm)\b", step.text) and not re.search(r"\bhow\b", step.text):
        return verdict(step)
    return None


def _measured(step: Step) -> Request | None:
    """Return a measurement, unless the words for it only say what a mask is needed for."""
    text = step.rest_text
    if (
        re.search(
            r"\b(mask|outline|contour|segmentation|needed|need|want) .*\bfor\b.*\b(volum|measur|density|size)",
            text,
        )
        and step.named.targets
    ):
        return None
    if re.search(
        r"\b(largest|biggest|smallest|longest) (part|component|piece|connected|island|blob|of)\b|\bmedian nerve\b|\b(margin|grow|shrink|erode|dilate|expand|trim|peel|add|shave|drop|remove|delete|discard|islands?|get rid|throw|specks?)\b.*A\d",
        text,
    ):
        return None
    if (
        re.search(
            r"^\W*(segment|outline|draw|contour|delineate|trace|mark|label|highlight|show|find|locate)\b",
            text,
        )
        and step.named.targets
        and not re.search(r"\b(volume|area|diameter|size|distance|recist|hu|density|length|axis)\b", text)
    ):
        return None
    if re.search(r"\b(only|keep) .*(common|overlap)|\bintersect", text):
        return None
    return measure(step)


_SAYS = ("answer", "ask_back", "refuse")


def _kept(found: list[Request]) -> list[Request]:
    """Return the steps without small talk around them; wishes to draw that follow each other become one."""
    acting = [r for r in found if r.action not in _SAYS]
    asked = [
        r
        for r in found
        if r.action == "ask_back"
        and r.topic in ("which", "not_understood")
        and any(isinstance(c, Wanted) for c in r.choices)
    ]
    if asked and all(r.action == "segment" for r in acting):
        drawn = {t for r in acting for t in r.targets}
        open_ = [c for r in asked for c in r.choices if c not in drawn]
        if open_ and acting:
            return [
                Request(
                    "ask_back",
                    choices=tuple(dict.fromkeys((*(t for r in acting for t in r.targets), *open_))),
                    topic="not_understood",
                )
            ]
    if any(r.verdict == "cancel" for r in acting):  # "forget it, stop" takes nothing back
        found = [r for r in found if r.verdict != "undo" or "undo" in r.read_from]
    if acting:
        found = (
            [
                r
                for r in found
                if r.action not in _SAYS
                or (r.action == "ask_back" and any(not isinstance(c, Wanted) for c in r.choices))
                or (
                    r.topic
                    not in ("ack", "help", "nothing_asked", "not_understood", "name_what_you_want", "record")
                    and not (r.action == "refuse" and r.topic == "unknown_structure")
                )
            ]
            if any(r.action in ("answer", "refuse", "ask_back") for r in found)
            else found
        )
    elif len(found) > 1:
        worth = [r for r in found if r.topic not in ("ack", "nothing_asked")]
        found = (worth or found)[:1] if not any(r.excluded for r in found) else found[:1]
    out: list[Request] = []
    for one in found:
        last = out[-1] if out else None
        if (
            last
            and one.action == last.action == "segment"
            and not (one.references or last.references)
            and one.scope in ("", last.scope)
        ):
            targets = tuple(dict.fromkeys((*last.targets, *one.targets)))
            excluded = tuple(w for w in dict.fromkeys((*last.excluded, *one.excluded)) if w not in targets)
            out[-1] = replace(last, targets=targets, excluded=excluded, sure=last.sure and one.sure)
        elif last and last.action == "answer" and last.topic == "nothing_drawn" and one.action == "segment":
            keep = tuple(w for w in last.excluded if w not in one.targets)
            out[-1] = replace(one, excluded=(*keep, *(w for w in one.excluded if w not in keep)))
        elif last and one.action == "answer" and one.topic == "nothing_drawn" and last.action == "segment":
            ruled = {w for w in one.excluded}
            targets = tuple(t for t in last.targets if t not in ruled)
            out[-1] = (
                replace(last, targets=targets, excluded=(*last.excluded, *one.excluded)) if targets else one
            )
        elif (
            last is None
            or replace(one, read_from="") != replace(last, read_from="")
            or one.action not in ("measure", "refuse", "answer")
        ):
            out.append(one)
    ruled_out = {w for r in out for w in r.excluded}
    return [_without(r, ruled_out) for r in out] if len(out) > 1 else out


def _without(request: Request, ruled_out: set[Wanted]) -> Request:
    if request.action != "segment" or not ruled_out & set(request.targets):
        return request
    left = tuple(t for t in request.targets if t not in ruled_out)
    return (
        replace(request, targets=left)
        if left or request.references
        else Request("answer", topic="nothing_drawn", excluded=tuple(ruled_out))
    )


def _chain(found: list[Request]) -> Request:
    """Return the first step with the others after it."""
    if not found:
        return Request("answer", topic="help")
    head, rest = found[0], found[1:]
    return replace(head, then=tuple(rest))
