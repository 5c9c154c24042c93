"""Multi-round dialogues made from labels: what is asked, what it refers to, what is answered.

Every statement about where a structure lies is checked against the pixels before it is written. Knows no
image, no model and no file format.

References
----------
MediRound, arXiv 2511.12110: rounds after the first refer to masks of earlier rounds and may skip back.
Where we differ: several targets and several references a turn, absent structures, turns of plain chat.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain import relations
from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.training.dialogues.turns import Dialogue, Turn
from napari_mediround.training.dialogues.writer import Scene, Script

__all__ = ["Dialogue", "Turn", "make_dialogue", "make_text_dialogue"]


@dataclass(frozen=True)
class DialogueSettings:
    """What a dialogue about a plane is like.

    Parameters
    ----------
    rounds : tuple of int
        Fewest and most rounds.
    min_px : int
        A structure with fewer pixels is neither asked for nor called absent.
    absent_rate, chat_rate : float
        Chance of such a turn, each.
    held_out : bool
        Use only wordings that training never sees.
    known : frozenset of str
        Names that the set labels wherever they are visible. These structures, and structures that cannot lie
        in the same image, may be called absent.
    plane : {"axial", "coronal", "sagittal", ""}
        The view, which says what the directions of an oriented image mean.
    """

    rounds: tuple[int, int] = (2, 6)
    min_px: int = 20
    absent_rate: float = 0.08
    chat_rate: float = 0.04
    held_out: bool = False
    known: frozenset[str] = frozenset()
    plane: str = "axial"


def make_dialogue(
    label_map: NDArray[np.integer],
    names: dict[int, str],
    oriented: bool,
    rng: np.random.Generator,
    anatomy: Anatomy,
    settings: DialogueSettings | None = None,
) -> Dialogue:
    """Make a dialogue about one labelled plane.

    Parameters
    ----------
    label_map : NDArray of int (row, column)
        In display order; 0 is background.
    names : dict of int to str
        Name of each label of the set, whether or not it shows here; any spelling that `anatomy` knows.
    oriented : bool
        Whether the patient's sides are known; without it nothing is said of left and right.
    rng : numpy.random.Generator
        The only source of chance: the same state gives the same dialogue.
    anatomy : Anatomy
    settings : DialogueSettings, optional

    Raises
    ------
    ValueError
        When two labels have one name.
    """
    settings = settings or DialogueSettings()
    named = {value: anatomy.normalise(name) for value, name in names.items()}
    if len(set(named.values())) < len(named):
        raise ValueError(f"two labels have one name: {sorted(named.values())}")
    areas = relations.count_areas(label_map)
    visible = {v: n for v, n in named.items() if areas.get(v, 0) >= settings.min_px}
    shown = {n for v, n in named.items() if v in areas}
    absent = absent_names(shown, {anatomy.normalise(n) for n in settings.known}, anatomy)
    foreign = foreign_names(named.values(), anatomy)
    directions = relations.DIRECTIONS[settings.plane if oriented else ""]
    scene = Scene(visible, absent, foreign, label_map, directions, oriented)
    script = Script(scene, anatomy, rng, settings.held_out)
    return script.write(settings.rounds, settings.absent_rate, settings.chat_rate)


def make_text_dialogue(
    rng: np.random.Generator,
    anatomy: Anatomy,
    *,
    rounds: tuple[int, int] = (2, 6),
    absent_rate: float = 0.0,
    chat_rate: float = 0.04,
    held_out: bool = False,
) -> Dialogue:
    """Make a dialogue about structures of one region, without an image: nothing is said of where they lie.

    Label values number the structures; they stand for no pixels. `absent_rate` is 0 because text alone
    cannot tell what an image lacks. Other parameters as in `make_dialogue`.
    """
    anchor = anatomy.structures[rng.integers(len(anatomy))]
    pool = [s for s in anatomy if not anatomy.apart(anchor.region, s.region)]
    near = [0.2 if re.search(r"\d", s.name) else 1.0 for s in pool]
    weights = np.array([w * (4 if s.region == anchor.region else 1) for w, s in zip(near, pool, strict=True)])
    count = min(int(rng.integers(3, 13)), len(pool))
    drawn = [pool[i] for i in rng.choice(len(pool), count, replace=False, p=weights / weights.sum())]
    drawn += [anatomy[s.mirror] for s in drawn if s.mirror and rng.random() < 0.6]
    sides = {s.name.removeprefix(f"{s.side} ") for s in drawn if s.side}
    chosen = dict.fromkeys(s.name for s in drawn if not s.is_group or s.name not in sides)
    visible = dict(enumerate(chosen, 1))
    scene = Scene(visible, foreign=foreign_names(chosen, anatomy))
    return Script(scene, anatomy, rng, held_out).write(rounds, absent_rate, chat_rate)


def absent_names(shown: set[str], known: set[str], anatomy: Anatomy) -> tuple[str, ...]:
    """Return known structures without a pixel on this plane, none of whose parts or wholes has one."""
    kin = {a for n in shown for a in (n, *anatomy.ancestors(n))}
    return tuple(sorted(n for n in known - kin if not kin & set(anatomy.ancestors(n))))


def foreign_names(labelled: Iterable[str], anatomy: Anatomy) -> tuple[str, ...]:
    """Return structures of regions that cannot lie in one image with any region of the labels."""
    regions = {s.region for s in map(anatomy.find, labelled) if s and s.region != "general"}
    return tuple(s.name for s in anatomy if regions and all(anatomy.apart(r, s.region) for r in regions))
