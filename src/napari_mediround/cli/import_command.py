"""Masks from elsewhere into a project, on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from napari_mediround.cli.console import answer, doing, make_table, results, say
from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.segments import clean_name
from napari_mediround.domain.study import Study
from napari_mediround.errors import SettingsError
from napari_mediround.io.masks.outside import read_incoming
from napari_mediround.journal import Journal
from napari_mediround.journal.image_paths import remember_image
from napari_mediround.session import Session
from napari_mediround.session.importing import Taken, import_taken, judge_taken, take_masks
from napari_mediround.session.naming import Naming, name_segments


@dataclass(frozen=True)
class Doubts:
    """What a person says of what the file leaves open.

    Parameters
    ----------
    names : tuple of str
        "3=left kidney": a label value of the file and a name.
    keep_names : bool
        Whether the file's own names stay where it is not clear what is meant.
    resample : bool
        Whether masks on another grid are resampled.
    """

    names: tuple[str, ...] = ()
    keep_names: bool = False
    resample: bool = False


def run_import(
    masks: Path,
    image: Path,
    study: Study,
    project: Path,
    doubts: Doubts,
    model: tuple[str, str, Path | None] | None = None,
) -> None:
    """Read masks, name them, let the model judge them, and take them into a project.

    Parameters
    ----------
    masks, image : Path
        Files or folders.
    study : Study
        Of `image`.
    project : Path
        Made where there is none.
    doubts : Doubts
        What the options of the command say.
    model : (preset, device, weights folder), optional
        What judges; None judges nothing.

    Raises
    ------
    SettingsError
        When it is not clear what a mask is, and nobody says so.
    MediRoundError
        As `read_incoming`, and when the project is busy.
    """
    anatomy = load_anatomy()
    found = read_incoming(masks, study.source_geometry, anatomy, image, doubts.resample)
    for note in found.volume.notes:
        say(f"Note: {note}")
    namings = name_segments((s for s in found.volume.segments if found.volume.voxels(s)), anatomy)
    names = choose_names(namings, doubts)
    predictor = None
    if model is not None:
        from napari_mediround.cli.loading import load_predictor

        preset, device, weights = model
        predictor = load_predictor(preset, device, None, weights)
    with Journal.open(project) as journal:
        session = Session(predictor, study, anatomy, journal)
        with doing("Taking the masks …") as report:
            taken = take_masks(found.volume, study, names, found.source_of)
            if predictor is not None:
                tell = lambda done, steps: report(f"Judging mask {done + 1} of {steps} …")  # noqa: E731
                taken = judge_taken(session, taken, tell)
            first = session.state.next_label
            import_taken(session, taken, predictor.describe() if predictor is not None else None)
        remember_image(project, session.case, image, "napari-mediround")
    _show(taken, first, namings)
    answer(f"Took {len(taken)} masks into {project.name} (sha256 {found.source.sha256[:16]}…).")


def choose_names(namings: Sequence[Naming], doubts: Doubts) -> dict[int, str]:
    """Return the name of each mask by its value, "" for one that is left out.

    Raises
    ------
    SettingsError
        When a name is given for no mask, or it is not clear what a mask is.
    """
    said = _read_names(doubts.names, {n.segment.value for n in namings})
    names, open_ = {}, []
    for naming in namings:
        value = naming.segment.value
        if value in said:
            names[value] = clean_name(load_anatomy().normalise(said[value])) if said[value] else ""
        elif naming.sure:
            names[value] = naming.structure
        elif doubts.keep_names:
            names[value] = naming.segment.name
        else:
            open_.append(naming)
    if open_:
        lines = [f"  {n.segment.value}: {n.why}{_offer(n)}" for n in open_]
        raise SettingsError(
            "It is not clear what these masks are:\n" + "\n".join(lines) + '\nSay what each is (--name "'
            f'{open_[0].segment.value}=left kidney"), leave it out (--name "{open_[0].segment.value}="), or '
            "keep the names of the file (--keep-names)."
        )
    return names


def _offer(naming: Naming) -> str:
    offered = dict.fromkeys(filter(None, (naming.structure, *naming.choices)))
    return f" Perhaps: {', '.join(offered)}." if offered else ""


def _read_names(texts: Sequence[str], values: set[int]) -> dict[int, str]:
    said = {}
    for text in texts:
        value, equals, name = text.partition("=")
        if not equals or not value.strip().isdigit() or int(value) not in values:
            known = ", ".join(map(str, sorted(values)))
            raise SettingsError(
                f'{text!r} names no mask. Write "VALUE=NAME"; the file has the values {known}.'
            )
        said[int(value)] = name.strip()
    return said


def _show(taken: Sequence[Taken], first: int, namings: Sequence[Naming]) -> None:
    """Print what was taken under which number."""
    table = make_table("", "number", "mask", "planes", "quality", "named by", right=("number", "planes"))
    how: Mapping[str, str] = {n.structure: n.how for n in namings}
    for number, one in enumerate(taken, first):
        quality = "not judged" if one.quality is None else f"{one.quality:.2f}"
        row = (str(number), one.name, str(len(one.masks)), quality, how.get(one.name, "you"))
        table.add_row(*row)
    results().print(table)
