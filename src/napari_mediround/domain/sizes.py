"""How large structures are, from published sources and from label maps. Knows no image."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from types import MappingProxyType

DENSITY = 1.05
"""g/ml: of soft tissue, for sources that weigh (ICRP Publication 110)."""

VOLUME_FACTOR, LENGTH_FACTOR = 4.0, 1.8
"""So many times smaller or larger than published is out of range: organs differ, and disease more."""


@dataclass(frozen=True)
class Size:
    """The published size of a structure in adults.

    Parameters
    ----------
    source : str
        The publication.
    ml, mm : tuple of (float, float), optional
        Range of volumes, and of the longest diameter.
    """

    source: str
    ml: tuple[float, float] | None = None
    mm: tuple[float, float] | None = None

    @property
    def allowed_ml(self) -> tuple[float, float]:
        """Volumes that are not out of range, ml."""
        low, high = self.ml or (0.0, float("inf"))
        return low / VOLUME_FACTOR, high * VOLUME_FACTOR

    @property
    def allowed_mm(self) -> tuple[float, float]:
        """Lengths that are not out of range, mm."""
        low, high = self.mm or (0.0, float("inf"))
        return low / LENGTH_FACTOR, high * LENGTH_FACTOR


@dataclass(frozen=True)
class Usual:
    """What a structure is like in label maps of many heads or necks.

    Parameters
    ----------
    centre_mm, spread_mm : tuple of float
        Mean and standard deviation of its centre, LPS, from the middle of all structures.
    log_ml, log_spread : float
        Mean and standard deviation of the logarithm of its volume in ml.
    scattered, hollow : float
        Share of its voxels in small parts beside the largest one, and in holes, that true masks may have.
    interrupted : int
        How many planes true masks of it may leave out.
    """

    centre_mm: tuple[float, float, float]
    spread_mm: tuple[float, float, float]
    log_ml: float
    log_spread: float
    scattered: float = 0.0
    hollow: float = 0.0
    interrupted: int = 0


@cache
def load_sizes() -> Mapping[str, Size]:
    """Return the published sizes by the name of the structure, without a side, from `anatomy.toml`."""
    tables = _read("anatomy.toml")
    sources, found = tables["size_sources"], {}
    for name, row in tables["sizes"].items():
        ml = tuple(grams / DENSITY for grams in row["g"]) if "g" in row else row.get("ml")
        mm = tuple(row["mm"]) if "mm" in row else None
        said = "; ".join(sources[key] for key in row["source"])
        found[name] = Size(said, tuple(ml) if ml else None, mm)
    return MappingProxyType(found)


@cache
def load_usual() -> Mapping[str, Mapping[str, Usual]]:
    """Return what structures are usually like, by region of the label maps and name, from `usual.toml`."""
    found = {}
    for region, rows in _read("usual.toml").items():
        found[region] = MappingProxyType(
            {
                name: Usual(**{key: tuple(v) if isinstance(v, list) else v for key, v in row.items()})
                for name, row in rows.items()
            }
        )
    return MappingProxyType(found)


def _read(name: str) -> dict:
    text = resources.files("napari_mediround.resources").joinpath(name).read_text("utf-8")
    return tomllib.loads(text)
