"""A journal for people who check: a table, all of it as JSON, and whose words it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Round
from napari_mediround.domain.verdicts import OVERLAPS, REASONS, VERDICTS
from napari_mediround.domain.windows import WINDOWS
from napari_mediround.journal.entries import (
    KINDS,
    RoundAsked,
    VerdictGiven,
    entry_to_body,
    kind_of,
    pack_mask,
)
from napari_mediround.journal.history import Event, History
from napari_mediround.journal.store import Journal

COLUMNS = (
    *(
        "seq",
        "utc",
        "annotator",
        "case",
        "event",
        "standing",
        "round",
        "parent",
        "plane",
        "label",
        "structure",
    ),
    *("text", "references", "verdict", "reason", "overlap", "seconds", "pixels_changed", "mask_before"),
    *("mask_after", "clicks", "box", "painted", "quality", "model", "version", "hash"),
)
"""Of the table that `audit_rows` gives."""

_MODALITIES = (
    "CT",
    "MR",
    "US",
    "CR",
    "DX",
    "RF",
    "XA",
    "MG",
    "PT",
    "NM",
    "OT",
    "XC",
    "ES",
    "OP",
    "IVUS",
    "SC",
)
_KEYS = frozenset(
    (
        *(
            "round",
            "first_label",
            "model",
            "verdict",
            "marks",
            "writes",
            "overlap",
            "seconds",
            "prompts",
            "reason",
        ),
        *(
            "label",
            "before",
            "after",
            "changed",
            "points_xy",
            "positive",
            "box_xyxy",
            "painted",
            "index",
            "parent",
        ),
        *(
            "plane",
            "text",
            "references",
            "window",
            "answer",
            "absent",
            "image",
            "note",
            "targets",
            "structure",
        ),
        *("quality", "corrected", "mask", "modality", "shape", "step", "masks", "kept"),
    )
)
_WORDS = frozenset((*KINDS, *VERDICTS, *REASONS, *OVERLAPS, *WINDOWS, "", *_MODALITIES, "memory"))
_TABLES = frozenset(("meta", "events", "masks"))
_PLAIN = re.compile(
    r"[0-9a-f]{16,64}|\d{4}-\d\d-\d\dT[\d:.]+\+00:00|\d+(\.\w+)+([+-][\w.]+)?|reader-[0-9a-f]{6}|"
    r"journal\.damaged-\w+\.sqlite"
)
_TYPED = ("body.round.text", "body.round.references")
_NAMES = ("body.round.absent", "body.round.targets.structure")
_SAID = ("body.round.answer", "body.round.note", *_NAMES)


@dataclass(frozen=True)
class Words:
    """A string in a journal that is not one of ours.

    Parameters
    ----------
    seq : int
        Number of its event, 0 for none.
    place : str
        Where it stands ("body.round.text").
    origin : {"typed", "model", "software", "unknown"}
        Who it is from: a person; the model, which may repeat what a person typed; the description of preset
        and device; or nobody that we know.
    text : str
        Itself.
    """

    seq: int
    place: str
    origin: str
    text: str


def find_words(journal: Journal) -> Iterator[Words]:
    """Yield every string of a journal but hashes, times, numbers, versions and words of our own."""
    for seq, place, text in journal.strings():
        if place in _TYPED and text:
            yield Words(seq, place, "typed", text)
        elif place in _SAID and text and not (place in _NAMES and _is_known(text)):
            yield Words(seq, place, "model", text)
        elif place.startswith("body.model"):
            yield Words(seq, place, "software", text)
        elif place == "annotator" and not (_PLAIN.fullmatch(text) or not text):
            yield Words(seq, place, "typed", text)
        elif not _is_ours(place, text):
            yield Words(seq, place, "unknown", text)


def _is_ours(place: str, text: str) -> bool:
    if place == "table":
        return text in _TABLES
    if place == "meta.key":
        return text in ("salt", "made")
    if place.endswith(" key"):
        return text in _KEYS
    return text in _WORDS or place in _NAMES or bool(_PLAIN.fullmatch(text))


def _is_known(structure: str) -> bool:
    found = load_anatomy().find(structure)
    return found is not None and found.name == structure


def audit_rows(journal: Journal, with_text: bool = True) -> Iterator[dict[str, object]]:
    """Yield one row a mask, one for an event without any, with `COLUMNS` as keys.

    Parameters
    ----------
    journal : Journal
        To read.
    with_text : bool
        False leaves out what was typed, and names of structures that we do not know, which may repeat it.
    """
    standing = {e.seq for info in journal.cases() for e in journal.history(info.case).standing}
    histories: dict[str, History] = {}
    for event in journal.events():
        history = histories.setdefault(event.case, History())
        history.take(event)
        common = dict.fromkeys(COLUMNS, "") | {
            **{"seq": event.seq, "utc": event.utc, "annotator": event.annotator, "case": event.case},
            **{"event": kind_of(event.entry), "version": event.version, "hash": event.hash},
            "standing": "yes" if event.seq in standing else "",
        }
        for row in _rows_of(event, history):
            whole = common | row
            if not with_text:
                whole["text"] = ""
                whole["structure"] = whole["structure"] if _is_known(whole["structure"]) else ""
            yield whole


def _rows_of(event: Event, history: History) -> Iterable[dict[str, object]]:
    entry = event.entry
    if isinstance(entry, RoundAsked):
        round_ = entry.round
        head = {
            **{"round": event.seq, "parent": round_.parent, "plane": round_.plane, "seconds": round_.seconds},
            "text": round_.text,
            "references": " ".join(str(reference) for reference in round_.references),
            "model": " ".join(f"{key}={value}" for key, value in entry.model),
        }
        for value, target in enumerate(round_.targets, entry.first_label):
            after = {"structure": target.structure, "mask_after": pack_mask(target.mask)[0]}
            yield head | after | {"label": value, "quality": round(target.quality, 4)}
        if not round_.targets:
            yield head
    elif isinstance(entry, VerdictGiven):
        for mark in entry.marks:
            label = history.state.labels[mark.label]
            yield {
                **{
                    "round": label.round,
                    "plane": label.plane,
                    "label": label.value,
                    "verdict": entry.verdict,
                },
                **{"structure": label.structure, "reason": entry.reason, "overlap": entry.overlap},
                **{"seconds": entry.seconds, "pixels_changed": mark.changed},
                "mask_before": pack_mask(mark.before)[0],
                "mask_after": pack_mask(mark.after)[0],
                "clicks": len(entry.prompts.points_xy),
                "box": int(entry.prompts.box_xyxy is not None),
                "painted": entry.prompts.painted,
            }
    else:
        yield {"round": getattr(entry, "round", "")}


def journal_to_dict(journal: Journal, with_text: bool = True) -> dict[str, object]:
    """Return all of a journal as JSON values; masks once each, as run lengths, background first.

    Without text the hashes still are those of the journal, but can no longer be recomputed from this file.
    """
    masks: dict[str, dict] = {}

    def keep(mask: Mask) -> str:
        digest, _ = pack_mask(mask)
        masks[digest] = {"shape": list(mask.shape), "runs": list(mask.runs)}
        return digest

    events = []
    for event in journal.events():
        entry = event.entry
        if isinstance(entry, RoundAsked) and not with_text:
            entry = replace(entry, round=_without_text(entry.round))
        head = {"seq": event.seq, "case": event.case, "kind": kind_of(entry), "utc": event.utc}
        tail = {"annotator": event.annotator, "version": event.version, "hash": event.hash}
        events.append(head | tail | {"body": entry_to_body(entry, keep)})
    return {"format": "mediround-journal-1", "events": events, "masks": masks}


def _without_text(round_: Round) -> Round:
    """Return a round without what was typed, and without the reply, which may repeat it."""
    references = tuple(replace(reference, phrase="") for reference in round_.references)
    names = [t.structure if _is_known(t.structure) else "" for t in round_.targets]
    targets = tuple(replace(t, structure=name) for t, name in zip(round_.targets, names, strict=True))
    answer = replace(round_.answer, text="", targets=targets, absent=(), note="")
    return replace(round_, text="", references=references, answer=answer)
