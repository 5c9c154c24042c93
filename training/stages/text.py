"""Stage 1b: the language model learns to name the structure that is asked for and to point at its vector.

The loss is the cross entropy of the answers plus the distance of SEG vectors from the structure vectors of
stage 1a. No mask is decoded, so a dialogue costs the language model only. Some dialogues are about prepared
planes (image tokens, referenced masks, some corrupted), some are text alone. A stopped stage goes on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.model.checkpoint import load_trained_state, trained_state
from napari_mediround.model.heads import pool_mask
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prompt import SEG, ReferenceSlot
from napari_mediround.model.vision import normalise_box
from napari_mediround.training.data.planes import Planes
from napari_mediround.training.dialogues.draw import (
    Dialogue,
    DialogueSettings,
    make_dialogue,
    make_text_dialogue,
)
from napari_mediround.training.stages.loop import Loop, Memory, Schedule, half_precision
from napari_mediround.training.stages.losses import vector_loss
from napari_mediround.training.stages.projection import OPENINGS, ask_plainly, fit_projection, read_vectors

LOG_EVERY = 5
"""Steps between lines of the log; a step takes seconds."""
_TRIES = 100
"""Largest number of draws for a dialogue of the wanted kinds; then the last one is taken."""


@dataclass(frozen=True)
class TextSettings:
    """Settings of stage 1b.

    Parameters
    ----------
    steps, dialogues : int
        Optimiser steps; dialogues a step.
    adapter_rate, head_rate, pointing_rate : float
        AdamW learning rates of LoRA and token rows, of the projectors, of the SEG projection.
    text_share : float
        Share of dialogues without an image.
    kinds : tuple of str
        If kinds are given, a dialogue without a turn of these kinds is drawn again, so that kinds that are
        learned slowly ("function") come more often.
    corrupt_share : float
        Share of referenced masks that are moved, grown, shrunk or emptied of their name.
    rounds : tuple of int
        Fewest and most rounds of a dialogue.
    refit : int
        Every so many steps, from the first on, and before the last, the SEG projection is fitted to all of
        stage 1a's vectors as they are by then, on plain questions and the latest dialogues; only then does
        the language model get a gradient that tells structures apart.
    seed : int
        Of every draw.
    bf16 : bool
        Multiply in bfloat16: about twice as fast on processors that have it (AMX, GPUs), slower elsewhere.
    """

    steps: int = 400
    dialogues: int = 4
    adapter_rate: float = 5e-4
    head_rate: float = 1e-3
    pointing_rate: float = 3e-5
    text_share: float = 0.5
    kinds: tuple[str, ...] = ()
    corrupt_share: float = 0.3
    rounds: tuple[int, int] = (1, 4)
    refit: int = 50
    seed: int = 0
    bf16: bool = False


@dataclass(frozen=True)
class Lesson:
    """A dialogue as the language model reads it, with the tokens and masks that it should give.

    Parameters
    ----------
    pieces : list
        Token ids and slots.
    raw : dict
        Raw features of the slots.
    supervised : list of int
        Positions whose next piece is to be predicted.
    segs : list of (int, str, int)
        Positions that predict `[SEG]`, with the structure's name and label value (0 without pixels).
    """

    pieces: list
    raw: dict
    supervised: list[int]
    segs: list[tuple[int, str, int]]


def corrupt_mask(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a mask as an earlier round may have got it wrong: moved, grown, shrunk or cut in half."""
    kind = rng.integers(4)
    extent = max(2, int(np.sqrt(mask.sum()) * 0.2))
    if kind == 0:
        return np.roll(mask, rng.integers(-extent, extent + 1, 2), (0, 1))
    if kind == 1:
        return ndimage.binary_dilation(mask, iterations=min(extent, 8))
    if kind == 2:
        smaller = ndimage.binary_erosion(mask, iterations=min(extent // 2 + 1, 6))
        return smaller if smaller.any() else mask
    half = mask.copy()
    axis = rng.integers(2)
    middle = int(np.argwhere(mask)[:, axis].mean())
    half[(slice(None),) * axis + (slice(0, middle),)] = False
    return half if half.any() else mask


def write_lesson(
    model: MediRound,
    dialogue: Dialogue,
    planes: Planes | None,
    row: int,
    share: float,
    rng: np.random.Generator,
) -> Lesson:
    """Turn a dialogue into a lesson; `planes` is None for text alone, `share` of references is corrupted."""
    encode, template, anatomy = model.language.encode, model.template, load_anatomy()
    seg = model.language.new_ids[SEG]
    raw: dict[tuple[str, str], Tensor] = {}
    key = ""
    if planes is not None:
        key, embedding = "plane", torch.from_numpy(planes.embedding(row).astype(np.float32))[None]
        raw["image", key] = model.vision.describe_image(embedding, embedding)
    pieces, supervised, segs = template.opening(encode, key), [], []
    for number, turn in enumerate(dialogue.turns, 1):
        slots = []
        for round_, target in turn.references:
            source = dialogue.turns[round_ - 1]
            name = source.target_names[target - 1]
            label = f"[{round_}]" if len(source.targets) == 1 else f"[{round_}.{target}]"
            slot_key = ""
            if planes is not None:
                mask = planes.mask(row, (source.targets[target - 1],))
                if rng.random() < share:
                    mask = corrupt_mask(mask, rng)
                    name = "mask" if rng.random() < 0.3 else name
                slot_key = f"{number}.{label}"
                on_torch = torch.from_numpy(np.ascontiguousarray(mask))
                raw["crop", slot_key] = pool_mask(embedding, on_torch[None])[0]
                raw["box", slot_key] = normalise_box(on_torch)
            slots.append(ReferenceSlot(f"{label} {name}", slot_key))
        pieces += template.question(encode, number, anatomy.spell_out(turn.question), slots)
        answer = template.answer(encode, turn.answer)
        supervised += range(len(pieces) - 1, len(pieces) + len(answer) - 1)
        places = [len(pieces) + i - 1 for i, piece in enumerate(answer) if piece == seg]
        segs += list(zip(places, turn.target_names, turn.targets, strict=True))
        pieces += answer
    return Lesson(pieces, raw, supervised, segs)


def draw_lesson(model: MediRound, planes: Planes, settings: TextSettings, rng: np.random.Generator) -> Lesson:
    """Draw one dialogue, about a plane or text alone."""
    row = None if rng.random() < settings.text_share else planes.draw(rng)
    for _ in range(_TRIES):
        dialogue = _draw_dialogue(planes, row, settings, rng)
        if not settings.kinds or any(turn.kind in settings.kinds for turn in dialogue.turns):
            break
    if row is None:
        return write_lesson(model, dialogue, None, 0, 0.0, rng)
    return write_lesson(model, dialogue, planes, row, settings.corrupt_share, rng)


def _draw_dialogue(
    planes: Planes, row: int | None, settings: TextSettings, rng: np.random.Generator
) -> Dialogue:
    if row is None:
        return make_text_dialogue(rng, planes.anatomy, rounds=settings.rounds)
    entry, names = planes.table[row], planes.names(row)
    like = DialogueSettings(settings.rounds, known=frozenset(names.values()), plane=entry.get("view", ""))
    return make_dialogue(planes.labels(row), names, entry["oriented"], rng, planes.anatomy, like)


def lessons_loss(
    model: MediRound, lessons: list[Lesson], table: Tensor, row_of: dict[str, int]
) -> tuple[Tensor, dict[str, float], dict[str, Tensor]]:
    """Return the loss of lessons read at once, what to log, and the states (K, D) that said a structure.

    Padded on the right, as a causal model does not see what follows: half the time of one by one.
    """
    embedded = [model.embed_pieces(lesson.pieces, lesson.raw)[0] for lesson in lessons]
    hidden = model.language.hidden(pad_sequence(embedded, batch_first=True))
    asked = [(row, place) for row, lesson in enumerate(lessons) for place in lesson.supervised]
    wanted = torch.tensor([lessons[row].pieces[place + 1] for row, place in asked], device=hidden.device)
    logits = model.language.logits(hidden[tuple(zip(*asked, strict=True))]).float()
    loss = F.cross_entropy(logits, wanted)
    report = {"text": loss.item(), "tokens": (logits.argmax(1) == wanted).float().mean().item()}
    segs = [(row, place, name) for row, lesson in enumerate(lessons) for place, name, _ in lesson.segs]
    said: dict[str, Tensor] = {}
    for row, place, name in segs:
        said[name] = torch.cat([said.get(name, hidden[0, :0].detach()), hidden[row, [place]].detach()])
    known = [(row, place, row_of[name]) for row, place, name in segs if name in row_of]
    if known:
        rows, places, targets = (torch.tensor(c, device=hidden.device) for c in zip(*known, strict=True))
        vectors = model.project_seg(hidden[rows, places])
        pointing = vector_loss(vectors, table, targets).mean()
        nearest = (F.normalize(vectors, dim=1) @ F.normalize(table, dim=1).T).argmax(1)
        report |= {"point": pointing.item(), "right": (nearest == targets).float().mean().item()}
        loss = loss + pointing
    return loss, report, said


def keeping(model: MediRound) -> tuple[Callable[[], dict], Callable[[dict], bool]]:
    """Return the functions with which a `Loop` saves and loads the trained parameters of a model."""

    def recall(saved: dict) -> bool:
        load_trained_state(model, saved["model"])
        return True

    return lambda: {"model": trained_state(model)}, recall


def train_text(model: MediRound, folder: Path, vectors: Path, out: Path, settings: TextSettings) -> None:
    """Train stage 1b; `vectors` (stage 1a's checkpoint) is read again every 25 steps, as it may still learn.

    Without that file the structures are pointed at where the model's landmarks are. Logs to
    ``out/text.jsonl``, saves ``out/text.pt`` every 25 steps.
    """
    planes = Planes(folder)
    model.train()
    adapter = [p for n, p in model.language.named_parameters() if p.requires_grad]
    heads = [*model.image_projector.parameters(), *model.box_encoder.parameters()]
    pointing = list(model.seg_projection.parameters())
    groups = [
        {"params": adapter, "lr": settings.adapter_rate},
        {"params": heads, "lr": settings.head_rate},
        {"params": pointing, "lr": settings.pointing_rate},
    ]
    keep, recall = keeping(model)
    seed, recent = (settings.seed, 1), deque(maxlen=settings.refit * 2)
    loop = Loop(out / "text", groups, Schedule(settings.steps, 20), seed, Memory(keep, recall, 25), LOG_EVERY)
    table, row_of = read_vectors(vectors, model)
    for step, rng in loop:
        last = step + 1 == settings.steps
        if step % settings.refit == 0 or step == loop.start or last:
            opening = OPENINGS[step // settings.refit % len(OPENINGS)]
            model.eval()
            plain = ask_plainly(model, list(row_of), planes.anatomy, OPENINGS if last else (opening,))
            model.train()
            bank = {n: torch.cat([s, *(said[n] for said in recent if n in said)]) for n, s in plain.items()}
            fit_projection(model, bank, table, row_of, 200)
        lessons = [draw_lesson(model, planes, settings, rng) for _ in range(settings.dialogues)]
        with half_precision(model.device, settings.bf16):
            loss, report, said = lessons_loss(model, lessons, table, row_of)
        loop.learn(loss, **report)
        recent.append(said)
        if step % 25 == 24:
            planes.refresh()
            table, row_of = read_vectors(vectors, model)
    model.eval()
