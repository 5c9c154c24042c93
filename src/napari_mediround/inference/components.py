"""How deep inside a region each pixel lies: where a click into it goes. Knows no model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage


def depth_inside(region: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the distance of each pixel of a region, bool (H, W), to its border, in pixels; 0 outside.

    The border of the image counts as the region's: it is not thought to go on beyond.
    """
    return ndimage.distance_transform_edt(np.pad(region, 1))[1:-1, 1:-1]
