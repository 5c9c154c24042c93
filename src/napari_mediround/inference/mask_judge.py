"""How far to trust a mask that no question was answered with: drawn by hand or by another program."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from napari_mediround.domain.mask import Mask
from napari_mediround.model.features import ImageFeatures
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.sam import fit_to_square, mask_to_logits

FEWEST_CELLS, GRID = 100, 256
"""Cells of a mask, on a grid of so many cells a side, from which on the model can redraw it."""


class Judging:
    """What a `Predictor` says of masks from elsewhere."""

    def judge(self, mask: Mask, structure: str) -> float | None:
        """Return how far to trust a mask on the plane last set.

        Parameters
        ----------
        mask : Mask
            Not empty.
        structure : str
            Preferred name of what it is of; any other name is judged by the mask alone.

        Returns
        -------
        float or None
            0…1, an expected IoU; None for a mask of fewer than `FEWEST_CELLS` cells of the model's grid,
            which the model cannot redraw, however right it is.

        Raises
        ------
        MediRoundError
            When no plane is set.
        """
        with self._lock:
            features = self._store.require(self._current)
            corners = np.reshape(mask.box_xyxy, (2, 2)) - [[0, 0], [1, 1]]
            if not features.frame.holds(corners):  # outside the body's crop, as an arm
                key, image, aspect = f"{self._current}-whole", features.image, features.frame.aspect
                encode = partial(self._encode, aspect=aspect, whole=True)
                features = self.runner.run(lambda: self._store.get_or_encode(key, image, encode, aspect))
            name = self.anatomy.normalise(structure)
            return self.runner.run(lambda: judge_mask(self.model, self._looked_at(features), mask, name))


def judge_mask(model: MediRound, features: ImageFeatures, mask: Mask, name: str) -> float | None:
    """Return the IoU (0…1) that a mask of a structure is expected to have with the truth.

    The decoder answers the mask's box, with and without the name, and the name alone; the judge scores each
    answer. A mask is worth what the answer nearest to it is worth, times its IoU with that answer.

    Parameters
    ----------
    model : MediRound
    features : ImageFeatures
        Of the plane, with what the decoder sees.
    mask : Mask
        Not empty, on that plane.
    name : str
        Preferred name of the structure.
    """
    given, vector = _on_grid(model, features, mask) > 0, _vector(model, name)
    if int(given.sum()) < FEWEST_CELLS * (model.size / GRID) ** 2:
        return None
    box = torch.tensor(mask.box_xyxy, dtype=torch.float64).reshape(2, 2).numpy()
    boxes = model.plane_to_square(box, features.frame).reshape(1, 4)
    spoken = None if vector is None else vector.to(features.embedding)[None]
    silent = torch.zeros(1, model.channels, device=model.device)
    seen = model.see(features)
    answers = [
        model.judged(
            silent if words is None else words, features, model.decode(seen, words, None, boxes, None)
        )
        for words in dict.fromkeys((spoken, None))
    ]
    if spoken is not None:
        answers.append(model.segment(features, spoken, [name]))
    return max(float(answer.quality[0] * _iou(given, answer.logits > 0)) for answer in answers)


def _on_grid(model: MediRound, features: ImageFeatures, mask: Mask) -> Tensor:
    """Return a mask as logits (1, h, w) on the decoder's grid."""
    array = torch.tensor(features.frame.cut(mask.to_array()), device=model.device)[None, None].float()
    return mask_to_logits(fit_to_square(array, model.size)[:, 0])[:, 0]


def _vector(model: MediRound, name: str) -> Tensor | None:
    return model.landmarks.vector(name) if model.landmarks is not None else None


def _iou(one: Tensor, other: Tensor) -> Tensor:
    return (one & other).sum() / (one | other).sum().clamp(min=1)
