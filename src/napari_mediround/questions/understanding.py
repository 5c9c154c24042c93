"""`understand`: a question, the conversation and the study to one `Request`. The face of the package."""

from __future__ import annotations

import re
from dataclasses import replace

from napari_mediround.domain.rounds import Conversation
from napari_mediround.domain.study import Study
from napari_mediround.questions import frames
from napari_mediround.questions.clauses import split_steps, take_back
from napari_mediround.questions.drawing import draw
from napari_mediround.questions.grammar import fits
from napari_mediround.questions.lexicon import load_lexicon
from napari_mediround.questions.navigation import navigate, window
from napari_mediround.questions.nouns import turn_image_sides
from napari_mediround.questions.reading import Token, read
from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.text import clean, ordinal

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
    step = frames.Step(tokens, situation)
    masks = frames.masks_of(step)
    if masks.problem or not masks.refs:
        return frames.ask(masks, step)
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
    step = frames.Step(tokens, situation, before)
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
    if (
        fits("everything", "rules", text)
        and not re.search(
            r"\b(hide|accept|reject|approve|export|save|delete|remove|discard|undo|grow|shrink|measure|volume|area|cancel|stop|keep|drop|clear|opacity|unhide)\b",
            text,
        )
        and not (step.named.targets and not step.named.excluded)
    ):
        if not (
            situation.alive
            and re.search(r"\b(segment|outline|mark|show)? ?(everything|all) ?(again)?\W*$", text)
            and re.search(r"\bshow\b", text)
        ):
            return Request(
                "answer", topic="name_what_you_want", excluded=tuple(step.named.excluded), read_from=text
            )
    question = _is_question(tokens)
    if fits("help", "rules", text) and not _orders(step):
        return Request("answer", topic="help", read_from=text)
    for reader in (
        window,
        _clinical_first,
        frames.export,
        _undo_or_stop,
        _measured,
        _clinical,
        _judged,
        frames.edit,
        navigate,
        frames.verdict,
    ):
        found = reader(step)
        if found is not None:
            return found
    if fits("record", "rules", text):
        return Request("answer", topic="record", read_from=text)
    if question and (fits("clinical", "rules", text)):
        return Request("refuse", topic="no_diagnosis", read_from=text)
    if (
        fits("greeting", "rules", text.strip(" ,.!?"))
        and not (step.named.targets or step.named.unknown or step.pointers or step.named.choices)
        and len(tokens) < 12
    ):
        return Request("answer", topic="ack", read_from=text)
    found = _talk_first(step) or draw(step)
    if found is not None:
        return found
    return _talk(step)


def _orders(step: frames.Step) -> bool:
    """Whether a sentence that sounds like a question about the tool orders something all the same."""
    if step.named.targets and re.search(r"\bwhy (don't|not|can't|don t) ?(you|we|i)?\b", step.text):
        return True
    polite = re.search(
        r"^\W*(please )?(can|could|would|will) (you|i|we)( please| kindly| just)* (see|have|get|show|outline|segment|draw|find|mark|hide|accept|reject|go|export|delete|undo|measure|contour|trace|label|highlight|locate)\b",
        step.text,
    )
    return bool(polite) or bool(
        re.search(r"\bhow (big|large|long|wide|thick|far|many|much|dense|close)\b", step.text)
        and (step.pointers or step.named.targets or step.situation.alive)
    )


def _clinical_first(step: frames.Step) -> Request | None:
    """Diagnosis, therapy and reports are refused before anything is measured, but for a comparison of masks."""
    text = step.text
    if not fits("clinical", "rules", text):
        return None
    if _is_size(step):
        return None
    if re.search(
        r"\b(mask|outline|contour|segmentation|R\d+|it|that|this|it's|that's)( mask| one)? ?(is|looks|seems)? (very |quite |really |all |completely |totally |just |not )*(good|fine|ok|okay|right|perfect|wrong|bad|correct|incorrect|rubbish)\W*$",
        text,
    ) and not _is_question(step.tokens):
        return None
    if (
        re.search(
            r"\b(for|before|after|prior to|because of|due to|in view of|follow(ing)?) (the |a |an )?(\w+ ){0,2}(planning|surgery|biopsy|operation|treatment|therapy|ablation|staging|follow up|resection|intervention|chemo\w*|radiotherapy|transplant\w*)\b",
            text,
        )
        and step.named.targets
    ):
        return None
    if (
        step.named.targets
        and not _is_question(step.tokens)
        and re.search(
            r"^\W*(please )?(segment|outline|draw|contour|delineate|trace|mark|label|highlight|find|show|locate)\b",
            text,
        )
        and not re.search(r"\b(any|diagnos|report|malignan|benign)\b", text)
    ):
        return None
    return Request("refuse", topic="no_diagnosis", read_from=text)


def _is_size(step: frames.Step) -> bool:
    return (
        bool(
            re.search(
                r"\b(how (big|large|long|wide|thick|far|many|much)|volume|area|diameter|distance|larger than|bigger than|smaller than|mean hu|compare)\b",
                step.text,
            )
        )
        and bool(step.pointers or step.named.targets)
        and not re.search(
            r"\b(normal|enlarged|malignan\w*|benign|pregnant|diagnos\w*|stage|cancer\w*|expected|usual|prior|months|years|weeks)\b",
            step.text,
        )
    )


def _clinical(step: frames.Step) -> Request | None:
    """ "Is the S ADJECTIVE?": a judgement, whatever the adjective."""
    text = step.text
    if re.match(
        r"^\W*(is|are|was|were|does|has|have) (the |there |this |his |her |my |left |right |both |any |an? )*(S|X|R)\d+",
        text,
    ) and not re.search(r"\b(visible|in view|on this|shown|seen|see|done)\b", text):
        if fits("record", "rules", text):
            return Request("answer", topic="record", read_from=text)
        return Request("refuse", topic="no_judgement", read_from=text)
    return None


def _undo_or_stop(step: frames.Step) -> Request | None:
    if (
        fits("verdict", "undo", step.text)
        or fits("verdict", "redo", step.text)
        or fits("verdict", "cancel", step.text)
    ):
        return frames.verdict(step)
    return None


def _judged(step: frames.Step) -> Request | None:
    """A verdict in so many words, before what might move the view."""
    if re.search(r"\b(accept|approve|reject|confirm)\b", step.text) and not re.search(r"\bhow\b", step.text):
        return frames.verdict(step)
    return None


def _measured(step: frames.Step) -> Request | None:
    """A measurement, unless the words for it only say what a mask is needed for."""
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
    return frames.measure(step)


def _is_question(tokens: list[Token]) -> bool:
    words = [t.word for t in tokens]
    return (
        "?" in words
        or bool(words)
        and words[0]
        in (
            "is",
            "are",
            "does",
            "do",
            "did",
            "has",
            "have",
            "can",
            "could",
            "should",
            "would",
            "what",
            "which",
            "why",
            "who",
            "how",
            "when",
            "where",
            "any",
            "was",
            "were",
            "will",
            "may",
        )
    )


def _talk_first(step: frames.Step) -> Request | None:
    """Return what is said to a sentence that names a structure but asks for nothing."""
    text, named = step.text, step.named
    if re.search(
        r"\b(you|it) (got|get|did|made|drew|put|missed|had|have|outlined|segmented|forgot)\b.*\b(wrong|badly|mistake|last time|incorrectly|not right|error|poorly|too)\b",
        text,
    ):
        return (
            Request("ask_back", choices=tuple(m.ref for m in step.situation.alive), topic="disputed")
            if step.situation.alive
            else Request("answer", topic="ack")
        )
    if (
        re.match(r"^\W*(i|we|my|the (patient|consultant|radiologist|boss|nurse)(?!')|he|she|they)\b", text)
        and not re.search(
            r"\b(want|need|like|love|see|require|wish|appreciate|have the|get|would|looking|grateful|prefer|could|can|must|after)\b",
            text,
        )
        and not step.pointers
    ):
        return Request("answer", topic="ack", read_from=text)
    if (
        re.search(
            r"\b(this|that|it|these)('s)? ?(is|was|are|were)?( not|n't| no) (really |actually |even )?(the |a |an )?(left |right )?[SX]\d",
            text,
        )
        or re.match(r"^\W*(isn't|wasn't|is not|aren't) (this|that|it)\b", text)
        or re.match(r"^\W*(this|that|it) (isn't|wasn't)\b", text)
    ):
        return (
            Request("ask_back", choices=tuple(m.ref for m in step.situation.alive), topic="disputed")
            if step.situation.alive
            else Request("answer", topic="record")
        )
    if (
        re.match(
            r"^\W*(the |this |my |his |her |a |left |right )*[SX]\d+( mask)? (is|are|was|were|has|have|looks?|does|did|seems?|lies|can|will|may)\b(?! (to be|needed|wanted|required|next|what|requested|missing|the one|also needed))",
            text,
        )
        and not _is_question(step.tokens)
        and not re.search(r"\b(need|want|outline|segment|draw|please|contour)", text)
    ):
        return Request("answer", topic="ack", read_from=text)
    if not named.targets and len([t for t in step.tokens if t.kind in "WX"]) > 14:
        return Request("answer", topic="help", read_from=text)
    return None


def _talk(step: frames.Step) -> Request | None:
    """Return what is said where nothing is asked for that can be done."""
    text, lexicon = step.text, load_lexicon()
    if fits("greeting", "rules", text.strip(" ,.!?")):
        return Request("answer", topic="ack", read_from=text)
    words = [t.word for t in step.tokens if t.kind == "W"]
    strange = [w for w in words if w not in lexicon.plain and w not in lexicon.qualities]
    if not strange and step.scope:
        return Request("ask_back", topic="name_what_you_want", read_from=text)
    if step.situation.alive and re.fullmatch(r"\W*no(pe)?\W*(thanks|thank you|not that)?\W*", text):
        return Request("ask_back", choices=tuple(m.ref for m in step.situation.alive), topic="which")
    if (
        step.situation.alive
        and words
        and all(
            w in lexicon.plain or w in lexicon.qualities or w in ("them", "others", "ones") or ordinal(w)
            for w in words
        )
        and re.search(r"\b(one|them|first|second|third|last|other|all|both|that|this)\b", text)
        and len(words) < 6
        and not _is_question(step.tokens)
    ):
        return Request(
            "ask_back", choices=tuple(m.ref for m in step.situation.alive), topic="which", read_from=text
        )
    speaks = any(
        w
        in (
            "i",
            "you",
            "me",
            "my",
            "your",
            "we",
            "our",
            "us",
            "he",
            "she",
            "they",
            "who",
            "why",
            "how",
            "when",
            "what",
            "is",
            "are",
            "was",
            "do",
            "does",
            "did",
            "can",
            "could",
            "tell",
            "thanks",
            "hello",
            "i'm",
            "im",
            "it's",
            "that's",
            "what's",
            "whats",
            "let",
            "let's",
        )
        for w in words
    )
    if speaks or not strange:
        return Request("answer", topic="help", read_from=text)
    described = (
        " ".join(t.typed for t in step.rest if t.kind in "WXN" and t.word not in lexicon.plain) or text
    )
    side = next((w for w in words if w in ("left", "right")), "")
    if len(strange) > 6 or not re.search(r"[^\W\d_]{2}", described):
        return Request("ask_back", topic="not_understood", read_from=text)
    return Request(
        "refuse",
        (Wanted(described=described[:120], side=side if side not in described else ""),),
        topic="unknown_structure",
        read_from=text,
    )


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
    if acting:
        found = (
            [
                r
                for r in found
                if r.action not in _SAYS
                or r.topic
                not in ("ack", "help", "nothing_asked", "not_understood", "name_what_you_want", "record")
                and not (r.action == "refuse" and r.topic == "unknown_structure")
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
