"""What asks for nothing that can be done: judgements, small talk, questions about the tool. Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.request import Request, Wanted
from napari_mediround.questions.words.grammar import fits
from napari_mediround.questions.words.lexicon import load_lexicon
from napari_mediround.questions.words.plain_text import ordinal
from napari_mediround.questions.words.step_masks import Step
from napari_mediround.questions.words.token import Token


def orders(step: Step) -> bool:
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


def clinical_first(step: Step) -> Request | None:
    """Diagnosis, therapy and reports are refused before anything is measured, but for a comparison of masks."""
    text = step.text
    if not fits("clinical", "rules", text):
        return None
    if _is_size(step):
        return None
    if re.search(
        r"\b(mask|outline|contour|segmentation|R\d+|it|that|this|it's|that's)( mask| one)? ?(is|looks|seems)? (very |quite |really |all |completely |totally |just |not )*(good|fine|ok|okay|right|perfect|wrong|bad|correct|incorrect|rubbish)\W*$",
        text,
    ) and not is_question(step.tokens):
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
        and not is_question(step.tokens)
        and re.search(
            r"^\W*(please )?(segment|outline|draw|contour|delineate|trace|mark|label|highlight|find|show|locate)\b",
            text,
        )
        and not re.search(r"\b(any|diagnos|report|malignan|benign)\b", text)
    ):
        return None
    return Request("refuse", topic="no_diagnosis", read_from=text)


def _is_size(step: Step) -> bool:
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


def judgement(step: Step) -> Request | None:
    """Refuse "is the S ADJECTIVE?": a judgement, whatever the adjective."""
    text = step.text
    if re.match(
        r"^\W*(is|are|was|were|does|has|have) (the |there |this |his |her |my |left |right |both |any |an? )*(S|X|R)\d+",
        text,
    ) and not re.search(r"\b(visible|in view|on this|shown|seen|see|done)\b", text):
        if fits("record", "rules", text):
            return Request("answer", topic="record", read_from=text)
        return Request("refuse", topic="no_judgement", read_from=text)
    return None


def is_question(tokens: list[Token]) -> bool:
    """Whether words are put as a question."""
    words = [t.word for t in tokens]
    return "?" in words or (
        bool(words)
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


def talk_first(step: Step) -> Request | None:
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
        and not is_question(step.tokens)
        and not re.search(r"\b(need|want|outline|segment|draw|please|contour)", text)
    ):
        return Request("answer", topic="ack", read_from=text)
    if not named.targets and len([t for t in step.tokens if t.kind in "WX"]) > 14:
        return Request("answer", topic="help", read_from=text)
    return None


def talk(step: Step) -> Request | None:
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
        and not is_question(step.tokens)
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
