"""Measure what 20 corrections teach, on other patients of the same set, and write it into docs/learning.md.

``python docs/make_learning.py DATA SET`` (DATA holds labelled sets as `training.dataset` reads them). A
simulated annotator asks for each structure in words, clicks until Dice 0.85 and paints the rest; what it
leaves goes through session and journal as a person's work does. With ``--margin`` it is one who contours
generously: so many pixels around each label.
"""

from __future__ import annotations

import argparse
import json
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy import ndimage

from napari_mediround.adapted import AdaptedPredictor
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.domain.windows import render_plane, window_for_question
from napari_mediround.journal import Journal
from napari_mediround.model.store import hash_image
from napari_mediround.session import Session
from napari_mediround.training.asking import spoken_name
from napari_mediround.training.dataset import Case, choose_planes, read_cases
from napari_mediround.training.evaluate import spread
from napari_mediround.training.learning.corrections import read_rounds
from napari_mediround.training.learning.gate import MOST_CLICKS, TARGET
from napari_mediround.training.learning.learn import Corrections, Outcome, learn_from_corrections
from napari_mediround.training.learning.lessons import JudgedMask, JudgedRound
from napari_mediround.training.learning.plot import Panel, draw_panels
from napari_mediround.training.learning.recipe import LearningSettings
from napari_mediround.training.metrics import dice
from napari_mediround.training.prompts import click_error
from napari_mediround.weights import cache_dir

DOCS = Path(__file__).parent
MIN_PX = 50


def questions(folder: Path, split: str, margin: int = 0) -> Iterator[tuple[Case, int, str, np.ndarray]]:
    """Yield case, plane, structure and mask wanted for every labelled structure of one plane of each case."""
    for case in read_cases(folder, split):
        for plane in choose_planes(case.labels, 1, MIN_PX):
            for value, label in case.names.items():
                truth = case.labels[plane] == value
                if value and truth.sum() >= MIN_PX:
                    wanted = ndimage.binary_dilation(truth, iterations=margin) if margin else truth
                    yield case, plane, spoken_name(label), wanted


def annotate(
    predictor: AdaptedPredictor, folder: Path, count: int, journal: Journal, margin: int
) -> tuple[list[JudgedRound], dict]:
    """Correct masks of `count` training images as a patient annotator would; return the rounds that teach."""
    studies, subjects, planes = {}, {}, {}
    clicks = 0
    for case, plane, name, truth in spread(list(questions(folder, "train", margin)), count):
        session = Session(predictor, case.study, journal=journal)
        studies[session.case], subjects[session.case] = case.study, f"{folder.name}/{case.subject}"
        planes[session.case] = case.source
        round_ = session.ask(f"Segment the {name}.", plane)
        if not round_.targets:
            continue  # the dock has no mask to mend here either
        value = session.first_label(round_.index)
        mask, points, signs = round_.targets[0].mask, [], []
        while dice(mask.to_array(), truth) < TARGET and len(points) < MOST_CLICKS:
            point, sign = click_error(mask.to_array(), truth)
            points, signs = [*points, point], [*signs, sign]
            mask, _ = predictor.refine(np.array(points), np.array(signs), None, mask)
        clicks += len(points)
        painted = int((mask.to_array() != truth).sum())
        session.fix(
            value, Mask.from_array(truth), prompts=Prompts(tuple(points), tuple(signs), None, painted)
        )
    rounds, notes = read_rounds(journal, studies.get, subjects.__getitem__)
    assert not notes, notes
    return rounds, {"asked": len(planes), "corrected": len(rounds), "clicks": clicks}


def ask_later(folder: Path, count: int, margin: int = 0) -> list[JudgedRound]:
    """Return rounds to test with: what a person would have left of each is the label."""
    rounds = []
    for case, plane, name, truth in spread(list(questions(folder, "val", margin)), count):
        text = f"Segment the {name}."
        image = render_plane(case.study, plane, window_for_question(text))
        mask = JudgedMask(name, Mask.from_array(np.zeros_like(truth)), Mask.from_array(truth), "corrected")
        subject, key = f"{folder.name}/{case.subject}", hash_image(image)
        rounds.append(
            JudgedRound(0, case.source, subject, key, {key: image}, Conversation(), text, (), (mask,))
        )
    return rounds


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
    """Put the numbers between the marks in docs/learning.md."""
    gate, annotated = numbers["gate"], numbers["annotated"]
    old, new = gate["old"], gate["new"]
    ratio = new["touched"]["clicks"] / max(old["touched"]["clicks"], 1e-9)
    rows = [
        f"| {name} | {old[part][key]:.3f} | {new[part][key]:.3f} | {new[part][key] - old[part][key]:+.3f} |"
        for name, part, key in ROWS
        if key in old.get(part, {})
    ]
    lines = [
        f"Set `{numbers['set']}`, preset `{numbers['preset']}`, {numbers['made']}.",
        f"{annotated['corrected']} of {annotated['asked']} masks asked for on training images of",
        f"{numbers['patients']['learn']} patients",
        f"came and were corrected, with {annotated['clicks']} clicks and by painting. Learned in",
        f"{numbers['seconds']:.0f} s on {numbers['device']}. {old['touched']['n']} masks of",
        f"{old['touched']['patients']} other patients were asked for before and after. Untouched:",
        f"{old['untouched']['n']} masks of {', '.join(numbers['others'])}.",
        "",
        "| | before | after | change |",
        "|---|---|---|---|",
        *rows,
        "",
        f"Clicks after are {ratio:.2f} of before; a mask",
        f"that never got there counts {MOST_CLICKS}. Gate: {gate['words']}",
        "",
        "![Masks that are good after so many clicks; loss and Dice while learning](images/learning.png)",
    ]
    marked = "<!-- measured -->\n" + "\n".join(lines) + "\n<!-- end -->"
    text = re.sub(r"<!-- measured -->.*<!-- end -->", lambda _: marked, path.read_text("utf-8"), flags=re.S)
    path.write_text(text, "utf-8")


def draw(outcome: Outcome, steps: list, path: Path) -> None:
    """Draw how many held-out masks are good after k clicks, before and after; and the loss of learning."""
    gate = outcome.card["gate"]
    series = {}
    for name, part in (("before", gate["old"]), ("after", gate["new"])):
        each = [clicks for _, clicks in part["touched"]["each"]]
        series[name] = [
            (k, np.mean([c is not None and c <= k for c in each])) for k in range(MOST_CLICKS + 1)
        ]
    masks = [p for p in steps if p.phase == "masks"]
    panels = [
        Panel(f"Share of masks with Dice from {TARGET}", "clicks", series),
        Panel("Loss while learning", "step", {"": [(p.step, p.loss) for p in masks]}),
        Panel("Dice while learning", "step", {"": [(p.step, p.dice) for p in masks]}),
    ]
    draw_panels(panels, path)


def main() -> None:
    """Annotate, learn, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("set")
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--weights", type=Path, help="folder of trained weights instead of the bundled ones")
    parser.add_argument("--corrections", type=int, default=20)
    parser.add_argument("--test", type=int, default=60, help="held-out masks of the set at most")
    parser.add_argument("--margin", type=int, default=0, help="pixels that the annotator contours too wide")
    parser.add_argument("--others", type=int, default=2, help="masks of each other set")
    parser.add_argument("--json", type=Path, help="write the numbers there and leave docs/ alone")
    parser.add_argument("--steps", type=int, help="of learning, for trying out")
    options = parser.parse_args()
    predictor = AdaptedPredictor.from_preset(
        options.preset, "cpu", options.weights, cache_dir=cache_dir() / "embeddings"
    )
    journal, steps = Journal.in_memory(), []
    own = options.data / options.set
    learn, annotated = annotate(predictor, own, options.corrections, journal, options.margin)
    print(f"annotated: {annotated}", flush=True)
    test = ask_later(own, options.test, options.margin)
    others = [
        folder
        for folder in sorted(p.parent for p in options.data.glob("*/set.json"))
        if folder.name != options.set and "label_maps" not in folder.name
    ]
    untouched = [round_ for folder in others for round_ in ask_later(folder, options.others)]
    shared = {r.subject for r in learn} & {r.subject for r in test}
    assert not shared, f"patients on both sides: {shared}"
    settings = LearningSettings(**({"steps": options.steps} if options.steps else {}))

    def report(progress) -> None:
        steps.append(progress)
        if progress.step % 10 == 0:
            print(progress, flush=True)

    with tempfile.TemporaryDirectory() as project:
        outcome = learn_from_corrections(
            Path(project),
            journal,
            predictor,
            settings,
            report,
            corrections=Corrections(learn, [*test, *untouched], []),
            most_tested=len(test) + len(untouched),
        )
    print(outcome.words)
    numbers = {
        **{
            key: outcome.card[key]
            for key in ("gate", "recipe", "patients", "seconds", "structures", "made", "good_step")
        },
        "set": options.set,
        "margin": options.margin,
        "preset": options.preset,
        "device": predictor.describe()["device"],
        "annotated": annotated,
        "others": [folder.name for folder in others],
    }
    if options.json:
        options.json.write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
        draw(outcome, steps, options.json.with_suffix(".png"))
        return
    (DOCS / "learning.json").write_text(json.dumps(numbers, indent=1) + "\n", "utf-8")
    draw(outcome, steps, DOCS / "images/learning.png")
    write_document(numbers, DOCS / "learning.md")


if __name__ == "__main__":
    main()
