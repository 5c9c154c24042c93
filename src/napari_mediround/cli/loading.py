"""What most commands need first: an image that exists, a window, a predictor on a device."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mediround.cli.console import doing, not_written, say
from napari_mediround.errors import SettingsError, UnreadableFileError

if TYPE_CHECKING:
    from napari_mediround.domain.study import Study
    from napari_mediround.inference.predictor import Predictor


def require_path(path: Path) -> Path:
    """Return `path` when something is there.

    Raises
    ------
    UnreadableFileError
        When not; before any model is loaded.
    """
    if not path.exists():
        raise UnreadableFileError(path, "there is no such file or folder", "Check the path.")
    return path


def require_writable(*files: Path) -> None:
    """Refuse files that cannot be written; folders that are not there may be made where they are to be.

    Raises
    ------
    SettingsError
        When a file is a folder, or its place takes no file; before any model is loaded.
    """
    for file in files:
        try:
            if file.is_dir():
                raise SettingsError(f"{file} is a folder. Give the name of a file in it.")
            folder = next(parent for parent in file.absolute().parents if parent.exists())
            # Permissions do not tell of a file system that is read-only or no real one; a try does.
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise not_written(file, error) from error


def read_image(
    path: Path, series: str | None, volume: int | None, view: str | None, modality: str | None = None
) -> Study:
    """Read an image and say what it is. See `napari_mediround.io.read_study` for further errors.

    Raises
    ------
    SettingsError
        When a series is chosen and the image is of none, or there is no such modality.
    """
    from napari_mediround.io import read_study
    from napari_mediround.io.dicom.codes import MODALITIES, read_modality

    if modality is not None and not read_modality(modality):
        codes = ", ".join(sorted(MODALITIES))
        raise SettingsError(f"There is no modality {modality!r}. Choose one of {codes}.")
    kind = None if modality is None else read_modality(modality)
    study = read_study(require_path(path), series=series, volume=volume, view=view, modality=kind)
    if series is not None and not study.source_geometry.series_uid:
        raise SettingsError(f"{path} is of no DICOM series, so none can be chosen. Leave --series out.")
    say(f"Image: {study.name}")
    for note in study.notes:
        say(f"Note: {note}")
    if not study.stated:
        say(f"Modality: {study.modality or 'not known'}, by its values. Say another one with --modality.")
    return study


def parse_window(text: str | None) -> str | tuple[float, float] | None:
    """Return a window's name as it stands, or "LEVEL,WIDTH" as two numbers in HU.

    Raises
    ------
    SettingsError
        When it is neither a known name nor two numbers with a positive width.
    """
    if text is None:
        return None
    from napari_mediround.domain.windows import WINDOWS

    if text in WINDOWS:
        return text
    try:
        level, width = (float(part) for part in text.split(","))
    except ValueError:
        level, width = 0.0, 0.0
    if not width > 0:
        raise SettingsError(f"There is no window {text!r}. Use LEVEL,WIDTH or one of {', '.join(WINDOWS)}.")
    return level, width


def load_predictor(preset: str, device: str, adapter: Path | None, weights_dir: Path | None) -> Predictor:
    """Load a preset's model and say where it runs. See `Predictor.from_preset` for the errors."""
    with doing(f"Loading the preset {preset} …"):
        from napari_mediround.inference.predictor import Predictor

        predictor = Predictor.from_preset(preset, device=device, adapter=adapter, weights_dir=weights_dir)
    say("Model: " + ", ".join(f"{key} {value}" for key, value in predictor.describe().items()))
    return predictor
