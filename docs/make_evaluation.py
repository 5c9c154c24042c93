"""Write evaluation.md from its text and from reports, so that no number is typed by hand.

``python docs/make_evaluation.py REPORT.json …`` pools the outcomes that `mediround evaluate --full` wrote
beside the reports, and writes evaluation.json (what the document needs of them), reliability.png and
evaluation.md. Without reports it writes evaluation.md anew from evaluation.json, after a change of the text
in evaluation.md.in. ``--new-hospital BEFORE.json AFTER.json`` takes two plain reports of sets never
trained on, before and after a change of the weights. There ``{{name}}`` is a table below, and ``{{a.b.c}}`` a
number of the findings.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from napari_mediround.training.evaluation.aims import judge_aims
from napari_mediround.training.evaluation.findings import find_all
from napari_mediround.training.evaluation.full import outcomes_path
from napari_mediround.training.evaluation.outcomes import read_outcomes

HERE = Path(__file__).parent
NOTHING = "–"
RUN_KEYS = (
    *("dataset", "split", "min_px", "planes", "limit", "structures", "dialogues", "seed", "cases"),
    *("complete", "model", "version", "skipped"),
)
"""What is told of a run, as its report's "config" calls it."""


def pool_reports(reports: list[Path]) -> dict:
    """Return {"runs", "findings"} of several reports together."""
    runs, outcomes = [], []
    for path in reports:
        config = json.loads(path.read_text("utf-8"))["config"]
        outcomes += read_outcomes(outcomes_path(path))
        runs.append({key: config[key] for key in RUN_KEYS})
    return {"runs": runs, "findings": find_all(outcomes)}


def compare_reports(before: Path, after: Path) -> dict:
    """Return {"structures", "sets", "before", "after"} of two reports of the same questions.

    Raises
    ------
    ValueError
        When the reports were not asked the same.
    """
    reports = [json.loads(path.read_text("utf-8")) for path in (before, after)]
    asked = [{name: row["n"] for name, row in report["per_structure"].items()} for report in reports]
    if asked[0] != asked[1]:
        raise ValueError(f"{before} and {after} hold other questions; ask both the same.")
    rows = {
        name: {"n": row["n"], "subjects": row["subjects"], "before": old["dice"], "after": row["dice"]}
        | {"low": row["dice_low"], "high": row["dice_high"]}
        for (name, row), old in zip(
            reports[1]["per_structure"].items(), reports[0]["per_structure"].values(), strict=True
        )
    }
    sets: dict[str, list[dict]] = {}
    for name, row in rows.items():
        sets.setdefault(name.partition("/")[0], []).append(row)
    means = {
        name: {
            when: sum(r[when] * r["n"] for r in own) / sum(r["n"] for r in own)
            for when in ("before", "after")
        }
        for name, own in sets.items()
    }
    whole = {when: sum(m[when] for m in means.values()) / len(means) for when in ("before", "after")}
    judged = {
        f"auroc {when}": report["summary"]["judge_auroc"] for when, report in zip(whole, reports, strict=True)
    }
    return {"structures": rows, "sets": means, **whole, **judged}


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

    return table("|>hold|>aim|>measured (95 %)|", map(row, judge_aims(findings)))


def tell_text(rows: dict) -> str:
    """Show Dice by words alone beside the baselines."""
    columns = "|>masks|>subjects|>Dice (95 %)|>IoU|>mask given|>box filled|>Otsu in box|>LiteMedSAM, true box"
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
    """Say what understanding every such question would give."""
    row = findings["references"]["named"]
    needing, pointing = (
        f"{show(r['one'])}, {spread(r, 'value')} times that without the masks ({r['n']} masks)"
        for r in (row, row["pointing"])
    )
    return f"{needing}; over all that point at one {pointing}"


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


def tell_new_hospital(told: dict) -> str:
    """Return each structure of each set that was never trained on, then the mean over the sets."""
    rows = [
        (
            *name.split("/", 1),
            str(row["n"]),
            str(row["subjects"]),
            show(row["before"]),
            spread({"mean": row["after"], "low": row["low"], "high": row["high"]}),
        )
        for name, row in told["structures"].items()
    ]
    means = [
        (name, "all its masks", "", "", show(m["before"]), show(m["after"]))
        for name, m in told["sets"].items()
    ]
    last = ("**every set alike**", "", "", "", show(told["before"]), f"**{show(told['after'])}**")
    return table("set|structure|>masks|>subjects|>without the finder|>with it", [*rows, *means, last])


def tell_runs(data: dict) -> str:
    """Show what was run."""
    columns = "data|split|>cases|>of a set at most|>planes a volume|>structures a plane"
    columns += "|>dialogues a set|>seed|model"
    return table(
        columns,
        (
            (
                run["dataset"],
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
    "modalities": lambda f: tell_text(f["text"]["modalities"]),
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
}


def render(text: str, data: dict) -> str:
    """Fill the text with tables and numbers.

    Raises
    ------
    KeyError
        When the text asks for something that is neither.
    """

    def fill(match: re.Match) -> str:
        name = match[1].strip()
        if name == "runs":
            return tell_runs(data)
        if name == "new hospital":
            return tell_new_hospital(data["new_hospital"]) if "new_hospital" in data else NOTHING
        if name in TABLES:
            return TABLES[name](data["findings"])
        if name.startswith("new_hospital."):
            return show(data.get("new_hospital", {}).get(name.partition(".")[2]))
        value = data["findings"]
        for key in name.split("."):
            value = value[key]
        return show(value)

    return re.sub(r"\{\{(.+?)\}\}", fill, text)


# The plot


def draw_reliability(judge: dict, side: int = 640) -> Image.Image:
    """Return the reliability plot: judged against true IoU; the area of a dot tells how many masks."""
    image = Image.new("RGB", (side, side), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(side // 36)
    low, span = 0.13 * side, 0.8 * side

    def at(x: float, y: float) -> tuple[float, float]:
        return low + x * span, side - low - y * span

    for k in range(0, 11, 2):
        draw.line([at(k / 10, 0), at(k / 10, 1)], fill="#e4e4e4")
        draw.line([at(0, k / 10), at(1, k / 10)], fill="#e4e4e4")
        draw.text((at(k / 10, 0)[0], side - low + 8), f"{k / 10:.1f}", "black", font, "mt")
        draw.text((low - 8, at(0, k / 10)[1]), f"{k / 10:.1f}", "black", font, "rm")
    draw.line([at(0, 0), at(1, 1)], fill="#999999", width=2)
    points = [at(row["stated"], row["true"]) for row in judge["bins"]]
    draw.line(points, fill="#c02a7b", width=3)
    for (x, y), row in zip(points, judge["bins"], strict=True):
        radius = 4 + 0.05 * side * (row["n"] / judge["n"]) ** 0.5
        draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill="#c02a7b")
        draw.text((x, y - radius - 6), f"{row['n']:.0f}", "black", font, "mb")
    draw.text((low + span / 2, side - 6), "judged IoU (mean of the bin)", "black", font, "mb")
    label = Image.new("L", (side, side // 16), 0)
    ImageDraw.Draw(label).text((low + span / 2, 4), "true IoU (mean of the bin)", 255, font, "mt")
    turned = label.rotate(90, expand=True)
    image.paste("black", (2, 0), turned)
    told = (
        f"{judge['n']} masks   AUROC {show(judge['auroc']['value'])}   ECE {show(judge['ece']['value'], 3)}"
    )
    draw.text((low, 8), told, "black", font)
    return image


def main() -> None:
    """Pool, write, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("reports", type=Path, nargs="*")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the document")
    parser.add_argument("--new-hospital", type=Path, nargs=2, metavar=("BEFORE", "AFTER"))
    options = parser.parse_args()
    kept = options.out / "evaluation.json"
    if options.reports:
        more = json.loads(kept.read_text("utf-8")).get("new_hospital") if kept.exists() else None
        data = pool_reports(options.reports) | ({"new_hospital": more} if more else {})
        kept.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
        draw_reliability(data["findings"]["judge"]).save(options.out / "reliability.png")
    if options.new_hospital:
        data = json.loads(kept.read_text("utf-8")) | {"new_hospital": compare_reports(*options.new_hospital)}
        kept.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    data = json.loads(kept.read_text("utf-8"))
    text = (HERE / "evaluation.md.in").read_text("utf-8")
    (options.out / "evaluation.md").write_text(render(text, data), "utf-8")
    sys.stdout.write(f"{options.out / 'evaluation.md'}\n")


if __name__ == "__main__":
    main()
