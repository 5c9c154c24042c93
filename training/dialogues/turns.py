"""Questions and answers as values, and the one format of an answer. Knows no pixel and no wording."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Turn:
    """One question and its answer.

    Parameters
    ----------
    question : str
        With "[k]" or "[k.j]", a pronoun or a name where it refers to an earlier mask.
    references : tuple of (int, int)
        (round, target), both from 1, in the order of the text.
    answer : str
        "The liver [SEG] and the right kidney [SEG].", "The spleen [ABSENT]." or "" for chat.
    targets : tuple of int
        Label values, one for each [SEG].
    target_names : tuple of str
        Their names as the answer says them.
    kind : str
        What sort of question it is ("name", "mirror", "chat", …).
    absent : tuple of str
        Names of the [ABSENT] structures.
    """

    question: str
    references: tuple[tuple[int, int], ...]
    answer: str
    targets: tuple[int, ...]
    target_names: tuple[str, ...]
    kind: str
    absent: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        marks = self.answer.count("[SEG]"), self.answer.count("[ABSENT]")
        if marks != (len(self.targets), len(self.absent)) or len(self.targets) != len(self.target_names):
            raise ValueError(f"{self.answer!r} does not fit {self.target_names} and {self.absent}")

    @property
    def points(self) -> bool:
        """Whether it points at a mask, and not to have that again."""
        return bool(self.references) and self.kind != "again"


@dataclass(frozen=True)
class Dialogue:
    """The turns of one dialogue, round 1 first; references point back at masks that exist."""

    turns: tuple[Turn, ...]

    def __post_init__(self) -> None:
        for number, turn in enumerate(self.turns, 1):
            for round_, target in turn.references:
                if not 1 <= round_ < number or not 1 <= target <= len(self.turns[round_ - 1].targets):
                    raise ValueError(f"round {number} refers to [{round_}.{target}], which does not exist")

    def needs_mask(self, turn: Turn) -> bool:
        """Whether a turn cannot be understood without an earlier mask.

        It points at one that it does not name, neither to have that again nor beside a description of what
        it wants: "the hollow neighbour of [1]" says enough by itself.
        """
        names = (self.turns[round_ - 1].target_names[target - 1] for round_, target in turn.references)
        unnamed = any(name.lower() not in turn.question.lower() for name in names)
        return turn.points and turn.kind != "function" and unnamed


def join_names(parts: list[str]) -> str:
    """Return "a", "a and b" or "a, b and c"."""
    return ", ".join(parts[:-1]) + " and " + parts[-1] if len(parts) > 1 else "".join(parts)
