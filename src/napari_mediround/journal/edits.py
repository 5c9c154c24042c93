"""Entries of masks that were changed or renamed in words, and what a label keeps of them. Knows no file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.recipes import Recipe
from napari_mediround.domain.rounds import Round

if TYPE_CHECKING:
    from napari_mediround.journal.entries import Mark


@dataclass(frozen=True)
class MaskEdited:
    """A person changed masks in words; all of it is one step.

    Parameters
    ----------
    recipe : Recipe
        What was done to each mask.
    marks : tuple of Mark
        The masks with what they were and what they became, one for each plane.
    inputs : tuple of (int, Mask)
        Label values of the other masks that it depends on, as they were.
    rounds : tuple of Round
        One for each plane that the mask has reached and did not lie on, as carried there.
    first_label : int
        Label value of the first of those.
    names : tuple of (int, str)
        Label values and their names from now on: the mirrored left kidney is a right one.
    again : bool
        Whether the last recipe was done again, on what was before it, as another mask had changed.
    """

    recipe: Recipe
    marks: tuple[Mark, ...]
    inputs: tuple[tuple[int, Mask], ...] = ()
    rounds: tuple[Round, ...] = ()
    first_label: int = 0
    names: tuple[tuple[int, str], ...] = ()
    again: bool = False


@dataclass(frozen=True)
class MaskRenamed:
    """A person gave masks, by their label values, another name."""

    labels: tuple[int, ...]
    name: str


@dataclass(frozen=True)
class Applied:
    """A recipe that a mask has gone through, with all that it was done to and with.

    Parameters
    ----------
    recipe : Recipe
        The operation.
    before, after : Mask
        The mask on this plane.
    inputs : tuple of (int, Mask)
        Label values of the other masks, as they were.
    """

    recipe: Recipe
    before: Mask
    after: Mask
    inputs: tuple[tuple[int, Mask], ...] = ()
