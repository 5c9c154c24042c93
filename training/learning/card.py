"""An adapter's card for people: its origin, and the measurements before and after. Knows no Qt."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape


def card_to_html(card: dict) -> str:
    """Return an adapter's card as HTML: its origin, and the measurements before and after."""
    gate = card.get("gate", {})
    learned = ", ".join(f"{n} {escape(verdict)}" for verdict, n in card.get("learned_from", {}).items())
    patients = card.get("patients", {})
    name, made = escape(card.get("name", "")), escape(card.get("made", "")[:16].replace("T", " "))
    head = [f"<b>{name}</b> {made} UTC"]
    if learned:
        head.append(f"learned from {learned} masks of {patients.get('learn', '?')} patients")
    if "merged" in card:
        head.append("merged from " + escape(", ".join(card["merged"])))
    head += [escape(f"{share} of {whole}") for whole, share in card.get("share", {}).items()]
    if card.get("imported"):
        head.append("imported")
    if not card.get("finished", True):
        head.append("cancelled at its last good step")
    words = escape(gate.get("words", "Not measured on this project's held-out patients."))
    if seconds := gate.get("seconds_saved"):
        words += f" About {seconds:+.0f} s of your time saved per mask."
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{_cells(before, after)}</tr>" for name, before, after in _measured(gate)
    )
    head_row = "<tr><td></td><th>before</th><th>after</th><th>change</th></tr>"
    table = f"<table cellspacing='0' cellpadding='3' width='100%'>{head_row}{rows}</table>" if rows else ""
    return f"<p>{' · '.join(head)}</p><p>{words}</p>{table}"


def _measured(gate: dict) -> list[tuple[str, float | None, float | None]]:
    """Return (name, before, after) for each corrected structure, then for what must not be forgotten."""
    old, new = gate.get("old", {}), gate.get("new", {})
    places = [
        (f"{name}, {number}", ("touched", "structures", name, key))
        for name in new.get("touched", {}).get("structures", {})
        for number, key in (("Dice", "dice"), ("clicks", "clicks"))
    ]
    places += [
        ("untouched structures, Dice", ("untouched", "dice")),
        ("untouched structures, clicks", ("untouched", "clicks")),
        ("bundled planes, Dice", ("bundled", "dice")),
        ("bundled planes, right words", ("bundled", "words")),
    ]
    found = [(name, _dig(old, place), _dig(new, place)) for name, place in places]
    return [row for row in found if row[2] is not None]


def _dig(table: dict, place: Sequence[str]) -> float | None:
    for key in place:
        table = table.get(key, {})
    return table if isinstance(table, (int, float)) else None


def _cells(before: float | None, after: float) -> str:
    texts = ("–", f"{after:.2f}", "–") if before is None else (
        f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}".replace("-", "−")
    )  # fmt: skip
    return "".join(f"<td align='right'>{text}</td>" for text in texts)
