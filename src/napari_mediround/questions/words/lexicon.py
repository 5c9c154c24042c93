"""All names and words that a question may use, found by the longest match. Built from the anatomy and TOML."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import OSA

from napari_mediround import resources
from napari_mediround.domain.anatomy import Anatomy, load_anatomy
from napari_mediround.questions.request import Wanted
from napari_mediround.questions.words.plain_text import fold

WORDS = Path(resources.__file__).parent / "words"


LONGEST = 8


"""Most words of a name."""


SIDES = {
    "left": "left lt lft lhs sin sinister sinistra sinistrum sinistri leftsided lefthand l leftward leftmost", "right": "right rt rhs dext dex dexter dextra dextrum dextri rightsided righthand r rght rightward rightmost",
    "both": "both bilateral bilat bilaterally",
}  # fmt: skip


_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]")


def read_words(name: str) -> dict:
    """Return one of the files of words."""
    return tomllib.loads((WORDS / f"{name}.toml").read_text(encoding="utf-8"))


def key_of(text: str) -> str:
    """Return the words of a name, folded, one space between."""
    return " ".join(re.findall(r"[^\W_]+", fold(text)))


@dataclass(frozen=True)
class Entry:
    """What a name means: structures, or a description of what is not known, or one side of a pair of words."""

    wanted: tuple[Wanted, ...]
    short: bool = False
    regions: frozenset[str] = frozenset()


class Lexicon:
    """Names and words.

    Parameters
    ----------
    anatomy : Anatomy
        Every structure's name and synonyms are taken from it.
    """

    def __init__(self, anatomy: Anatomy) -> None:
        self.anatomy = anatomy
        english = read_words("english")
        self.common = frozenset(read_words("common")["words"].split())
        self.plain = frozenset(fold(w) for w in english["plain"]["words"].split())
        self.parts = frozenset(english["parts"]["words"].split())
        self.qualities = frozenset(fold(w) for w in english["qualities"]["words"].split())
        self.sides = {word: side for side, words in SIDES.items() for word in words.split()}
        self.short, self.dotted = english["short"], english["dotted"]
        self.kinds = anatomy.kinds
        groups = {s.plural: s.name for s in anatomy if s.is_group}
        self._base = {s.name: (groups.get(s.plural, s.name) if s.mirror else s.name, s.side if s.mirror else "both" if s.is_group else "")
                      for s in anatomy}  # fmt: skip
        self._by_side = {pair: name for name, pair in self._base.items()}
        self.entries: dict[str, list[Entry]] = {}
        for structure in anatomy:
            for name in dict.fromkeys(
                (structure.name, *structure.synonyms, structure.plural or structure.name)
            ):
                owner = (
                    structure.name
                    if name != structure.plural or structure.is_group
                    else groups[structure.plural]
                )
                self._add(name, (self.wanted(owner),))
        for name, more in english["names"].items():
            for word in more:
                self._add(word, (self.wanted(name),))
        for region, names in english["regions"].items():
            for name, more in names.items():
                for word in more:
                    self._add(word, (self.wanted(name.strip()),), frozenset({region}))
        for word, names in english["groups"].items():
            self._add(word, tuple(self.wanted(n) for n in names))
        self.neutral = frozenset(key_of(w) for w in english["neutral"]["words"])
        self.ambiguous = {
            key_of(w): tuple(self.wanted(n) for n in names) for w, names in english["ambiguous"].items()
        }
        known = set(self.entries)
        self.absent: dict[str, Entry] = {}
        for word, full in english["absent"].items():
            if key_of(word) not in known and key_of(full or word) not in known:
                short = word.isupper() and len(word) < 5
                for key in {key_of(word), key_of(word) if short else _plural(key_of(word))}:
                    self.absent.setdefault(key, Entry((Wanted(described=full or word),), short))
        self.ambiguous |= {_plural(k): v for k, v in self.ambiguous.items() if _plural(k) not in known}

    def _add(self, name: str, wanted: tuple[Wanted, ...], regions: frozenset[str] = frozenset()) -> None:
        short = name.isupper() and len(name) < 5 and name.isalpha()
        entry = Entry(wanted, short, regions)
        keys = {key_of(name)}
        if not short and not regions:
            keys |= {_plural(k) for k in keys} | {k.removesuffix("s") for k in keys if " " in k}
        for key in keys:
            there = self.entries.setdefault(key, [])
            if all((e.wanted, e.regions) != (wanted, regions) for e in there) and (
                regions or not there or all(e.regions for e in there)
            ):
                there.append(entry)

    def wanted(self, name: str) -> Wanted:
        """Return a structure, by any of its names, as a target: the pair's name and the side."""
        structure = self.anatomy[name]
        base, side = self._base[structure.name]
        return Wanted(base, side)

    def name_of(self, wanted: Wanted) -> str:
        """Return the preferred name of a target, with its side: "left kidney"."""
        return self._by_side.get((wanted.structure, wanted.side), wanted.structure)

    def is_pair(self, structure: str) -> bool:
        """Whether there is a left and a right one."""
        return (structure, "left") in self._by_side

    @cached_property
    def vocabulary(self) -> tuple[str, ...]:
        """Words of names and orders that a misspelt word may mean."""
        words = {
            w for key in (*self.entries, *self.absent) for w in key.split() if len(w) > 3 and w.isalpha()
        }
        return tuple(sorted(words | set(read_words("grammar")["mend"].split()) | {"left", "right", "both"}))

    @cached_property
    def spine(self) -> tuple[str, ...]:
        """Vertebrae from the top, as "c1"."""
        names = [
            s.name.split()[0].casefold()
            for s in self.anatomy
            if re.fullmatch(r"[CTL]\d+ vertebra", s.name) and s.name != "L6 vertebra"
        ]
        return (*sorted(names, key=lambda o: ("ctl".index(o[0]), int(o[1:]))), "s1")

    @cached_property
    def ruled(self) -> frozenset[str]:
        """Words that the grammar of edits, verdicts and exports knows."""
        grammar = read_words("grammar")
        return _words_of(*(grammar[k] for k in ("edit", "verdict", "navigate", "export", "measure")))

    @cached_property
    def _name_words(self) -> frozenset[str]:
        return frozenset(w for key in (*self.entries, *self.absent) for w in key.split())

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word that needs no mending."""
        names = {w for key in (*self.entries, *self.absent, *self.ambiguous) for w in key.split()}
        kinds = {w for kind in self.kinds for w in kind.split()}
        grammar = read_words("grammar")
        more = (
            {*self.short, *self.dotted}
            | set(grammar["mend"].split())
            | _words_of(*(t for t in grammar.values() if isinstance(t, dict)))
        )
        return frozenset(
            names | kinds | more | self.common | self.plain | self.parts | self.qualities | set(self.sides)
        )

    def mend(self, word: str) -> tuple[tuple[str, ...], bool]:
        """Return the words that a misspelt one may mean, the likeliest, and whether that is sure.

        The first letter is seldom wrong: another one counts as a second error. Two readings within one error
        of each other are both returned, so that the question is asked back.
        """
        if len(word) < 4 or self.knows(word) or not word.isalpha() or not word.isascii():
            return (), True
        if split := self._split(word):
            return (split,), True
        most = 1 if len(word) < 5 else 2 if len(word) < 9 else 3
        near = process.extract(word, self.vocabulary, scorer=OSA.distance, score_cutoff=most, limit=None)
        found = [(errors + (other[0] != word[0]), other) for other, errors, _ in near]
        found = [
            (c, other)
            for c, other in found
            if c <= most and (other in self._name_words or (c < 2 and len(word) > 5))
        ]
        least = min(found)[0] if found else 0
        sure = least < 2 or (least == 2 and len(word) > 6) or len(word) > 8
        best = tuple(other for cost, other in sorted(found) if cost == least)
        own = tuple(w for w in best if w in self.entries)
        best = own if len(own) == 1 else best  # "prostat" is no part of "prostatic gland"
        return (best if sure else tuple(w for w in best if w in self.entries)), sure

    def knows(self, word: str) -> bool:
        """Whether a word, or the word that it is a form of, is one of English or of a name."""
        if word in self.words:
            return True
        stems = (
            word.removesuffix("s"),
            word.removesuffix("es"),
            word.removesuffix("ed"),
            word.removesuffix("ing"),
            word.removesuffix("d"),
            word.removesuffix("ly"),
            word.removesuffix("ing") + "e",
            word.removesuffix("er"),
        )
        return any(len(s) > 3 and s != word and s in self.common for s in stems)

    def _split(self, word: str) -> str:
        for cut in range(3, len(word) - 2):
            head, tail = word[:cut], word[cut:]
            if (
                tail in self.entries
                and (
                    head in self.sides
                    or head in self.entries
                    or head in ("linker", "rechter", "links", "rechts")
                )
            ) or f"{head} {tail}" in self.entries:
                return f"{head} {tail}"
        return ""

    def find(
        self, words: list[str], typed: list[str], regions: frozenset[str]
    ) -> tuple[int, tuple[Wanted, ...], bool]:
        """Return how many of the words the longest name at their start has, what it means, whether it is known.

        Parameters
        ----------
        words, typed : list of str
            Folded words, and the same as typed (capitals tell "LA" from "la").
        regions : frozenset of str
            What the image shows, empty where that is not known.
        """
        for size in range(min(LONGEST, len(words)), 0, -1):
            key = " ".join(words[:size])
            if key in self.neutral:
                return size, (), False
            if size > 1 and words[0] in self.sides and self._is_sided(words[:size], regions):
                return 1, (), False  # the side is a word of its own: "left and right kidney"
            for entry in self._fitting(key, regions):
                if (
                    not entry.short
                    or size > 1
                    or typed[0].isupper()
                    or (
                        (len(typed) == 1 or key not in self.common)
                        and key not in ("la", "as", "is", "ao", "sc", "pa")
                    )
                ):
                    return size, entry.wanted, True
            entry = self.absent.get(key)
            if entry and (not entry.short or typed[0].isupper() or key not in self.words):
                return size, entry.wanted, False
        return 1, (), False

    def _is_sided(self, words: list[str], regions: frozenset[str]) -> bool:
        """Whether a name is that of one side of a pair, and its rest the pair's."""
        whole, rest = self._fitting(" ".join(words), regions), self._fitting(" ".join(words[1:]), regions)
        return (
            bool(whole and rest)
            and all(self.is_pair(w.structure) for w in whole[0].wanted)
            and whole[0].wanted[0].structure == rest[0].wanted[0].structure
        )

    def _fitting(self, key: str, regions: frozenset[str]) -> list[Entry]:
        there = self.entries.get(key, [])
        special = [e for e in there if e.regions and e.regions & regions]
        return special or [e for e in there if not e.regions]


@cache
def load_lexicon() -> Lexicon:
    """Return the lexicon of the package's anatomy."""
    return Lexicon(load_anatomy())


def _words_of(*tables: dict) -> frozenset[str]:
    """Return the words that rules hold."""
    patterns = " ".join(
        str(p) for t in tables for v in t.values() for p in (v if isinstance(v, list) else [v])
    )
    return frozenset(re.findall(r"[a-z']{2,}", re.sub(r"\\[a-zA-Z]", " ", patterns)))


def _plural(key: str) -> str:
    if key.endswith("s") or key[-1].isdigit():
        return key
    return key[:-1] + "ies" if key.endswith("y") and key[-2] not in "aeiou" else key + "s"


class Languages:
    """Other languages, put into the English of the grammar word by word."""

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self.tables: dict[str, dict[str, str]] = {}
        self._parts: dict[str, frozenset[str]] = {}
        self.names: dict[str, str] = {}
        east: dict[str, str] = {}
        for language, table in read_words("languages").items():
            words: dict[str, str] = {}
            for english, foreign in (*table.get("words", {}).items(), *table["structures"].items()):
                for word in foreign:
                    if _CJK.search(word) or not re.search(r"\w", word):
                        east.setdefault(word, english)
                    for key in _umlauts(word):
                        words[key] = english
            self.tables[language] = words
            self._parts[language] = frozenset(w for name in words for w in name.split())
            for english, foreign in table["structures"].items():
                for word in foreign:
                    for key in _umlauts(word):
                        self.names.setdefault(key, english)
        self._east = east
        self._east_pattern = re.compile("|".join(map(re.escape, sorted(east, key=len, reverse=True))))

    def to_english(self, text: str) -> str:
        """Return a text with the words of the language that it is in as English ones; English as it is."""
        if _CJK.search(text):
            text = self._east_pattern.sub(lambda m: f" {self._east[m[0]]} ", text)
        text = re.sub(r"\b(l|d|dell|nell|all|un|qu|dov)'(?=\w)", r"\1 ", text, flags=re.I)
        words = [(m[0], m.start(), m.end()) for m in re.finditer(r"[^\W\d_]+", text)]
        keys = [fold(w) for w, _, _ in words]
        table = self._choose(keys)
        foreign_name = self._foreign_names
        if not table and not any(k in foreign_name for k in keys):
            return text
        out, place, i = "", 0, 0
        while i < len(words):
            size = next((n for n in range(min(5, len(words) - i), 0, -1)
                         if (" ".join(keys[i : i + n]) in table) or (" ".join(keys[i : i + n]) in foreign_name)), 0)  # fmt: skip
            if size:
                key = " ".join(keys[i : i + size])
                out += text[place : words[i][1]] + table.get(key, foreign_name.get(key, ""))
                place, i = words[i + size - 1][2], i + size
            elif (
                table
                and (side := re.match(r"(linker|links|rechter|rechts)(?=\w{3})", keys[i]))
                and keys[i][side.end() :] in table
            ):
                out += (
                    text[place : words[i][1]]
                    + ("left " if side[1][0] == "l" else "right ")
                    + table[keys[i][side.end() :]]
                )
                place, i = words[i][2], i + 1
            else:
                i += 1
        return out + text[place:]

    @cached_property
    def _foreign_names(self) -> dict[str, str]:
        return {k: v for k, v in self.names.items() if k not in self.lexicon.words}

    def _choose(self, keys: list[str]) -> dict[str, str]:
        """Return the words of the language that a text is in, none for English.

        Words that are English too do not count, unless all words are of the other language.
        """
        best, most = {}, (0, 0)
        english = sum(k in self.lexicon.words for k in keys)
        for language, table in self.tables.items():
            own = [k for k in keys if k in self._parts[language]]
            alone = sum(k not in self.lexicon.words for k in own)
            score = (alone, len(own))
            if score > most and alone and (len(own) >= english - sum(k in self.lexicon.words for k in own)):
                best, most = table, score
        return best


def _umlauts(word: str) -> set[str]:
    spelt = word.casefold().replace("ä", "ae").replace("ö", "oe").replace("ü", "ue")
    return {key_of(word), key_of(spelt)}


@cache
def load_languages() -> Languages:
    """Return the other languages."""
    return Languages(load_lexicon())
