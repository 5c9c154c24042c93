"""Checks of masks before they leave: sides, parents, parts, holes, gaps, overlaps, sizes, partners, names.

Works on the volume that the masks make together. What the image does not state (how it lies in the patient,
its spacing) is not checked.

Notes
-----
Sizes are published ones, or those of label maps (`domain.sizes`). A structure that the border of the image
cuts is not called too small.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_mediround.domain.anatomy import Anatomy, Structure
from napari_mediround.domain.checks import Finding, Fix, Shape
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.sizes import Usual, load_sizes, load_usual
from napari_mediround.session.filling import fill_between, fill_planes, say_ml
from napari_mediround.session.fitting import Fit

SIDE_MM = 4.0
"""A centre nearer to the midline than this lies on no side for certain."""
OUTSIDE_SHARE = 0.1
"""From this share on a structure lies outside its parent."""
ISLAND_SHARE = 0.1
"""A part smaller than this share of the largest one is an island."""
FEWEST_VOXELS = 3
"""Islands, holes and overlaps of fewer voxels are the rims of any mask."""
OVERLAP_SHARE = 0.02
FEWEST_USUAL = 3
"""Positions are compared with the usual ones from so many structures on."""
EXCHANGE_GAIN = 3.0
"""How much likelier two names must be the other way round (squared standard deviations)."""
SIZE_SPREADS, SIZE_RATIO = 3.0, 2.5
"""A volume is unusual from so many spreads, and so many times the usual volume, on."""
_LESION = re.compile(r"lesion|tumou?r|metasta|carcinoma|glioma|meningioma|nodule|polyp|cyst|mass\b")
"""What lies inside another structure without being a part of it."""
MIDLINE = (
    "brainstem", "spinal cord", "third ventricle", "fourth ventricle", "larynx", "mandible", "trachea",
    "sternum", "sacrum", "urinary bladder", "prostate", "brain", "skull", "tongue", "thyroid gland",
    "oesophagus",
)  # fmt: skip
"""Structures whose centre lies near the midline."""


@dataclass(frozen=True, eq=False)
class _Body:
    """A shape with what is measured of it once."""

    shape: Shape
    structure: Structure | None
    grid: Geometry

    @property
    def box(self) -> tuple[slice, slice, slice]:
        """Where it lies."""
        return self.shape.box

    @property
    def inner(self) -> NDArray[np.bool_]:
        """The mask in its box."""
        return self.shape.inner

    @cached_property
    def voxels(self) -> int:
        """How many."""
        return int(np.count_nonzero(self.inner))

    @cached_property
    def ml(self) -> float:
        """Volume."""
        return self.voxels * self.grid.voxel_mm3 / 1000

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Centre, LPS mm."""
        index = np.array([axis.mean() for axis in np.nonzero(self.inner)])
        return self.grid.index_to_world(index + [s.start for s in self.box])

    @cached_property
    def cut(self) -> bool:
        """Whether the border of the image cuts it."""
        ends = [(axis, end) for axis in range(3) for end in (0, -1) if self.shape.extent[axis] > 1]
        outer = [s.start == 0 if end == 0 else s.stop == n
                 for (axis, end) in ends for s, n in [(self.box[axis], self.shape.extent[axis])]]  # fmt: skip
        return any(
            self.inner.take(end, axis).any() for (axis, end), at in zip(ends, outer, strict=True) if at
        )

    @property
    def plane(self) -> int:
        """Where most of it shows."""
        return int(self.inner.sum((1, 2)).argmax()) + self.box[0].start

    @property
    def is_one(self) -> bool:
        """Whether it is one thing, as most organs are."""
        return self.structure is not None and self.structure.is_one


class Checker:
    """The structures of one volume, ready to be checked.

    Parameters
    ----------
    shapes : sequence of Shape
        All on one grid, none empty.
    grid : Geometry
        Of the volume, display order.
    anatomy : Anatomy
        Sides, parents, partners.
    midline_mm : float, optional
        Where the middle of the body lies (LPS x), if something else than the masks tells.
    """

    def __init__(
        self, shapes: Sequence[Shape], grid: Geometry, anatomy: Anatomy, midline_mm: float | None = None
    ) -> None:
        self.grid, self.anatomy = grid, anatomy
        self.bodies = [_Body(shape, anatomy.find(shape.name), grid) for shape in shapes if shape.inner.any()]
        self.by_name: dict[str, _Body] = {}
        for body in self.bodies:
            self.by_name.setdefault(body.shape.name, body)
        self._midline = midline_mm

    def findings(self) -> tuple[Finding, ...]:
        """Return all that is doubtful, what explains most first."""
        exchanged = list(self.exchanged())
        told = {number for finding in exchanged for number in finding.numbers}
        sides = [f for f in self.sides() if not told.intersection(f.numbers)]
        told |= {number for finding in sides for number in finding.numbers}
        sizes = [f for f in self.sizes() if not told.intersection(f.numbers)]
        alone = [*self.parents(), *self.islands(), *self.holes(), *self.gaps(), *self.overlaps()]
        return (*exchanged, *sides, *alone, *sizes, *self.partners())

    @cached_property
    def usual(self) -> Mapping[str, Usual]:
        """What the structures here are usually like, from the region that knows most of them."""
        known = max(
            load_usual().values(), key=lambda rows: len(rows.keys() & self.by_name.keys()), default={}
        )
        return known

    @cached_property
    def midline(self) -> float | None:
        """Where the middle of the body lies (LPS x, mm); None where nothing tells."""
        if not self.grid.oriented or not self.grid.calibrated:
            return None
        pairs = [
            (one.centre[0] + self.by_name[one.structure.mirror].centre[0]) / 2
            for one in self.bodies
            if one.structure is not None and one.structure.side == "left"
            and one.structure.mirror in self.by_name
        ]  # fmt: skip
        middles = [self.by_name[name].centre[0] for name in MIDLINE if name in self.by_name]
        found = pairs or middles
        return float(np.median(found)) if found else self._midline

    # Each yields findings of one kind.

    def sides(self) -> Iterator[Finding]:
        """Structures on the wrong side; both of a pair are swapped."""
        if self.midline is None:
            return
        wrong = [body for body in self.bodies if self._off_side(body)]
        told: set[int] = set()
        for body in wrong:
            partner = self.by_name.get(body.structure.mirror)
            if partner in wrong and body.shape.number not in told:
                numbers = body.shape.number, partner.shape.number
                told |= set(numbers)
                names = ((numbers[0], partner.shape.name), (numbers[1], body.shape.name))
                text = f"{body.shape} and {partner.shape} lie on each other's side."
                yield Finding("swapped", numbers, text, body.plane, Fix("Exchange the names", names=names))
        for body in wrong:
            if body.shape.number not in told:
                other = body.structure.mirror
                fix = None
                if other and other not in self.by_name and body.structure.mirror:
                    fix = Fix(f"Call it {other}", names=((body.shape.number, other),))
                where = "right" if body.structure.side == "left" else "left"
                text = f"{body.shape} lies on the patient's {where}."
                yield Finding("side", (body.shape.number,), text, body.plane, fix)

    def _off_side(self, body: _Body) -> bool:
        structure = body.structure
        if structure is None or not structure.side:
            return False
        partner = self.by_name.get(structure.mirror) if structure.mirror else None
        middle = self.midline if partner is None else (body.centre[0] + partner.centre[0]) / 2
        off = (body.centre[0] - middle) * (1 if structure.side == "left" else -1)  # LPS: left is more
        return bool(off < -(SIDE_MM if partner is None else SIDE_MM / 4))

    def parents(self) -> Iterator[Finding]:
        """Structures that lie outside the whole that they are a part of."""
        for body in self.bodies:
            wholes = self.anatomy.ancestors(body.shape.name) if body.structure is not None else ()
            parent = next((self.by_name[name] for name in wholes if name in self.by_name), None)
            if parent is None:
                continue
            whole = parent.shape.at(body.box)
            near = ndimage.binary_dilation(whole, iterations=1)
            outside = body.inner & ~near
            if not (body.inner & whole).any() and (body.inner & near).any():
                continue  # the map gives each voxel to one of the two
            count = int(np.count_nonzero(outside))
            if count >= max(FEWEST_VOXELS, OUTSIDE_SHARE * body.voxels):
                inside = body.inner & parent.shape.at(body.box)
                fix = None
                if inside.any():
                    masks = (body.shape.with_inner(inside),)
                    fix = Fix("Cut what lies outside", masks=masks)
                text = f"{count / body.voxels:.0%} of {body.shape} lies outside {parent.shape}."
                plane = int(outside.sum((1, 2)).argmax()) + body.box[0].start
                yield Finding("parent", (body.shape.number, parent.shape.number), text, plane, fix)

    def islands(self) -> Iterator[Finding]:
        """Small parts that lie apart from the rest of an organ."""
        for body in self.bodies:
            if not body.is_one:
                continue
            parts, count = ndimage.label(body.inner, np.ones((3, 3, 3)))
            if count < 2:
                continue
            sizes = np.bincount(parts.ravel())[1:]
            small = np.flatnonzero(sizes < ISLAND_SHARE * sizes.max()) + 1
            voxels, usual = int(sizes[small - 1].sum()), self.usual.get(body.shape.name)
            allowed = usual.scattered * body.voxels if usual is not None else 0
            if voxels >= FEWEST_VOXELS and voxels > allowed:
                gone = np.isin(parts, small)
                masks = (body.shape.with_inner(body.inner & ~gone),)
                many = "1 small part" if len(small) == 1 else f"{len(small)} small parts"
                text = f"{body.shape} has {many} apart from the rest ({say_ml(voxels, self.grid)})."
                plane = int(gone.sum((1, 2)).argmax()) + body.box[0].start
                fix = Fix("Keep the largest part", masks=masks)
                yield Finding("islands", (body.shape.number,), text, plane, fix)

    def holes(self) -> Iterator[Finding]:
        """Holes that no other structure fills."""
        for body in self.bodies:
            if not body.is_one:
                continue
            flat = body.inner.shape[0] == 1 or self.grid.shape[0] == 1
            filled = fill_planes(body.inner) if flat else ndimage.binary_fill_holes(body.inner)
            holes = filled & ~body.inner
            wholes = self.anatomy.ancestors(body.shape.name) if body.structure is not None else ()
            for other in self.bodies:
                if other is not body and other.shape.name not in wholes and holes.any():
                    holes &= ~other.shape.at(body.box)
            voxels, usual = int(np.count_nonzero(holes)), self.usual.get(body.shape.name)
            allowed = usual.hollow * body.voxels if usual is not None else 0
            if voxels >= FEWEST_VOXELS and voxels > allowed:
                masks = (body.shape.with_inner(body.inner | holes),)
                text = f"{body.shape} has holes ({say_ml(voxels, self.grid)})."
                plane = int(holes.sum((1, 2)).argmax()) + body.box[0].start
                fix = Fix("Fill the holes", masks=masks)
                yield Finding("holes", (body.shape.number,), text, plane, fix)

    def gaps(self) -> Iterator[Finding]:
        """Planes between the first and the last of an organ on which it is missing."""
        for body in self.bodies:
            if not body.is_one:
                continue
            there = body.inner.any((1, 2))
            planes = np.flatnonzero(there)
            missing = np.setdiff1d(np.arange(planes[0], planes[-1]), planes)
            usual = self.usual.get(body.shape.name)
            if missing.size > (usual.interrupted if usual is not None else 0):
                first = missing + body.box[0].start
                filled = body.shape.with_inner(fill_between(body.inner, missing))
                fix = Fix("Fill between the planes", masks=(filled,))
                many = "1 plane" if missing.size == 1 else f"{missing.size} planes"
                where = f"plane {first[0]}" if missing.size == 1 else f"planes {first[0]} to {first[-1]}"
                text = f"{body.shape} is missing on {many} in between ({where})."
                yield Finding("gap", (body.shape.number,), text, int(first[0]), fix)

    def overlaps(self) -> Iterator[Finding]:
        """Masks that share voxels with a mask that a person accepted, and are no part of it."""
        for one, other in combinations(self.bodies, 2):
            body, firm = (one, other) if not one.shape.locked else (other, one)
            names = body.shape.name, firm.shape.name
            if not firm.shape.locked or self._may_share(*names):
                continue
            shared = body.inner & firm.shape.at(body.box)
            voxels = int(np.count_nonzero(shared))
            if voxels >= max(FEWEST_VOXELS, OVERLAP_SHARE * min(body.voxels, firm.voxels)):
                masks = (body.shape.with_inner(body.inner & ~shared),)
                text = (
                    f"{body.shape} lies on {say_ml(voxels, self.grid)} of {firm.shape}, which was accepted."
                )
                plane = int(shared.sum((1, 2)).argmax()) + body.box[0].start
                fix = Fix(f"Leave it to {firm.shape}", masks=masks)
                yield Finding("overlap", (body.shape.number, firm.shape.number), text, plane, fix)

    def _may_share(self, one: str, other: str) -> bool:
        known = self.anatomy.find(one), self.anatomy.find(other)
        lesions = any(_LESION.search(name) for name in (one, other))
        return None in known or lesions or self.anatomy.share(one, other)

    def sizes(self) -> Iterator[Finding]:
        """Volumes and lengths that are out of range."""
        if not self.grid.has_volume or self.grid.shape[0] == 1:
            return
        for body in self.bodies:
            if found := self._size(body):
                yield Finding("size", (body.shape.number,), found, body.plane)

    def _size(self, body: _Body) -> str:
        name = body.shape.name
        base = name.removeprefix("left ").removeprefix("right ")
        if (size := load_sizes().get(base)) is not None:
            low, high = size.allowed_ml
            if body.ml > high or (body.ml < low and not body.cut):
                return _tell(body, f"has {body.ml:.1f} ml", f"{low:.0f} to {high:.0f} ml", size.source)
            length = self._length(body) if size.mm else 0.0
            low, high = size.allowed_mm
            if length > high or (size.mm and length < low and not body.cut):
                return _tell(body, f"is {length:.0f} mm long", f"{low:.0f} to {high:.0f} mm", size.source)
        usual = self.usual.get(name)
        if usual is None:
            return ""
        off = (np.log(body.ml) - usual.log_ml) / usual.log_spread
        ratio = body.ml / np.exp(usual.log_ml)
        if max(ratio, 1 / ratio) < SIZE_RATIO:
            return ""
        if off > SIZE_SPREADS or (off < -SIZE_SPREADS and not body.cut):
            word = "larger" if off > 0 else "smaller"
            return (
                f"{body.shape} has {body.ml:.1f} ml, far {word} than usual ({np.exp(usual.log_ml):.1f} ml)."
            )
        return ""

    def _length(self, body: _Body) -> float:
        """Return the extent along the longest axis of inertia, mm."""
        points = self.grid.index_to_world(np.argwhere(body.inner))
        centred = points - points.mean(0)
        _, vectors = np.linalg.eigh(np.cov(centred.T) if len(points) > 1 else np.eye(3))
        along = centred @ vectors[:, -1]
        return float(along.max() - along.min())

    def partners(self) -> Iterator[Finding]:
        """Structures whose counterpart is not there, though the image shows its place."""
        if self.midline is None:
            return
        for body in self.bodies:
            structure = body.structure
            if structure is None or not structure.mirror or structure.mirror in self.by_name:
                continue
            mirrored = body.centre * [-1, 1, 1] + [2 * self.midline, 0, 0]
            index = np.linalg.solve(self.grid.affine[:3, :3], mirrored - self.grid.affine[:3, 3])
            if (index >= 0).all() and (index <= np.array(self.grid.shape) - 1).all():
                fix = Fix(f"Ask for the {structure.mirror}", question=f"Segment the {structure.mirror}")
                text = f"There is {body.shape}, but no {structure.mirror}, and the image shows its place."
                yield Finding("partner", (body.shape.number,), text, round(float(index[0])), fix)

    def exchanged(self) -> Iterator[Finding]:
        """Pairs of structures whose place and size fit each other's name far better than their own."""
        known = [body for body in self.bodies if body.shape.name in self.usual]
        if not self.grid.oriented or not self.grid.has_volume or len(known) < FEWEST_USUAL:
            return
        fit = Fit(
            np.array([body.centre for body in known]),
            np.log([body.ml for body in known]),
            np.array([not body.cut for body in known]),
            [self.usual[body.shape.name] for body in known],
        )
        told: set[int] = set()
        for gain, a, b in sorted(fit.gains(), reverse=True):
            if gain < EXCHANGE_GAIN:
                return
            one, other = known[a], known[b]
            mirrored = one.structure is not None and one.structure.mirror == other.shape.name
            if told & {a, b} or mirrored:
                continue
            told |= {a, b}
            numbers = one.shape.number, other.shape.number
            names = ((numbers[0], other.shape.name), (numbers[1], one.shape.name))
            text = f"{one.shape} and {other.shape} have place and size of each other."
            yield Finding("exchanged", numbers, text, one.plane, Fix("Exchange the names", names=names))


def check_shapes(
    shapes: Sequence[Shape], grid: Geometry, anatomy: Anatomy, midline_mm: float | None = None
) -> tuple[Finding, ...]:
    """Return what is doubtful about the structures of one volume; parameters as in `Checker`."""
    return Checker(shapes, grid, anatomy, midline_mm).findings()


def _tell(body: _Body, found: str, allowed: str, source: str) -> str:
    return f"{body.shape} {found}; in adults {allowed} are to be expected ({source})."
