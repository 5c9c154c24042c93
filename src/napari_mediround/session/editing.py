"""Edits and new names of masks in words. Half of `Session`.

An edit is worked out first, which changes nothing and may be done on any thread, and then taken in one step.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.recipes import WITH_OTHERS, Recipe
from napari_mediround.domain.rounds import Answer, Reference, Round, Target
from napari_mediround.domain.units import area_in_words, volume_in_words
from napari_mediround.errors import MediRoundError
from napari_mediround.journal import Event, Label
from napari_mediround.journal.edits import MaskEdited, MaskRenamed
from napari_mediround.journal.entries import Mark
from napari_mediround.questions.request import Request
from napari_mediround.session import shaping
from napari_mediround.session.record import Record, Step

NO_SCALE = (
    "The image does not say how large a pixel is, so millimetres mean nothing here. Nothing was changed."
)
NO_DEPTH = "The image does not say how thick a plane is, so I cannot tell millilitres. Nothing was changed."
NO_SIDES = "The image does not say where left and right are, so the mask cannot be mirrored."
LONGEST_NAME = 64
"""Characters of a name that a person gives."""
THROUGH_PLANES = ("grow", "shrink", "smooth", "largest", "islands")
"""Operations whose distances and parts go through the stack where a mask lies on neighbouring planes."""

Planes = dict[int, np.ndarray]


@dataclass(frozen=True)
class WorkedOut:
    """An edit that waits to be taken.

    Parameters
    ----------
    entry : MaskEdited or None
        For the journal; None where the edit would change no pixel.
    words : str
        What it does, or why it does nothing.
    """

    entry: MaskEdited | None
    words: str


class Editing(Record):
    """What a `Record` does with edits in words."""

    @property
    def standing(self) -> tuple[Event, ...]:
        """The steps that hold, in order, with who took them and when."""
        return self._history.standing

    def planes_of(self, value: int) -> dict[int, Label]:
        """Return a mask, by its label value, on each plane where it shows anything."""
        own = self.label(value)
        same = [label for label in self.state.shown if label.drawn == own.drawn]
        return {label.plane: label for label in (*same, own) if label.mask.area}

    def work_out(self, request: Request, references: tuple[Reference, ...], plane: int) -> WorkedOut:
        """Return what an edit does to the masks that it points at; nothing changes.

        Parameters
        ----------
        request : Request
            An edit.
        references : tuple of Reference
            The masks, those that are changed first.
        plane : int
            0-based plane asked about; the only one that changes where the words say "on this plane".

        Raises
        ------
        MediRoundError
            When it cannot be done on this image, or nothing would be left of a mask.
        """
        values = [self.label_of(r) for r in references]
        spared = [self.label_of(Reference(*ref)) for ref in request.not_into]
        changed = [value for value in values if value not in spared]
        others: list[int] = []
        if request.operation in WITH_OTHERS:
            changed, others = changed[:1], changed[1:]
            if not others:
                raise MediRoundError("With which other mask? Say the numbers of both. Nothing was changed.")
        if any(self.label(value).verdict == "rejected" for value in (*changed, *others, *spared)):
            raise MediRoundError("One of these masks was rejected. Undo that first. Nothing was changed.")
        numbers = [tuple(self.label(v).drawn for v in some) for some in (others, spared)]
        recipe = Recipe(request.operation, self._amount(request), request.ml, *numbers)
        self._check_scale(recipe)
        only = plane if request.scope == "plane" else None
        done = {self.label(value).drawn: value for value in changed}
        return self._join([self._one(value, recipe, others, spared, only) for value in done.values()], recipe)

    def work_out_again(self, value: int) -> WorkedOut:
        """Return the last recipe of a mask, done again with the other masks as they are now."""
        label = self.label(value)
        if not label.recipes or None in self.state.changed_since(label):
            raise MediRoundError("The mask was changed since, so its recipe cannot be applied again.")
        applied = label.recipes[-1]
        known = {self.label(v).drawn: v for v, _ in applied.inputs}
        recipe = applied.recipe
        others, spared = ([known[n] for n in some if n in known] for some in (recipe.others, recipe.spared))
        return self._join([self._one(value, recipe, others, spared, None, again=True)], recipe, again=True)

    def take_edit(self, worked: WorkedOut) -> Step | None:
        """Take an edit as one step; None where it changes nothing.

        Raises
        ------
        MediRoundError
            When a mask is another one since it was worked out.
        JournalError
            When it could not be saved.
        """
        entry = worked.entry
        if entry is None:
            return None
        with self._guard:
            now = [(self.label(mark.label).mask, mark.before) for mark in entry.marks]
            now += [(self.label(value).mask, mask) for value, mask in entry.inputs]
            fits = not entry.rounds or entry.rounds[0].index == len(self.conversation) + 1
            if any(mask != then for mask, then in now) or not fits:
                raise MediRoundError("The masks have changed meanwhile, so nothing was done. Say it again.")
            return self._write(replace(entry, first_label=self.state.next_label))

    def rename(self, value: int, name: str) -> Step:
        """Give a mask, on all its planes, another name.

        Raises
        ------
        MediRoundError
            When the name is empty or far too long, or there is no such mask.
        JournalError
            When it could not be saved.
        """
        name = " ".join(name.split())
        if not name or len(name) > LONGEST_NAME or not name.isprintable():
            raise MediRoundError(f"A name has 1 to {LONGEST_NAME} letters. Say another one.")
        with self._guard:
            drawn = self.label(value).drawn
            same = tuple(label.value for label in self.state.labels.values() if label.drawn == drawn)
            return self._write(MaskRenamed(same, name))

    def _amount(self, request: Request) -> float | None:
        """Return the millimetres of an edit; a default where the words name none."""
        pixel = max(self.study.geometry.spacing_mm[1:])
        if request.mm is None and request.operation in ("grow", "shrink", "smooth"):
            return round(max(shaping.SMOOTHING_MM, pixel * 1.01), 2)
        return request.mm

    def _check_scale(self, recipe: Recipe) -> None:
        geometry = self.study.geometry
        if recipe.mm is not None and not geometry.calibrated:
            raise MediRoundError(NO_SCALE)
        if recipe.ml is not None and not (geometry.calibrated and geometry.has_depth):
            raise MediRoundError(NO_DEPTH)
        if recipe.mm is not None and recipe.operation in ("fill", "islands", "largest"):
            raise MediRoundError("Say that amount in millilitres. Nothing was changed.")
        if recipe.operation == "mirror" and not geometry.oriented:
            raise MediRoundError(NO_SIDES)

    def _one(
        self,
        value: int,
        recipe: Recipe,
        others: list[int],
        spared: list[int],
        only: int | None,
        again: bool = False,
    ) -> MaskEdited:
        """Return the edit of one mask, on all its planes or on one."""
        labels = self.planes_of(value)
        if again:  # planes that it left empty, or reached, count as well
            same = [x for x in self.state.shown if x.drawn == self.label(value).drawn]
            labels |= {x.plane: x for x in same if x.recipes and x.recipes[-1].recipe == recipe}
        if only is not None:
            labels = {plane: label for plane, label in labels.items() if plane == only}
        if not labels:
            raise MediRoundError(f"{self.label(value).name} has no pixel on this plane. Nothing was changed.")
        before = {p: (x.recipes[-1].before if again else x.mask).to_array() for p, x in labels.items()}
        with_ = [self.planes_of(v) for v in others]
        keep_off = [self.planes_of(v) for v in spared]
        if recipe.operation in WITH_OTHERS and not any(labels.keys() & other.keys() for other in with_):
            raise MediRoundError(
                f"{self.label(value).name} and {self.label(others[0]).name} lie on no plane together. "
                "Nothing was changed."
            )
        after, in_plane = self._shaped(recipe, before, with_, only)
        for plane, array in after.items():
            for other in keep_off:
                if plane in other:
                    array &= before.get(plane, False) | ~other[plane].mask.to_array()
        if not any(array.any() for array in after.values()):
            raise MediRoundError(f"Nothing would be left of {self.label(value).name}, so it was not changed.")
        marks = []
        for plane, label in sorted(labels.items()):
            changed = int((label.mask.to_array() != after[plane]).sum())
            marks.append(Mark(label.value, label.mask, Mask.from_array(after[plane]), changed))
        used = [x for some in (*with_, *keep_off) for p, x in some.items() if p in after]
        inputs = tuple((x.value, x.mask) for x in used)
        rounds = self.reached(value, recipe, {p: a for p, a in after.items() if p not in labels})
        return MaskEdited(
            replace(recipe, in_plane=in_plane), tuple(marks), inputs, rounds, 0, self._names(value, recipe)
        )

    def _shaped(
        self, recipe: Recipe, before: Planes, others: list[dict[int, Label]], only: int | None
    ) -> tuple[Planes, bool]:
        """Return the masks of all planes after an operation, and whether each plane was taken by itself."""
        geometry, steps = self.study.geometry, shaping.steps_mm(self.study.geometry)
        planes = sorted(before)
        solid = len(planes) > 1 and planes[-1] - planes[0] == len(planes) - 1 and geometry.has_volume
        if recipe.operation in THROUGH_PLANES and solid and only is None:
            return self._through(recipe, before, steps), False
        after = {p: self._flat(recipe, array, steps[:, 1:]) for p, array in before.items()}
        for other in others:
            there = {p: label.mask.to_array() for p, label in other.items()}
            for plane, array in after.items():
                if plane in there:
                    after[plane] = _combined(recipe.operation, array, there[plane])
            if recipe.operation == "union" and only is None and len(before) > 1:
                after = {**{p: a.copy() for p, a in there.items() if p not in after}, **after}
        return after, True

    def _through(self, recipe: Recipe, before: Planes, steps: np.ndarray) -> Planes:
        """Return the masks of neighbouring planes, and of those that a growth reaches, taken as one body."""
        rim = int((recipe.mm or 0) / np.linalg.norm(steps[:, 0])) + 1
        first = max(min(before) - rim, 0)
        last = min(max(before) + rim, self.study.planes - 1)
        empty = np.zeros_like(next(iter(before.values())))
        body = np.stack([before.get(plane, empty) for plane in range(first, last + 1)])
        shaped = self._flat(recipe, body, steps)
        found = {plane: shaped[plane - first] for plane in range(first, last + 1)}
        return {plane: array for plane, array in found.items() if plane in before or array.any()}

    def _flat(self, recipe: Recipe, mask: np.ndarray, steps: np.ndarray) -> np.ndarray:
        """Return a mask of two or three axes after an operation that needs no other."""
        voxel, mm3 = self.study.geometry.voxel_mm3, None if recipe.ml is None else recipe.ml * 1000
        if recipe.operation in ("grow", "shrink", "smooth"):
            return getattr(shaping, recipe.operation)(mask, steps, recipe.mm)
        if recipe.operation == "fill":
            return shaping.fill(mask, mm3, voxel)
        if recipe.operation == "largest":
            return shaping.largest_part(mask)
        if recipe.operation == "islands":
            return shaping.drop_parts(mask, mm3, voxel)
        return shaping.mirror(mask, steps) if recipe.operation == "mirror" else mask.copy()

    def reached(self, value: int, recipe: Recipe, planes: Planes) -> tuple[Round, ...]:
        """Return a round for each plane that a mask has reached, as carried there."""
        if not any(array.any() for array in planes.values()):
            return ()
        label = self.label(value)
        places = {r.id: r.index for r in self.conversation.rounds}
        if label.round not in places:
            raise MediRoundError(f"{label.name} is on another branch of the conversation. Go there first.")
        source, first = Reference(places[label.round], label.target), len(self.conversation) + 1
        quality = self.conversation.target(source).quality
        return tuple(
            Round(
                first + k, plane, str(recipe), (source,),
                Answer(str(recipe), (Target(label.structure, Mask.from_array(array), quality),)),
                carried=True,
            )
            for k, (plane, array) in enumerate(sorted((p, a) for p, a in planes.items() if a.any()))
        )  # fmt: skip

    def _names(self, value: int, recipe: Recipe) -> tuple[tuple[int, str], ...]:
        """Return the names of a mirrored mask: what was left is right now."""
        found = load_anatomy().find(self.label(value).structure)
        if recipe.operation != "mirror" or found is None or not found.mirror:
            return ()
        labels = self.planes_of(value).values()
        return tuple((label.value, found.mirror) for label in labels)

    def _join(self, edits: list[MaskEdited], recipe: Recipe, again: bool = False) -> WorkedOut:
        """Return the edits of several masks as one step, and what it does in words."""
        changed = [e for e in edits if e.rounds or any(mark.changed for mark in e.marks)]
        words = [self._in_words(e) if e in changed else self._unchanged(e) for e in edits]
        if not changed:
            return WorkedOut(None, "\n".join(words))
        rounds: list[Round] = []
        for e in changed:
            rounds += [replace(r, index=r.index + len(rounds)) for r in e.rounds]
        marks = tuple(mark for e in changed for mark in e.marks)
        inputs = tuple(dict.fromkeys(pair for e in changed for pair in e.inputs))
        names = tuple(pair for e in changed for pair in e.names)
        whole = replace(recipe, in_plane=all(e.recipe.in_plane for e in changed))
        entry = MaskEdited(whole, marks, inputs, tuple(rounds), 0, names, again)
        return WorkedOut(entry, "\n".join(words))

    def _unchanged(self, edit: MaskEdited) -> str:
        label, mm = self.label(edit.marks[0].label), edit.recipe.mm
        why = ""
        if mm is not None and mm < min(self.study.geometry.spacing_mm[1:]):
            why = f" {mm:g} mm is less than a pixel."
        return f"{label.name} is as it was: “{edit.recipe}” changes no pixel of it.{why}"

    def _in_words(self, edit: MaskEdited) -> str:
        label = self.label(edit.marks[0].label)
        planes = [self.label(mark.label).plane for mark in edit.marks] + [r.plane for r in edit.rounds]
        then, now = (
            sum(mask.area for mask in masks)
            for masks in (
                [mark.before for mark in edit.marks],
                [*(mark.after for mark in edit.marks), *(r.targets[0].mask for r in edit.rounds)],
            )
        )
        name = self.study.geometry.plane_name
        where = f"{name} plane {planes[0]}" if len(planes) == 1 else f"{len(planes)} {name} planes"
        said = f"{label.name}: {edit.recipe}, on {where.strip()}. "
        said += f"{self._size(then, len(planes))} before, {self._size(now, len(planes))} now."
        for _, renamed in edit.names[:1]:
            said += f" It is named {renamed} now."
        return said + self._under_others(edit)

    def _size(self, pixels: int, planes: int) -> str:
        geometry = self.study.geometry
        if planes > 1 and geometry.has_volume:
            return volume_in_words(pixels * geometry.voxel_mm3 / 1000)
        if not geometry.calibrated:
            return area_in_words(float(pixels), "px")
        return area_in_words(pixels * geometry.pixel_area_mm2, "mm²")

    def _under_others(self, edit: MaskEdited) -> str:
        """Say which locked masks lie over what was changed, and keep their pixels in the labels."""
        over: dict[str, int] = {}
        for mark in edit.marks:
            own = self.label(mark.label)
            if own.locked:
                continue
            new = mark.after.to_array() & ~mark.before.to_array()
            for other in (self.label(v) for v in self.state.locked):
                if other.plane == own.plane and (shared := int((new & other.mask.to_array()).sum())):
                    over[other.name] = over.get(other.name, 0) + shared
        return "".join(f" {n:,} new pixels lie under {name}, which keeps them." for name, n in over.items())


def _combined(operation: str, one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return two masks of one plane put together."""
    if operation == "union":
        return one | other
    return one & ~other if operation == "subtract" else one & other


def recipe_lines(label: Label, changed: Iterable[Label | None]) -> tuple[str, str]:
    """Return the recipe of a mask in words, and what has changed since it was applied; "" for nothing."""
    recipe = ", then ".join(str(applied.recipe) for applied in label.recipes)
    names = ["the mask itself" if other is None else other.name for other in dict.fromkeys(changed)]
    stale = f"{' and '.join(names)} changed after that." if names else ""
    return recipe, stale[:1].upper() + stale[1:]
