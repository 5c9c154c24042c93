"""Steps that move or show: slices, windows, views, what is hidden. Knows no pixel."""

from __future__ import annotations

import re

from napari_mediround.questions.request import Request
from napari_mediround.questions.words.grammar import fits
from napari_mediround.questions.words.step_masks import Masks, Step, ask, masks_of

WINDOWS = {
    "lung": r"lungs?|pulmonary", "bone": r"bones?|bony|osseous|skeletal", "brain": r"brain|cerebral|head",
    "soft tissue": r"soft ?tissue|soft|abdomen|abdominal|standard|default|normal|body", "mediastinum": r"mediastin\w*",
    "liver": r"liver|hepatic", "stroke": r"stroke", "angio": r"angio\w*|vascular|cta", "subdural": r"subdural", "temporal bone": r"temporal bone",
}  # fmt: skip


_COLOURS = [
    "red",
    "green",
    "blue",
    "yellow",
    "orange",
    "purple",
    "pink",
    "cyan",
    "magenta",
    "white",
    "black",
    "brown",
    "turquoise",
    "violet",
]


def navigate(step: Step) -> Request | None:
    """Return the navigation that a step asks for."""
    text = step.text
    if fits("navigate", "opacity", text):
        number = next((int(t.word) for t in step.tokens if t.kind == "N" and t.word.isdigit()), None)
        word = re.search(r"\b(half|fully transparent|transparent|fully opaque|opaque|invisible)\b", text)
        value = (
            number
            if number is not None
            else {
                "half": 50,
                "fully transparent": 0,
                "transparent": 30,
                "fully opaque": 100,
                "opaque": 100,
            }.get(word[0])
            if word
            else None
        )
        if value is None or not 0 <= value <= 100:
            return Request("ask_back", topic="amount")
        if "transparen" in text and number is not None and "opacity" not in text:
            value = 100 - value
        masks = masks_of(step, many=True) if step.pointers or step.named.targets else Masks()
        return Request("navigate", references=masks.refs, navigate=(("opacity", value),))
    if fits("navigate", "colour", text):
        colour = next((c for c in _COLOURS if re.search(rf"\b{c}\b", text)), "")
        if colour and not re.search(r"\bmatter\b", text):
            masks = masks_of(step)
            return (
                ask(masks, step)
                if masks.problem
                else Request("navigate", references=masks.refs, navigate=(("colour", colour),))
            )
    for what in ("only", "hide", "show", "zoom", "goto", "select"):
        if not fits("navigate", what, step.rest_text if what != "hide" else text):
            continue
        if what in ("only", "show") and not (step.pointers or step.situation.alive or step.before):
            continue
        if what == "only" and not step.pointers and step.named.targets and masks_of(step, many=True).problem:
            return None  # "show only the liver" without a mask of it: to be drawn
        if what == "select" and re.search(r"\bsegment\b", text):
            continue
        negated = re.search(r"\b(not|don't|dont|never)\b", text)
        if negated:
            continue
        masks = masks_of(step, many=what in ("hide", "show", "only"))
        if what == "hide" and re.search(
            r"\b(but|except|apart from|other than|save|the rest|the others?)\b", text
        ):
            what = "only"
        if masks.problem == "missing" and what in ("show", "select", "zoom"):
            continue
        if masks.problem:
            return ask(masks, step)
        return Request(
            "navigate",
            references=masks.refs,
            navigate=(("show", what),),
            topic="" if masks.refs else "result",
        )
    return _move(step)


def window(step: Step) -> Request | None:
    """Return the CT window that a step asks for."""
    text = step.text
    if not (
        fits("navigate", "window", text)
        or re.search(
            r"\blevel\b.*\bwidth\b|\bwidth\b.*\blevel\b|^\W*w \d+ l\b|\bl -? ?\d+ w \d+|^\W*-? ?\d{1,4} / \d{2,4}\W*$",
            text,
        )
    ) or re.search(r"\bwrong window\b", text):
        return None
    words = " ".join(t.typed if t.kind in "SX" else t.word for t in step.tokens).casefold()
    words = re.sub(r"- (?=\d)", "-", words)
    level = re.search(r"\b(?:l|left|level|wl|centre|center|c)\b[ :=]*(-?\d+)", words)
    width = re.search(r"\b(?:w|width|ww|window)\b[ :=]*(-?\d+)", words)
    if level and width:
        return Request("navigate", navigate=(("window", f"{level[1]},{width[1]}"),))
    if match := re.search(r"(-?\d+) ?(?:/|,|and|level|l) ?(-?\d+)", words):
        a, b = match[1], match[2]
        if re.search(r"\b(w|width)\b.*\b(l|left|level)\b", words) and not re.search(
            r"\b(l|left|level)\b.*\b(w|width)\b", words
        ):
            a, b = b, a
        if re.search(r"\d", words):
            return Request("navigate", navigate=(("window", f"{a},{b}"),))
    for name, pattern in WINDOWS.items():
        if re.search(rf"\b(?:{pattern})\b", words):
            if (
                step.named.targets
                and re.search(r"\b(segment|outline|contour|mark|find|in|on|with|at|draw)\b", text)
                and sum(t.kind == "S" for t in step.tokens) > 1
            ):
                return None
            return Request("navigate", navigate=(("window", name),))
    if re.search(r"\b(window|windowing)\b", text):
        return Request("ask_back", topic="window")
    return None


def _move(step: Step) -> Request | None:
    text, named = step.text, step.named
    if named.targets or named.unknown or step.pointers:
        return None
    if re.search(
        r"\b(too|as well|also|the (one|1)|again|same|next to|(one|1) (up|down|above|below))\b", text
    ) and not re.search(r"\b(go|jump|scroll|move)\b", text):
        return None
    if step.situation.alive and re.match(
        r"^\W*(and |now |also |then )*(on|in|for|at) (the )?(slice|plane|image)s? \d", text
    ):
        return None
    moved = re.search(
        r"\b(go|jump|scroll|move|skip|step|page|advance|switch|change|turn|take me|bring me|navigate|set|open|show|display|view|to|get)\b",
        text,
    )
    view = re.search(r"\b(coronal|sagittal|axial|transverse|transversal)\b", text)
    if view and not re.search(r"\d", text):
        words = [t for t in step.tokens if t.kind == "W"]
        if moved or len(words) <= 3:
            return Request("navigate", navigate=(("view", {"t": "axial"}.get(view[0][0], view[0])),))
    where = r"(?:slice|plane|image|level|layer|frame|cut|section)s?"
    if match := re.search(
        rf"\b(?:{where}) (?:number |no |# ?)?(\d{{1,4}})\b|\b(?:go|jump|scroll|move|skip|back) (?:back )?to (?:the )?(\d{{1,4}})(?:\w\w)?\b",
        text,
    ):
        return Request("navigate", navigate=(("to", int(match[1] or match[2])),))
    if match := re.search(rf"\b(\d{{1,4}})(?:st|nd|rd|th) {where}\b", text):
        return Request("navigate", navigate=(("to", int(match[1])),))
    if re.search(rf"\b(first) {where}\b", text) and moved:
        return Request("navigate", navigate=(("to", 0),))
    if re.search(rf"\b(last|middle|top|bottom) {where}\b", text) and moved:
        last = step.situation.planes - 1
        if last > 0:
            return Request("navigate", navigate=(("to", last // 2 if "middle" in text else last),))
        return Request("ask_back", topic="plane")
    up = (
        r"(?:up|forward|forwards|ahead|cranial\w*|higher|on|above|further|superior\w*|next|towards? the head)"
    )
    down = r"(?:down|back|backward|backwards|caudal\w*|lower|below|previous|inferior\w*|towards? the feet)"
    count = r"(?:(\d{1,3}|a|an|one|few|couple) (?:more )?)?"
    words = re.sub(r"\b(please|the|now|just|a bit|to|me)\b ?", "", text).strip(" ,.?")
    short = len(words.split()) <= 6
    for sign, way in ((1, up), (-1, down)):
        match = re.search(rf"\b{count}(?:{where} )?{way}\b(?: (?:by )?(\d{{1,3}})(?: {where})?)?", words)
        if match and short and (re.search(where, words) or moved or len(words.split()) <= 2 or match[2]):
            value = next((int(g) for g in match.groups() if g and g.isdigit()), 0)
            other = re.search(rf"\b(\d{{1,3}}) {where}\b|\bby (\d{{1,3}})\b", words)
            value = value or (int(other[1] or other[2]) if other else 1)
            return Request("navigate", navigate=(("by", sign * value),))
    return None
