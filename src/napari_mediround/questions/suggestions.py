"""What might be asked next: structures that fit the image and the rounds so far. Knows no model."""

from __future__ import annotations

from dataclasses import dataclass

from napari_mediround.domain.anatomy import Anatomy, Structure
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Conversation, Reference, Round, Target

TRUNK_MM = 280.0
"""A plane at least this wide shows the trunk, a narrower one a head or a limb."""

_TRUNK = ("abdomen", "thorax", "pelvis", "heart", "spine")
_SMALL = ("brain", "head", "neck", "limbs", "spine")
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
    seen so far. Before the first round the modality and the width of the plane say which regions fit.

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
    wanted = [s.name for s in _in_turn(fitting, _regions(geometry, seen))]
    last = _last_structure(anatomy, conversation)
    if last is not None:
        wanted.sort(key=lambda name: name not in last.neighbours)
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
    return (Suggestion(f"the other side of {reference}", f"Segment the counterpart of {reference}"),)


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


def _regions(geometry: Geometry, seen: list[Structure]) -> tuple[str, ...]:
    """Return the likely regions, the likeliest first."""
    known = tuple(dict.fromkeys(s.region for s in seen if s.region != _EVERYWHERE))
    if known or not geometry.calibrated:
        return known
    width = geometry.shape[2] * geometry.spacing_mm[2]
    return _TRUNK if width >= TRUNK_MM else _SMALL


def _in_turn(structures: list[Structure], regions: tuple[str, ...]) -> list[Structure]:
    """Return the structures of the likeliest region first; the regions that are not likely one by one."""
    likely = sorted((s for s in structures if s.region in regions), key=lambda s: regions.index(s.region))
    rest: dict[str, list[Structure]] = {}
    for structure in structures:
        if structure.region not in regions:
            rest.setdefault(structure.region, []).append(structure)
    longest = max((len(group) for group in rest.values()), default=0)
    return likely + [group[i] for i in range(longest) for group in rest.values() if i < len(group)]
