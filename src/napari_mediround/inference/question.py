"""The values that a question becomes on its way to an answer, one for each step. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from napari_mediround.domain.rounds import Conversation, Reference, Target
from napari_mediround.model.prompt import Slot


@dataclass(frozen=True)
class Question:
    """One question about one plane.

    Parameters
    ----------
    text : str
        The words.
    conversation : Conversation
        The rounds before the question.
    references : tuple of Reference
        The masks that the question points at.
    image : str
        Key of the plane.
    view : str
        View of the plane, a key of `domain.relations.DIRECTIONS`; "" if the patient's sides are not known.
    modality : str
        DICOM's code, "" if unknown.
    structures : tuple of str
        Preferred names of the structures that the question is known to mean; empty if the model has to read
        the words.
    """

    text: str
    conversation: Conversation = field(default_factory=Conversation)
    references: tuple[Reference, ...] = ()
    image: str = ""
    view: str = ""
    modality: str = ""
    structures: tuple[str, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The masks that the question points at."""
        return tuple(self.conversation.target(reference) for reference in self.references)

    @property
    def pointed_at(self) -> tuple[str, ...]:
        """The structures of these masks."""
        return tuple(target.structure for target in self.targets)


@dataclass(frozen=True)
class Understood:
    """A question that can be read.

    Parameters
    ----------
    question : Question
        With masks that lie where their structures appear, and in plain words if its structures are known.
    notes : tuple of str
        Notes beside the answer: which masks were replaced.
    """

    question: Question
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Located:
    """A question, and which structures it can only mean.

    Parameters
    ----------
    question : Question
    names : tuple of str
        Structures that the question names, or the one at the place that it asks for. Empty: the language
        model decides.
    """

    question: Question
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Prompt:
    """What the language model reads before it answers.

    Parameters
    ----------
    pieces : list of int or Slot
        Token ids and slots.
    raw : mapping of (kind, key) to Tensor
        Features of the slots, as `MediRound.embed_pieces` takes them.
    """

    pieces: list[int | Slot]
    raw: Mapping[tuple[str, str], Tensor]


@dataclass(frozen=True)
class Said:
    """What the language model answers.

    Parameters
    ----------
    names : tuple of str
        Structures to segment, N of them, as the answer names them.
    absent : tuple of str
        Structures that the answer calls not visible.
    vectors : Tensor
        (N, C) SEG vectors, float32.
    unsure : bool
        Whether the model was uncertain which structure the question describes.
    """

    names: tuple[str, ...]
    absent: tuple[str, ...]
    vectors: Tensor
    unsure: bool = False
