"""Measure what 20 corrections teach, on other patients of the same set, and write it into docs/learning.md.

``python docs/make_learning.py DATA SET`` (DATA holds labelled sets as `training.dataset` reads them). A
simulated annotator asks for each structure in words, clicks until Dice 0.85 and paints the rest; what it
leaves goes through session and journal as a person's work does. Of a site with few patients
``--each-patient`` tests one after the other, the others teaching. With ``--margin`` the annotator is one who
contours generously: so many pixels around each label.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.domain.windows import choose_window, render_plane
from napari_mediround.inference.cache import hash_image
from napari_mediround.inference.predictor import Predictor
from napari_mediround.journal import Journal
from napari_mediround.session import Session
from napari_mediround.training.data.sets import Case, choose_planes, read_cases
from napari_mediround.training.evaluation.evaluate import spread
from napari_mediround.training.evaluation.metrics import dice
from napari_mediround.training.evaluation.questioning import ask_by_name, spoken_name
from napari_mediround.training.learning.corrections import read_rounds
from napari_mediround.training.learning.gate import MOST_CLICKS, TARGET, measure
from napari_mediround.training.learning.learn import Corrections, learn_from_corrections
from napari_mediround.training.learning.plot import Panel, draw_panels
from napari_mediround.training.learning.recipe import LearningSettings
from napari_mediround.training.learning.rehearsal import load_rehearsal
from napari_mediround.training.learning.samples import JudgedMask, JudgedRound
from napari_mediround.training.stages.prompts import click_error
from napari_mediround.weights import cache_dir

DOCS = Path(__file__).parent
MIN_PX = 50


@dataclass(frozen=True)
class Question:
    """A structure to ask for: its case, 0-based plane and name, and the mask wanted, bool (H, W)."""

    case: Case
    plane: int
    name: str
    truth: np.ndarray
    subject: str


def read_questions(folder: Path, split: str | None, margin: int = 0) -> list[Question]:
    """Return a question for every labelled structure of one plane of each case."""
    found = []
    for case in read_cases(folder, split):
        for plane in choose_planes(case.labels, 1, MIN_PX):
            for value, label in case.names.items():
                truth = case.labels[plane] == value
                if value and truth.sum() >= MIN_PX:
                    wanted = ndimage.binary_dilation(truth, iterations=margin) if margin else truth
                    subject = f"{folder.name}/{case.subject}"
                    found.append(Question(case, plane, spoken_name(label), wanted, subject))
    return found


def divide(folder: Path, margin: int, each_patient: bool) -> list[tuple[list[Question], list[Question]]]:
    """Return which questions teach and which test: the set's split, or each patient in turn."""
    if not each_patient:
        return [tuple(read_questions(folder, split, margin) for split in ("train", "val"))]
    asked = read_questions(folder, None, margin)
    return [
        ([q for q in asked if q.subject != one], [q for q in asked if q.subject == one])
        for one in sorted({q.subject for q in asked})
    ]


def annotate(
    predictor: Predictor, asked: Sequence[Question], journal: Journal
) -> tuple[list[JudgedRound], dict]:
    """Correct the masks asked for as a patient annotator would; return the rounds that teach."""
    studies, subjects = {}, {}
    clicks = 0
    for question in asked:
        session = Session(predictor, question.case.study, journal=journal)
        studies[session.case], subjects[session.case] = question.case.study, question.subject
        round_ = session.ask(ask_by_name([question.name]), question.plane)
        if not round_.targets:
            continue  # the dock has no mask to mend here either
        value = session.first_label(round_.index)
        mask, points, signs = round_.targets[0].mask, [], []
        while dice(mask.to_array(), question.truth) < TARGET and len(points) < MOST_CLICKS:
            point, sign = click_error(mask.to_array(), question.truth)
            points, signs = [*points, point], [*signs, sign]
            mask, _ = predictor.refine(np.array(points), np.array(signs), None, mask)
        clicks += len(points)
        painted = int((mask.to_array() != question.truth).sum())
        prompts = Prompts(tuple(points), tuple(signs), None, painted)
        session.fix(value, Mask.from_array(question.truth), prompts=prompts)
    rounds, notes = read_rounds(journal, studies.get, subjects.__getitem__)
    assert not notes, notes
    return rounds, {"asked": len(asked), "corrected": len(rounds), "clicks": clicks}


def ask_later(asked: Sequence[Question]) -> list[JudgedRound]:
    """Return rounds to test with: what a person would have left of each is the label."""
    rounds = []
    for question in asked:
        text = ask_by_name([question.name])
        image = render_plane(question.case.study, question.plane, choose_window(question.case.study, text))
        empty, wanted = (Mask.from_array(a) for a in (np.zeros_like(question.truth), question.truth))
        masks, key = (JudgedMask(question.name, empty, wanted, "corrected"),), hash_image(image)
        place = 0, question.case.source, question.subject, key, {key: image}
        rounds.append(JudgedRound(*place, Conversation(), text, (), masks))
    return rounds


def pool(tables: Sequence[dict]) -> dict:
    """Return the means of several folds' numbers, every mask weighing the same."""
    found = [table for table in tables if table.get("n")]
    count = sum(table["n"] for table in found)
    keys = [k for k in ("dice", "clicks", "reached", "words") if all(k in table for table in found)]
    means = {k: sum(table[k] * table["n"] for table in found) / count for k in keys} if count else {}
    each = [pair for table in found for pair in table.get("each", [])]
    return {"n": count, "patients": sum(t.get("patients", 0) for t in found), "each": each} | means


PARTS = ("touched", "untouched", "bundled")
ROWS = (
    ("Dice, corrected structures", "touched", "dice"),
    (f"clicks to Dice {TARGET}", "touched", "clicks"),
    (f"share that reach it in {MOST_CLICKS} clicks", "touched", "reached"),
    ("Dice, untouched structures", "untouched", "dice"),
    (f"clicks to Dice {TARGET}, untouched structures", "untouched", "clicks"),
    ("Dice, bundled planes", "bundled", "dice"),
    ("right words, bundled planes", "bundled", "words"),
)


def write_document(numbers: dict, path: Path) -> None:
    """Put the numbers between the set's marks in docs/learning.md."""
    old, new, annotated, folds = (numbers[k] for k in ("old", "new", "annotated", "folds"))
    ratio = new["touched"]["clicks"] / max(old["touched"]["clicks"], 1e-9)
    rows = [
        f"| {name} | {old[part][key]:.3f} | {new[part][key]:.3f} | {new[part][key] - old[part][key]:+.3f} |"
        for name, part, key in ROWS
        if key in old.get(part, {})
    ]
    many, name = len(folds) > 1, numbers["set"]
    untouched = f"{old['untouched']['n']} masks of {len(numbers['others'])} other sets"
    lines = [
        f"Measured on {numbers['made']} with the {numbers['weights']} weights of `{numbers['preset']}`, on "
        f"{numbers['device']}.",
        f"The annotator asked for {annotated['asked']} masks and corrected {annotated['corrected']}, with "
        f"{annotated['clicks']} clicks and by painting.",
        f"Learning took {'at most ' if many else ''}{max(f['seconds'] for f in folds):.0f} s.",
        f"Before and after, {old['touched']['n']} masks of {old['touched']['patients']} other patients were "
        "asked for.",
        f"*Untouched* are {untouched}.",
        "",
        "| | before | after | change |",
        "|---|---|---|---|",
        *rows,
        "",
        f"After learning **{ratio:.2f}** of the clicks were needed; a mask that never got there counts "
        f"{MOST_CLICKS}.",
        "What the gate decided:",
        "",
        *(f"- {f['words']}" for f in folds),
        "",
        f"![Masks good after so many clicks; loss and Dice while learning]({picture_of(name)})",
    ]
    marked = f"<!-- measured {name} -->\n" + "\n".join(lines) + "\n<!-- end -->"
    pattern = rf"<!-- measured {name} -->.*?<!-- end -->"
    text, count = re.subn(pattern, lambda _: marked, path.read_text("utf-8"), flags=re.S)
    assert count == 1, f"{path} has no place for {name}"
    path.write_text(text, "utf-8")


def picture_of(name: str) -> str:
    """Return where the plot of a set stands, from docs/."""
    return f"images/learning_{name}.png"


def draw(numbers: dict, path: Path) -> None:
    """Draw how many held-out masks are good after k clicks, before and after; and the loss of learning."""
    series = {}
    for name, part in (("before", "old"), ("after", "new")):
        each = [clicks for _, clicks in numbers[part]["touched"]["each"]]
        series[name] = [
            (k, np.mean([c is not None and c <= k for c in each])) for k in range(MOST_CLICKS + 1)
        ]
    steps = {f["tested"]: f["steps"] for f in numbers["folds"]}
    panels = [
        Panel(f"Share of masks with Dice from {TARGET}", "clicks", series),
        *(
            Panel(title, "step", {k: [(p["step"], p[key]) for p in own] for k, own in steps.items()})
            for title, key in (("Loss while learning", "loss"), ("Dice while learning", "dice"))
        ),
    ]
    draw_panels(panels, path)


def learn(predictor: Predictor, fold: tuple, untouched: list[JudgedRound], options) -> dict:
    """Annotate, learn and measure once; return the numbers of a fold."""
    taught, asked = spread(fold[0], options.corrections), spread(fold[1], options.test)
    assert not {q.subject for q in taught} & {q.subject for q in asked}, "a patient is on both sides"
    journal, steps = Journal.in_memory(), []
    rounds, annotated = annotate(predictor, taught, journal)
    print(f"annotated: {annotated}", flush=True)
    test = [*ask_later(asked), *untouched]

    def report(progress) -> None:
        if progress.phase == "masks":
            steps.append({k: getattr(progress, k) for k in ("step", "loss", "dice")})
        if progress.step % 10 == 0:
            print(progress, flush=True)

    with tempfile.TemporaryDirectory() as project:
        outcome = learn_from_corrections(
            Path(project),
            journal,
            predictor,
            LearningSettings(**({"steps": options.steps} if options.steps else {})),
            report,
            corrections=Corrections(rounds, test, [], len(test)),
        )
    print(outcome.words, flush=True)
    card = outcome.card or keep_as_it_is(predictor, rounds, test, outcome.words)
    kept = {key: card.get(key) for key in ("gate", "recipe", "patients", "seconds", "good_step", "made")}
    subjects = sorted({q.subject.rpartition("/")[2] for q in asked})
    tested = subjects[0] if len(subjects) == 1 else ""
    words = f"{tested}: {outcome.words}".removeprefix(": ")
    return {**kept, "annotated": annotated, "tested": tested, "words": words, "steps": steps}


def keep_as_it_is(predictor: Predictor, taught: list, test: list, words: str) -> dict:
    """Return the card of a run in which nothing was better than before: what was there is there after."""
    touched = Corrections(taught, test, []).touched
    quiet = lambda *_: None  # noqa: E731
    table = measure(predictor.copy(), None, test, touched, load_rehearsal()[1], quiet, quiet)
    return {"gate": {"old": table, "new": table, "words": words}, "seconds": 0.0}


def main() -> None:
    """Annotate, learn, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("set")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--weights", type=Path, help="folder of trained weights instead of the bundled ones")
    parser.add_argument("--corrections", type=int, default=20)
    parser.add_argument("--each-patient", action="store_true", help="test each in turn; needs no split")
    parser.add_argument("--test", type=int, default=60, help="held-out masks of the set at most")
    parser.add_argument("--margin", type=int, default=0, help="pixels that the annotator contours too wide")
    parser.add_argument("--without", nargs="+", default=(), metavar="SET", help="not among the untouched")
    parser.add_argument("--others", type=int, default=2, help="masks of each other set")
    parser.add_argument("--json", type=Path, help="write the numbers there and leave docs/ alone")
    parser.add_argument("--steps", type=int, help="of learning, for trying out")
    options = parser.parse_args()
    predictor = Predictor.from_preset(
        options.preset, "cpu", options.weights, cache_dir=cache_dir() / "embeddings"
    )
    own, apart = options.data / options.set, {options.set, *options.without}
    others = [
        folder
        for folder in sorted(p.parent for p in options.data.glob("*/set.json"))
        if folder.name not in apart and "label_maps" not in folder.name
    ]
    untouched = [r for f in others for r in ask_later(spread(read_questions(f, "val"), options.others))]
    folds = [
        learn(predictor, fold, untouched, options)
        for fold in divide(own, options.margin, options.each_patient)
    ]
    sides = {
        side: {part: pool([f["gate"][side].get(part, {}) for f in folds]) for part in PARTS}
        for side in ("old", "new")
    }
    numbers = {
        **sides,
        "folds": folds,
        "annotated": {k: sum(f["annotated"][k] for f in folds) for k in folds[0]["annotated"]},
        "set": options.set,
        "margin": options.margin,
        "preset": options.preset,
        "weights": "other" if options.weights else "bundled",
        "made": time.strftime("%Y-%m-%d", time.gmtime()),
        "device": predictor.describe()["device"],
        "others": [folder.name for folder in others],
    }
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
        draw(numbers, options.json.with_suffix(".png"))
        return
    (DOCS / f"learning_{options.set}.json").write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
    draw(numbers, DOCS / picture_of(options.set))
    write_document(numbers, DOCS / "learning.md")


if __name__ == "__main__":
    main()
