"""What edits in words do to a mask: distances in mm, exact on any grid. Arrays in, arrays out.

Distances are between pixel centres. What lies outside the image is not known: it neither grows in nor is
shrunk from. Parts and holes hang together through faces, not through corners.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, binary_fill_holes, distance_transform_edt, gaussian_filter
from scipy.ndimage import label as label_parts

from napari_mediround.domain.geometry import Geometry
from napari_mediround.errors import MediRoundError

MASK = NDArray[np.bool_]
SLACK = 1e-6
"""Share of a distance that rounding may add: 2.1 mm reach three pixels of 0.7 mm."""
SMALL_SHARE = 0.1
"""Parts below this share of the largest one are small where nobody says how small."""
SMOOTHING_MM = 1.0
"""Standard deviation of a smoothing where nobody says how much; a pixel where that is more."""


def steps_mm(geometry: Geometry) -> NDArray[np.float64]:
    """Return the steps between neighbouring voxels as columns, 3×3 float64, mm."""
    return geometry.affine[:3, :3]


def grow(mask: MASK, steps: NDArray, mm: float) -> MASK:
    """Return all voxels whose distance to the mask is at most `mm`.

    Parameters
    ----------
    mask : ndarray
        bool, of two or three axes.
    steps : ndarray
        Steps between neighbours along each axis, as columns (3, axes), mm.
    mm : float
        How far.
    """
    if not mask.any():
        return mask.copy()
    window, inner = _around(mask, _reach(steps, mm))
    found = np.zeros_like(mask)
    found[window] = _near(inner, steps, mm * (1 + SLACK))
    return found


def shrink(mask: MASK, steps: NDArray, mm: float) -> MASK:
    """Return the voxels of a mask whose distance to the background is more than `mm`; as `grow`."""
    if not mask.any():
        return mask.copy()
    window, inner = _around(mask, _reach(steps, mm))
    found = np.zeros_like(mask)
    found[window] = inner & ~_near(~inner, steps, mm * (1 + SLACK))
    return found


def smooth(mask: MASK, steps: NDArray, mm: float) -> MASK:
    """Return where a Gaussian of the standard deviation `mm` over the mask is at least a half."""
    if not mask.any():
        return mask.copy()
    spacing = np.linalg.norm(steps, axis=0)
    window, inner = _around(mask, _reach(steps, 5 * mm))
    found = np.zeros_like(mask)
    blurred = gaussian_filter(inner.astype(np.float64), mm / spacing, mode="nearest", truncate=5)
    found[window] = blurred >= 0.5
    return found


def fill(mask: MASK, largest_mm3: float | None = None, voxel_mm3: float = 1.0) -> MASK:
    """Return a mask without the holes that it encloses; with `largest_mm3` only those that are smaller."""
    filled = binary_fill_holes(mask)
    if largest_mm3 is None:
        return filled
    holes, count = label_parts(filled & ~mask)
    sizes = np.bincount(holes.ravel(), minlength=count + 1) * voxel_mm3
    return mask | ((holes > 0) & (sizes < largest_mm3 * (1 - SLACK))[holes])


def largest_part(mask: MASK) -> MASK:
    """Return the part with most voxels; of equal ones the first in the order of the array."""
    parts, count = label_parts(mask)
    if count < 2:
        return mask.copy()
    return parts == 1 + int(np.bincount(parts.ravel())[1:].argmax())


def drop_parts(mask: MASK, below_mm3: float | None, voxel_mm3: float) -> MASK:
    """Return a mask without parts below a volume; None drops those far smaller than the largest."""
    parts, count = label_parts(mask)
    if not count:
        return mask.copy()
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    least = SMALL_SHARE * sizes[1:].max() if below_mm3 is None else below_mm3 / voxel_mm3 * (1 - SLACK)
    keep = sizes >= least
    keep[0] = False
    return keep[parts]


def mirror(mask: MASK, steps: NDArray) -> MASK:
    """Return the mirror image of a plane's mask about the middle of the image, left to right.

    Parameters
    ----------
    mask : ndarray
        bool (row, column).
    steps : ndarray
        Steps along rows and columns as columns (3, 2), LPS mm.

    Raises
    ------
    MediRoundError
        When left and right do not lie in the plane.
    """
    across = np.array([1.0, 0.0, 0.0])
    inverse = np.linalg.pinv(steps)
    in_plane = steps @ (inverse @ across)
    if np.linalg.norm(in_plane) < 0.5:
        raise MediRoundError("Left and right do not lie in this plane, so the mask cannot be mirrored.")
    normal = in_plane / np.linalg.norm(in_plane)
    back = inverse @ (np.eye(3) - 2 * np.outer(normal, normal)) @ steps
    middle = (np.array(mask.shape) - 1) / 2
    indices = np.indices(mask.shape).reshape(2, -1).T - middle
    source = np.floor(indices @ back.T + middle + 0.5 + SLACK).astype(int)
    inside = ((source >= 0) & (source < mask.shape)).all(1)
    found = np.zeros(mask.size, bool)
    found[inside] = mask[tuple(source[inside].T)]
    return found.reshape(mask.shape)


def _reach(steps: NDArray, mm: float) -> NDArray[np.int_]:
    """Return how many voxels along each axis a ball of `mm` reaches, one more for safety."""
    metric = np.linalg.inv(steps.T @ steps)
    return np.ceil(mm * (1 + SLACK) * np.sqrt(np.diag(metric))).astype(int) + 1


def _around(mask: MASK, reach: NDArray) -> tuple[tuple[slice, ...], MASK]:
    """Return the box of a mask with a rim, as slices, and the mask in it."""
    places = np.nonzero(mask)
    window = tuple(
        slice(max(int(axis.min()) - far, 0), min(int(axis.max()) + far + 1, length))
        for axis, far, length in zip(places, reach.tolist(), mask.shape, strict=True)
    )
    return window, mask[window]


def _near(mask: MASK, steps: NDArray, mm: float) -> MASK:
    """Return the voxels whose distance to a mask is at most `mm`."""
    if not mask.any():
        return np.zeros_like(mask)
    spacing = np.linalg.norm(steps, axis=0)
    metric = steps.T @ steps
    if np.abs(metric - np.diag(spacing**2)).max() <= 1e-4 * spacing.min() ** 2:
        return distance_transform_edt(~mask, spacing) <= mm
    far = _reach(steps, mm)  # the grid is sheared: a ball of voxels, measured one by one
    offsets = np.stack(np.meshgrid(*(np.arange(-n, n + 1) for n in far), indexing="ij"), -1)
    ball = np.einsum("...i,ij,...j->...", offsets, metric, offsets) <= mm**2
    return binary_dilation(mask, ball)
