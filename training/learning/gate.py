"""The gate: old and new adapter answer the same rounds of the same patients, and one of them wins.

Asks as a user would and clicks as a patient annotator would. Knows no optimiser.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.errors import CancelledError
from napari_mediround.inference.predictor import Predictor
from napari_mediround.training.annotator import dices_by_clicks
from napari_mediround.training.evaluation.metrics import dice
from napari_mediround.training.evaluation.questioning import choose_target
from napari_mediround.training.learning.samples import JudgedRound, Sample, write_sample
from napari_mediround.training.learning.steps import Stage

TARGET, MOST_CLICKS = 0.85, 10
"""Dice at which a mask is good enough; number of clicks after which the annotator gives up."""

GAIN, LOSS = 0.01, 0.02
"""A winning adapter gains at least this much Dice, and loses at most this much elsewhere."""

CLICKS_GAIN = 0.25
"""Fewer clicks a mask that count as a gain too, where Dice did not fall; as many more undo a gain in Dice."""

ACCEPTED_DICE = 0.9
"""An accepted mask is the old adapter's own: agreeing with it more than this earns nothing."""


@dataclass(frozen=True)
class Measured:
    """One mask of a held-out round.

    Parameters
    ----------
    structure, subject : str
        The structure, and the patient.
    dice : float
        Dice of the first answer.
    clicks : int
        Clicks to `TARGET`; `MOST_CLICKS` if it was not reached.
    reached : bool
        Whether `TARGET` was reached.
    """

    structure: str
    subject: str
    dice: float
    clicks: int
    reached: bool


def measure_round(predictor: Predictor, round_: JudgedRound) -> list[Measured]:
    """Ask a round again, click until each mask is good, and compare with the masks that the person left."""
    for key, image in round_.images.items():
        if key != round_.image:
            predictor.set_image(image)
    predictor.set_image(round_.images[round_.image])
    answer = predictor.ask(round_.text, round_.conversation, round_.references)
    found = []
    for mask in (m for m in round_.masks if m.weight):
        target, truth = choose_target(answer, mask.spoken), mask.after.to_array()
        first = target.mask if target else None
        said = first.to_array() if first else np.zeros_like(truth)
        overlap, (clicks, reached) = dice(said, truth), count_clicks(predictor, first, truth)
        overlap = min(overlap, ACCEPTED_DICE) if mask.verdict == "accepted" else overlap
        structure = load_anatomy().normalise(mask.spoken)
        found.append(Measured(structure, round_.subject, overlap, clicks, reached))
    return found


def count_clicks(predictor: Predictor, mask: Mask | None, truth: NDArray[np.bool_]) -> tuple[int, bool]:
    """Return the number of simulated clicks until a mask reaches `TARGET`, and whether it does."""
    dices = dices_by_clicks(predictor, mask, truth, MOST_CLICKS, TARGET)
    return len(dices) - 1, dices[-1] >= TARGET


@torch.no_grad()
def measure_bundled(predictor: Predictor, samples: Sequence[Sample]) -> dict[str, float]:
    """Return mean Dice on bundled planes, and the share of right tokens in the answers."""
    stage, overlaps, words = Stage(predictor.model), [], []
    for sample in samples:
        read = stage.read(sample)
        words.append(read.right)
        masks = (stage.decode(sample, read.states)[0].logits > 0).cpu().numpy()
        overlaps += [dice(mask, truth) for mask, truth in zip(masks, sample.masks, strict=True)]
    return {"dice": float(np.mean(overlaps)), "words": float(np.mean(words)), "n": len(overlaps)}


def measure(
    predictor: Predictor,
    adapter: Path | None,
    rounds: Sequence[JudgedRound],
    touched: frozenset[str],
    bundled: Sequence[JudgedRound],
    progress: Callable[[int, int], None],
    cancelled: Callable[[], bool],
) -> dict:
    """Measure one adapter on held-out rounds and bundled planes.

    Parameters
    ----------
    predictor : Predictor
        Its adapter is changed.
    adapter : Path or None
        Adapter to measure; None for the model without adapter.
    rounds, bundled : sequence of JudgedRound
        Rounds of patients that test; bundled planes to check.
    touched : frozenset of str
        Structures that were corrected, by their preferred names; the others show what was forgotten.
    progress : callable
        Called with done and total.
    cancelled : callable
        Called between rounds; True stops the work.

    Returns
    -------
    dict
        "touched" and "untouched" with Dice, clicks, share reached, number and structures; "bundled".
    """
    predictor.use_adapter(adapter)
    found: list[Measured] = []
    for done, round_ in enumerate(rounds):
        if cancelled():
            raise CancelledError("Cancelled.")
        progress(done, len(rounds))
        found += measure_round(predictor, round_)
    samples = [write_sample(predictor.model, round_, predictor.encode) for round_ in bundled]
    result = {
        "touched": summarise([m for m in found if m.structure in touched]),
        "untouched": summarise([m for m in found if m.structure not in touched]),
    }
    return result | ({"bundled": measure_bundled(predictor, samples)} if samples else {})


def summarise(found: Sequence[Measured], parts: bool = True) -> dict:
    """Return means over masks and for each structure; Dice and clicks (None: never) of each mask."""
    if not found:
        return {"n": 0}
    table = {
        "n": len(found),
        "patients": len({m.subject for m in found}),
        "dice": float(np.mean([m.dice for m in found])),
        "clicks": float(np.mean([m.clicks for m in found])),
        "reached": float(np.mean([m.reached for m in found])),
    }
    if parts:
        table["each"] = [[round(m.dice, 4), m.clicks if m.reached else None] for m in found]
        names = sorted({m.structure for m in found})
        table["structures"] = {
            name: summarise([m for m in found if m.structure == name], False) for name in names
        }
    return table


def decide(old: dict, new: dict, seconds_a_click: float | None = None) -> dict:
    """Return whether the new adapter wins, whether it is better (perhaps forgetting too much), and why.

    Parameters
    ----------
    old, new : dict
        From `measure`, on the same rounds.
    seconds_a_click : float, optional
        Mean time of a click at this site; None if nobody clicked.
    """
    if not new["touched"]["n"]:
        words = "No held-out patient has a corrected structure. It does not win."
        return {"wins": False, "better": False, "words": words, "old": old, "new": new}
    gain = new["touched"]["dice"] - old["touched"]["dice"]
    saved = old["touched"]["clicks"] - new["touched"]["clicks"]
    lost = {
        "untouched structures": _fall(old, new, "untouched", "dice"),
        "bundled planes": _fall(old, new, "bundled", "dice"),
        "bundled words": _fall(old, new, "bundled", "words"),
    }
    better = (gain >= GAIN and saved > -CLICKS_GAIN) or (gain >= 0 and saved >= CLICKS_GAIN)
    forgotten = [f"{what} fell by {fall:.3f}" for what, fall in lost.items() if fall > LOSS]
    words = f"Dice {gain:+.3f}, {saved:+.2f} clicks saved per mask on {new['touched']['n']} held-out masks"
    words += "; " + " and ".join(forgotten) if forgotten else ""
    verdict = "It wins." if better and not forgotten else "It does not win."
    return {
        "wins": better and not forgotten,
        "better": better,
        "words": f"{words}. {verdict}",
        "dice_gain": gain,
        "clicks_saved": saved,
        "seconds_saved": None if seconds_a_click is None else saved * seconds_a_click,
        "fell": lost,
        "old": old,
        "new": new,
    }


def _fall(old: dict, new: dict, part: str, number: str) -> float:
    before, after = old.get(part, {}).get(number), new.get(part, {}).get(number)
    return 0.0 if before is None or after is None else before - after
