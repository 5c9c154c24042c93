"""Which structure a new mask is another plane of, and what a plane has already. Knows no image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, NumberedMask, Target
from napari_mediround.errors import AlreadyThereError
from napari_mediround.questions.request import Request
from napari_mediround.questions.words.lexicon import load_lexicon

ALREADY = "Plane {} has a mask of the {} already: [{}]."


@dataclass(frozen=True)
class Manner:
    """How a question is to be taken, beside its words.

    Parameters
    ----------
    again : {"ask", "replace", "both"}
        What becomes of a structure that has a mask on the plane: the person is asked, the new mask takes the
        place of the old one, or it is drawn beside that one with a number of its own.
    stack : bool
        Whether what is drawn is to be followed through the stack, where the words do not say so themselves.
    """

    again: str = "both"
    stack: bool = False

    def __post_init__(self) -> None:
        if self.again not in ("ask", "replace", "both"):
            raise ValueError(f"{self.again!r} is none of ask, replace, both")


def leave_out_known(
    request: Request, conversation: Conversation, plane: int, through: bool
) -> tuple[Request | None, tuple[NumberedMask, ...]]:
    """Return a request without the structures that have a mask on the plane, None if none is left; and those.

    Parameters
    ----------
    request : Request
        Of the action "segment".
    conversation : Conversation
        The rounds so far.
    plane : int
        0-based plane that is asked about.
    through : bool
        Whether the structures are to be followed through the stack: then nothing needs to be drawn here.

    Raises
    ------
    AlreadyThereError
        When all of them have one and are not to be followed; its `masks` refer to those.
    """
    wanted = request.targets
    if request.references or request.then or not wanted or not all(w.structure for w in wanted):
        return request, ()
    lexicon, known = load_lexicon(), {}
    for mask in _standing(conversation):
        if mask.round.plane == plane and mask.target.mask.area:
            known[mask.target.structure] = mask
    names = list(dict.fromkeys(n for w in wanted for n in _single(lexicon.name_of(w))))
    there = tuple(known[name] for name in names if name in known)
    missing = tuple(lexicon.wanted(name) for name in names if name not in known)
    if missing:
        return (replace(request, targets=missing) if there else request), there
    if not through:
        said = (ALREADY.format(plane, m.target.structure, m.number) for m in there)
        raise AlreadyThereError(" ".join(said), tuple(m.reference for m in there))
    return None, there


def join_numbers(
    targets: Sequence[Target], conversation: Conversation, plane: int, replaces: bool = False
) -> tuple[int, ...]:
    """Return for each mask of an answer the number of the structure that it is another plane of, 0 for none.

    A structure that may occur several times (a lesion) is joined only where its masks touch.

    Parameters
    ----------
    targets : sequence of Target
        The answer.
    conversation : Conversation
        The rounds before it.
    plane : int
        0-based plane of the answer.
    replaces : bool
        Whether a mask on the plane itself may be replaced.
    """
    joined: list[int] = []
    standing = _standing(conversation)
    for target in targets:
        own: dict[int, list[NumberedMask]] = {}
        for mask in standing:
            if mask.target.structure == target.structure:
                own.setdefault(mask.number, []).append(mask)
        fitting = {
            number: _nearness(target.mask, masks, plane)
            for number, masks in own.items()
            if number not in joined
            and (replaces or not any(m.round.plane == plane and m.target.mask.area for m in masks))
        }
        structure = load_anatomy().find(target.structure)
        if structure is None or not structure.is_one:
            fitting = {number: near for number, near in fitting.items() if near[1]}
        joined.append(max(fitting, key=lambda number: (fitting[number], -number), default=0))
    return tuple(joined) if any(joined) else ()


def _standing(conversation: Conversation) -> list[NumberedMask]:
    return [mask for mask in conversation.masks() if mask.target.verdict != "rejected"]


def _single(name: str) -> Iterable[str]:
    structure = load_anatomy().find(name)
    return structure.children if structure is not None and structure.is_group else (name,)


def _nearness(mask: Mask, masks: list[NumberedMask], plane: int) -> tuple[int, int]:
    """Return how near the nearest mask is, in planes (negative), and the pixels in common with it."""
    near = min(masks, key=lambda m: (not m.target.mask.area, abs(m.round.plane - plane)))
    shared = int((near.target.mask.to_array() & mask.to_array()).sum()) if mask.area else 0
    return -abs(near.round.plane - plane), shared
