"""Bundled planes: some are rehearsed during learning, others show what was forgotten.

``resources/rehearsal`` holds small labelled planes from sets whose licences allow it; `table.json` names the
origin and licence of each. Half of them are rehearsed, half are checked. Rehearsal is distillation: the model
should go on drawing the masks that it drew before, so that it neither forgets nor drifts towards the labels
of these few planes. The labels only measure. Knows no journal.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from napari_mediround import resources
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation
from napari_mediround.inference.cache import hash_image
from napari_mediround.training.data.planes import Planes, set_of
from napari_mediround.training.evaluation.questioning import ask_by_name
from napari_mediround.training.learning.samples import JudgedMask, JudgedRound

MOST_STRUCTURES, FEWEST_PIXELS = 4, 150
WANTED = {
    "ts_ct_abdomen": 6,
    "ts_mr_abdomen": 4,
    "ts_ct_chest": 2,
    "brain_label_maps_synthseg": 2,
    "cardiac_mr_sunnybrook": 2,
    "spinal_cord_mr": 2,
    "breast_us_bus_uc": 2,
    "muscle_us_aponeurosis": 2,
    "carotid_us": 2,
    "fetal_head_us": 2,
    "polyp_endoscopy_kvasir": 1,
    "skin_lesion_dermoscopy_isic2017": 2,
}
"""Number of planes from each set whose licence has no share-alike clause."""


def load_rehearsal(folder: Path | None = None) -> tuple[list[JudgedRound], list[JudgedRound]]:
    """Return the rounds to rehearse and those to check: one round for each plane, with several masks."""
    folder = folder or Path(resources.__file__).parent / "rehearsal"
    sides: dict[str, list[JudgedRound]] = {"rehearse": [], "check": []}
    path = folder / "table.json"
    for number, entry in enumerate(json.loads(path.read_text("utf-8")) if path.exists() else []):
        image = np.array(Image.open(folder / entry["image"]).convert("RGB"))
        labels = np.array(Image.open(folder / entry["labels"]))
        masks = []
        for name, value in entry["names"].items():
            mask = Mask.from_array(labels == value)
            masks.append(JudgedMask(name, mask, mask, "accepted"))
        key = hash_image(image)
        sides[entry["use"]].append(
            JudgedRound(
                number,
                "bundled",
                f"bundled {number}",
                key,
                {key: image},
                Conversation(),
                ask_by_name(entry["names"]),
                (),
                tuple(masks),
            )
        )
    return sides["rehearse"], sides["check"]


def bundle_planes(data: Path, out: Path, quotas: dict[str, dict]) -> int:
    """Choose prepared planes and write them in the layout of ``resources/rehearsal``; return how many.

    Parameters
    ----------
    data : Path
        Folder that `training.data.prepare` wrote.
    out : Path
        Made if missing.
    quotas : dict
        From `training.data.prepare.load_quotas`, for licence and origin.
    """
    planes, table = Planes(data), []
    images = np.load(data / "planes.npz")["images"]
    out.mkdir(parents=True, exist_ok=True)
    for name, count in WANTED.items():
        rows = [row for row in planes.values if set_of(planes.table[row]) == name]
        plain = [row for row in rows if not planes.table[row]["mirrored"]]
        seen: Counter[str] = Counter()
        taken = 0
        for row in plain:
            chosen = _choose_structures(planes, row, seen)
            if taken == count or not chosen:
                continue
            height, width = planes.table[row]["shape"]
            labels = np.zeros((height, width), np.uint8)
            for value, structure in enumerate(chosen, 1):
                labels[planes.mask(row, planes.values[row][structure])[:height, :width]] = value
            seen.update(chosen)
            stem = f"{name}_{taken + 1}"
            picture = images[row, :height, :width]
            grey = bool((picture == picture[..., :1]).all())
            Image.fromarray(picture[..., 0] if grey else picture).save(out / f"{stem}.png", optimize=True)
            Image.fromarray(labels).save(out / f"{stem}_labels.png", optimize=True)
            table.append(
                {
                    "image": f"{stem}.png",
                    "labels": f"{stem}_labels.png",
                    "names": {structure: value for value, structure in enumerate(chosen, 1)},
                    "use": "rehearse" if taken % 2 == 0 else "check",
                    "origin": quotas[name]["origin"],
                    "licence": quotas[name]["licence"],
                }
            )
            taken += 1
    (out / "table.json").write_text(json.dumps(table, indent=1) + "\n", "utf-8")
    return len(table)


def _choose_structures(planes: Planes, row: int, seen: Counter[str]) -> list[str]:
    """Return up to `MOST_STRUCTURES` large, disjoint structures of a plane, the rarest first."""
    sizes = {name: int(planes.mask(row, values).sum()) for name, values in planes.values[row].items()}
    chosen: list[str] = []
    for name in sorted(sizes, key=lambda n: (seen[n], -sizes[n])):
        taken = {value for other in chosen for value in planes.values[row][other]}
        free = not taken & set(planes.values[row][name])
        if free and sizes[name] >= FEWEST_PIXELS and len(chosen) < MOST_STRUCTURES:
            chosen.append(name)
    return chosen


if __name__ == "__main__":
    import sys

    from napari_mediround.training.data.prepare import load_quotas

    bundle_planes(Path(sys.argv[1]), Path(sys.argv[2]), load_quotas())
