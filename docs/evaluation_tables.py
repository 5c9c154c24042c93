"""The tables and numbers of evaluation.md and evaluation/details.md, as Markdown. Reads no file.

`TABLES` and `SECTIONS` name what a text may ask for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable

from napari_mediround.training.evaluation.aims import judge_aims

NOTHING = "–"
UNMEASURED = "not measured"
FEWEST = 3
"""Fewest patients of a structure that the table of strengths sorts."""
STRENGTHS = (
    ("found well", 0.85),
    ("found, check the border", 0.7),
    ("found in part", 0.5),
    ("seldom found", 0.0),
)
"""What a structure counts as, and the least mean Dice by words for that."""
MODALITIES = {"picture": "camera picture (endoscopy, skin, eye)", "US": "ultrasound"}


# Cells and rows


def show(value: object, digits: int = 2) -> str:
    """Return a number as a cell; a dash for None."""
    if value is None or value == "":
        return NOTHING
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def spread(row: dict, key: str = "mean", digits: int = 2) -> str:
    """Return "0.71 (0.65 to 0.76)" of a row with a mean and its interval."""
    told = show(row.get(key), digits)
    if row.get("low") is None or told == NOTHING:
        return told
    return f"{told} ({show(row['low'], digits)} to {show(row['high'], digits)})"


def percent(row: dict) -> str:
    """Return "1.5 % (3 of 200; 0.4 to 3.1)" of a rate."""
    if row.get("mean") is None:
        return NOTHING
    told = f"{100 * row['mean']:.1f} % ({row['count']} of {row['n']}"
    return f"{told})" if row["low"] is None else f"{told}; {100 * row['low']:.1f} to {100 * row['high']:.1f})"


def table(columns: str, rows: Iterable[Iterable[str]]) -> str:
    """Return a Markdown table; `columns` are parted by "|", those that begin with ">" hold numbers."""
    heads = columns.split("|")
    lines = [
        "| " + " | ".join(h.lstrip(">") for h in heads) + " |",
        "|" + "|".join("--:" if h.startswith(">") else "---" for h in heads) + "|",
    ]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    return "\n".join(lines)


# Tables of the document


def tell_aims(findings: dict) -> str:
    """Show aims beside what was measured."""

    def row(aim: dict) -> tuple[str, ...]:
        wanted = f"{aim['bound']} {aim['hold']:g}"
        reach = NOTHING if aim["reach"] is None else f"{aim['reach']:g}"
        return aim["name"], wanted, reach, spread(aim, "value", 3), f"**{aim['word']}**"

    return table("|>must hold|>wanted|>measured (95 %)|", map(row, judge_aims(findings)))


def tell_strengths(findings: dict) -> str:
    """Show which structures words find well, in part or seldom; with the set where two have one name."""
    left = {k: r for k, r in findings["structures"].items() if r["subjects"] >= FEWEST}
    names = Counter(key.split("/", 1)[1] for key in left)

    def tell(key: str) -> str:
        folder, name = key.split("/", 1)
        told = f"{name} {show(left[key]['mean'])} ({left[key]['subjects']})"
        return f"{told[:-1]}, `{folder}`)" if names[name] > 1 else told

    rows, most = [], 2.0
    for word, least in STRENGTHS:
        own = sorted(
            (k for k, r in left.items() if least <= r["mean"] < most), key=lambda k: -left[k]["mean"]
        )
        rows.append(
            (
                f"**{word}**, {least:g} or more" if least else f"**{word}**",
                ", ".join(map(tell, own)) or NOTHING,
            )
        )
        most = least
    return table("|structure, mean Dice (patients)", rows)


def tell_modalities(findings: dict) -> str:
    """Show Dice by words of each modality beside the baselines that are given the box."""
    keys = ("box_fill_dice", "otsu_dice", "boxed_dice")
    return table(
        "|>masks|>patients|>Dice by words (95 %)|>box filled|>Otsu in box|>LiteMedSAM",
        (
            (MODALITIES.get(m, m), show(r["n"]), show(r["subjects"]), spread(r), *(show(r[k]) for k in keys))
            for m, r in findings["text"]["modalities"].items()
        ),
    )


def tell_pools(data: dict) -> str:
    """Show unseen patients and a new hospital beside each other: a section, empty while not measured."""
    pools = {
        "unseen patients, sets of the training": data["findings"],
        "a new hospital: sets never trained on": data.get("new_hospital", {}).get("findings"),
    }
    if not (pools["a new hospital: sets never trained on"] or {}).get("text", {}).get("sets"):
        return ""

    def row(name: str, findings: dict) -> tuple[str, ...]:
        text, clicks = findings["text"], findings["clicks"].get("large", {})
        large = text["groups"].get("from 200 px", {})
        counts = show(large.get("n")), show(large.get("subjects")), show(len(text["sets"]))
        cells = (
            spread(large),
            show(text["balanced"]),
            spread(clicks.get("1", {})),
            spread(clicks.get("3", {})),
        )
        return name, *counts, *cells, spread(findings["judge"]["auroc"], "value")

    columns = "from 200 px|>masks|>patients|>sets|>Dice by words (95 %)|>every set alike|>after 1 click"
    told = table(f"{columns}|>after 3 clicks|>judge, AUROC", (row(*pool) for pool in pools.items()))
    return (
        "## A new hospital\nLook at the second row: images of hospitals and scanners from which the model "
        f"learned nothing.\n\n{told}"
    )


def tell_new_sets(data: dict) -> str:
    """Show the sets and structures of a new hospital: a section, empty while not measured."""
    new = data.get("new_hospital")
    if not new or not new["findings"]["text"]["sets"]:
        return ""
    found = new["findings"]
    parts = (
        "## A new hospital\n\nLook at the patients: nobody trained on any image of these sets.",
        tell_runs(new),
        "Look at *all* beside *all* of the unseen patients above.",
        tell_text(found["text"]["groups"]),
        "### By set of the new hospital\n\nLook at the lowest Dice: such images need corrections.",
        tell_text(found["text"]["sets"]),
        "### By structure of the new hospital\n\nLook at the first rows: these structures need a click.",
        tell_text(found["structures"]),
        "### Clicks in the new hospital\n\nLook at the first two rows: the first click gains most.",
        tell_clicks(found),
    )
    return "\n\n".join(parts)


def tell_text(rows: dict) -> str:
    """Show Dice by words alone beside the baselines."""
    columns = "|>masks|>patients|>Dice (95 %)|>IoU|>mask given|>box filled|>Otsu in box|>LiteMedSAM, true box"
    keys = ("giou", "seg_rate", "box_fill_dice", "otsu_dice", "boxed_dice")
    return table(
        columns,
        (
            (name, show(r["n"]), show(r["subjects"]), spread(r), *(show(r[k]) for k in keys))
            for name, r in rows.items()
        ),
    )


def tell_extremes(findings: dict) -> str:
    """Show the first and last 5 % by Dice."""
    parts = findings["extremes"]
    return table(
        "|>masks|>mean Dice|which (Dice)",
        (
            (
                f"{name} 5 %",
                show(part["n"]),
                show(part["mean"]),
                ", ".join(f"{m['question']} ({show(m['dice'])})" for m in part["masks"][:5]),
            )
            for name, part in parts.items()
        ),
    )


def tell_rounds(findings: dict) -> str:
    """Show Dice round by round, in each way of correction."""
    ways = {"off": "no correction", "on": "better mask kept", "replaced": "replaced blindly"}
    rounds, order = findings["rounds"], findings["order"]
    numbers = sorted({k for way in ways for k in rounds[way]} | set(order))

    def row(number: str) -> tuple[str, ...]:
        key = "value" if number == "last to first" else "mean"
        cells = [rounds[way].get(number, {}) for way in ways]
        n = show(cells[0].get("n"))
        return number, n, *(spread(c, key) for c in cells), spread(order.get(number, {}), key)

    heads = "|".join(f">{head}" for head in ways.values())
    return table(f"round|>masks|{heads}|>by name, any order", map(row, numbers))


def tell_kinds(findings: dict) -> str:
    """Show Dice by kind of question."""
    return table(
        "kind|>masks|>Dice (95 %)|>mask given",
        ((k, show(r["n"]), spread(r), show(r["seg_rate"])) for k, r in findings["kinds"].items()),
    )


def tell_correction(findings: dict) -> str:
    """Show what correction changes."""
    names = {"on": "better mask kept (ours)", "replaced": "replaced blindly (as published)"}
    return table(
        "|>masks|>replaced|>Dice with|>without|>change (95 %)",
        (
            (
                names[w],
                show(r["n"]),
                show(r["corrected"]),
                show(r["one"], 3),
                show(r["other"], 3),
                spread(r, "value", 3),
            )
            for w, r in findings["correction"].items()
        ),
    )


def tell_references(findings: dict) -> str:
    """Show questions that point at an earlier mask, with and without it."""
    kinds = findings["references"]["no masks"]["kinds"]
    columns = "kind|>masks|>with|>without the masks|>ratio (95 %)|>without the rounds before|>ratio (95 %)"

    def row(name: str, unshown: dict, alone: dict) -> tuple[str, ...]:
        cells = (
            show(unshown["other"]),
            spread(unshown, "value"),
            show(alone["other"]),
            spread(alone, "value"),
        )
        return name, show(unshown["n"]), show(unshown["one"]), *cells

    both = findings["references"]["no masks"], findings["references"]["alone"]
    rows = [row(k, both[0]["kinds"][k], both[1]["kinds"][k]) for k in kinds]
    pointing = row("all", *(r["pointing"] for r in both))
    return table(columns, [*rows, pointing, row("**all that need it**", *both)])


def tell_named(findings: dict) -> str:
    """Show what understanding every such question would give."""
    row = findings["references"]["named"]
    rows = (("all that point at a mask", row["pointing"]), ("**all that need it**", row))
    return table(
        "questions|>masks|>asked by name|>without the masks|>ratio (95 %)",
        ((name, show(r["n"]), show(r["one"]), show(r["other"]), spread(r, "value")) for name, r in rows),
    )


def tell_conversation(findings: dict) -> str:
    """Show what the rounds before a question cost it."""
    names = {
        "length": "points at no mask: in its round, and asked as the first",
        "propagation": "points at a mask: the model's own, and the label in its place",
    }
    return table(
        "question of a later round|>masks|>in the dialogue|>otherwise|>ratio (95 %)",
        (
            (names[k], show(r["n"]), show(r["one"], 3), show(r["other"], 3), spread(r, "value", 3))
            for k, r in findings["conversation"].items()
        ),
    )


def tell_corruption(findings: dict) -> str:
    """Show what bad references cost, and what correction saves of it."""
    names = {
        "corrupted": "moved, grown, shrunk or halved",
        "misplaced": "moved by half the image",
        "both": "**both**",
    }
    return table(
        "reference|>masks|>drop without correction (95 %)|>drop with (95 %)|>saved",
        (
            (
                names[h],
                show(r["off"]["n"]),
                spread(r["off"], "value", 3),
                spread(r["on"], "value", 3),
                show(r["saved"]),
            )
            for h, r in findings["corruption"].items()
        ),
    )


def tell_clicks(findings: dict) -> str:
    """Show Dice after each click."""
    clicks = findings["clicks"]
    if not clicks:
        return NOTHING
    rows = [(k, spread(r), spread(clicks["large"][k])) for k, r in clicks["dice"].items()]
    return table(
        "clicks|>Dice (95 %)|>from 200 px", [*rows, ("1, without words", spread(clicks["alone"]), "")]
    )


def tell_absence(findings: dict) -> str:
    """Show masks for what is absent."""

    def said(row: dict) -> str:
        return ", ".join(f"{k} {n}" for k, n in sorted(row["said"].items())) or NOTHING

    names = {"same set": "labelled in the set, not on this plane", "other region": "of another region"}
    return table(
        "absent structure|>gets a mask|what was said",
        ((names.get(k, k), percent(r), said(r)) for k, r in findings["absence"].items()),
    )


def tell_wording(findings: dict) -> str:
    """Show trained and held-out wordings."""
    return table(
        "kind|>pairs|>trained|>held out|>loss (95 %)",
        (
            (k, show(r["n"]), show(r["one"]), show(r["other"]), spread(r, "value", 3))
            for k, r in findings["wording"].items()
        ),
    )


def tell_runs(data: dict) -> str:
    """Show what was run."""
    columns = "run|split|>cases|>of a set at most|>planes a volume|>structures a plane"
    columns += "|>dialogues a set|>seed|model"
    return table(
        columns,
        (
            (
                run["name"],
                run["split"],
                f"{run['cases']}{'' if run['complete'] else ' (stopped)'}",
                show(run["limit"]),
                show(run["planes"]),
                show(run["structures"]),
                show(run["dialogues"]),
                show(run["seed"]),
                ", ".join(run["model"].values()),
            )
            for run in data["runs"]
        ),
    )


TABLES: dict[str, Callable[[dict], str]] = {
    "aims": tell_aims,
    "groups": lambda f: tell_text(f["text"]["groups"]),
    "strengths": tell_strengths,
    "fewest": lambda f: str(FEWEST),
    "modalities": tell_modalities,
    "sets": lambda f: tell_text(f["text"]["sets"]),
    "structures": lambda f: tell_text(f["structures"]),
    "extremes": tell_extremes,
    "rounds": tell_rounds,
    "kinds": tell_kinds,
    "correction": tell_correction,
    "references": tell_references,
    "named": tell_named,
    "conversation": tell_conversation,
    "corruption": tell_corruption,
    "clicks": tell_clicks,
    "absence": tell_absence,
    "wording": tell_wording,
    "answered": lambda f: percent(f["answered"]),
    "sides": lambda f: percent(f["sides"]),
    "not chat": lambda f: percent(f["chat"]["not_chat"]),
    "auroc": lambda f: spread(f["judge"]["auroc"], "value", 3),
    "ece": lambda f: spread(f["judge"]["ece"], "value", 3),
    "noc": lambda f: spread(f["clicks"].get("noc", {})),
    "balanced clicks": lambda f: show(f["clicks"].get("balanced", {}).get("3")),
    "reached": lambda f: percent(f["clicks"].get("reached", {})),
    **{f"clicks {k}": lambda f, k=k: show(_row(f["clicks"], "dice", k).get("mean")) for k in "013"},
    "length": lambda f: spread(f["conversation"]["length"], "value"),
    "lost references": lambda f: lost(f["references"]["no masks"]),
    "small": lambda f: spread(_row(f["text"], "groups", "below 200 px")),
    "absent here": lambda f: percent(f["absence"]["same set"]),
    "absent elsewhere": lambda f: percent(f["absence"]["other region"]),
    **{f"wording {k}": lambda f, k=k: spread(_row(f["wording"], k), "value") for k in ("name", "function")},
}
"""What a text may ask of the findings."""

SECTIONS: dict[str, Callable[[dict], str]] = {
    "runs": tell_runs,
    "new hospital": tell_pools,
    "new hospital sets": tell_new_sets,
}
"""What a text may ask of all that evaluation.json holds; empty where it was not measured."""


def _row(findings: dict, *path: str) -> dict:
    for key in path:
        findings = findings.get(key, {})
    return findings


def lost(row: dict) -> str:
    """Return "44 %": which share of the Dice of one way the other loses."""
    return f"{100 * (1 - row['other'] / row['one']):.0f} %" if row["one"] else NOTHING


def tell_dice(structures: dict, name: str) -> str:
    """Return "0.43 (0.00 to 0.86)", the Dice of one structure by words."""
    return spread(structures[name]) if name in structures else UNMEASURED
