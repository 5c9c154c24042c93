"""napari's reader for DICOM files and folders, NIfTI, NRRD and MetaImage. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path

from napari_mediround.errors import SeriesChoiceError, VolumeChoiceError
from napari_mediround.io import read_study
from napari_mediround.widget.layers.layer_geometry import study_to_layer

SUFFIXES = (".dcm", ".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


def get_reader(path: str | PathLike | Sequence) -> Callable | None:
    """Return the function that reads `path`, or None when it is not for us (npe2's reader contract).

    Parameters
    ----------
    path : str, path or list of them
        A file or folder; of a list (napari's "open as stack") only single files are taken.
    """
    if isinstance(path, list | tuple):
        if len(path) != 1:
            return None
        path = path[0]
    if not (Path(path).is_dir() or str(path).lower().endswith(SUFFIXES)):
        return None
    return read_layers


def read_layers(path: str | PathLike | Sequence, choose: Callable | None = None) -> list[tuple]:
    """Read one study as napari layer data.

    Parameters
    ----------
    path : str, path or list of one
        A file or folder.
    choose : callable, optional
        Takes the error that says what there is, and returns the uid of a series or the number of a volume,
        None for none; by default a dialog. Series are never mixed.

    Returns
    -------
    list of tuple
        One (pixels, options, "image"), or `(None,)`, npe2's word for nothing, when none was chosen.

    Raises
    ------
    UnreadableFileError
        When the file cannot be used; it names file and remedy.
    SeriesChoiceError, VolumeChoiceError
        When there are several and nobody to choose.
    """
    path = path[0] if isinstance(path, list | tuple) else path
    wanted: dict[str, str | int] = {}
    while True:
        try:
            data, options, kind = study_to_layer(read_study(path, **wanted), path)
            break
        except (SeriesChoiceError, VolumeChoiceError) as several:
            chosen = (choose or choose_one)(several)
            if chosen is None:
                return [(None,)]
            wanted["volume" if isinstance(several, VolumeChoiceError) else "series"] = chosen
    if "volume" in wanted:
        options["name"] = f"{options['name']} volume {wanted['volume']}"
    return [(data, options, kind)]


def choose_one(several: SeriesChoiceError | VolumeChoiceError) -> str | int | None:
    """Ask which series or volume to open; return its uid or number, or None when the dialog was closed.

    Raises
    ------
    SeriesChoiceError, VolumeChoiceError
        `several` itself, when there is no window to ask in.
    """
    from qtpy.QtWidgets import QApplication, QInputDialog

    if not isinstance(QApplication.instance(), QApplication):
        raise several
    if isinstance(several, VolumeChoiceError):
        title = "MediRound: choose a volume"
        what = f"{several.count} volumes on one grid (phases, times, b-values)"
        question = f"There are {what}. Which one, 0 to {several.count - 1}?"
        number, chosen = QInputDialog.getInt(None, title, question, 0, 0, several.count - 1)
        return number if chosen else None
    from napari_mediround.widget.qt.series_dialog import ask_series

    return ask_series(several.choices)
