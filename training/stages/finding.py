"""Train the finder: planes in ever other clothes, structures asked for by name.

Stopped and started again it goes on where it was. Knows no language model and no encoder.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.model.finder import Finder
from napari_mediround.training.data.disguise import disguise
from napari_mediround.training.data.pictures import Picture, load_shares
from napari_mediround.training.data.planes import kept_for_judging
from napari_mediround.training.data.planting import PAINTED
from napari_mediround.training.stages.loop import Loop, Memory, Schedule, half_precision, mean_dice
from napari_mediround.training.stages.losses import dice_loss, iou

PICTURES = "pictures"
"""Folder of a run's data that `training.data.pictures` writes."""
ASKED = 16
"""Structures asked for on a plane: those it shows, then those it lacks, then what lies far off."""


@dataclass(frozen=True)
class FindingSettings:
    """How the finder is trained.

    Parameters
    ----------
    steps, batch : int
        Optimiser steps; planes a step.
    rate, query_rate, decay : float
        Learning rates at their height of the net, and of the queries, each of which few planes ask; weight
        decay.
    size : int
        Side of the planes, pixels.
    mean : float
        How slowly the kept weights follow the trained ones.
    without : tuple of str
        Sets left out, so that they can stand for a new hospital.
    workers : int
        Processes that draw planes.
    seed : int
    begin : str
        Checkpoint of an earlier run, ``…/finder.pt``, whose mean weights a new run begins with; "" for none.
    """

    steps: int = 12000
    batch: int = 8
    rate: float = 2.5e-3
    query_rate: float = 1e-2
    decay: float = 0.02
    size: int = 160
    mean: float = 0.999
    without: tuple[str, ...] = ()
    workers: int = 1
    seed: int = 0
    begin: str = ""


class Album(IterableDataset):
    """Planes of all sets, each drawn as often as its set's share says.

    Parameters
    ----------
    folder : Path
        What `pictures.gather` wrote.
    settings : FindingSettings
    kept : bool
        The subjects kept from training instead of the others.

    Attributes
    ----------
    begin : int
        Step to go on from: its draws are other than those before.
    """

    def __init__(self, folder: Path, settings: FindingSettings, kept: bool = False) -> None:
        self.settings, self.begin, self.sets = settings, 0, {}
        shares = load_shares()
        for file in sorted(Path(folder).glob("*.npz")):
            if file.stem in settings.without or file.stem not in shares:
                continue
            pictures = np.load(file, allow_pickle=True)["pictures"].tolist()
            few = len({p.subject for p in pictures}) < 40
            pictures = [p for p in pictures if (not few and kept_for_judging(p.subject)) == kept]
            if pictures:
                self.sets[file.stem] = pictures
        drawn = {n for pictures in self.sets.values() for p in pictures for n in p.structures}
        self.names = sorted(drawn | set(PAINTED))
        self._rows = {name: row for row, name in enumerate(self.names)}
        self.shares = np.array([shares[name]["share"] for name in self.sets], float)
        self.shares /= self.shares.sum()
        anatomy = load_anatomy()
        found = {name: anatomy.find(name) for name in self.names}
        self.mirror = {n: s.mirror for n, s in found.items() if s and s.mirror in self._rows}

    def count(self) -> dict[str, int]:
        """Return how many planes there are of each set."""
        return {name: len(pictures) for name, pictures in self.sets.items()}

    def __iter__(self):
        """Yield image (3, H, W) uint8, rows (M,), masks (M, H/2, W/2) and which of the M are asked for."""
        worker = torch.utils.data.get_worker_info()
        rng = np.random.default_rng([self.settings.seed, self.begin, worker.id if worker else 0])
        names = list(self.sets)
        while True:
            pictures = self.sets[names[rng.choice(len(names), p=self.shares)]]
            yield self.draw(pictures[rng.integers(len(pictures))], rng)

    def draw(self, picture: Picture, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return one disguised plane with its questions; see `__iter__`."""
        image, labels, mirrored, known = disguise(picture, rng, self.settings.size)
        shown = set(np.unique(labels).tolist())
        structures = self.called(picture, known, mirrored)
        here = [name for name, values in structures.items() if shown.intersection(values)]
        gone = [name for name in structures if name not in set(here)]
        far = [name for name in picture.foreign if name in self._rows]
        asked = [list(rng.permutation(part)) for part in (here, gone, far)]
        chosen = asked[0][: ASKED - 4] + asked[1][: ASKED // 2] + asked[2][:5]
        chosen = chosen[:ASKED]
        half = self.settings.size // 2
        masks = np.zeros((ASKED, half, half), np.float32)
        for place, name in enumerate(chosen):
            if name in structures and name in set(here):
                mask = np.isin(labels, structures[name]).astype(np.float32)
                masks[place] = mask.reshape(half, 2, half, 2).mean((1, 3))
        rows = np.zeros(ASKED, np.int64)
        rows[: len(chosen)] = [self._rows[name] for name in chosen]
        pixels = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))
        return pixels, torch.from_numpy(rows), torch.from_numpy(masks), torch.arange(ASKED) < len(chosen)

    def called(self, picture: Picture, known: dict, mirrored: bool) -> dict[str, tuple[int, ...]]:
        """Return name to label values of a plane, sides swapped where mirrored, none where not known."""
        known = {name: values for name, values in known.items() if name in self._rows}
        if not picture.sided:
            return {n: v for n, v in known.items() if n not in self.mirror}
        return {self.mirror.get(n, n): values for n, values in known.items()} if mirrored else known


def finding_loss(logits: Tensor, masks: Tensor, asked: Tensor) -> Tensor:
    """Return the mean loss of logits and masks (B, M, h, w) over what was asked (B, M), no more."""
    logits, masks = logits[asked], masks[asked]
    pixel = F.binary_cross_entropy_with_logits(logits, masks, reduction="none").flatten(1)
    present = masks.flatten(1).amax(1) > 0
    inside = (pixel * masks.flatten(1)).sum(1) / masks.flatten(1).sum(1).clamp_min(1)  # however small it is
    worst = pixel.topk(pixel.shape[1] // 50, 1).values.mean(1)  # a false speck is a mask, and counts as one
    return (4 * pixel.mean(1) + 0.1 * worst + 0.3 * inside + present * dice_loss(logits, masks)).mean()


def begin_from(finder: Finder, checkpoint: Path) -> None:
    """Give a finder the mean weights of an earlier run; names that the run did not know stay as drawn."""
    saved = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state = {k.removeprefix("module."): v for k, v in saved["mean"].items() if k.startswith("module.")}
    rows = {name: row for row, name in enumerate(saved["names"])}
    query = finder.query.weight.detach().clone()
    for row, name in enumerate(finder.names):
        if name in rows:
            query[row] = state["query.weight"][rows[name]]
    finder.load_state_dict(state | {"query.weight": query})


def train_finder(
    folder: Path,
    out: Path,
    settings: FindingSettings,
    device: torch.device | str = "cpu",
) -> Finder:
    """Train on the planes in `folder`, going on from ``out/finder.pt`` where there is one of these names.

    Parameters
    ----------
    folder, out : Path
        Where the planes are, and where checkpoints and the log go.
    settings : FindingSettings
    device : device

    Returns
    -------
    Finder
        With the mean weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    album = Album(folder, settings)
    finder = Finder(album.names, size=settings.size, norms=True)
    if settings.begin:
        begin_from(finder, Path(settings.begin))
    finder = finder.to(device, memory_format=torch.channels_last)
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(settings.mean)
    mean = torch.optim.swa_utils.AveragedModel(finder, multi_avg_fn=average, use_buffers=True)

    def keep() -> dict:
        return {"model": finder.state_dict(), "mean": mean.state_dict(), "names": list(finder.names)}

    def recall(saved: dict) -> bool:
        if list(saved["names"]) != list(finder.names):
            return False
        finder.load_state_dict(saved["model"])
        mean.load_state_dict(saved["mean"])
        return True

    shared = [p for name, p in finder.named_parameters() if name != "query.weight"]
    groups = [
        {"params": shared, "lr": settings.rate},
        {"params": [finder.query.weight], "lr": settings.query_rate, "weight_decay": 0.0},
    ]
    loop = Loop(
        out / "finder",
        groups,
        Schedule(settings.steps, 100, settings.decay),
        [settings.seed],
        Memory(keep, recall),
    )
    album.begin = loop.start
    ahead = {"prefetch_factor": 4} if settings.workers else {}
    batches = iter(DataLoader(album, settings.batch, num_workers=settings.workers, **ahead))
    for _ in loop:
        _take_step(finder, loop, [part.to(device) for part in next(batches)])
        mean.update_parameters(finder)
    return mean.module.eval()


def _take_step(finder: Finder, loop: Loop, batch: list[Tensor]) -> None:
    pixels, rows, masks, asked = batch
    with half_precision(pixels.device, True):
        features = finder(pixels.float().div(255).contiguous(memory_format=torch.channels_last))
    logits = finder.ask(features, rows)
    present = asked & (masks.amax((2, 3)) > 0.5)
    found = iou(logits[present].detach(), masks[present] > 0.5)
    measures = {"dice": mean_dice(found)} if present.any() else {}
    loop.learn(finding_loss(logits, masks, asked), **measures)
