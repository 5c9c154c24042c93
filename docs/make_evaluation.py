"""Write evaluation.md and evaluation/details.md from their texts and from reports; no number is typed.

``python docs/make_evaluation.py REPORT.json … [--new-hospital REPORT.json …]`` pools the outcomes that
`mediround evaluate --full` wrote beside the reports, and writes evaluation.json (what the documents need),
reliability.png and the documents. Reports of sets that nobody trained on are pooled apart. A pool without
reports stays as evaluation.json holds it, so that after a change of a text no report is needed.

In the texts (``*.md.in``), ``{{name}}`` is a table of `evaluation_tables`, ``{{dice of set/structure}}`` the
Dice of one structure by words, and ``{{a.b.c}}`` a number of the findings.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from pathlib import Path

from evaluation_tables import SECTIONS, TABLES, show, tell_dice
from PIL import Image, ImageDraw, ImageFont

from napari_mediround.training.evaluation.findings import find_all
from napari_mediround.training.evaluation.full import outcomes_path
from napari_mediround.training.evaluation.outcomes import read_outcomes

HERE = Path(__file__).parent
TEXTS = ("evaluation.md.in", "evaluation/details.md.in")
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
        own = read_outcomes(outcomes_path(path))
        runs.append({"name": name_run({o.set for o in own})} | {key: config[key] for key in RUN_KEYS})
        outcomes += own
    return {"runs": runs, "findings": find_all(outcomes)}


def name_run(sets: set[str]) -> str:
    """Return what a run is called: its sets, or how many there are and the first of them."""
    names = sorted(sets)
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} sets, {names[0]} to {names[-1]}"


def render(text: str, data: dict) -> str:
    """Fill the text with tables and numbers.

    Raises
    ------
    KeyError
        When the text asks for something that is neither.
    """

    def fill(match: re.Match) -> str:
        name, findings = match[1].strip(), data["findings"]
        if name in SECTIONS:
            return SECTIONS[name](data)
        if name in TABLES:
            return TABLES[name](findings)
        if name.startswith("dice of "):
            return tell_dice(findings["structures"], name.removeprefix("dice of "))
        value = findings
        for key in name.split("."):
            value = value[key]
        return show(value)

    # A section that is left out leaves no hole.
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"\{\{(.+?)\}\}", fill, text))


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
    parser.add_argument("reports", type=Path, nargs="*", help="of unseen patients")
    parser.add_argument("--new-hospital", type=Path, nargs="+", help="of sets that nobody trained on")
    parser.add_argument("--out", type=Path, default=HERE, help="folder of the documents")
    options = parser.parse_args()
    kept = options.out / "evaluation.json"
    data = json.loads(kept.read_text("utf-8")) if kept.exists() else {}
    if options.reports:
        data |= pool_reports(options.reports)
        draw_reliability(data["findings"]["judge"]).save(options.out / "reliability.png")
    if options.new_hospital:
        data["new_hospital"] = pool_reports(options.new_hospital)
    if "findings" not in data:
        parser.error("nothing was evaluated yet: give the reports of unseen patients")
    kept.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", "utf-8")
    for text in TEXTS:
        document = options.out / text.removesuffix(".in")
        document.parent.mkdir(exist_ok=True)
        document.write_text(render((HERE / text).read_text("utf-8"), data), "utf-8")
        sys.stdout.write(f"{document}\n")


if __name__ == "__main__":
    main()
