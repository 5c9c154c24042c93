"""Masks in, from any file that masks leave in, as a volume or as rounds that later rounds may refer to."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from napari_mediround.domain.anatomy import Anatomy, load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Round, Target
from napari_mediround.domain.segments import LabelledVolume
from napari_mediround.domain.study import Study
from napari_mediround.errors import UnreadableFileError
from napari_mediround.io.dicom.instances import DICOM_SUFFIXES, looks_like_dicom, read_header
from napari_mediround.io.masks.label_map import SEG_NRRD, read_label_map, read_seg_nrrd
from napari_mediround.io.masks.rtstruct_reader import read_rtstruct
from napari_mediround.io.masks.seg_reader import read_dicom_seg

__all__ = ["read_masks", "read_unplaced", "volume_to_rounds"]

IMPORTED_QUALITY = 1.0
"""Quality of a mask that no model judged."""


def read_masks(path: str | PathLike, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read the masks of a file onto the grid of the image they belong to; nothing is interpolated.

    Parameters
    ----------
    path : str or PathLike
        NIfTI, NRRD or MetaImage label map (names from a `.tsv` or `.json` beside it), `.seg.nrrd`, DICOM
        Segmentation or RT Structure Set.
    grid : Geometry
        The image's own (`Study.source_geometry`).
    anatomy : Anatomy, optional
        For codes and sides, where the file has none.

    Raises
    ------
    UnreadableFileError
        When the file is damaged, of another kind, or its voxels are not those of the image.
    """
    path = Path(path)
    volume = read_unplaced(path, grid, anatomy)
    try:
        return volume.place(grid)
    except ValueError as error:
        remedy = "Open the image that the masks were drawn on, or resample the masks onto its grid first."
        raise UnreadableFileError(path, str(error), remedy) from error


def read_unplaced(path: Path, grid: Geometry, anatomy: Anatomy | None = None) -> LabelledVolume:
    """Read the masks of a file on its own grid; parameters and errors as in `read_masks`."""
    if not path.is_file():
        raise UnreadableFileError(path, "there is no such file", "Check the path.")
    name = path.name.lower()
    if name.endswith(SEG_NRRD):
        return read_seg_nrrd(path, anatomy)
    if not (name.endswith(DICOM_SUFFIXES) or looks_like_dicom(path)):
        return read_label_map(path, anatomy)
    kind = read_header(path).get("Modality")
    if kind == "RTSTRUCT":
        return read_rtstruct(path, grid, anatomy)
    return read_dicom_seg(path, anatomy, grid)


def volume_to_rounds(
    volume: LabelledVolume,
    study: Study,
    first: int = 1,
    plane: int | None = None,
    text: str = "Imported masks",
    anatomy: Anatomy | None = None,
) -> tuple[Round, ...]:
    """Return masks as rounds, so that later rounds may refer to them.

    The model reads the names of earlier rounds, and a file may call its masks anything. A mask therefore
    takes the anatomy's name for it; one that the anatomy does not know is "structure K".

    Parameters
    ----------
    volume : LabelledVolume
        On the study's source grid.
    study : Study
        The image.
    first : int
        Number of the first of these rounds (1-based).
    plane : int, optional
        0-based in display order: only what shows on it, in one round. Without it each structure goes on the
        plane where it is largest, one round a plane.
    text : str
        Stands for the question; not from the file.
    anatomy : Anatomy, optional
        The names that may pass; by default those that come with the package.

    Returns
    -------
    tuple of Round
        Empty when nothing shows.

    Raises
    ------
    ValueError
        When the volume is not on the study's grid.
    """
    if volume.geometry.shape != study.source_geometry.shape:
        raise ValueError("the masks are not on the grid of the study")
    anatomy = anatomy or load_anatomy()
    by_plane: dict[int, list[Target]] = {}
    for segment in volume.segments:
        shown = study.order.apply(volume.mask(segment))
        areas = shown.reshape(shown.shape[0], -1).sum(axis=1)
        chosen = int(areas.argmax()) if plane is None else plane
        if areas[chosen]:
            known = anatomy.find(segment.name)
            name = known.name if known else f"structure {segment.value}"
            target = Target(name, Mask.from_array(shown[chosen]), IMPORTED_QUALITY)
            by_plane.setdefault(chosen, []).append(target)
    rounds = []
    for number, (where, targets) in enumerate(sorted(by_plane.items()), first):
        names = ", ".join(target.structure for target in targets)
        rounds.append(Round(number, where, text, (), Answer(f"Imported: {names}.", tuple(targets))))
    return tuple(rounds)
