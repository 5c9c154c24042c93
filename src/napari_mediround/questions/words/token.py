"""One word of controlled English, and what it points at. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from napari_mediround.questions.request import Ref, Wanted


@dataclass(frozen=True)
class Pointer:
    """Masks that words point at, or why they point at none.

    Parameters
    ----------
    masks : tuple of (int, int)
        Rounds and masks in them.
    problem : str
        "" or "dangling".
    several : bool
        Whether one number means several masks.
    """

    masks: tuple[Ref, ...] = ()
    problem: str = ""
    several: bool = False


@dataclass(frozen=True)
class Token:
    """One word of controlled English.

    Parameters
    ----------
    kind : {"S", "X", "R", "A", "N", "W", "P"}
        A structure, a name of what is not known, a pointer, an amount, a number, a word, a mark.
    word : str
        Folded, as the rules see it.
    typed : str
        As typed.
    wanted : tuple of Wanted
        Of S and X.
    pointer : Pointer
        Of R.
    amount : (float or None, str)
        Of A: millimetres or millilitres, and which; None for a unit that means nothing here.
    sure : bool
        False where a misspelt word was mended far.
    choices : tuple of Wanted
        Where it may mean several.
    """

    kind: str
    word: str
    typed: str = ""
    wanted: tuple[Wanted, ...] = ()
    pointer: Pointer = Pointer()
    amount: tuple[float | None, str] = (None, "")
    sure: bool = True
    choices: tuple[Wanted, ...] = ()
