"""Grey values to what a reader sees: CT by window, the rest by percentiles. Knows no model."""

from __future__ import annotations

import hashlib
import re
import tomllib
from dataclasses import dataclass
from importlib import resources
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.study import Study
from napari_mediround.errors import SettingsError

DEFAULT_WINDOW = "soft_tissue"


@dataclass(frozen=True)
class Window:
    """A CT window.

    Parameters
    ----------
    level, width : float
        Centre and width, HU; the width is positive.
    words : tuple of str
        Words of a question that ask for it; a final "*" stands for any ending.

    Raises
    ------
    ValueError
        When the width is not positive.
    """

    level: float
    width: float
    words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not (np.isfinite(self.level) and np.isfinite(self.width) and self.width > 0):
            raise ValueError(
                f"a window needs a finite level and a positive width, not {self.level}, {self.width}"
            )


def _load() -> MappingProxyType:
    text = resources.files("napari_mediround.resources").joinpath("windows.toml").read_text("utf-8")
    table = tomllib.loads(text)
    return MappingProxyType({k: Window(v["level"], v["width"], tuple(v["words"])) for k, v in table.items()})


WINDOWS = _load()
"""The windows of resources/windows.toml by name, in its order."""


def find_window(window: str | tuple[float, float]) -> Window:
    """Return the window of a name, or of (level, width) in HU.

    Raises
    ------
    SettingsError
        When there is no such name, or the width is not positive.
    """
    if isinstance(window, str):
        if window not in WINDOWS:
            raise SettingsError(f"There is no window {window!r}. Choose one of {', '.join(sorted(WINDOWS))}.")
        return WINDOWS[window]
    try:
        return Window(*(float(number) for number in window))
    except (TypeError, ValueError) as error:
        raise SettingsError(f"A window is (level, width) with a positive width, not {window}.") from error


def window_for_question(text: str, default: str | tuple[float, float] | None = None):
    """Return the name of the window that the words of a question ask for, else `default`.

    A word of the question counts wherever it stands ("the lesion in the left lung" → "lung").
    """
    for name, window in WINDOWS.items():
        for word in window.words:
            ending = r"\w*" if word.endswith("*") else r"\b"
            if re.search(r"\b" + re.escape(word.rstrip("*")) + ending, text, re.IGNORECASE):
                return name
    return default


def choose_window(
    study: Study, text: str, window: str | tuple[float, float] | None = None
) -> str | tuple[float, float] | None:
    """Return the window that a person named, else on CT the one that the words of a question ask for."""
    if window is not None:
        return window
    return window_for_question(text) if study.modality == "CT" else None


def render_plane(
    study: Study, plane: int, window: str | tuple[float, float] | None = None
) -> NDArray[np.uint8]:
    """Return one plane as a reader sees it.

    A window that is given is always obeyed. Without one CT goes through soft tissue; other greys run from
    the 0.5 to the 99.5 percentile of the *volume's* non-zero values, so that a structure keeps its grey from
    plane to plane; uint8 pictures stay as they are.

    Parameters
    ----------
    study : Study
        In display order.
    plane : int
        0-based index.
    window : str, (level, width) or None
        A name of `WINDOWS`, or numbers in the image's own values: HU for CT. See `choose_window`.

    Returns
    -------
    ndarray
        uint8 (row, column, 3), 0…255, display order.

    Raises
    ------
    IndexError
        When there is no such plane.
    SettingsError
        When the window is not known.
    """
    if not 0 <= plane < study.planes:
        raise IndexError(f"there is no plane {plane}: the study has planes 0 to {study.planes - 1}")
    chosen = find_window(window) if window is not None else WINDOWS[DEFAULT_WINDOW]
    pixels = study.pixels[plane]
    if study.is_rgb:
        return np.ascontiguousarray(pixels)
    if pixels.dtype == np.uint8 and window is None:
        return np.repeat(pixels[..., None], 3, axis=2)
    if study.modality == "CT" or window is not None:
        low, high = chosen.level - chosen.width / 2, chosen.level + chosen.width / 2
    else:
        low, high = study.grey_range
    scaled = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1e-6))
    grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def hash_image(image: NDArray[np.uint8]) -> str:
    """Return 32 hex digits of an image's content and shape.

    Raises
    ------
    ValueError
        When the image is not uint8 (H, W, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(
            f"an image is uint8 (H, W, 3), not {image.dtype} {image.shape}; render the plane first"
        )
    digest = hashlib.sha256(repr(image.shape).encode())
    digest.update(np.ascontiguousarray(image).tobytes())
    return digest.hexdigest()[:32]
