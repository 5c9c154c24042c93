"""Drafts of answers, which the language model checks in one pass instead of one pass for each token.

An answer with masks has a fixed form and takes its names from one list, so most of its tokens can be
predicted. Tokens that the model would not have generated are dropped: the answer is the same without drafts.

References
----------
Leviathan et al., Fast Inference from Transformers via Speculative Decoding, 2023 (arXiv 2211.17192), with a
list in place of the small model and greedy decoding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.model.prompt import PromptTemplate, compose_answer


class Drafts:
    """Possible answers as token ids, the likely ones first.

    Parameters
    ----------
    encode : callable
        Text to token ids.
    template : PromptTemplate
        Gives the tokens that end an answer.
    anatomy : Anatomy
        Gives the names that an answer may contain.
    """

    def __init__(
        self, encode: Callable[[str], list[int]], template: PromptTemplate, anatomy: Anatomy
    ) -> None:
        self._encode, self._template, self._anatomy = encode, template, anatomy
        self._said: dict[tuple[str, ...], list[int]] = {}

    def about(self, text: str, pointed_at: Sequence[str] = ()) -> Callable[[list[int]], list[int]]:
        """Return a function that takes the tokens so far and returns those that may follow, or none.

        Parameters
        ----------
        text : str
            The question.
        pointed_at : sequence of str
            Structures of its references.
        """
        named = self._anatomy.names_in(text)
        found = [self._anatomy.find(name) for name in pointed_at]
        guesses = [named] if named else []
        guesses += [(s.mirror,) for s in found if s and s.mirror]
        likely = [self.say(names) for names in (*guesses, *((name,) for name in (*named, *pointed_at)))]

        def go_on(said: list[int]) -> list[int]:
            for answer in (*likely, *self._any):
                if answer[: len(said)] == said:
                    return answer[len(said) :]
            return []

        return go_on

    def say(self, names: Sequence[str]) -> list[int]:
        """Return the tokens of an answer that names these structures; each answer is encoded once."""
        key = tuple(names)
        if key not in self._said:
            self._said[key] = self._template.answer(self._encode, compose_answer(names))
        return self._said[key]

    @cached_property
    def _any(self) -> list[list[int]]:
        return [self.say((structure.name,)) for structure in self._anatomy]
