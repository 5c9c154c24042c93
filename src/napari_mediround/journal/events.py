"""An entry as the journal stores it, and which of them belong together. Knows no file and no rule."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile

from napari_mediround.journal.entries import Entry, RoundAsked


@dataclass(frozen=True)
class Event:
    """An entry with its number, time, author and hash, as the journal stores it.

    Parameters
    ----------
    seq : int
        1, 2, 3, … over the whole journal.
    case : str
        Salted hash of the image; "" for an event of the journal itself.
    utc : str
        Time, ISO 8601.
    annotator : str
        Pseudonym.
    version : str
        Version of napari-mediround.
    entry : Entry
        The entry.
    hash : str
        SHA-256 over this event and the hash of the one before.
    """

    seq: int
    case: str
    utc: str
    annotator: str
    version: str
    entry: Entry
    hash: str


def same_batch(events: list[Event]) -> tuple[Event, ...]:
    """Return the first of some events, and those after it that belong to its batch."""
    batch = _batch_of(events[0]) if events else 0
    if not batch:
        return tuple(events[:1])
    return tuple(takewhile(lambda event: _batch_of(event) == batch, events))


def _batch_of(event: Event) -> int:
    return event.entry.round.batch if isinstance(event.entry, RoundAsked) else 0
