"""Draw planes from the training sets and encode them once, so that training never runs the encoder.

``python -m napari_mediround.training.data.prepare OUT ROOT [ROOT …]`` reads `datasets.toml` and writes
``OUT/planes.npz`` (images, labels), ``OUT/planes.json`` (names, sources) and ``OUT/embeddings.npy``
(float16). Stopped and started again it goes on where it was. Knows no language model.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import tomllib
from collections.abc import Container, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from napari_mediround.training.data.sets import (
    LabelledPlane,
    augment,
    case_planes,
    choose_planes,
    fit_plane,
    frame_plane,
    read_cases,
    read_table,
    synthesise,
)

LOG = logging.getLogger(__name__)
SIZE = 256


def load_quotas() -> dict[str, dict]:
    """Return the sets of ``datasets.toml``: name to quota."""
    with open(Path(__file__).with_name("datasets.toml"), "rb") as file:
        return tomllib.load(file)["set"]


def draw_set(folder: Path, quota: dict, rng: np.random.Generator) -> Iterator[LabelledPlane]:
    """Yield plain and augmented training planes of one set, as its quota says."""
    views = quota.get("views", [None])
    wanted = quota.get("cases", 10**9)
    for index, view in enumerate(views):
        cases = list(read_cases(folder, "train", view)) if quota.get("synthesise") or len(views) > 1 else None
        for number, case in enumerate(cases or read_cases(folder, "train", view)):
            total = sum(c.get("split", "train") == "train" for c in read_table(folder)["cases"])
            kept = number * min(wanted, total) // total != (number + 1) * min(wanted, total) // total
            if not kept or (quota.get("one_view") and number % len(views) != index):
                continue
            for plane in _case_planes(case, quota, rng):
                plane = frame_plane(replace(plane, oriented=plane.oriented and quota.get("sides", True)))
                yield fit_plane(plane, SIZE)
                extra = quota.get("variants", 0)
                for _ in range(int(extra) + (rng.random() < extra % 1)):
                    yield augment(plane, rng, SIZE)


def _case_planes(case, quota: dict, rng: np.random.Generator) -> Iterator[LabelledPlane]:
    if not quota.get("synthesise"):
        yield from case_planes(case, quota.get("planes", 3))
        return
    for k in choose_planes(np.isin(case.labels, list(case.names)), quota["planes"], 200):
        image = synthesise(case.labels[k], case.names, rng)
        labels = np.where(np.isin(case.labels[k], list(case.names)), case.labels[k], 0)
        yield LabelledPlane(
            image,
            labels,
            case.names,
            True,
            f"{case.source}/{k}",
            case.subject,
            case.split,
            "MR",
            case.geometry.plane_name.removeprefix("oblique "),
        )


def draw_planes(out: Path, roots: list[Path], seed: int, without: Container[str] = ()) -> None:
    """Write ``planes.npz`` and ``planes.json``: every plane padded to 256×256, in a shuffled order.

    Sets that are in `without` are left out.
    """
    rng = np.random.default_rng(seed)
    planes = []
    for name, quota in load_quotas().items():
        if name in without:
            continue
        folder = next((root / name for root in roots if (root / name / "set.json").exists()), None)
        if folder is None:
            LOG.warning("%s: not found, left out", name)
            continue
        drawn = [p for p in draw_set(folder, quota, rng) if (p.labels > 0).sum() >= 20]
        LOG.info("%s: %d planes", name, len(drawn))
        planes += drawn
    order = rng.permutation(len(planes))
    images = np.zeros((len(planes), SIZE, SIZE, 3), np.uint8)
    labels = np.zeros((len(planes), SIZE, SIZE), np.uint16)
    table = []
    for row, index in enumerate(order):
        plane = planes[index]
        height, width = plane.labels.shape
        images[row, :height, :width], labels[row, :height, :width] = plane.image, plane.labels
        table.append(
            {
                "shape": [height, width],
                "names": plane.names,
                "oriented": plane.oriented,
                "mirrored": bool(plane.mirrored),
                "source": plane.source,
                "subject": plane.subject,
                "modality": plane.modality,
                "view": plane.view if plane.oriented else "",
            }
        )
    np.savez_compressed(out / "planes.npz", images=images, labels=labels)
    (out / "planes.json").write_text(json.dumps(table))


def encode_planes(out: Path, worker: int = 0, workers: int = 1) -> None:
    """Write this worker's share of ``embeddings.npy``, float16 (N, 256, 64, 64); goes on where it stopped.

    Several single-threaded workers side by side lose less to other programs than one with several threads.
    """
    import torch

    from napari_mediround.model.tinyvit import TinyViT, fold_batch_norms
    from napari_mediround.weights import locate

    torch.set_num_threads(max(1, (os.cpu_count() or 1) // workers))
    state = torch.load(locate("lite_medsam"), map_location="cpu", weights_only=True)
    encoder = TinyViT()
    encoder.load_state_dict(
        {k.removeprefix("image_encoder."): v for k, v in state.items() if "image_encoder." in k}
    )
    encoder = fold_batch_norms(encoder).to(memory_format=torch.channels_last)
    images = np.load(out / "planes.npz")["images"]
    table = json.loads((out / "planes.json").read_text())
    shape, done = (len(images), 256, 64, 64), out / "encoded"
    done.mkdir(exist_ok=True)
    if not (out / "embeddings.npy").exists():
        np.lib.format.open_memmap(out / "embeddings.npy", "w+", np.float16, shape)
    embeddings = np.lib.format.open_memmap(out / "embeddings.npy", "r+")
    for row in range(worker, len(images), workers):
        if (done / str(row)).exists():
            continue
        with torch.inference_mode():
            pixels = torch.from_numpy(scale_plane(images[row], table[row]["shape"])).permute(2, 0, 1)[None]
            embeddings[row] = encoder(pixels.contiguous(memory_format=torch.channels_last))[0].half().numpy()
        (done / str(row)).touch()
        if row // workers % 20 == 0:
            LOG.info("encoded %d of %d", row, len(images))


def scale_plane(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return float32 (256, 256, 3): 0…1 inside `shape`, 0 around it, as `MediRound.encode_image` does."""
    height, width = shape
    inside = image[:height, :width].astype(np.float32)
    scaled = np.zeros(image.shape, np.float32)
    scaled[:height, :width] = (inside - inside.min()) / max(float(inside.max() - inside.min()), 1e-6)
    return scaled


def encoded_rows(out: Path) -> np.ndarray:
    """Return the rows of ``embeddings.npy`` that are there, in order."""
    return np.array(sorted(int(p.name) for p in (out / "encoded").iterdir()))


def main() -> None:
    """Draw, then encode."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("roots", type=Path, nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--without", nargs="+", default=(), metavar="SET", help="sets to leave out")
    parser.add_argument("--worker", type=int, default=0, help="this worker's number, from 0")
    parser.add_argument("--workers", type=int, default=1, help="how many encode side by side")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    options.out.mkdir(parents=True, exist_ok=True)
    if not (options.out / "planes.json").exists():
        draw_planes(options.out, options.roots, options.seed, options.without)
    encode_planes(options.out, options.worker, options.workers)


if __name__ == "__main__":
    main()
