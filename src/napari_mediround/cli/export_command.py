"""Masks from one format to another, on the command line, with the receipt printed."""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_mediround.cli.console import answer, doing, make_table, results, say
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.judged import PROPOSAL
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.domain.study import Study
from napari_mediround.errors import SettingsError
from napari_mediround.io.export import Options, export
from napari_mediround.io.masks import read_masks
from napari_mediround.session.checked import check_volume, describe_checks


@dataclass(frozen=True)
class Wishes:
    """What the options of the command say."""

    form: str
    overwrite: bool
    deidentify: bool
    key_file: Path | None
    with_images: bool
    proposals: bool = False


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
    for note in volume.notes:
        say(f"Note: {note}")
    show_masks(volume, wishes.proposals)
    volume, left_out = keep_judged(volume, wishes.proposals)
    findings = check_volume(volume)
    for finding in findings:
        say(f"Check: {finding.text}")
    with doing("…") as report:
        options = Options(
            overwrite=wishes.overwrite,
            key=read_key(wishes.key_file) if wishes.deidentify else "",
            with_images=wishes.with_images,
            dicom=image if study.source_geometry.series_uid else None,
            pixels=None if study.is_rgb else study.order.undo(study.pixels),
            left_out=left_out,
            notes=describe_checks(findings, volume.geometry),
            report=report,
        )
        receipt = export(volume, out, wishes.form, options)
    answer(*receipt.to_lines())


def keep_judged(volume: LabelledVolume, proposals: bool) -> tuple[LabelledVolume, tuple[str, ...]]:
    """Return a volume without the masks that nobody judged, and these in words.

    Raises
    ------
    SettingsError
        When nothing is left.
    """
    left = [s for s in volume.segments if s.verdict == PROPOSAL and not proposals]
    if not left:
        return volume, ()
    if len(left) == len(volume.segments):
        raise SettingsError(
            "Nobody accepted any of these masks, so nothing is exported. Accept them in napari, or take them "
            "as they are with --include-proposals."
        )
    gone = [segment.value for segment in left]
    layers = tuple(np.where(np.isin(layer, gone), 0, layer).astype(np.uint16) for layer in volume.layers)
    kept = tuple(segment for segment in volume.segments if segment not in left)
    words = tuple(
        f"{s.value} {s.name} (proposal" + (f", quality {s.quality:.2f})" if s.quality is not None else ")")
        for s in left
    )
    return replace(volume, layers=layers, segments=kept), words


def show_masks(volume: LabelledVolume, proposals: bool) -> None:
    """Print what the masks are, what a person said of each, and which are left out."""
    table = make_table("", "value", "mask", "verdict", "quality", "origin", "", right=("value", "quality"))
    for s in volume.segments:
        left = "left out" if s.verdict == PROPOSAL and not proposals else ""
        quality = "" if s.quality is None else f"{s.quality:.2f}"
        table.add_row(str(s.value), s.name, s.verdict or "not known", quality, s.origin, left)
    results().print(table)
    if not any(s.verdict for s in volume.segments):
        say("The file does not say which masks a person accepted: all are taken.")
    elif any(s.verdict == PROPOSAL for s in volume.segments) and not proposals:
        say("Masks that were not accepted are left out; --include-proposals exports them too.")
