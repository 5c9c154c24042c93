"""From a dialogue to the sequence that the language model reads: token ids and slots for features.

A slot is a place where a feature vector replaces the embedding of a token. Two sequences with a common prefix
share the key-value cache of the prefix. Knows no tensor.

References
----------
MediRound's tokens `[CROPPEDIMAGE]`, `[BBOXINPUT]`, `[SEG]` (Edisonhimself/MediRound at 770a5c7). Ours:
`[ABSENT]` after a structure that is not visible; a reference says its round and structure.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SEG, ABSENT, CROP, BOX = "[SEG]", "[ABSENT]", "[CROPPEDIMAGE]", "[BBOXINPUT]"
NEW_TOKENS = (SEG, ABSENT, CROP, BOX)
_TOKEN = re.compile(r"\[(SEG|ABSENT)\]")
_LEAD = re.compile(r"^(?:(?:and|but|the|a|an)\b\s*)+", re.IGNORECASE)


@dataclass(frozen=True)
class Slot:
    """A place for a feature vector.

    Parameters
    ----------
    kind : {"image", "crop", "box"}
        Kind of the vector.
    key : str
        Key of the content: that of the image, for references followed by that of the mask.
    index : int
        Number among the vectors of that kind and key.
    """

    kind: str
    key: str
    index: int = 0


@dataclass(frozen=True)
class ReferenceSlot:
    """A resolved reference as the prompt needs it.

    Parameters
    ----------
    name : str
        Text before the features: number and structure, "[1] liver".
    key : str
        Key of its features; "" for none (dialogues without pixels).
    """

    name: str
    key: str


Sequence_ = list[int | Slot]


@dataclass(frozen=True)
class PromptTemplate:
    """The words around turns, as the language model was trained.

    Parameters
    ----------
    system, user, user_end, assistant, assistant_end : str
        ChatML's or Mistral's markers.
    image_tokens : int
        Number of image slots.
    """

    system: str
    user: str
    user_end: str
    assistant: str
    assistant_end: str
    image_tokens: int

    def opening(self, encode: Callable[[str], list[int]], image_key: str) -> Sequence_:
        """Return the system text and the image slots; an empty key means no image."""
        count = self.image_tokens if image_key else 0
        return [*encode(self.system), *(Slot("image", image_key, i) for i in range(count))]

    def question(
        self, encode: Callable[[str], list[int]], number: int, text: str, references: Sequence[ReferenceSlot]
    ) -> Sequence_:
        """Return one user turn and the start of the answer; `number` is the round's, from 1."""
        pieces: Sequence_ = encode(f"{self.user}Round {number}.")
        for reference in references:
            pieces += encode(f" {reference.name}")
            if reference.key:
                pieces += [Slot("crop", reference.key), Slot("box", reference.key)]
        return [*pieces, *encode(f" {text.strip()}{self.user_end}{self.assistant}")]

    def answer(self, encode: Callable[[str], list[int]], text: str) -> Sequence_:
        """Return the rest of an assistant turn."""
        return encode(f"{text}{self.assistant_end}")


def common_prefix(first: Sequence_, second: Sequence_) -> int:
    """Return the length of the common prefix of two sequences."""
    count = 0
    for a, b in zip(first, second, strict=False):
        if a != b:
            break
        count += 1
    return count


def parse_answer(text: str) -> tuple[list[str], list[str]]:
    """Return the structures named before each `[SEG]` and before each `[ABSENT]`, in order.

    A token with no name before it gives "structure".
    """
    shown, absent = [], []
    start = 0
    for token in _TOKEN.finditer(text):
        words = re.split(r"[\[\],.;:]", text[start : token.start()])[-1].strip()
        (shown if token[1] == "SEG" else absent).append(_LEAD.sub("", words) or "structure")
        start = token.end()
    return shown, absent


def compose_answer(shown: Sequence[str], absent: Sequence[str] = ()) -> str:
    """Return the answer the model is trained to give ("" for chat).

    >>> compose_answer(["liver", "right kidney"], ["spleen"])
    'The liver [SEG] and the right kidney [SEG], but the spleen [ABSENT].'
    """
    parts = [
        _join([f"the {name} {token}" for name in names])
        for names, token in ((shown, SEG), (absent, ABSENT))
        if names
    ]
    text = ", but ".join(parts)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def plain_question(names: Sequence[str]) -> str:
    """Return the plain question for structures: "Segment the liver and the spleen."."""
    return f"Segment {_join([f'the {name}' for name in names])}."


def _join(parts: list[str]) -> str:
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else parts[0]


def readable(text: str) -> str:
    """Return an answer without special tokens, as a person reads it."""
    text = re.sub(r"([^\[\],.;:]+?)\s*\[ABSENT\]", r"\1 is not visible here", text)
    text = re.sub(r"\s*\[(SEG|CROPPEDIMAGE|BBOXINPUT)\]", "", text)
    return re.sub(r"\s+([.,])", r"\1", text).strip()
