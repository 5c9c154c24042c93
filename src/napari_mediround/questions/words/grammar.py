"""The rules of resources/words/grammar.toml, compiled. Knows no token."""

from __future__ import annotations

import re
from functools import cache

from napari_mediround.questions.words.lexicon import read_words


@cache
def rules(section: str) -> dict[str, tuple[re.Pattern, ...]]:
    """Return the rules of a section by their name, in the order of the file."""
    table = read_words("grammar")[section]
    return {
        name: tuple(re.compile(p) for p in patterns)
        for name, patterns in table.items()
        if isinstance(patterns, list)
    }


def fits(section: str, name: str, text: str) -> re.Match | None:
    """Return the first match of a rule in a text."""
    return next((m for p in rules(section)[name] if (m := p.search(text))), None)


def first(section: str, text: str, skip: tuple[str, ...] = ()) -> str:
    """Return the name of the first rule of a section that a text matches, "" for none."""
    return next((name for name in rules(section) if name not in skip and fits(section, name, text)), "")
