"""Baselines that know the true box: fill it, or threshold inside it. Knows no model.

They are floors that use more than a question does: a model that is asked in words and beats them has seen
the structure, one that does not may only have found the place.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.filters import threshold_otsu

from napari_mediround.domain.mask import Mask
from napari_mediround.training.evaluation.metrics import dice


def fill_box(truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the bounding box of a mask (row, column), filled; empty for an empty mask."""
    box = Mask.from_array(truth).box_xyxy
    filled = np.zeros(truth.shape, bool)
    if box is not None:
        filled[box[1] : box[3], box[0] : box[2]] = True
    return filled


def threshold_in_box(image: NDArray[np.uint8], truth: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the brighter or the darker part of the true box, whichever fits the truth better.

    Choosing the side by the truth, mask by mask, favours this baseline on purpose.

    Parameters
    ----------
    image : ndarray
        uint8 (H, W, 3).
    truth : ndarray
        bool (H, W).

    References
    ----------
    Otsu, IEEE Transactions on Systems, Man, and Cybernetics 9(1), 1979.
    """
    box = fill_box(truth)
    if not box.any():
        return box
    grey = image.mean(2)
    bright = box & (grey > threshold_otsu(grey[box]))
    return max((bright, box & ~bright), key=lambda mask: dice(mask, truth))
