"""Model files on disk: list, find, verify and fetch them.

The registry is ``resources/models.toml``. Nothing here opens a network connection unless `fetch` is
called, and nothing imports torch except the one conversion after a fetch. Knows no model.
"""

from napari_mediround.weights.archive import bundle, unbundle
from napari_mediround.weights.registry import (
    Source,
    State,
    Weight,
    cache_dir,
    check,
    load_registry,
    locate,
    models_dir,
    verify,
    write_manifest,
)
from napari_mediround.weights.sources import fetch

__all__ = [
    "Source",
    "State",
    "Weight",
    "bundle",
    "cache_dir",
    "check",
    "fetch",
    "load_registry",
    "locate",
    "models_dir",
    "unbundle",
    "verify",
    "write_manifest",
]
