"""A dialogue about one study: rounds, what they refer to, what they answered. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

from napari_mediround.domain.mask import Mask

LOW_QUALITY = 0.6
"""Below this judged quality a mask is marked for a second look: the corrector's threshold."""

MENTIONED_SHARE = 0.02
"""From this share on it is said how much of a mask the labels do not show, as it lies under others."""


FIRST_PLANE_LABEL = 2**20
"""Label values from here on are of further planes of an imported mask: nobody sees them as a number."""

IMPORTED_AS = (
    "nifti", "nrrd", "metaimage", "mgh", "seg-nrrd", "dicom-seg", "rtstruct", "picture", "layer", "shapes",
)  # fmt: skip
"""What masks can come as, beside being asked for."""


@dataclass(frozen=True)
class Imported:
    """Where a mask came from that no question asked for.

    Parameters
    ----------
    sha256 : str
        Of the file; of the pixels, for a layer of the viewer.
    form : str
        What it came as: a word of `IMPORTED_AS`.
    origin : {"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"}
        How the mask came to be, as the file says; MANUAL where the file says nothing.
    code : str
        SNOMED CT code of the file, without the side; "" for none.
    side : {"left", "right", ""}
        The patient's, as the file says.
    resampled : bool
        Whether it was brought from another grid, by nearest neighbour.
    """

    sha256: str
    form: str
    origin: str
    code: str = ""
    side: str = ""
    resampled: bool = False

    def __post_init__(self) -> None:
        if self.form not in IMPORTED_AS:
            raise ValueError(f"{self.form!r} is none of {', '.join(IMPORTED_AS)}")


@dataclass(frozen=True)
class Reference:
    """A pointer from a question to the mask of an earlier round.

    Parameters
    ----------
    round : int
        1-based number of the round referred to.
    target : int
        1-based number of the mask in that round.
    phrase : str
        The words of the question that mean it ("[1]", "it", "the liver").
    """

    round: int
    target: int = 1
    phrase: str = ""

    def __str__(self) -> str:
        return f"[{self.round}.{self.target}]"


@dataclass(frozen=True)
class Target:
    """One mask of an answer.

    Parameters
    ----------
    structure : str
        Name as the model says it ("left kidney").
    mask : Mask
        On the plane that was asked about, in display order.
    quality : float or None
        Judged IoU, 0…1; None for a mask that came from elsewhere and was not judged.
    corrected : bool
        Whether the corrector's mask replaced the first one.
    verdict : {"", "accepted", "corrected", "rejected"}
        What a person said of it; "" while it is a proposal.
    """

    structure: str
    mask: Mask
    quality: float | None
    corrected: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Answer:
    """What a segmenter says to one question.

    Parameters
    ----------
    text : str
        The reply, readable.
    targets : tuple of Target
        One for each mask; empty when the reply is chat or the structure is not visible.
    absent : tuple of str
        Structures that were asked for and are not visible.
    image : str
        Key of the image that the masks lie on (as `set_image` returned it).
    note : str
        What the user should know of how it was computed (a fallback after out of memory, say).
    """

    text: str
    targets: tuple[Target, ...] = ()
    absent: tuple[str, ...] = ()
    image: str = ""
    note: str = ""


@dataclass(frozen=True)
class Round:
    """A question, what it referred to, and its answer.

    Parameters
    ----------
    index : int
        1-based number in the conversation.
    plane : int
        0-based index of the plane asked about, in display order.
    text : str
        The question as typed.
    references : tuple of Reference
        Resolved before the model ran.
    answer : Answer
        The segmenter's reply.
    seconds : float
        From question to answer.
    window : str, (level, width) or None
        CT window that was asked for.
    parent : int, optional
        `id` of the round before it, 0 for none; None where nobody says.
    id : int
        What the record calls it, the same on every branch; 0 until it is recorded.
    carried : bool
        Nobody asked for it in words: each of its masks was propagated from the reference in the same place,
        a mask on another plane.
    first_number : int
        Number of its first mask (see `Conversation.numbers`); 0 until it is recorded.
    joins : tuple of int
        For each mask the number of the structure that it is another plane of, 0 for a structure of its own;
        empty where all are. Masks that were propagated join through their references.
    batch : int
        Rounds of one batch are taken back together; 0 is a step of its own.
    imported : Imported, optional
        Where its one mask came from, when no model drew it.
    through : tuple of int, optional
        First and last plane through which its structures, and those of `follows`, are to be followed; None
        for its plane alone. It is not recorded: what was begun is.
    follows : tuple of Reference
        Masks that were there before and are to be followed as well.
    """

    index: int
    plane: int
    text: str
    references: tuple[Reference, ...]
    answer: Answer
    seconds: float = 0.0
    window: str | tuple[float, float] | None = None
    parent: int | None = None
    id: int = 0
    carried: bool = False
    first_number: int = 0
    joins: tuple[int, ...] = ()
    batch: int = 0
    imported: Imported | None = None
    through: tuple[int, int] | None = None
    follows: tuple[Reference, ...] = ()

    @property
    def targets(self) -> tuple[Target, ...]:
        """The answer's masks."""
        return self.answer.targets


@dataclass(frozen=True)
class NumberedMask:
    """One mask of a conversation with where it stands.

    Parameters
    ----------
    reference : Reference
        Its round and place.
    round : Round
        The round.
    target : Target
        The mask.
    number : int
        By which people know it; planes of one structure share theirs.
    """

    reference: Reference
    round: Round
    target: Target
    number: int


@dataclass(frozen=True)
class Conversation:
    """The rounds so far, in order; adding one gives a new conversation."""

    rounds: tuple[Round, ...] = ()

    def __post_init__(self) -> None:
        if [r.index for r in self.rounds] != list(range(1, len(self.rounds) + 1)):
            raise ValueError("rounds are numbered 1, 2, 3, … without gaps")
        for later in self.rounds:
            for reference in later.references:
                if not 1 <= reference.round < later.index:
                    raise ValueError(f"round {later.index} refers to round {reference.round}")

    def __len__(self) -> int:
        return len(self.rounds)

    def add(self, round_: Round) -> Conversation:
        """Return the conversation with `round_` at its end."""
        return replace(self, rounds=(*self.rounds, round_))

    @cached_property
    def numbers(self) -> dict[tuple[int, int], int]:
        """The number by which people know each mask, by its (round, target).

        The same number is on its card, in the Labels layer, in exports and between brackets in a question.
        Masks are counted through all rounds, those on other branches too; a mask that was carried to
        another plane, or asked for there, has the number of the structure that it is of.
        """
        numbers: dict[tuple[int, int], int] = {}
        following = 1
        for round_ in self.rounds:
            first = round_.first_number or following
            if first < FIRST_PLANE_LABEL:
                following = first + len(round_.targets)
            for target in range(1, len(round_.targets) + 1):
                numbers[round_.index, target] = first + target - 1
            for target, number in enumerate(round_.joins, 1):
                numbers[round_.index, target] = number or numbers[round_.index, target]
            if round_.carried:
                for target, source in enumerate(round_.references[: len(round_.targets)], 1):
                    numbers[round_.index, target] = numbers[source.round, source.target]
        return numbers

    def masks(self) -> Iterator[NumberedMask]:
        """Yield every mask, rejected and empty ones too, in the order of the rounds."""
        for round_ in self.rounds:
            for place, target in enumerate(round_.targets, 1):
                number = self.numbers[round_.index, place]
                yield NumberedMask(Reference(round_.index, place), round_, target, number)

    def number_of(self, reference: Reference) -> int:
        """Return the number of the mask that `reference` means; `LookupError` where there is none."""
        self.target(reference)
        return self.numbers[reference.round, reference.target]

    def numbered(self, number: int) -> tuple[Reference, ...]:
        """Return the masks with a number, that of the question first, then those carried from it."""
        return tuple(Reference(*place) for place, own in self.numbers.items() if own == number)

    def target(self, reference: Reference) -> Target:
        """Return the mask that `reference` means.

        Raises
        ------
        LookupError
            When there is no such round or mask.
        """
        if not 1 <= reference.round <= len(self.rounds):
            raise LookupError(f"there is no round {reference.round}")
        targets = self.rounds[reference.round - 1].targets
        if not 1 <= reference.target <= len(targets):
            raise LookupError(f"round {reference.round} has {len(targets)} masks")
        return targets[reference.target - 1]

    def latest(self, structure: str, image: str) -> Target | None:
        """Return the latest mask of a structure on an image, with pixels and not rejected; None for none."""
        for round_ in reversed(self.rounds):
            for target in reversed(round_.targets if round_.answer.image == image else ()):
                if target.structure == structure and target.mask.area and target.verdict != "rejected":
                    return target
        return None
