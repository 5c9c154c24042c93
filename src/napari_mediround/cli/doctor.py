"""`mediround doctor`: look at Python, torch, Qt and the weights, and say what to do. Changes nothing."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sys
from dataclasses import dataclass

from napari_mediround import __version__, weights
from napari_mediround.cli.console import doing, make_table, results
from napari_mediround.cli.weights_commands import default_names

_PACKAGES = ("napari", "torch", "transformers", "peft", "numpy", "SimpleITK", "pydicom", "segment-anything")


@dataclass(frozen=True)
class Finding:
    """One line of the report.

    Parameters
    ----------
    what : str
        What was looked at.
    word : str
        ``"ok"``, ``"note"`` (works, worth knowing) or ``"missing"`` / ``"damaged"`` (to be done).
    detail : str
        What was found, or what to do.
    """

    what: str
    word: str
    detail: str


def look_at_python() -> list[Finding]:
    """Report Python, this package and the versions of those that it stands on."""
    found = [
        Finding(
            "napari-mediround", "ok", f"{__version__}, Python {platform.python_version()}, {sys.platform}"
        )
    ]
    for name in _PACKAGES:
        try:
            found.append(Finding(name, "ok", importlib.metadata.version(name)))
        except importlib.metadata.PackageNotFoundError:
            found.append(Finding(name, "missing", f"Install it: {sys.executable} -m pip install {name}"))
    return found


def look_at_torch() -> list[Finding]:
    """Report the build of torch, the device that `auto` takes, and a torchvision that would break it."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return [Finding("torch", "damaged", f"It cannot be imported ({error}). Install it again.")]
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        device = f"cuda: {torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    elif torch.backends.mps.is_available():
        device = "mps"
    else:
        policy = os.environ.get("OMP_WAIT_POLICY", "not set")
        device = f"cpu, {torch.get_num_threads()} threads, OMP_WAIT_POLICY {policy}"
    found = [Finding("device", "ok", f"{device} (torch {torch.__version__})")]
    if importlib.util.find_spec("torchvision"):
        try:
            import torchvision  # noqa: F401
        except (ImportError, RuntimeError, OSError):
            remedy = (
                f"It does not fit this torch and is not needed: {sys.executable} -m pip uninstall torchvision"
            )
            found.append(Finding("torchvision", "damaged", remedy))
    return found


def look_at_qt() -> list[Finding]:
    """Report which Qt the dock would use, and whether there is a screen to show it on."""
    try:
        from qtpy import API_NAME, QT_VERSION
        from qtpy.QtWidgets import QWidget  # noqa: F401
    except ImportError as error:
        remedy = f"{' '.join(str(error).split())[:120]}. For the dock: pip install 'napari-mediround[all]'"
        return [Finding("Qt", "note", remedy)]
    found = [Finding("Qt", "ok", f"{API_NAME} {QT_VERSION}")]
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        found.append(
            Finding("screen", "note", "None. The command line works; the dock needs one, or xvfb-run.")
        )
    return found


def look_at_weights() -> list[Finding]:
    """Report the cache and every entry of the registry; only what `lite` needs must be there."""
    folder = weights.cache_dir()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    found = [Finding("cache", "ok", f"{folder}, {shutil.disk_usage(there).free / 1e9:.1f} GB free")]
    if not os.access(there, os.W_OK):
        found = [
            Finding("cache", "damaged", f"{folder} cannot be written. Set MEDIROUND_HOME to another folder.")
        ]
    needed = {*default_names(), *(w.name for w in weights.load_registry().values() if w.bundled)}
    for name in weights.load_registry():
        state = weights.check(name)
        optional = state.word == "missing" and name not in needed
        detail = str(state.path) if state.word == "ok" else state.remedy
        if optional:
            detail = f"Not here; only needed as {weights.load_registry()[name].purpose}."
        found.append(Finding(name, "note" if optional else state.word, detail))
    return found


def run_doctor() -> bool:
    """Print the report; return whether nothing must be done."""
    with doing("Looking …"):
        found = [*look_at_python(), *look_at_torch(), *look_at_qt(), *look_at_weights()]
    table = make_table("", "what", "state", "found, or what to do")
    for finding in found:
        table.add_row(finding.what, finding.word, finding.detail)
    console = results()
    console.print(table)
    to_do = [f for f in found if f.word in ("missing", "damaged")]
    console.print(f"{len(to_do)} to do." if to_do else "All is there.")
    return not to_do
