"""What the record says of verdicts and changes: who accepted what, when, and what changed since a round."""

from __future__ import annotations

import re

from napari_mediround.domain.rounds import Reference
from napari_mediround.journal import Event, Label
from napari_mediround.journal.edits import MaskEdited
from napari_mediround.journal.entries import RoundAsked, VerdictGiven
from napari_mediround.session.editing import Editing
from napari_mediround.session.record import describe_step

NOTHING = "There is no mask yet. Name a structure first."
_SINCE = re.compile(r"\bsince\b.*?(\d+)|\bafter (?:round )?(\d+)|\bsince\b")
_WORDS = {
    "accept": "accepted",
    "approv": "accepted",
    "reject": "rejected",
    "correct": "corrected",
    "fix": "corrected",
}


def tell_record(record: Editing, text: str, references: tuple[Reference, ...]) -> str:
    """Return what the record says to a question about it; every word is read off the journal.

    Parameters
    ----------
    record : Editing
        Whose masks.
    text : str
        The question; "since round 2" and verdicts in it count.
    references : tuple of Reference
        Masks that it points at; none for all.
    """
    said = text.casefold()
    if "chang" in said and (since := _SINCE.search(said)):
        return _since(record, int(next((n for n in since.groups() if n), 0)))
    labels = [record.label(record.label_of(r)) for r in references]
    labels = labels or [x for x in record.state.labels.values() if x.mask.area or x.verdict]
    if not labels:
        return NOTHING
    wanted = next((verdict for word, verdict in _WORDS.items() if word in said), "")
    if wanted and not references:
        labels = [label for label in labels if label.verdict == wanted]
        if not labels:
            return f"No mask was {wanted} so far."
    return "\n".join(_standing(record, label) for label in labels)


def _standing(record: Editing, label: Label) -> str:
    """Return where a mask lies, what was said of it, by whom and when, and its recipe."""
    name = record.study.geometry.plane_name
    said = f"{label.name}, {f'{name} plane {label.plane}'.strip()}: {label.verdict or 'proposed'}"
    judged = [e for e in record.standing if _judges(e, label.value)]
    if judged and label.verdict:
        said += f" by {judged[-1].annotator}, {_when(judged[-1])}"
    if label.quality is not None and not label.verdict:
        said += f", quality {label.quality:.2f}"
    if label.recipes:
        said += f"; {', then '.join(str(applied.recipe) for applied in label.recipes)}"
    return f"{said}."


def _judges(event: Event, value: int) -> bool:
    entry = event.entry
    return isinstance(entry, VerdictGiven) and any(mark.label == value for mark in entry.marks)


def _since(record: Editing, index: int) -> str:
    """Return the steps after a round (1-based), or after the last round for 0."""
    standing = record.standing
    rounds = [k for k, e in enumerate(standing) if isinstance(e.entry, RoundAsked)]
    asked = [k for k in rounds if standing[k].entry.round.index == index] if index else rounds[-1:]
    if not asked:
        return f"There is no round {index}." if index else NOTHING
    after = standing[asked[-1] + 1 :]
    if not after:
        return f"Nothing has changed since {f'round {index}' if index else 'the last round'}."
    return "\n".join(f"{_what(e, record)}, by {e.annotator}, {_when(e)}." for e in after)


def _what(event: Event, record: Editing) -> str:
    words = describe_step(event, record.state)
    if isinstance(event.entry, MaskEdited):
        words += f" ({event.entry.recipe})"
    return words[:1].upper() + words[1:]


def _when(event: Event) -> str:
    return f"{event.utc[:10]} {event.utc[11:16]} UTC"
