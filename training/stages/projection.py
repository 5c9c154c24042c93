"""Fit of the SEG projection: from hidden states of plain questions to the structure vectors of stage 1a.

Knows no plane and no mask.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.model.mediround import MediRound
from napari_mediround.training.stages.loop import Descent, Schedule
from napari_mediround.training.stages.losses import vector_loss

OPENINGS = ("Segment the {}.", "{}", "Where is the {}?", "Outline {} please.")


def read_vectors(path: Path, model: MediRound) -> tuple[Tensor, dict[str, int]]:
    """Return stage 1a's vectors (S, C), or the prototypes if 1a did not run; and the row of each name."""
    if not path.exists() and model.landmarks is not None:
        marks = model.landmarks
        return marks.vectors.to(model.device), {name: i for i, name in enumerate(marks.names)}
    saved = torch.load(path, map_location=model.device, weights_only=True)
    return saved["stage"]["vectors"], {name: i for i, name in enumerate(saved["structures"])}


@torch.no_grad()
def ask_plainly(
    model: MediRound, names: list[str], anatomy: Anatomy, openings: tuple[str, ...] = OPENINGS
) -> dict[str, Tensor]:
    """Return, by name, the hidden states (K, D) that predict `[SEG]` after questions without an image.

    Parameters
    ----------
    model : MediRound
    names : list of str
        Structures. Each is asked for with every opening, by its name and synonyms in turn.
    anatomy : Anatomy
    openings : tuple of str
        Questions with a place for the name.
    """
    template, language = model.template, model.language
    bank = {}
    for name in names:
        structure = anatomy.find(name)
        words = (name, *(structure.synonyms if structure else ()))
        states = []
        for number, opening in enumerate(openings):
            question = opening.format(words[number % len(words)])
            pieces = template.opening(language.encode, "")
            pieces += template.question(language.encode, 1, question, []) + language.encode(f"The {name}")
            states.append(language.hidden(model.embed_pieces(pieces, {}))[0, -1])
        bank[name] = torch.stack(states)
    return bank


def fit_projection(
    model: MediRound,
    bank: dict[str, Tensor],
    table: Tensor,
    row_of: dict[str, int],
    steps: int,
    rate: float = 1e-3,
) -> float:
    """Fit the SEG projection to the structure vectors on the whole bank at once.

    A step takes milliseconds, so every name is seen hundreds of times. Returns the share of states whose
    nearest vector is the right one.

    Notes
    -----
    The mean that all states share is six times as large as their differences. The fit therefore runs on
    centred and scaled states; centring and scaling are folded into the first layer at the end.
    """
    names = [name for name in bank if name in row_of]
    states = torch.cat([bank[name] for name in names])
    targets = torch.cat([torch.full((len(bank[name]),), row_of[name]) for name in names]).to(states.device)
    first, centre, scale = model.seg_projection[0], states.mean(0), states.std(0).clamp_min(1e-3)
    with torch.no_grad():
        first.bias += first.weight @ centre
        first.weight *= scale
    states = (states - centre) / scale
    descent = Descent(
        [{"params": list(model.seg_projection.parameters()), "lr": rate}], Schedule(steps, 20, 0.01)
    )
    for _ in range(steps):
        descent.learn(vector_loss(model.project_seg(states), table, targets).mean())
    with torch.no_grad():
        vectors = F.normalize(model.project_seg(states), dim=1)
        first.weight /= scale
        first.bias -= first.weight @ centre
        return ((vectors @ F.normalize(table, dim=1).T).argmax(1) == targets).float().mean().item()
