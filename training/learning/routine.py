"""The learning loop, from samples to an adapter: first words, then masks, then the calibration of the judge.

LoRA on the language model is trained only if the model would have answered otherwise. LoRA on SEG
projection and mask decoder learns from cached embeddings and hidden states, so that a step runs neither image
encoder nor language model. The judge is calibrated last. A stopped or killed run goes on from its last
checkpoint to the same loss. ``accelerate launch`` runs the loop in several processes. Knows no journal.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_mediround.errors import SettingsError
from napari_mediround.libraries import one_at_a_time
from napari_mediround.model.adapter import Adapter, hash_base
from napari_mediround.model.mediround import MediRound
from napari_mediround.training.learning.calibration import Judgement, fit_calibration
from napari_mediround.training.learning.recipe import Learned, LearningSettings, Progress
from napari_mediround.training.learning.samples import Sample, bend_sample
from napari_mediround.training.learning.steps import Item, Stage
from napari_mediround.training.stages.loop import save_checkpoint
from napari_mediround.training.stages.losses import cosine_schedule, iou

CHECKPOINT = "learning.pt"
BENT = 2
"""Bent views of a sample beside the plane itself, as few images are soon learned by heart."""


@dataclass
class _Memory:
    """Content of a checkpoint."""

    adapter: dict[str, Tensor]
    best: dict[str, Tensor]
    optimiser: dict | None = None
    phase: str = "words"
    step: int = 0
    best_step: int = 0
    before: float = float("inf")
    after: float = float("inf")
    checked_dice: float | None = None
    stale: int = 0
    log: list[dict] = field(default_factory=list)


@dataclass(frozen=True)
class Samples:
    """What one run learns from.

    Parameters
    ----------
    taught, checked : sequence of Sample
        Samples to learn from, and samples to stop by, of other patients if there are enough.
    bundled : sequence of Sample
        Bundled samples against forgetting; some of them are drawn.
    """

    taught: Sequence[Sample]
    checked: Sequence[Sample]
    bundled: Sequence[Sample]


class Learner:
    """One run of learning.

    Parameters
    ----------
    model : MediRound
        Model without an adapter, before and after.
    samples : Samples
        What there is to learn from.
    settings : LearningSettings
        The recipe.
    folder : Path
        Folder of the checkpoint.
    progress : callable, optional
        Called with a `Progress` after each step.
    cancelled : callable, optional
        Called after each step; True stops the run.

    Raises
    ------
    SettingsError
        When a step has fewer masks than there are processes.
    """

    def __init__(
        self,
        model: MediRound,
        samples: Samples,
        settings: LearningSettings,
        folder: Path,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> None:
        with one_at_a_time():
            from accelerate import Accelerator, DistributedDataParallelKwargs

        self.settings, self.folder = settings, folder
        self.samples, self.checked = list(samples.taught), list(samples.checked)
        drawn = np.random.default_rng([settings.seed, 4]).permutation(len(samples.bundled))
        self.rehearsal = [samples.bundled[k] for k in sorted(drawn[: settings.bundled])]
        self._progress, self._cancelled = progress or (lambda _: None), cancelled or (lambda: False)
        self._key = _fingerprint(
            hash_base(model), [*samples.taught, *samples.checked, *samples.bundled], settings
        )
        unused = DistributedDataParallelKwargs(find_unused_parameters=True)  # a step of clicks has no words
        self.accelerator = Accelerator(device_placement=False, kwargs_handlers=[unused])
        if min(settings.masks, settings.words_lessons) < self.accelerator.num_processes:
            raise SettingsError(
                f"{self.accelerator.num_processes} processes share a step: set masks and words_lessons to at "
                "least that."
            )
        self.model = model
        self._began = time.monotonic()

    def run(self) -> Learned:
        """Learn; go on from the last checkpoint of the same samples and recipe, if there is one."""
        adapter = Adapter(self.model, self.settings.shape, self.settings.seed)
        threads = torch.get_num_threads()
        torch.set_num_threads(max(1, threads // 2))  # single masks gain little from more; annotation goes on
        try:
            return self._run(adapter)
        finally:
            torch.set_num_threads(threads)
            adapter.detach()  # without accelerator.free_memory(): to collect garbage stops the viewer

    def _run(self, adapter: Adapter) -> Learned:
        self.model.requires_grad_(False)
        language, heads = adapter.language_parameters(), adapter.head_parameters()
        for parameter in [*language, *heads]:
            parameter.requires_grad_(True)
        self._adapter, self._trained = adapter, {"words": language, "masks": heads}
        optimisers = [torch.optim.AdamW(parameters, weight_decay=0.01) for parameters in (language, heads)]
        self._stage, *optimisers = self.accelerator.prepare(Stage(self.model), *optimisers)
        self._optimisers = dict(zip(self._trained, optimisers, strict=True))
        memory = self._recall() or _Memory(adapter.state(), adapter.state())
        adapter.load(memory.adapter)
        if memory.optimiser:
            self._optimisers[memory.phase].load_state_dict(memory.optimiser)
        with adapter.off():
            self._aims, self._kept = self._look_before()
        finished = self._learn_words(memory) and self._learn_masks(memory)
        adapter.load(memory.best)
        if memory.best_step or memory.phase == "masks":
            adapter.calibrate(*fit_calibration(self._judgements()))
        if finished:
            self._forget()
        seconds = time.monotonic() - self._began
        return Learned(
            adapter.state(),
            finished,
            memory.best_step,
            memory.before,
            memory.after,
            tuple(memory.log),
            seconds,
        )

    # What is computed once

    @torch.no_grad()
    def _look_before(self) -> tuple[list[Tensor], dict[bool, list[list[Tensor]]]]:
        """Return the SEG vectors of each sample, and the masks of bundled samples, both before learning."""
        reads = [self._stage("read", sample) for sample in self._everything]
        self._fluent = all(read.right == 1.0 for read in reads[: len(self.samples)])
        self._states = [read.states for read in reads]
        aims = [read.vectors for read in reads]
        kept: dict[bool, list[list[Tensor]]] = {}
        for coarse in (True, False) if self.settings.coarse < self.settings.steps else (True,):
            kept[coarse] = [
                list(self._stage("decode", sample, read.states, coarse)[0].logits.sigmoid())
                for sample, read in zip(self.rehearsal, reads[len(self.samples) :], strict=False)
            ]
        return aims, kept

    @property
    def _everything(self) -> list[Sample]:
        return [*self.samples, *self.rehearsal, *self.checked]

    @torch.no_grad()
    def _read_again(self) -> None:
        """Read all samples with the current language model."""
        self._states = [self._stage("read", sample).states for sample in self._everything]

    @torch.no_grad()
    def _judgements(self) -> list[Judgement]:
        """Return the judgements of masks whose true IoU is known; for a rejected mask that is 0.

        Uses samples that were not learned, as masks of learned ones are better than those to come.
        """
        found = []
        for number, (sample, states) in enumerate(zip(self._everything, self._states, strict=True)):
            if number < len(self.samples) and not sample.refused.any():
                continue
            decoded, judged = self._stage("decode", sample, states)
            masks = (decoded.logits > 0).cpu().float()
            worth = iou(masks, torch.from_numpy(sample.masks))
            again = iou(masks, torch.from_numpy(sample.refused))
            for i, score in enumerate(judged.tolist()):
                if sample.refused[i].any():
                    if again[i] > 0.5:
                        found.append(Judgement(score, 0.0))
                elif sample.weights[i]:
                    found.append(Judgement(score, worth[i].item()))
        return found

    # The two phases

    def _learn_words(self, memory: _Memory) -> bool:
        """Train the language model; return False if cancelled."""
        settings = self.settings
        sure = [k for k, sample in enumerate(self.samples) if sample.supervised]
        if memory.phase != "words" or self._fluent or not sure:
            memory.phase = "masks"
            return True
        others = list(range(len(self.samples), len(self.samples) + len(self.rehearsal)))
        everything = [*self.samples, *self.rehearsal]
        self._start = time.monotonic(), memory.step
        for step in range(memory.step, settings.words_steps):
            rng = np.random.default_rng([settings.seed, 0, step])
            picks = [sure[rng.integers(len(sure))] for _ in range(settings.words_lessons)]
            if others and step % 2:
                picks[-1] = others[rng.integers(len(others))]
            mine = picks[self.accelerator.process_index :: self.accelerator.num_processes]
            losses = self._stage("words", [everything[k] for k in mine], [self._aims[k] for k in mine])
            loss = self._take_step("words", losses, len(picks), step / settings.words_steps)
            memory.step = step + 1
            memory.log.append({"phase": "words", "step": step + 1, "loss": loss})
            self._report(memory, settings.words_steps)
            if self._stop(memory):
                return False
        memory.phase, memory.step, memory.optimiser = "masks", 0, None
        memory.best = self._adapter.state()
        return True

    def _learn_masks(self, memory: _Memory) -> bool:
        """Train SEG projection and mask decoder; return False if cancelled."""
        settings, rank = self.settings, self.accelerator.process_index
        if not self._fluent:
            self._read_again()
        everything, states, first = self._everything, self._states, len(self.samples)
        own = [(k, i) for k, sample in enumerate(self.samples) for i in np.flatnonzero(sample.weights)]
        chance = np.array([self.samples[k].weights[i] for k, i in own])
        others = [(first + k, i) for k, sample in enumerate(self.rehearsal) for i in range(len(sample.segs))]

        @cache  # bent when drawn, as a run sees some lessons only; the stage knows each by its identity
        def view(k: int, n: int) -> Sample:
            if n == 0:
                return self.samples[k]
            return bend_sample(self.samples[k], np.random.default_rng([settings.seed, 3, k, n - 1]))

        if memory.before == float("inf"):
            memory.before, memory.checked_dice = self._check(self._adapter.state())
            memory.after = memory.before
        self._start = time.monotonic(), memory.step
        for step in range(memory.step, settings.steps):
            if memory.stale > settings.patience:
                break
            rng = np.random.default_rng([settings.seed, 1, step])
            coarse = step < settings.coarse
            picks = [own[k] for k in rng.choice(len(own), settings.masks, p=chance / chance.sum())]
            picks += [others[rng.integers(len(others))] for _ in range(settings.rehearsed if others else 0)]
            items = [
                Item(
                    view(k, int(rng.integers(BENT + 1))), i, states[k][i], coarse, (settings.seed, 2, step, n)
                )
                if k < first
                else Item(everything[k], i, states[k][i], coarse, None, self._kept[coarse][k - first][i])
                for n, (k, i) in enumerate(picks)
            ]
            losses, dices = self._stage("masks", items[rank :: self.accelerator.num_processes])
            loss = self._take_step("masks", losses, len(items), step / settings.steps)
            taught = dices[: len(range(rank, settings.masks, self.accelerator.num_processes))]
            line = {"phase": "masks", "step": step + 1, "loss": loss, "dice": taught.mean().item()}
            memory.step, memory.log = step + 1, [*memory.log, line]
            if (step + 1) % settings.check_every == 0 or step + 1 == settings.steps:
                self._compare(memory)
            self._report(memory, settings.steps)
            if self._stop(memory):
                return False
        return True

    @torch.no_grad()
    def _check(self, live: dict[str, Tensor]) -> tuple[float, float | None]:
        """Return the loss of the samples to stop by plus the change of bundled masks, by words alone.

        Also return the mean Dice of these samples. The adapter is one that may go live.
        """
        learned = self._adapter.state()
        self._adapter.load(live)
        states, first = self._states, len(self.samples)
        last = first + len(self.rehearsal)
        items = [
            Item(sample, i, states[last + k][i])
            for k, sample in enumerate(self.checked)
            for i in np.flatnonzero(sample.weights)
        ]
        kept = [
            Item(sample, 0, states[first + k][0], True, None, self._kept[True][k][0])
            for k, sample in enumerate(self.rehearsal)
        ]
        means = [[x.mean().item() for x in self._stage("masks", part)] for part in (items, kept) if part]
        self._adapter.load(learned)
        return sum(loss for loss, _ in means), means[0][1] if items else None

    def _compare(self, memory: _Memory) -> None:
        """Check all and part of the learned weights, and remember the best."""
        memory.stale += 1
        for share in sorted({1 - self.settings.keep, 1.0}):
            live = self._part(share)
            score, dice = self._check(live)
            if score < memory.after:
                memory.after, memory.best_step, memory.stale = score, memory.step, 0
                memory.best, memory.checked_dice = live, dice

    def _part(self, share: float) -> dict[str, Tensor]:
        """Return the adapter with the mask weights between before (0) and learned (1)."""
        return {
            name: share * value if name.startswith("heads.") and "lora_B" in name else value
            for name, value in self._adapter.state().items()
        }

    def _take_step(self, phase: str, losses: Tensor, count: int, done: float) -> float:
        """Take a step down the mean of `count` losses, some of which this process has; return the mean."""
        rate = {"words": self.settings.language_rate, "masks": self.settings.head_rate}[phase]
        optimiser = self._optimisers[phase]
        for group in optimiser.param_groups:
            group["lr"] = rate * cosine_schedule(round(100 * done), 100, 10)
        share = losses.sum() * self.accelerator.num_processes / count  # DDP takes the mean over processes
        optimiser.zero_grad()
        self.accelerator.backward(share)
        nn.utils.clip_grad_norm_(self._trained[phase], 1.0)
        optimiser.step()
        return self.accelerator.reduce(share.detach(), "mean").item()

    # Checkpoints

    def _report(self, memory: _Memory, steps: int) -> None:
        now, line, (began, first) = time.monotonic(), memory.log[-1], self._start
        left = (now - began) / max(1, memory.step - first) * (steps - memory.step)
        checked = memory.after if memory.after < float("inf") else None
        place = (memory.phase, memory.step, steps, line["loss"], line.get("dice"), checked)
        if self.accelerator.is_main_process:
            self._progress(Progress(*place, now - self._began, left, memory.checked_dice))

    def _stop(self, memory: _Memory) -> bool:
        """Save a checkpoint now and then, and if cancelled; return whether all processes stop."""
        wish = torch.tensor(float(self._cancelled()), device=self.model.device)
        stop = self.accelerator.reduce(wish, "sum").item() > 0
        if (stop or memory.step % self.settings.check_every == 0) and self.accelerator.is_main_process:
            memory.adapter, memory.optimiser = (
                self._adapter.state(),
                self._optimisers[memory.phase].state_dict(),
            )
            save_checkpoint(self.folder / CHECKPOINT, {"key": self._key, **vars(memory)})
        return stop

    def _recall(self) -> _Memory | None:
        path = self.folder / CHECKPOINT
        if not path.exists():
            return None
        saved = torch.load(path, map_location=self.model.device, weights_only=True)
        return _Memory(**saved) if saved.pop("key") == self._key else None

    def _forget(self) -> None:
        self.accelerator.wait_for_everyone()
        if self.accelerator.is_main_process:
            (self.folder / CHECKPOINT).unlink(missing_ok=True)


def _fingerprint(base: str, samples: Sequence[Sample], settings: LearningSettings) -> str:
    """Return a hash of everything that a run depends on."""
    digest = hashlib.sha256(json.dumps([base, asdict(settings)]).encode())
    for sample in samples:
        digest.update(repr((sample.pieces, sample.weights.tolist())).encode())
        digest.update(np.packbits(sample.masks).tobytes())
    return digest.hexdigest()
