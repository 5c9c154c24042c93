"""What a question is asked in: the masks so far, the plane, what the image shows. Values only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Conversation
from napari_mediround.domain.study import Study
from napari_mediround.questions.request import Ref


@dataclass(frozen=True)
class Drawn:
    """A mask of the conversation.

    Parameters
    ----------
    round, index : int
        From 1.
    structure : str
        As answers name it ("left kidney"), or as a person renamed it.
    plane : int
        0-based.
    verdict : {"proposed", "accepted", "corrected", "rejected"}
    number : int
        By which people know it; 0 where "[2]" means round 2.
    """

    round: int
    index: int
    structure: str
    plane: int = 0
    verdict: str = "proposed"
    number: int = 0

    @property
    def ref(self) -> Ref:
        """Round and index."""
        return self.round, self.index


@dataclass(frozen=True)
class Situation:
    """Everything that the meaning of a question may depend on.

    Parameters
    ----------
    masks : tuple of Drawn
        In order.
    modality : str
        DICOM's code, "" where it is not known.
    region : str
        Region of the anatomy that the image is known to show, "" where it is not.
    plane : int or None
        Plane asked about; None for that of the last mask.
    planes : int
        How many the study has; 0 where that is not known.
    pointed : tuple of (int, int)
        Masks that a person chose for words which may mean several.
    """

    masks: tuple[Drawn, ...] = ()
    modality: str = ""
    region: str = ""
    plane: int | None = None
    planes: int = 0
    pointed: tuple[Ref, ...] = ()

    @cached_property
    def alive(self) -> tuple[Drawn, ...]:
        """Masks that were not rejected."""
        return tuple(m for m in self.masks if m.verdict != "rejected")

    @cached_property
    def last(self) -> tuple[Drawn, ...]:
        """Masks of the last round that has any."""
        return tuple(m for m in self.alive if m.round == self.alive[-1].round)

    @cached_property
    def regions(self) -> frozenset[str]:
        """Regions that the image shows, as far as that is known."""
        anatomy = load_anatomy()
        found = {s.region for m in self.alive if (s := anatomy.find(m.structure)) and s.region != "general"}
        return frozenset(found | ({self.region} if self.region else set()))

    @property
    def here(self) -> int:
        """The plane asked about."""
        if self.plane is not None:
            return self.plane
        return self.masks[-1].plane if self.masks else 0

    def one_each(self, masks: Iterable[Drawn]) -> list[Drawn]:
        """Return one mask of each structure that has masks on several planes: that on the plane asked about.

        Where that plane has none, it is the last one asked for.
        """
        chosen: dict[object, Drawn] = {}
        for mask in masks:
            key = mask.number or mask.ref
            if key not in chosen or chosen[key].plane != self.here:
                chosen[key] = mask
        return list(chosen.values())

    @classmethod
    def from_json(cls, state: Iterable[Mapping], modality: str = "", region: str = "") -> Situation:
        """Return the situation that a line of the corpus or a state file describes."""
        masks = (
            Drawn(
                m["round"], m.get("index", 1), m["structure"], m.get("plane", 0), m.get("verdict", "proposed")
            )
            for m in state
        )
        return cls(tuple(masks), modality or "", region or "")

    @classmethod
    def of(
        cls, conversation: Conversation, study: Study | None = None, plane: int | None = None
    ) -> Situation:
        """Return the situation of a conversation about a study; masks without a pixel are left out."""
        masks = tuple(
            Drawn(
                *(m.reference.round, m.reference.target, m.target.structure, m.round.plane),
                m.target.verdict or "proposed",
                m.number,
            )
            for m in conversation.masks()
            if not m.round.carried and m.target.mask.area
        )
        return cls(masks, study.modality if study else "", "", plane, study.planes if study else 0)
