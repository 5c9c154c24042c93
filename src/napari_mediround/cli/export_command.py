"""Masks from one format to another, on the command line, with the receipt printed."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from napari_mediround.cli.console import notices, results, say
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.domain.study import Study
from napari_mediround.errors import SettingsError
from napari_mediround.io.export import Options, export
from napari_mediround.io.masks import read_masks


@dataclass(frozen=True)
class Wishes:
    """What the options of the command say."""

    form: str
    overwrite: bool
    deidentify: bool
    key_file: Path | None
    with_images: bool


def read_key(path: Path | None) -> str:
    """Return the secret of a site: from its file, made if it is not there yet; without a file a fresh one.

    Raises
    ------
    SettingsError
        When the file cannot be read or written, or is too short to be a secret.
    """
    if path is None:
        return secrets.token_hex(32)
    try:
        if not path.exists():
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with open(handle, "w", encoding="ascii") as file:
                file.write(secrets.token_hex(32) + "\n")
            say(f"Made a new key in {path}: keep it secret, and keep it.")
        key = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The key file {path} cannot be read or made. Choose another place.") from error
    if len(key) < 16:
        raise SettingsError(f"The key in {path} is too short. Delete the file, and a new one is made.")
    return key


def run_export(masks: Path, image: Path, study: Study, out: Path, wishes: Wishes) -> None:
    """Read masks onto the image's grid, write them in another format, print the receipt."""
    if (wishes.key_file or wishes.with_images) and not wishes.deidentify:
        raise SettingsError("--key-file and --with-images belong to --deidentify.")
    volume = read_masks(masks, study.source_geometry, load_anatomy())
    say(f"Masks: {describe(volume)}")
    with notices().status("…") as status:
        options = Options(
            overwrite=wishes.overwrite,
            key=read_key(wishes.key_file) if wishes.deidentify else "",
            with_images=wishes.with_images,
            dicom=image if study.source_geometry.series_uid else None,
            pixels=None if study.is_rgb else study.order.undo(study.pixels),
            report=status.update,
        )
        receipt = export(volume, out, wishes.form, options)
    results().print(receipt.to_text(), markup=False)


def describe(volume: LabelledVolume) -> str:
    """Return the names of a volume's masks in a line."""
    names = [segment.name for segment in volume.segments]
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return ", ".join(names[:8]) + more
