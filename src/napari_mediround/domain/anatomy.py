"""Structures: names, sides, parts, neighbours, functions, codes. Knows no image and no question."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property, lru_cache
from pathlib import Path

from napari_mediround import resources
from napari_mediround.errors import SettingsError

_SIDES = {
    "left": {"side": "left", "m": "sinister", "f": "sinistra", "n": "sinistrum", "g": "sinistri"},
    "right": {"side": "right", "m": "dexter", "f": "dextra", "n": "dextrum", "g": "dextri"},
}
_SIDE_WORDS = {word: side for side, words in _SIDES.items() for word in words.values()}
_LISTS = ("synonyms", "neighbours", "functions")
_FIELDS = frozenset({*_LISTS, "pair", "group", "side", "parent", "modalities", "sct", "left", "right"})
_PART_OF = re.compile(r"\b(?:part|piece|portion)s? of (?:the )?$", re.IGNORECASE)
_PLURALS = ((r"ies$", "y"), (r"ses$", "sis"), (r"ae$", "a"), (r"s$", ""))


@dataclass(frozen=True)
class Structure:
    """One nameable structure.

    Parameters
    ----------
    name : str
        As answers say it, side first ("left kidney").
    region : str
        Part of the body it lies in ("abdomen").
    synonyms : tuple of str
        Other names, common and Latin.
    side : {"left", "right", ""}
        The patient's side, for structures that come in pairs or lie on one side only.
    mirror : str
        Name of its counterpart on the other side, or "".
    plural : str
        What both sides are called together ("kidneys"), or "".
    parent : str
        Name of the whole that it is part of, or "".
    children : tuple of str
        Names of its parts.
    neighbours : tuple of str
        Names of structures that touch it.
    functions : tuple of str
        Noun phrases that mean this structure and no other ("the organ that makes bile").
    modalities : tuple of str
        DICOM modality codes of images that show it.
    sct : tuple of (str, str) or None
        SNOMED CT code and meaning, without the side.

    Raises
    ------
    ValueError
        When the name is empty, the side unknown, or a mirror goes with no side.
    """

    name: str
    region: str
    synonyms: tuple[str, ...] = ()
    side: str = ""
    mirror: str = ""
    plural: str = ""
    parent: str = ""
    children: tuple[str, ...] = ()
    neighbours: tuple[str, ...] = ()
    functions: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    sct: tuple[str, str] | None = None

    def __post_init__(self) -> None:
        if not self.name or self.side not in ("left", "right", ""):
            raise ValueError(f"{self.name!r} needs a name and a side of left, right or none")
        if self.mirror and not self.side:
            raise ValueError(f"{self.name} has a mirror but no side")

    @property
    def is_group(self) -> bool:
        """Whether it is both sides of a pair together."""
        return bool(self.plural and not self.side)

    @property
    def is_one(self) -> bool:
        """Whether a body has one of it: organs have neighbours or another side, findings have neither."""
        return not self.is_group and bool(self.neighbours or self.mirror)

    def shows_in(self, modality: str) -> bool:
        """Whether images of a modality, DICOM's code or "" where it is not known, show it."""
        return not modality or modality in self.modalities


@dataclass(frozen=True)
class Anatomy:
    """All structures, found by any of their names.

    Parameters
    ----------
    structures : tuple of Structure
        In the order of the file.
    adjacent : mapping of str to frozenset of str
        For each region, the regions whose structures may lie in the same image, itself included.
    kinds : mapping of str to frozenset of str
        What a structure may be called that is not named ("vessel"), and the structures that are of this kind.

    Raises
    ------
    ValueError
        When a name or function means two structures, a parent, neighbour or mirror does not exist,
        neighbours or mirrors are not mutual, or parents and children disagree.
    """

    structures: tuple[Structure, ...]
    adjacent: Mapping[str, frozenset[str]]
    kinds: Mapping[str, frozenset[str]] = field(default_factory=dict)
    _index: dict[str, Structure] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        index: dict[str, Structure] = {}
        functions: dict[str, str] = {}
        for structure in self.structures:
            if structure.region not in self.adjacent:
                raise ValueError(f"{structure.name}: there is no region {structure.region!r}")
            for name in (structure.name, *structure.synonyms):
                if index.setdefault(_key(name), structure) is not structure:
                    raise ValueError(f"{name!r} means {index[_key(name)].name} and {structure.name}")
            for phrase in structure.functions:
                if functions.setdefault(phrase, structure.name) != structure.name:
                    raise ValueError(f"{phrase!r} means {functions[phrase]} and {structure.name}")
        object.__setattr__(self, "_index", index)
        for structure in self.structures:
            self._check_links(structure)

    def _check_links(self, one: Structure) -> None:
        for field_name, back in (("mirror", "mirror"), ("parent", "children"), ("neighbours", "neighbours")):
            links = getattr(one, field_name)
            for name in (links,) if isinstance(links, str) else links:
                other = self._index.get(_key(name)) if name else None
                if name and (other is None or other.name != name or other is one):
                    raise ValueError(f"{one.name}: its {field_name} {name!r} is no other structure")
                if other and one.name not in (getattr(other, back) if back != "mirror" else (other.mirror,)):
                    raise ValueError(f"{one.name} names {name} in {field_name}, but not the other way round")
        if any(self[child].parent != one.name for child in one.children):
            raise ValueError(f"{one.name} has a child with another parent")

    def __iter__(self) -> Iterator[Structure]:
        return iter(self.structures)

    def __len__(self) -> int:
        return len(self.structures)

    def __getitem__(self, name: str) -> Structure:
        structure = self.find(name)
        if structure is None:
            raise KeyError(name)
        return structure

    def find(self, text: str) -> Structure | None:
        """Return the structure that `text` names, or None.

        Case, articles, underscores, bracketed remarks, plurals and the place of the side do not matter:
        "kidney_left", "Left Kidneys" and "ren sinister" are one.
        """
        key = _key(text)
        if key in self._index:
            return self._index[key]
        singulars = (re.sub(ending, new, key) for ending, new in _PLURALS)
        return next((self._index[s] for s in singulars if s in self._index), None)

    def normalise(self, label: str) -> str:
        """Return the preferred name that `label` means; a label that is not known comes back cleaned."""
        structure = self.find(label)
        return structure.name if structure else _key(label)

    def spell_out(self, text: str) -> str:
        """Return `text` with each synonym replaced by the preferred name ("lienal organ" → "spleen").

        So the language model reads each structure by one name; the longest match wins, and a name that is
        preferred already stays as typed.
        """

        def replace(match: re.Match) -> str:
            structure = None if match[0].casefold() in self._preferred else self.find(match[0])
            return structure.name if structure else match[0]

        return self._synonyms.sub(replace, text)

    def names_in(self, text: str) -> tuple[str, ...]:
        """Return the preferred names of the structures that a text names, in its order, each once."""
        found = (self.find(match[0]) for match in self._synonyms.finditer(text))
        return tuple(dict.fromkeys(structure.name for structure in found if structure))

    def without_names(self, text: str) -> str:
        """Return a text without the names of structures in it; words that are a kind too ("bone") stay."""

        def drop(match: re.Match) -> str:
            return match[0] if match[0].casefold() in self.kinds else ""

        return self._synonyms.sub(drop, text)

    def kind_in(self, text: str) -> frozenset[str]:
        """Return the structures that may be meant by a text that names none, empty where it leaves all open.

        "the vessel behind [1]" gives the vessels; of several kinds the longest word counts.
        """
        found = [word for word in self.kinds if re.search(rf"\b{word}s?\b", text, re.IGNORECASE)]
        return self.kinds[max(found, key=len)] if found else frozenset()

    def meant_by(self, name: str) -> frozenset[str]:
        """Return candidates for an unknown name: whole structures of the same kind and side."""
        side = next((side for side in _SIDES if re.search(rf"\b{side}\b", name, re.IGNORECASE)), "")
        found = {one for one in self.kind_in(name) if self[one].side == side}
        return frozenset(one for one in found if not found.intersection(self.ancestors(one)))

    def parts_in(self, text: str) -> frozenset[str]:
        """Return the parts of the structure that a text wants a part of, empty where it wants none.

        "the part of the hippocampus behind [1]" gives the anterior and the posterior hippocampus.
        """
        named = [m[0] for m in self._synonyms.finditer(text) if _PART_OF.search(text[: m.start()])]
        return frozenset(child for whole in filter(None, map(self.find, named)) for child in whole.children)

    @cached_property
    def _synonyms(self) -> re.Pattern:
        # Preferred names are matched as well, and kept, so that no synonym is found inside a longer name.
        names = self._preferred | {n.casefold() for s in self for n in s.synonyms if len(n) > 2}
        longest_first = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True))
        return re.compile(rf"(?<!\w)(?:{longest_first})(?!\w)", re.IGNORECASE)

    @cached_property
    def _preferred(self) -> frozenset[str]:
        return frozenset(n.casefold() for s in self for n in (s.name, s.plural) if n)

    def apart(self, one: str, other: str) -> bool:
        """Whether structures of two regions cannot lie in one image."""
        return other not in self.adjacent[one]

    def ancestors(self, name: str) -> tuple[str, ...]:
        """Names of the wholes that `name` is part of, nearest first."""
        found: list[str] = []
        structure = self.find(name)
        while structure and structure.parent and structure.parent not in found:
            found.append(structure.parent)
            structure = self[structure.parent]
        return tuple(found)

    def share(self, one: str, other: str) -> bool:
        """Whether two preferred names are of one structure, or of a whole and its part."""
        return one == other or one in self.ancestors(other) or other in self.ancestors(one)


@cache
def load_anatomy(path: Path | None = None) -> Anatomy:
    """Read the structures from `path`, by default from the package's `anatomy.toml`.

    Raises
    ------
    SettingsError
        When the file holds an unknown key or its structures contradict each other.
    """
    path = path or Path(resources.__file__).parent / "anatomy.toml"
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    regions, kinds, *_ = (tables.pop(key, {}) for key in ("regions", "kinds", "sizes", "size_sources"))
    drafts: list[dict] = []
    for region, structures in tables.items():
        for key, table in structures.items():
            for part in (table, table.get("left", {}), table.get("right", {})):
                if unknown := set(part) - _FIELDS:
                    raise SettingsError(f"{path.name}: {key} has unknown keys {sorted(unknown)}.")
            table = {"modalities": regions.get(region, {}).get("modalities", []), "region": region, **table}
            drafts += _pair(key, table) if "pair" in table else [_single(key, table)]
    _link(drafts)
    try:
        return Anatomy(
            tuple(_structure(draft) for draft in drafts), _adjacency(regions), _kinds(kinds, drafts)
        )
    except ValueError as error:
        raise SettingsError(f"{path.name}: {error}. Correct the file.") from error


def _structure(draft: dict) -> Structure:
    """Freeze a draft: its lists become tuples."""
    return Structure(**{k: tuple(v) if isinstance(v, list) else v for k, v in draft.items()})


def _single(name: str, table: dict) -> dict:
    """Return the draft of a structure that stands for itself."""
    kept = {k: v for k, v in table.items() if k not in ("pair", "group", "left", "right")}
    return {**kept, "name": name, "neighbours": list(table.get("neighbours", []))}


def _pair(key: str, table: dict) -> list[dict]:
    """Return the drafts of a pair: the group without a side, the left one, the right one."""
    group = table.get("group", key)
    parent = table.get("parent", "")
    plain = {k: table[k] for k in ("region", "modalities", "sct") if k in table}
    bare = [_without_side(s) for s in table.get("synonyms", [])]
    whole = dict.fromkeys(s for s in (key, table["pair"], *bare) if s and s != group)
    functions = [f for f in table.get("functions", []) if not re.search(r"\{side\}(?! )", f)]
    drafts = [
        plain
        | {
            "name": group,
            "synonyms": list(whole),
            "parent": _without_side(parent),
            "neighbours": [_without_side(n) for n in table.get("neighbours", [])],
            "functions": [_without_side(f) for f in functions],
            "plural": table["pair"],
        }
    ]
    for side, words in _SIDES.items():
        more = table.get(side, {})
        texts = {k: more.get(k, []) + [t.format(**words) for t in table.get(k, [])] for k in _LISTS}
        other = "right" if side == "left" else "left"
        drafts.append(
            plain
            | texts
            | {
                "name": f"{side} {key}",
                "side": side,
                "mirror": f"{other} {key}",
                "plural": table["pair"],
                "parent": parent.format(**words) if "{" in parent else group,
            }
        )
    return drafts


def _without_side(text: str) -> str:
    return " ".join(re.sub(r"\{\w\}|\{side\}", "", text).split())


def _named(drafts: list[dict]) -> dict[str, str]:
    """Return the key of every name to the preferred name."""
    return {_key(n): d["name"] for d in drafts for n in (*d.get("synonyms", ()), d["name"])}


def _link(drafts: list[dict]) -> None:
    """Make neighbours mutual and derive children, on drafts whose links may use a group's other name."""
    named = _named(drafts)
    for draft in drafts:
        parent = draft.get("parent", "")
        draft["children"] = []
        draft["parent"] = named.get(_key(parent), parent)
        draft["neighbours"] = [named.get(_key(name), name) for name in draft["neighbours"]]
    by_name = {d["name"]: d for d in drafts}
    for draft in drafts:
        if draft["parent"] in by_name:
            by_name[draft["parent"]]["children"].append(draft["name"])
        for name in list(draft["neighbours"]):
            if name in by_name:
                by_name[name]["neighbours"].append(draft["name"])
    for draft in drafts:
        draft["neighbours"] = list(dict.fromkeys(draft["neighbours"]))


def _adjacency(regions: dict) -> dict[str, frozenset[str]]:
    """Return for each region those that may share an image with it; the general one goes with all."""
    links = {name: {name, "general", *table["adjacent"]} for name, table in regions.items()}
    for name, others in list(links.items()):
        for other in others:
            links[other].add(name)
    return {name: frozenset(others) for name, others in links.items()}


def _kinds(tables: dict, drafts: list[dict]) -> dict[str, frozenset[str]]:
    """Return word to names: those listed, with their sides and parts, and those of the kinds listed."""
    children = {draft["name"]: draft["children"] for draft in drafts}
    named = _named(drafts)

    def spread(name: str) -> set[str]:
        return {name}.union(*(spread(child) for child in children[name]))

    def collect(table: dict) -> frozenset[str]:
        if unknown := {_key(n) for n in table.get("structures", [])} - named.keys():
            raise ValueError(f"there is no structure {', '.join(sorted(unknown))} to be of a kind")
        own = (spread(named[_key(name)]) for name in table.get("structures", []))
        others = (collect(tables[kind]) for kind in table.get("kinds", []))
        return frozenset().union(*own, *others)

    return {
        word: collect(table) for kind, table in tables.items() for word in (kind, *table.get("words", []))
    }


@lru_cache(maxsize=4096)
def _key(text: str) -> str:
    """Return what spellings of one name have in common: lower case, side first, no articles or remarks."""
    words = re.sub(r"[^\w\s]|_", " ", re.sub(r"\([^)]*\)", " ", text.casefold())).split()
    words = [_SIDE_WORDS.get(w, w) for w in words if w not in ("the", "a", "an")]
    sides = [w for w in words if w in _SIDES]
    if len(sides) == 1:
        words = sides + [w for w in words if w not in _SIDES]
    return " ".join(words)
