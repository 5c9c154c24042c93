"""What might be asked next: structures that fit the image and the rounds so far. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass

from napari_mediround.domain.anatomy import Anatomy, Structure
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Conversation, Reference, Round, Target

_EVERYWHERE = "general"


@dataclass(frozen=True)
class Suggestion:
    """A question to be asked with one click.

    Parameters
    ----------
    label : str
        Short, for a button ("spleen").
    text : str
        The question ("Segment the spleen").
    """

    label: str
    text: str


def suggest_questions(
    anatomy: Anatomy, geometry: Geometry, modality: str, conversation: Conversation, limit: int = 5
) -> tuple[Suggestion, ...]:
    """Return questions that fit, the likeliest first.

    The counterpart and the neighbours of the last structure come first, then structures of the regions
    seen so far. Before anything was seen only a modality that shows one region alone tells what fits: no
    structure is suggested that may not be in the image.

    Parameters
    ----------
    anatomy : Anatomy
        What can be named.
    geometry : Geometry
        Of the image; without orientation no side is suggested.
    modality : str
        DICOM's code, "" when not known.
    conversation : Conversation
        The rounds so far; what has a mask is not suggested again.
    limit : int
        Most suggestions.
    """
    found = {anatomy.normalise(t.structure) for r in conversation.rounds for t in _there(r)}
    seen = [anatomy[name] for name in found if anatomy.find(name)]
    fitting = [s for s in anatomy if _fits(s, anatomy, geometry, modality, seen) and s.name not in found]
    fitting.sort(key=lambda s: -len(s.neighbours) - 2 * len(s.functions))
    counterpart = _counterpart(anatomy, conversation, found, geometry)
    regions, last = _regions(anatomy, modality, seen), _last_structure(anatomy, conversation)
    near = last.neighbours if last is not None else ()
    wanted = [s.name for s in fitting if s.region in regions or s.name in near]
    wanted.sort(key=lambda name: name not in near)
    named = (Suggestion(name, f"Segment the {name}") for name in wanted)
    return (*counterpart, *named)[:limit]


def _there(round_: Round) -> list[Target]:
    """Return the masks of a round that show something and were not rejected."""
    return [target for target in round_.targets if target.mask.area and target.verdict != "rejected"]


def _last_structure(anatomy: Anatomy, conversation: Conversation) -> Structure | None:
    targets = [t for r in conversation.rounds for t in _there(r)]
    return anatomy.find(targets[-1].structure) if targets else None


def _counterpart(
    anatomy: Anatomy, conversation: Conversation, found: set[str], geometry: Geometry
) -> tuple[Suggestion, ...]:
    last = _last_structure(anatomy, conversation)
    if last is None or not last.mirror or last.mirror in found or not geometry.oriented:
        return ()
    round_ = next(r for r in reversed(conversation.rounds) if _there(r))
    reference = Reference(round_.index, round_.targets.index(_there(round_)[-1]) + 1)
    number = f"[{conversation.number_of(reference)}]"
    return (Suggestion(f"the other side of {number}", f"Segment the counterpart of {number}"),)


def _fits(s: Structure, anatomy: Anatomy, geometry: Geometry, modality: str, seen: list[Structure]) -> bool:
    """Whether a structure may show in the image and is a whole, not a part."""
    if s.region == _EVERYWHERE or not s.shows_in(modality):
        return False
    if any(anatomy.apart(s.region, other.region) for other in seen if other.region != _EVERYWHERE):
        return False
    one_of_a_pair = bool(s.side and s.mirror)
    is_pair = any(anatomy[child].mirror for child in s.children)
    if is_pair if geometry.oriented else one_of_a_pair:
        return False
    return not s.parent or (one_of_a_pair and not anatomy[s.parent].parent)


def _regions(anatomy: Anatomy, modality: str, seen: list[Structure]) -> frozenset[str]:
    """Return the regions that the image is known to show."""
    known = frozenset(s.region for s in seen if s.region != _EVERYWHERE)
    if known or not modality:
        return known
    shown = frozenset(s.region for s in anatomy if s.region != _EVERYWHERE and s.shows_in(modality))
    return shown if len(shown) == 1 else frozenset()
