"""Where a project's images lie on this machine. Paths are patient data: never in the journal, never in a log.

``images.json`` lies beside the journal and may be deleted or left out when a project is passed on. The user
then opens the image, and its content tells which case it is.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from napari_mediround.domain.study import Study
from napari_mediround.errors import JournalError
from napari_mediround.files import write_whole

FILE = "images.json"
NOTE = "Paths on this machine, which may name patients. Leave this file out when you pass the project on."


@dataclass(frozen=True)
class ImagePlace:
    """Where an image lies.

    Parameters
    ----------
    path : str
        File or folder.
    reader : str
        Name of the napari plugin that opened the image, "" for the default.
    """

    path: str
    reader: str = ""


def recall_images(folder: Path | str) -> dict[str, ImagePlace]:
    """Return the place of each case's image; empty if the file is missing or unreadable."""
    try:
        images = json.loads((Path(folder) / FILE).read_text("utf-8"))["images"]
        return {str(case): ImagePlace(str(i["path"]), str(i["reader"])) for case, i in images.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def remember_image(folder: Path | str, case: str, path: Path | str, reader: str = "") -> None:
    """Write down where a case's image lies.

    Raises
    ------
    JournalError
        When the file cannot be written; the old one stays.
    """
    images = {**recall_images(folder), case: ImagePlace(os.path.abspath(path), reader)}
    value = {"note": NOTE, "images": {case: asdict(place) for case, place in images.items()}}
    target = Path(folder) / FILE
    try:
        write_whole(target, lambda part: part.write_text(json.dumps(value, indent=1) + "\n", "utf-8"))
    except OSError as error:
        raise JournalError(
            f"Where the image lies could not be kept ({error.strerror}). The rounds are safe; next time open "
            "the image yourself."
        ) from error


def fingerprint(study: Study) -> bytes:
    """Return the SHA-256 of a study's pixels, their type and their position (to 0.1 µm)."""
    digest = hashlib.sha256()
    affine = (np.round(study.geometry.affine, 4) + 0.0).tolist()
    kind = np.dtype(study.pixels.dtype).newbyteorder("<")
    digest.update(json.dumps([study.pixels.shape, kind.str, affine, study.geometry.oriented]).encode())
    for plane in study.pixels:
        digest.update(np.ascontiguousarray(plane, kind).tobytes())
    return digest.digest()
