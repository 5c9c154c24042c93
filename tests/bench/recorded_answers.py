"""Record the answers to 320 questions, or compare with a record: a change of the house changes no answer.

    python tests/bench/recorded_answers.py record.json [FOLDER_OF_SETS] [--compare]

Asks dialogues about the bundled CT (several planes, references, lists, sides, descriptions) and, where a
folder of labelled sets is given, two images of each set. Writes text, structures, qualities and the hash of
every mask. With --compare the script exits with 1 and names the questions whose answers differ.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.errors import MediRoundError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.io import read_study
from napari_mediround.session import Session

ROOT = Path(__file__).parents[2]
DIALOGUES = (
    (
        "Segment the liver.",
        "The spleen.",
        "What lies behind [1]?",
        "its mirror on the other side",
        "the larger of [1] and [2]",
    ),
    (
        "segment the left kidney",
        "and the right one",
        "the vertebra behind [1]",
        "the organ that makes bile",
        "hello",
    ),
    (
        "the liver and the spleen and the aorta",
        "the vessel beside [1.1]",
        "the structure in front of [1.3]",
        "the stomach",
    ),
    ("the organ that stores urine", "the gallbladder", "the muscle behind [1]", "How large is [1]?"),
    (
        "the ovary",
        "the lesion",
        "the inferior vena cava",
        "left of [1]",
        "the portal vein",
        "show me the pancreas",
    ),
)
PLANES = (5, 8, 10, 13, 16, 20)


def record(session: Session, plane: int, texts: tuple[str, ...], name: str) -> dict[str, list]:
    """Ask a dialogue; return what was answered to each question."""
    answers = {}
    for number, text in enumerate(texts, 1):
        try:
            round_ = session.ask(text, plane)
        except MediRoundError as error:
            answers[f"{name}/{number} {text}"] = [type(error).__name__, str(error)]
            continue
        masks = [
            [t.structure, t.quality, t.corrected, hashlib.sha256(t.mask.to_array().tobytes()).hexdigest()]
            for t in round_.targets
        ]
        said = [round_.answer.text, round_.answer.note, list(round_.answer.absent)]
        answers[f"{name}/{number} {text}"] = [*said, [str(r) for r in round_.references], masks]
    return answers


def ask_all(folder: Path | None) -> dict[str, list]:
    """Ask every question; return the answers by name."""
    predictor, answers = Predictor.from_preset("lite", "cpu"), {}
    study = read_study(ROOT / "resources" / "sample" / "ct_abdomen" / "image.nii.gz")
    for plane in PLANES:
        for k, texts in enumerate(DIALOGUES):
            if plane < study.planes:
                answers |= record(Session(predictor, study), plane, texts, f"sample/{plane}/{k}")
    anatomy = load_anatomy()
    for path in sorted(folder.glob("*/set.json")) if folder else ():
        table = json.loads(path.read_text("utf-8"))
        for case in [c for c in table["cases"] if "image" in c][:2]:
            study = read_study(path.parent / case["image"])
            names = [anatomy.normalise(n) for n in table["labels"].values()][:2]
            texts = (*(f"Segment the {n}." for n in names), "What lies beside [1]?")
            name = f"{path.parent.name}/{case['case']}"
            answers |= record(Session(predictor, study), study.planes // 2, texts, name)
    return answers


def main() -> int:
    """Record or compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("record", type=Path)
    parser.add_argument("sets", type=Path, nargs="?")
    parser.add_argument("--compare", action="store_true")
    args = parser.parse_args()
    answers = json.loads(json.dumps(ask_all(args.sets)))
    if not args.compare:
        args.record.write_text(json.dumps(answers, indent=1), "utf-8")
        print(f"{len(answers)} answers written to {args.record}")
        return 0
    before = json.loads(args.record.read_text("utf-8"))
    different = [name for name in before | answers if before.get(name) != answers.get(name)]
    print("\n".join(different))
    print(f"same={len(before) - len(different)} of {len(before)}")
    return bool(different)


if __name__ == "__main__":
    sys.exit(main())
