"""What the masks of a file are: by their SNOMED CT codes first, by their names next, asked where unclear."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from napari_mediround.domain.anatomy import Anatomy, Structure
from napari_mediround.domain.segments import Segment
from napari_mediround.questions.situation import Situation
from napari_mediround.questions.understanding import understand_in
from napari_mediround.questions.words.lexicon import load_lexicon

CODE, NAME, SPELLING, UNCLEAR = "code", "name", "spelling", "unclear"
"""How a name was found: by the file's code, by its name, by a name that may be misspelt, or not for sure."""

_NUMBER_ONLY = re.compile(r"(structure|segment|label|mask|roi|class|region)?[ _-]*\d*", re.IGNORECASE)
_MOST_CHOICES = 6


@dataclass(frozen=True)
class Naming:
    """What one mask of a file is taken for.

    Parameters
    ----------
    segment : Segment
        As the file has it.
    structure : str
        Preferred name, or the likeliest one where it is not sure; "" for none.
    how : {"code", "name", "spelling", "unclear"}
        How it was found.
    choices : tuple of str
        Other preferred names that it may be.
    why : str
        Why a person is asked, in a sentence; "" where nobody is.
    """

    segment: Segment
    structure: str
    how: str
    choices: tuple[str, ...] = ()
    why: str = ""

    @property
    def sure(self) -> bool:
        """Whether nobody needs to be asked."""
        return self.how in (CODE, NAME)


def name_segments(segments: Iterable[Segment], anatomy: Anatomy) -> tuple[Naming, ...]:
    """Return what the masks of a file are, in their order.

    Two masks that would bear one name, where a body has one such structure, are both asked about.
    """
    found = [_name(segment, anatomy) for segment in segments]
    taken = [naming.structure for naming in found]
    return tuple(
        _asked_twice(naming, anatomy) if taken.count(naming.structure) > 1 else naming for naming in found
    )


def _asked_twice(naming: Naming, anatomy: Anatomy) -> Naming:
    structure = anatomy.find(naming.structure) if naming.structure else None
    if structure is None or not structure.is_one or not naming.sure:
        return naming
    why = f"The file has several masks that are called {structure.name}."
    return Naming(naming.segment, naming.structure, UNCLEAR, naming.choices, why)


def _name(segment: Segment, anatomy: Anatomy) -> Naming:
    coded, named, sure = _by_code(segment, anatomy), *_by_name(segment, anatomy)
    both = [structure for structure in coded if structure in named]
    sided = [s for s in both or coded or named if not segment.side or s.side in ("", segment.side)]
    told = f"The file calls it “{segment.name}”"
    if coded and named and not both:
        why = f"{told}, and its code means {_or(coded)}."
        return Naming(segment, "", UNCLEAR, _names((*coded, *named)), why)
    if (both or coded or named) and not sided:
        why = f"{told} and says that it lies on the {segment.side}."
        return Naming(segment, "", UNCLEAR, _names(_with_mirrors(both or coded or named, anatomy)), why)
    exact = [s for s in sided if s.side == segment.side] or sided
    if len(exact) == 1 and coded:
        return Naming(segment, exact[0].name, CODE)
    if len(exact) == 1 and sure:
        return Naming(segment, exact[0].name, NAME)
    if exact:
        likely = exact[0].name if len(exact) == 1 else ""
        how = SPELLING if likely else UNCLEAR
        return Naming(segment, likely, how, _names(exact), f"{told}, which may mean {_or(exact)}.")
    unnamed = _NUMBER_ONLY.fullmatch(segment.name)
    why = "The file gives it no name." if unnamed else f"{told}, which is no structure known here."
    return Naming(segment, "", UNCLEAR, (), why)


def _by_code(segment: Segment, anatomy: Anatomy) -> list[Structure]:
    """Return the structures with a segment's code, those of its side where there are any."""
    if segment.code is None:
        return []
    found = [s for s in anatomy if s.sct is not None and s.sct[0] == segment.code[0]]
    own = [s for s in found if s.side == segment.side]
    return own or found


def _by_name(segment: Segment, anatomy: Anatomy) -> tuple[list[Structure], bool]:
    """Return the structures that a name may mean, and whether that is sure."""
    if _NUMBER_ONLY.fullmatch(segment.name):
        return [], False
    if (exact := anatomy.find(segment.name)) is not None:
        return [_on_side(exact, segment.side, anatomy)], True
    words = " ".join(re.sub(r"[_./-]+", " ", segment.name).split())
    request, lexicon = understand_in(words, Situation()), load_lexicon()
    named = [lexicon.name_of(w) for w in request.targets if w.structure]
    if len(named) != len(request.targets) or request.excluded or not named:
        return [], False
    structures = [_on_side(anatomy[name], segment.side, anatomy) for name in dict.fromkeys(named)]
    return structures, request.sure and len(structures) == 1 and request.action == "segment"


def _on_side(structure: Structure, side: str, anatomy: Anatomy) -> Structure:
    """Return a pair's structure on the side that a file states beside the name."""
    if not side or structure.side or not structure.is_group:
        return structure
    return next((s for s in anatomy if s.plural == structure.plural and s.side == side), structure)


def _with_mirrors(structures: Iterable[Structure], anatomy: Anatomy) -> Iterator[Structure]:
    for structure in structures:
        yield structure
        if structure.mirror:
            yield anatomy[structure.mirror]


def _names(structures: Iterable[Structure]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(s.name for s in structures))[:_MOST_CHOICES]


def _or(structures: Iterable[Structure]) -> str:
    return " or ".join(_names(structures))
