"""Whether grey values of a file that states no modality are Hounsfield units. Knows no file format.

Judged by what only CT has together: air near −1000, most of the rest between fat and contrast medium, and a
soft tissue that stands out. Padding and stray values do not count, and values need not be whole.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.study import Study, describe

SHIFT = 1024.0
"""What files of unsigned values commonly add to Hounsfield units."""

SAMPLE = 1_000_000
"""At most about this many voxels are looked at."""

_LOWEST, _AIR, _LUNG, _FULLEST = -1100, -900, -700, -300  # HU; below the first is padding
_SOFT, _BRIGHT = (-200, 250), 100
_FAT, _MUSCLE = (-150, -60), (-30, 90)
_LEAST_FAT = 0.03
_BIN = 15.0
_FEWEST_VALUES = 100
_WIDEST_PICTURE = 255

_NO_RESCALE = "the CT does not say how to rescale its values to Hounsfield units: they"
_BY_VALUES = "the file does not say what kind of image it is: by its values it was taken for CT"
_SHIFTED = f"{SHIFT:.0f} was taken off its values, which makes them Hounsfield units"
_NOT_CT = (
    "the file does not say what kind of image it is, and its values are not those of CT: greys are shown "
    "over their own range"
)

GUESSES = (_BY_VALUES, _NOT_CT)
"""Notes that say what an image was taken for."""


def judge_modality(study: Study) -> Study:
    """Return a study of no stated modality taken for CT where its values are those of CT, with a note."""
    shift = find_shift(study.pixels)
    if shift is not None:
        notes = (_BY_VALUES, *((_SHIFTED,) if shift else ()))
        return replace(_take(study, "CT", shift), notes=(*study.notes, *notes), stated=False)
    narrow = study.is_rgb or float(study.pixels.max()) - float(study.pixels.min()) <= _WIDEST_PICTURE
    return replace(study, notes=study.notes if narrow else (*study.notes, _NOT_CT), stated=False)


def take_for(study: Study, modality: str) -> Study:
    """Return a study taken for the modality that a person says; "" for none in particular.

    Values become Hounsfield units where they are those with `SHIFT` added, and the file's own for any other
    modality than CT.
    """
    shift = (find_shift(_restore(study)) or 0.0) if modality == "CT" else 0.0
    notes = tuple(note for note in study.notes if note not in (_BY_VALUES, _SHIFTED, _NOT_CT))
    notes += (_SHIFTED,) if shift else ()
    return replace(_take(study, modality, shift), notes=notes, stated=True)


def complete_ct(study: Study) -> Study:
    """Return a CT that does not say how to rescale its values, in Hounsfield units where they are found."""
    shift = find_shift(study.pixels)
    if shift is None:
        return replace(study, notes=(*study.notes, f"{_NO_RESCALE} may be none"))
    notes = (f"{_NO_RESCALE} are taken as they stand",) if not shift else (_SHIFTED,)
    return replace(_take(study, "CT", shift), notes=(*study.notes, *notes))


def _restore(study: Study) -> NDArray:
    return add_to(study.pixels, study.shift)


def _take(study: Study, modality: str, shift: float) -> Study:
    pixels = study.pixels if shift == study.shift else add_to(_restore(study), -shift)
    return replace(
        study, pixels=pixels, modality=modality, name=describe(modality, study.geometry), shift=shift
    )


def add_to(pixels: NDArray, amount: float) -> NDArray:
    """Return grey values with a whole number added, in a dtype that holds them."""
    if not amount:
        return pixels
    if pixels.dtype.kind == "f":
        return pixels + np.float32(amount)
    low, high = int(pixels.min()) + int(amount), int(pixels.max()) + int(amount)
    kinds = (k for k in (np.int16, np.uint16, np.int32) if np.iinfo(k).min <= low and high <= np.iinfo(k).max)
    kind = next(kinds, np.int64)
    # Both may wrap round; their sum, which the kind holds, is right all the same.
    return pixels.astype(kind) + np.array(int(amount)).astype(kind)


def find_shift(pixels: NDArray) -> float | None:
    """Return what to take off grey values to have Hounsfield units: 0, or `SHIFT`; None if they are none.

    Parameters
    ----------
    pixels : ndarray
        (plane, row, column) of any real dtype, finite.
    """
    values, padded = _sample(pixels)
    if not values.size:
        return None
    if _is_ct(values, 0.001, padded):
        return 0.0
    moved = values - SHIFT
    if len(np.unique(values)) < _FEWEST_VALUES:
        return None  # a label map
    fat = _share(moved[moved > _LUNG], *_FAT) >= _LEAST_FAT  # padding may have left little air to go by
    if values.min() > -SHIFT / 2 and _is_ct(moved, 0.005, False) and _has_peak(moved) and (fat or not padded):
        return SHIFT
    return None


def _sample(pixels: NDArray) -> tuple[NDArray[np.float64], bool]:
    """Return values without padding, and whether there was some; no values of what can be no CT."""
    none = np.empty(0), False
    if pixels.ndim != 3 or pixels.dtype.kind not in "iuf" or pixels.dtype.itemsize < 2:
        return none
    step = int(np.ceil((pixels.size / SAMPLE) ** (1 / 3))) if pixels.size > SAMPLE else 1
    values = pixels[:: min(step, pixels.shape[0]), ::step, ::step].ravel().astype(np.float64)
    low = values < _LOWEST
    if padded := low.sum() > 0.005 * values.size:
        counts = np.unique(np.floor(values[low] / _BIN), return_counts=True)[1]
        # Padding is one value; what is spread there is another kind of image (a phase, a difference).
        if np.sort(counts)[-3:].sum() < 0.8 * low.sum():
            return none
    return values[~low], bool(padded)


def _share(values: NDArray, low: float, high: float) -> float:
    return float(np.mean((values >= low) & (values <= high))) if values.size else 0.0


def _is_ct(values: NDArray, air: float, padded: bool) -> bool:
    """Whether values have air, a gap above it, and most of the rest between fat and contrast medium.

    Where padding took the place of all air, fat below zero and a common value of fat or muscle tell.
    """
    in_air, between = _share(values, _LOWEST, _AIR), _share(values, _LUNG, _FULLEST)
    rest = values[values > _LUNG]
    if not rest.size or _share(rest, *_SOFT) < 0.5 or rest.max() < _BRIGHT:
        return False
    if in_air >= air and in_air / (_AIR - _LOWEST) >= 0.3 * between / (_FULLEST - _LUNG):
        return True
    return padded and _share(rest, *_FAT) >= _LEAST_FAT and _has_peak(values)


def _has_peak(values: NDArray) -> bool:
    """Whether the commonest value of the body is that of fat or of muscle, and stands out from its sides."""
    counts, edges = np.histogram(values, np.arange(_LUNG, 1500, _BIN))
    top = edges[int(np.argmax(np.convolve(counts, np.ones(3) / 3, "same")))] + _BIN / 2
    if not any(low <= top <= high for low, high in (_FAT, _MUSCLE)):
        return False
    sides = _share(values, top - 160, top - 130), _share(values, top + 130, top + 160)
    return min(sides) < 0.15 * _share(values, top - _BIN, top + _BIN)
