"""The wording of questions: one script writes one dialogue, turn by turn, about a scene.

Wordings stand in `resources/phrasings.toml`. Knows no file format, image or model.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mediround import resources
from napari_mediround.domain import relations
from napari_mediround.domain.anatomy import Anatomy, Structure
from napari_mediround.model.prompt import compose_answer
from napari_mediround.training.dialogues.turns import Dialogue, Turn, join_names

_FIRST = {"name": 9, "synonym": 3, "function": 3, "several": 4, "place": 1, "part": 1}
_LATER = {"name": 3, "synonym": 1.5, "function": 4, "several": 2, "mirror": 3, "neighbour": 3, "place": 2}
_LATER |= {"part": 1, "whole": 1, "again": 0.7}
_MASK = tuple[int, int, int]


@dataclass(frozen=True)
class Scene:
    """What a dialogue is about.

    Parameters
    ----------
    visible : dict of int to str
        Preferred names by label value.
    absent : tuple of str
        Structures that could be here and are not.
    foreign : tuple of str
        Structures that cannot lie in this image.
    label_map : NDArray of int (row, column) or None
        In display order; None when nothing is known of places.
    directions : dict
        What the image's directions are called.
    oriented : bool
        Whether the patient's sides are known.
    """

    visible: dict[int, str]
    absent: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()
    label_map: NDArray[np.integer] | None = None
    directions: dict[tuple[int, int], str] = field(default_factory=dict)
    oriented: bool = True


@cache
def _phrasings() -> dict[str, dict[str, list[str]]]:
    path = Path(resources.__file__).parent / "phrasings.toml"
    return tomllib.loads(path.read_text(encoding="utf-8"))


class Script:
    """Writes one dialogue. Each kind of turn has a method that returns a turn, or None when none fits.

    Parameters
    ----------
    scene : Scene
    anatomy : Anatomy
    rng : numpy.random.Generator
        The only source of chance.
    held_out : bool
        Use only wordings that training never sees.
    """

    def __init__(self, scene: Scene, anatomy: Anatomy, rng: np.random.Generator, held_out: bool) -> None:
        self.scene, self.anatomy, self.rng = scene, anatomy, rng
        self.split = "held_out" if held_out else "train"
        self.values = {name: value for value, name in scene.visible.items()}
        self.areas = {} if scene.label_map is None else relations.count_areas(scene.label_map)
        self.turns: list[Turn] = []

    def write(self, rounds: tuple[int, int], absent_rate: float, chat_rate: float) -> Dialogue:
        """Write `rounds[0]` to `rounds[1]` turns, with the given chances of absent and chat turns."""
        for _ in range(int(self.rng.integers(rounds[0], rounds[1] + 1))):
            chance = self.rng.random()
            turn = self._absent() if chance < absent_rate else None
            if turn is None and chance >= 1 - chat_rate:
                turn = self._chat()
            self.turns.append(turn or self._turn())
        return Dialogue(tuple(self.turns))

    def _turn(self) -> Turn:
        weights = _LATER if self._masks() else _FIRST
        p = np.array(list(weights.values()), float)
        for kind in self.rng.choice(list(weights), len(weights), replace=False, p=p / p.sum()):
            turn = getattr(self, f"_{kind}")() if self.values else None
            if turn is not None:
                return turn
        return self._absent() or self._chat()

    # What earlier rounds hold, and how to point at it.

    def _masks(self) -> list[_MASK]:
        """(round, target, value) of every mask so far."""
        return [(r, j, v) for r, t in enumerate(self.turns, 1) for j, v in enumerate(t.targets, 1)]

    def _sources(self) -> list[_MASK]:
        masks = self._masks()
        return [masks[i] for i in self.rng.permutation(len(masks))]

    def _refer(self, mask: _MASK, pronoun: bool = True, name: bool = True) -> str:
        round_, target, value = mask
        masks = self._masks()
        alone = len(self.turns[round_ - 1].targets) == 1
        words = [f"[{round_}]" if alone else f"[{round_}.{target}]"] * 4
        if pronoun and alone and round_ == masks[-1][0]:
            words += ["it", "it", "that one"]
        if name and [m[2] for m in masks].count(value) == 1:
            words += [f"the {self.scene.visible[value]}"] * 2
        return self._pick(words)

    # Words.

    def _pick(self, options: list):
        return options[int(self.rng.integers(len(options)))]

    def _phrase(self, kind: str, **fields: str) -> str:
        return self._pick(_phrasings()[kind][self.split]).format(**fields)

    def _say(self, what: str, kind: str, values: list[int], references=(), absent=(), bare: str = "") -> Turn:
        """Wrap a noun phrase into a question and answer it; `bare` allows the terse ways to ask by name."""
        if bare and self.rng.random() < 0.45:
            question = self._phrase("name", bare=bare, the=what)
        else:
            question = self._phrase("wrap", what=what)
        if (
            self.turns
            and question.split()[0] in ("Segment", "Outline", "Mark", "Show")
            and self.rng.random() < 0.3
        ):
            question = self._phrase("later") + question[0].lower() + question[1:]
        if len(values) + len(absent) > 1:
            question = question.replace("Where is", "Where are").replace("Is the", "Are the")
        names = tuple(self.scene.visible[v] for v in values)
        pointers = tuple((r, j) for r, j, _ in references)
        answer = compose_answer(names, tuple(absent))
        question = self._roughen(question, typos=not references)
        return Turn(question, pointers, answer, tuple(values), names, kind, tuple(absent))

    def _roughen(self, question: str, typos: bool) -> str:
        """Write as people type: now and then in lower case, without a full stop, with two letters swapped."""
        chance = self.rng.random(3)
        if chance[0] < 0.25:
            question = question[0].lower() + question[1:]
        if chance[1] < 0.2:
            question = question.rstrip(".")
        words = [w for w in re.findall(r"[a-z]{5,}", question)]
        if typos and words and chance[2] < 0.04:
            word = self._pick(words)
            at = int(self.rng.integers(1, len(word) - 2))
            question = question.replace(word, word[:at] + word[at + 1] + word[at] + word[at + 2 :], 1)
        return question

    # Which structures.

    def _fresh(self) -> list[int]:
        """Visible values in random order, those not segmented yet before the others."""
        seen = {m[2] for m in self._masks()}
        values = [list(self.values.values())[i] for i in self.rng.permutation(len(self.values))]
        return [v for v in values if v not in seen] or values

    def _structure(self, value: int) -> Structure | None:
        return self.anatomy.find(self.scene.visible[value])

    def _pick_absent(self) -> list[str]:
        """One structure that is not in the image, sooner one that could be; empty when none is known."""
        groups = [g for g in (self.scene.absent, self.scene.foreign) if g]
        return [self._pick(groups[int(len(groups) > 1 and self.rng.random() < 0.3)])] if groups else []

    def _parts(self, whole: str) -> list[str]:
        """Names of the parts of a whole; the two sides of a pair are no parts of it."""
        children = [self.anatomy[c] for c in self.anatomy[whole].children]
        return [c.name for c in children if not c.mirror or self.anatomy[c.mirror].parent != whole]

    def _related(self, names) -> list[int]:
        return [self.values[n] for n in names if n in self.values]

    # Kinds of turns.

    def _name(self) -> Turn | None:
        value = self._fresh()[0]
        name = self.scene.visible[value]
        return self._say(f"the {name}", "name", [value], bare=name)

    def _synonym(self) -> Turn | None:
        for value in self._fresh():
            structure = self._structure(value)
            options = list(structure.synonyms) if structure else []
            if structure and structure.mirror and structure.mirror in self.scene.absent:
                options.append(structure.name.removeprefix(f"{structure.side} "))
            if options:
                word = self._pick(options)
                return self._say(f"the {word}", "synonym", [value], bare=word)
        return None

    def _function(self) -> Turn | None:
        """Ask for a structure by its function; if that mentions an earlier mask, mostly point at the mask."""
        options = []
        for value in self._fresh():
            structure = self._structure(value)
            phrases = structure.functions if structure else ()
            if len(phrases) > 2:
                phrases = phrases[-1:] if self.split == "held_out" else phrases[:-1]
            if not self.scene.oriented:
                phrases = [p for p in phrases if not re.search(r"patient's|(left|right) of\b", p)]
            options += [(p, value, self._mentions(p)) for p in phrases]
        linked = [o for o in options if o[2]]
        if not options:
            return None
        phrase, value, mentions = self._pick(linked if linked and self.rng.random() < 0.8 else options)
        for mask in mentions:
            mention = rf"\bthe {re.escape(self.scene.visible[mask[2]])}\b"
            phrase = re.sub(mention, self._refer(mask, len(mentions) == 1), phrase, count=1)
        return self._say(phrase, "function", [value], mentions)

    def _mentions(self, phrase: str) -> list[_MASK]:
        """Return the latest mask of each segmented structure that a phrase names, in its order."""
        found = {}
        for mask in self._masks():
            match = re.search(rf"\bthe {re.escape(self.scene.visible[mask[2]])}\b", phrase)
            if match:
                found[match.start()] = mask
        return [found[at] for at in sorted(found)]

    def _several(self) -> Turn | None:
        values = self._fresh()
        pairs = [v for v in values if (s := self._structure(v)) and s.mirror]
        if pairs and self.rng.random() < 0.5:
            one = self._structure(pairs[0])
            names = sorted((one.name, one.mirror))
            missing = [n for n in names if n not in self.values]
            if set(missing) <= set(self.scene.absent):
                what = self._phrase("both", plural=one.plural)
                return self._say(what, "several", self._related(names), absent=missing)
        if len(values) < 2:
            return None
        values = values[: int(self.rng.integers(2, min(4, len(values)) + 1))]
        names = [self.scene.visible[v] for v in values]
        absent = self._pick_absent() if self.rng.random() < 0.1 else []
        article = self._pick(["the ", "the ", ""])
        return self._say(join_names([article + n for n in names + absent]), "several", values, absent=absent)

    def _mirror(self) -> Turn | None:
        for mask in self._sources() if self.scene.oriented else []:
            structure = self._structure(mask[2])
            if structure and structure.mirror in self.values:
                what = self._phrase("mirror", ref=self._refer(mask))
                return self._say(what, "mirror", [self.values[structure.mirror]], [mask])
        return None

    def _neighbour(self) -> Turn | None:
        ways = list(self.scene.directions)
        for mask in self._sources()[:4]:
            for at in self.rng.permutation(len(ways)):
                value = relations.find_neighbour(self.scene.label_map, mask[2], ways[at])
                if value in self.scene.visible:
                    way = self.scene.directions[ways[at]]
                    kind = "left_right" if way in ("left", "right") else way
                    return self._say(
                        self._phrase(kind, ref=self._refer(mask), side=way), "neighbour", [value], [mask]
                    )
        return None

    def _place(self) -> Turn | None:
        """Ask for what lies between two masks, for the larger of two, or for the largest on one side."""
        if self.scene.label_map is None:
            return None
        masks = {m[2]: m for m in self._sources()}
        if len(masks) > 1:
            one, other = list(masks.values())[:2]
            fields = {"one": self._refer(one, pronoun=False), "other": self._refer(other, pronoun=False)}
            value = relations.find_between(self.scene.label_map, one[2], other[2])
            if value in self.scene.visible:
                return self._say(self._phrase("between", **fields), "place", [value], [one, other])
            small, large = sorted((one[2], other[2]), key=self.areas.get)
            if self.areas[small] <= 0.8 * self.areas[large] and self.rng.random() < 0.3:
                kind = self._pick(["larger", "smaller"])
                chosen = large if kind == "larger" else small
                return self._say(self._phrase(kind, **fields), "place", [chosen], [one, other])
        sides = {s: d for d, s in self.scene.directions.items() if s in ("left", "right")}
        if sides and len(self.values) >= 5:
            side = self._pick(sorted(sides))
            value = relations.find_largest_on_side(self.scene.label_map, sides[side])
            if value in self.scene.visible:
                return self._say(self._phrase("largest_on_side", side=side), "place", [value])
        return None

    def _whole(self) -> Turn | None:
        for mask in self._sources():
            wholes = self._related(self.anatomy.ancestors(self.scene.visible[mask[2]]))
            if wholes:
                return self._say(self._phrase("whole", ref=self._refer(mask)), "whole", wholes[:1], [mask])
        return None

    def _part(self) -> Turn | None:
        """Ask for all parts of a whole, or for the part beside one that has a mask already."""
        latest = {m[2]: m for m in self._masks()}
        for value in self._fresh():
            parent = self.anatomy.ancestors(self.scene.visible[value])[:1]
            parts = self._related(self._parts(parent[0])) if parent else []
            segmented = [latest[v] for v in parts if v in latest]
            fields = {"whole": f"the {parent[0]}"} if parent else {}
            if len(parts) == 2 and len(segmented) == 1 and parent[0] not in self.values:
                rest = [v for v in parts if v != segmented[0][2]]
                fields["ref"] = self._refer(segmented[0])
                return self._say(self._phrase("sibling", **fields), "part", rest, segmented)
            if 2 <= len(parts) <= 5:
                whole = latest.get(self.values.get(parent[0], 0))
                ref = self._refer(whole) if whole else fields["whole"]
                return self._say(self._phrase("part", ref=ref), "part", parts, [whole] if whole else [])
        return None

    def _again(self) -> Turn | None:
        mask = self._sources()[0]
        return self._say(self._phrase("again", ref=self._refer(mask, name=False)), "again", [mask[2]], [mask])

    def _absent(self) -> Turn | None:
        names = self._pick_absent()
        return self._say(f"the {names[0]}", "absent", [], absent=names, bare=names[0]) if names else None

    def _chat(self) -> Turn:
        names = list(self.values) or [s.name for s in self.anatomy]
        question = self._roughen(self._phrase("chat", the=f"the {self._pick(names)}"), typos=True)
        return Turn(question, (), "", (), (), "chat")
