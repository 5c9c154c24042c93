"""What the outcomes of a full evaluation say: one function a question, plain numbers out.

Every mean stands with its 95 % interval over subjects. Knows no model and no file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from napari_mediround.training.annotator import CLICKS, GOAL, count_clicks
from napari_mediround.training.evaluation.metrics import (
    GOOD_DICE,
    auroc,
    bootstrap_interval,
    bootstrap_statistic,
    calibrate,
    summarise,
)
from napari_mediround.training.evaluation.outcomes import Outcome
from napari_mediround.training.evaluation.probes import ELSEWHERE, HELD_OUT, SAME_SET, TRAINED
from napari_mediround.training.evaluation.reference_errors import (
    ALONE,
    CORRECTIONS,
    LABELLED,
    NAMED,
    OFF,
    ON,
    UNSHOWN,
)

LARGE_PX = 200
"""Pixels, on the image's own grid, from which a structure counts as not small."""

HARMS = {"corrupted": ("corrupted",), "misplaced": ("misplaced",), "both": ("corrupted", "misplaced")}
"""Ways in which references were spoiled, alone and together."""

Group = Sequence[Outcome]


def find_all(outcomes: Group, seed: int = 0) -> dict:
    """Return every finding of a list of outcomes.

    Parameters
    ----------
    outcomes : sequence of Outcome
        Of one run or of several.
    seed : int
        Of the resampling of subjects.
    """
    parts: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        parts.setdefault(outcome.part, []).append(outcome)
    named, talked = parts.get("name", []), parts.get("dialogue", [])
    told = [o for o in talked if o.way == ON]
    return {
        "counts": dict(Counter(o.part for o in outcomes)),
        "text": find_text(named, seed),
        "structures": find_structures(named, seed),
        "extremes": find_extremes(named),
        "order": find_rounds(named, "name", seed),
        "rounds": {way: find_rounds(talked, way, seed) for way in CORRECTIONS},
        "kinds": find_kinds(told, seed),
        "correction": find_correction(talked, seed),
        "references": find_references(talked, seed),
        "conversation": find_conversation(talked, seed),
        "corruption": {name: find_harm(talked, harms, seed) for name, harms in HARMS.items()},
        "judge": find_judge([*named, *told], seed),
        "clicks": find_clicks(parts.get("clicks", []), seed),
        "absence": find_absence(parts.get("absent", []), seed),
        "wording": find_wording(parts.get("wording", []), seed),
        "sides": find_rate([o for o in [*named, *told] if o.wrong_side is not None], _is_wrong, seed),
        "answered": find_rate([*named, *told], _is_answered, seed),
        "chat": find_chat(parts.get("chat", []), parts.get("frozen", []), seed),
    }


def _is_wrong(outcome: Outcome) -> bool:
    return bool(outcome.wrong_side)


def _is_answered(outcome: Outcome) -> bool:
    return outcome.score.answered


def _dice(outcome: Outcome) -> float:
    return outcome.score.dice


def _subjects(group: Group) -> list[str]:
    return [o.score.subject for o in group]


def _round(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else round(float(value), 4)


def find_mean(group: Group, value: Callable[[Outcome], float], seed: int) -> dict:
    """Return {"n", "subjects", "mean", "low", "high"} of a value of outcomes; None where there is none."""
    values, subjects = [value(o) for o in group], _subjects(group)
    low, high = bootstrap_interval(values, subjects, seed) or (None, None)
    return {
        "n": len(group),
        "subjects": len(set(subjects)),
        "mean": _round(np.mean(values)) if values else None,
        "low": _round(low),
        "high": _round(high),
    }


def find_rate(group: Group, happens: Callable[[Outcome], bool], seed: int) -> dict:
    """Return `find_mean` of whether something happens, and "count", how often it does."""
    return find_mean(group, lambda o: float(happens(o)), seed) | {"count": sum(map(happens, group))}


def pair(group: Group, one: str, other: str) -> list[tuple[Outcome, Outcome]]:
    """Return the outcomes of two ways, question by question, where both were asked."""
    first = {o.question: o for o in group if o.way == one}
    return [(first[o.question], o) for o in group if o.way == other and o.question in first]


def compare(
    pairs: Sequence[tuple[Outcome, Outcome]], statistic: Callable[[np.ndarray, np.ndarray], float], seed: int
) -> dict:
    """Return {"n", "subjects", "one", "other", "value", "low", "high"} of paired Dice.

    `statistic` takes the Dice (N,) of both ways; "one" and "other" are their means.
    """
    one, other = (np.array([pair[k].score.dice for pair in pairs]) for k in (0, 1))
    subjects = _subjects([pair[0] for pair in pairs])

    def of(rows: np.ndarray) -> float | None:
        value = statistic(one[rows], other[rows]) if len(rows) else np.nan
        return float(value) if np.isfinite(value) else None

    low, high = bootstrap_statistic(of, subjects, seed) or (None, None)
    return {
        "n": len(pairs),
        "subjects": len(set(subjects)),
        "one": _round(one.mean()) if pairs else None,
        "other": _round(other.mean()) if pairs else None,
        "value": _round(of(np.arange(len(pairs)))),
        "low": _round(low),
        "high": _round(high),
    }


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return one.mean() - other.mean()


def _ratio(one: np.ndarray, other: np.ndarray) -> float:
    return one.mean() / other.mean() if other.mean() else np.nan


def _by_set(group: Group) -> dict[str, list[Outcome]]:
    return {name: [o for o in group if o.set == name] for name in sorted({o.set for o in group})}


def _balance(group: Group, value: Callable[[Outcome], float]) -> float | None:
    """Return the mean over sets: each set weighs the same, however many masks it has."""
    means = [np.mean([value(o) for o in own]) for own in _by_set(group).values()]
    return _round(np.mean(means)) if means else None


def find_text(named: Group, seed: int) -> dict:
    """Return Dice by words alone and of the baselines: all, from `LARGE_PX`, below, by modality, by set.

    "balanced" is the mean from `LARGE_PX` with every set weighing the same.
    """
    groups = {
        "all": named,
        f"from {LARGE_PX} px": [o for o in named if o.score.true >= LARGE_PX],
        f"below {LARGE_PX} px": [o for o in named if o.score.true < LARGE_PX],
    }
    by_modality = {m: [o for o in named if o.modality == m] for m in sorted({o.modality for o in named})}
    return {
        "balanced": _balance(groups[f"from {LARGE_PX} px"], _dice),
        "groups": {k: _text_row(v, seed) for k, v in groups.items() if v},
        "modalities": {k or "picture": _text_row(v, seed) for k, v in by_modality.items()},
        "sets": {k: _text_row(v, seed) for k, v in _by_set(named).items()},
    }


def _text_row(group: Group, seed: int) -> dict:
    boxed = [o.boxed_dice for o in group if o.boxed_dice is not None]
    row = find_mean(group, _dice, seed) | summarise([o.score for o in group])
    return row | {"boxed_dice": _round(np.mean(boxed)) if boxed else None}


def find_structures(named: Group, seed: int) -> dict:
    """Return the row of each structure, by "set/structure", worst first."""
    keys = sorted({(o.set, o.score.structure) for o in named})
    rows = {
        f"{s}/{n}": _text_row([o for o in named if (o.set, o.score.structure) == (s, n)], seed)
        for s, n in keys
    }
    return dict(sorted(rows.items(), key=lambda item: item[1]["mean"]))


def find_extremes(named: Group, share: float = 0.05) -> dict:
    """Return mean Dice of the worst and the best 5 % of masks (at least one), and which these are."""
    ranked = sorted(named, key=_dice)
    count = max(1, round(share * len(ranked)))

    def tell(group: Group) -> dict:
        masks = [{"question": o.question, "dice": _round(o.score.dice)} for o in group]
        return {"n": len(group), "mean": _round(np.mean([_dice(o) for o in group])), "masks": masks[:10]}

    return {"worst": tell(ranked[:count]), "best": tell(ranked[-count:][::-1])} if ranked else {}


def find_rounds(group: Group, way: str, seed: int) -> dict:
    """Return Dice by 1-based round of one way."""
    own = [o for o in group if o.way == way]
    rounds = sorted({o.score.round for o in own})
    rows = {str(k): find_mean([o for o in own if o.score.round == k], _dice, seed) for k in rounds}
    return rows | {"last to first": find_decay(own, seed)} if rows else {}


def find_decay(group: Group, seed: int, first: int = 1, last: int = 6) -> dict:
    """Return Dice(round 6) / Dice(round 1)."""
    dices, rounds = (np.array([f(o) for o in group]) for f in (_dice, lambda o: o.score.round))

    def of(rows: np.ndarray) -> float | None:
        early, late = (dices[rows][rounds[rows] == k] for k in (first, last))
        return float(late.mean() / early.mean()) if early.any() and late.size else None

    low, high = bootstrap_statistic(of, _subjects(group), seed) or (None, None)
    return {"value": _round(of(np.arange(len(group)))), "low": _round(low), "high": _round(high)}


def find_kinds(told: Group, seed: int) -> dict:
    """Return Dice by kind of question, with the share of questions that were answered with a mask."""
    kinds = sorted({(o.kind, o.refers) for o in told})
    rows = {}
    for kind, refers in kinds:
        own = [o for o in told if (o.kind, o.refers) == (kind, refers)]
        name = f"{kind}, pointing at a mask" if refers else kind
        rows[name] = find_mean(own, _dice, seed) | {
            "seg_rate": _round(np.mean([_is_answered(o) for o in own]))
        }
    return rows


def find_correction(talked: Group, seed: int) -> dict:
    """Compare whole dialogues with correction, in both ways, with dialogues without correction."""
    return {
        way: compare(pair(talked, way, OFF), _difference, seed)
        | {"corrected": sum(o.corrected for o in talked if o.way == way)}
        for way in CORRECTIONS
        if way != OFF
    }


def _pointing(talked: Group) -> list[Outcome]:
    """Return the questions that point at an earlier mask; not "again", whose reference is the answer."""
    return [o for o in talked if o.refers and o.kind != "again"]


def find_references(talked: Group, seed: int) -> dict:
    """Return how questions that need an earlier mask fare with their references and without.

    "pointing": all that point at a mask, with those that name it or describe what they want, but not those
    that ask for it again; "kinds": these, by kind. "named": what the answer is, asked for by name, against
    the question without its references: the gain of who understands every question.
    """
    needing, pointing = [o for o in talked if o.needs], _pointing(talked)
    groups = {k: [o for o in pointing if o.kind == k] for k in sorted({o.kind for o in pointing})}

    def tell(one: str, other: str) -> dict:
        rows = {"": needing, "pointing": pointing}
        told = {k: compare(pair(own, one, other), _ratio, seed) for k, own in (rows | groups).items()}
        return told.pop("") | {"pointing": told.pop("pointing"), "kinds": told}

    return {way: tell(ON, way) for way in (UNSHOWN, ALONE)} | {NAMED: tell(NAMED, UNSHOWN)}


def find_conversation(talked: Group, seed: int) -> dict:
    """Report, question by question, why later rounds score less than they could.

    "length": a question that points at no mask, in its round against asked first. "propagation": one that
    does, with the masks that the model gave against with the labels.
    """
    later = [o for o in talked if o.score.round > 1 and not o.refers]
    return {
        "length": compare(pair(later, ON, ALONE), _ratio, seed),
        "propagation": compare(pair(_pointing(talked), ON, LABELLED), _ratio, seed),
    }


def find_harm(talked: Group, harms: Sequence[str], seed: int) -> dict:
    """Return the drop of Dice through bad references, without and with correction, and what that saves.

    "saved" is 1 − (drop with) / (drop without); None where nothing dropped.
    """
    drops = {}
    for way in (OFF, ON):
        pairs = [both for harm in harms for both in pair(talked, way, f"{harm}/{way}")]
        drops[way] = compare(pairs, _difference, seed)
    without, with_ = drops[OFF]["value"], drops[ON]["value"]
    saved = None if not without or without <= 0 else _round(1 - with_ / without)
    return drops | {"saved": saved}


def find_judge(group: Group, seed: int) -> dict:
    """Return AUROC for Dice below `GOOD_DICE` and the calibration of the judged IoU."""
    judged = [o for o in group if o.score.quality is not None]
    stated, true, good = (
        np.array([f(o) for o in judged])
        for f in (lambda o: o.score.quality, lambda o: o.score.iou, lambda o: o.score.dice >= GOOD_DICE)
    )
    subjects = _subjects(judged)
    rank = bootstrap_statistic(lambda rows: auroc(stated[rows], good[rows]), subjects, seed)
    error, bins = calibrate(stated, true)
    spread = bootstrap_statistic(lambda rows: calibrate(stated[rows], true[rows])[0], subjects, seed)
    (low, high), (ece_low, ece_high) = rank or (None, None), spread or (None, None)
    return {
        "n": len(judged),
        "auroc": {"value": _round(auroc(stated, good)), "low": _round(low), "high": _round(high)},
        "ece": {"value": _round(error), "low": _round(ece_low), "high": _round(ece_high)},
        "bins": [{k: _round(v) for k, v in row.items()} for row in bins],
    }


def find_clicks(clicked: Group, seed: int) -> dict:
    """Return Dice after 0 … `CLICKS` clicks beside the words, after one click alone, and NoC."""
    words, alone = ([o for o in clicked if o.way == way] for way in ("words", "alone"))
    if not words:
        return {}
    large = [o for o in words if o.score.true >= LARGE_PX]
    return {
        "dice": {str(k): find_mean(words, lambda o, k=k: o.dices[k], seed) for k in range(CLICKS + 1)},
        "large": {str(k): find_mean(large, lambda o, k=k: o.dices[k], seed) for k in range(CLICKS + 1)},
        "balanced": {str(k): _balance(large, lambda o, k=k: o.dices[k]) for k in range(CLICKS + 1)},
        "alone": find_mean(alone, lambda o: o.dices[1], seed),
        "noc": find_mean(words, lambda o: float(count_clicks(o.dices)), seed),
        "reached": find_rate(words, lambda o: max(o.dices) >= GOAL, seed),
    }


def find_absence(asked: Group, seed: int) -> dict:
    """Return how often something absent gets a mask, and what is said otherwise."""
    groups = {"all": asked} | {way: [o for o in asked if o.way == way] for way in (SAME_SET, ELSEWHERE)}
    return {
        k: find_rate(v, _is_answered, seed) | {"said": dict(Counter(o.kind for o in v))}
        for k, v in groups.items()
    }


def find_wording(asked: Group, seed: int) -> dict:
    """Return Dice in trained and in held-out words and the loss, one minus other."""
    kinds = sorted({o.kind for o in asked})
    rows: Iterable[tuple[str, Group]] = [
        ("all", asked),
        *((k, [o for o in asked if o.kind == k]) for k in kinds),
    ]
    return {name: compare(pair(own, TRAINED, HELD_OUT), _difference, seed) for name, own in rows}


def find_chat(chatted: Group, frozen: Group, seed: int) -> dict:
    """Return how often plain questions get a mask, and how often chat is the frozen base model's own."""
    text, bits = ([o for o in frozen if o.way == way] for way in ("text", "bits"))
    masks = find_rate(chatted, lambda o: o.kind != "chat", seed)
    return {
        "not_chat": masks,
        "same_text": sum(map(_is_answered, text)),
        "same_bits": sum(map(_is_answered, bits)),
        "compared": len(text),
    }
