"""A journal for auditors: as a table, as JSON, and a search for whose words it holds."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.recipes import BY_BUTTON, OPERATIONS
from napari_mediround.domain.rounds import IMPORTED_AS, Round
from napari_mediround.domain.segments import ORIGINS
from napari_mediround.domain.verdicts import OVERLAPS, REASONS, VERDICTS
from napari_mediround.domain.windows import WINDOWS
from napari_mediround.journal.edits import MaskEdited, MaskRenamed
from napari_mediround.journal.entries import (
    KINDS,
    MasksImported,
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
"""Of the table that `audit_rows` gives: `round` is the number that people see, `parent` the `seq` of the
round before, which is another one on another branch."""

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
        *("quality", "corrected", "mask", "modality", "shape", "step", "masks", "kept", "carried"),
        *("recipe", "operation", "mm", "ml", "others", "spared", "in_plane", "inputs", "rounds", "names"),
        *("labels", "name", "again"),
        *("imported", "sha256", "form", "origin", "code", "side", "resampled"),
    )
)
_WORDS = frozenset((
    *KINDS, *OPERATIONS, *BY_BUTTON, *VERDICTS, *REASONS, *OVERLAPS, *WINDOWS, "", *_MODALITIES, "memory",
    *ORIGINS, *IMPORTED_AS, "left", "right",
))  # fmt: skip
_TABLES = frozenset(("meta", "events", "masks"))
_HASH = re.compile(r"[0-9a-f]{16,64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00")
_FORMS = {
    "case": re.compile(r"[0-9a-f]{24}"),
    "annotator": re.compile(r"reader-[0-9a-f]{6}"),
    "version": re.compile(r"\d+(\.\w+)+([+-][\w.]+)?"),
    **{"utc": _TIME, "meta.made": _TIME, "meta.salt": _HASH, "hash": _HASH},
    "body.kept": re.compile(r"journal\.damaged-\w+\.sqlite"),
    **{f"body.{place}": _HASH for place in ("round.image", "round.targets.mask", "writes", "inputs")},
    "body.rounds.imported.code": re.compile(r"\d{4,18}"),
    **{f"body.rounds.{place}": _HASH for place in ("image", "targets.mask", "imported.sha256")},
    **{f"body.marks.{place}": _HASH for place in ("before", "after")},
}
"""What stands where, where it is neither a word of ours nor a text: anything else there is somebody's."""
_TYPED = ("body.round.text", "body.round.references", "body.name")
_NAMES = (
    "body.round.absent",
    "body.round.targets.structure",
    "body.rounds.targets.structure",
    "body.names",
)
_OF_ROUNDS = ("body.rounds.answer", "body.rounds.note", "body.rounds.text", "body.rounds.references")
_SAID = ("body.round.answer", "body.round.note", *_OF_ROUNDS, *_NAMES)


@dataclass(frozen=True)
class Words:
    """A string in a journal that this program did not write itself.

    Parameters
    ----------
    seq : int
        Number of the event with the string, 0 for none.
    place : str
        Path of the string in the event ("body.round.text").
    origin : {"typed", "model", "software", "unknown"}
        Its author: a person; the model, which may repeat what a person typed; the description of preset and
        device; or unknown.
    text : str
        The string.
    """

    seq: int
    place: str
    origin: str
    text: str


def find_words(journal: Journal) -> Iterator[Words]:
    """Yield every string of a journal except hashes, times, numbers, versions and this program's words."""
    for seq, place, text in journal.strings():
        if place in _TYPED and text:
            yield Words(seq, place, "typed", text)
        elif place in _SAID and text and not (place in _NAMES and _is_known(text)):
            yield Words(seq, place, "model", text)
        elif place.startswith("body.model"):
            yield Words(seq, place, "software", text)
        elif place == "annotator" and text and not _is_ours(place, text):
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
    form = _FORMS.get(place)
    return text in _WORDS or place in _NAMES or bool(form and form.fullmatch(text))


def _is_known(structure: str) -> bool:
    found = load_anatomy().find(structure)
    return found is not None and found.name == structure


def audit_rows(journal: Journal, with_text: bool = True) -> Iterator[dict[str, object]]:
    """Yield one row for each mask, and one for each event without masks, with `COLUMNS` as keys.

    Parameters
    ----------
    journal : Journal
        The journal to read.
    with_text : bool
        False leaves out typed text, and unknown names of structures, which may repeat typed text.
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
        yield from _rows_of_round(entry.round, entry.first_label, entry.model)
    elif isinstance(entry, MasksImported):
        here = history.state.conversation.rounds[entry.rounds[0].index - 1 :]
        for round_, recorded in zip(entry.rounds, here, strict=False):
            yield from _rows_of_round(round_, recorded.first_number, entry.model)
    elif isinstance(entry, VerdictGiven):
        for mark in entry.marks:
            label = history.state.labels[mark.label]
            yield {
                **{
                    "round": history.state.rounds[label.round].index,
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
    elif isinstance(entry, MaskEdited):
        for mark in entry.marks:
            label = history.state.labels[mark.label]
            yield {
                **{"plane": label.plane, "label": label.value, "structure": label.structure},
                **{"reason": str(entry.recipe), "pixels_changed": mark.changed},
                "mask_before": pack_mask(mark.before)[0],
                "mask_after": pack_mask(mark.after)[0],
            }
        for k, round_ in enumerate(entry.rounds):
            (target,) = round_.targets
            yield {
                **{"plane": round_.plane, "label": entry.first_label + k, "structure": target.structure},
                **{"reason": str(entry.recipe), "pixels_changed": target.mask.area},
                "mask_after": pack_mask(target.mask)[0],
            }
    elif isinstance(entry, MaskRenamed):
        for value in entry.labels:
            yield {"label": value, "structure": entry.name, "plane": history.state.labels[value].plane}
    else:
        round_ = history.state.rounds.get(getattr(entry, "round", 0))
        yield {"round": round_.index if round_ else ""}


def _rows_of_round(
    round_: Round, first_label: int, model: tuple[tuple[str, str], ...]
) -> Iterable[dict[str, object]]:
    head = {
        **{"round": round_.index, "parent": round_.parent, "plane": round_.plane, "seconds": round_.seconds},
        "text": round_.text,
        "references": " ".join(str(reference) for reference in round_.references),
        "model": " ".join(f"{key}={value}" for key, value in model),
    }
    for value, target in enumerate(round_.targets, first_label):
        after = {"structure": target.structure, "mask_after": pack_mask(target.mask)[0]}
        sure = "" if target.quality is None else round(target.quality, 4)
        yield head | after | {"label": value, "quality": sure}
    if not round_.targets:
        yield head


def journal_to_dict(journal: Journal, with_text: bool = True) -> dict[str, object]:
    """Return a whole journal as JSON values; each mask once, as run lengths that begin with background.

    Without text the hashes are still those of the journal, but cannot be recomputed from this file.
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
        if isinstance(entry, MaskRenamed) and not with_text and not _is_known(entry.name):
            entry = replace(entry, name="")
        if isinstance(entry, MasksImported | MaskEdited) and not with_text:
            entry = replace(entry, rounds=tuple(map(_without_text, entry.rounds)))
        head = {"seq": event.seq, "case": event.case, "kind": kind_of(entry), "utc": event.utc}
        tail = {"annotator": event.annotator, "version": event.version, "hash": event.hash}
        events.append(head | tail | {"body": entry_to_body(entry, keep)})
    return {"format": "mediround-journal-1", "events": events, "masks": masks}


def _without_text(round_: Round) -> Round:
    """Return a round without typed text and without the reply, which may repeat typed text."""
    references = tuple(replace(reference, phrase="") for reference in round_.references)
    names = [t.structure if _is_known(t.structure) else "" for t in round_.targets]
    targets = tuple(replace(t, structure=name) for t, name in zip(round_.targets, names, strict=True))
    answer = replace(round_.answer, text="", targets=targets, absent=(), note="")
    return replace(round_, text="", references=references, answer=answer)
