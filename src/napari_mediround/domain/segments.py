"""Named masks of a whole volume, ready to leave: what each is, and where. Knows no file format.

Masks lie on the grid of the source file, not in display order. Those that overlap stand in different
layers, as 3D Slicer keeps them, so that a hundred of them need no hundred arrays.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import Anatomy
from napari_mediround.domain.geometry import Geometry

AUTOMATIC, SEMIAUTOMATIC, MANUAL = "AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"
"""How a mask came to be, in DICOM's words (PS3.3 C.8.20.2): untouched, fixed, drawn."""

ORIGINS = (AUTOMATIC, SEMIAUTOMATIC, MANUAL)

STANDINGS = ("", "proposal", "accepted", "corrected")
"""What a mask that leaves can be: of unknown standing, judged by nobody, accepted, corrected."""

LONGEST_NAME = 64
"""DICOM's longest segment label and ROI name, characters."""

MAX_VALUE = 2**16 - 1

PALETTE = (
    (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66),
    (0, 114, 178), (213, 94, 0), (204, 121, 167),
)  # fmt: skip
"""Colours that colour-blind readers can tell apart (Okabe and Ito, 2008), in turn."""

_OFF_GRID = 0.1


def new_uid() -> str:
    """Return a fresh identifier in the DICOM form for UUIDs, "2.25.…" (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid4().int}"


@dataclass(frozen=True)
class Segment:
    """What one mask of a volume is.

    Parameters
    ----------
    value : int
        Label value, 1…65535.
    name : str
        1…64 printable characters without a backslash.
    code : tuple of (str, str) or None
        SNOMED CT code and meaning, without the side.
    side : {"left", "right", ""}
        The patient's.
    colour : tuple of int
        Red, green, blue, 0…255.
    origin : {"AUTOMATIC", "SEMIAUTOMATIC", "MANUAL"}
        Untouched, fixed or drawn.
    tracking_uid : str
        Identifies the thing over files and time; a fresh one by default.
    layer : int
        Which array of the volume holds it.
    verdict : {"", "proposal", "accepted", "corrected"}
        What a person said of it; "" where that is not known.
    quality : float or None
        Judged by the model, 0…1; None where that is not known.
    tracking_id : str
        Names the tracked thing beside its UID: number and name as people know them, also in a format that
        counts its segments anew.
    foreign : bool
        Whether it was taken from elsewhere: no program of ours made it.

    Raises
    ------
    ValueError
        When a value is not one of these.
    """

    value: int
    name: str
    code: tuple[str, str] | None = None
    side: str = ""
    colour: tuple[int, int, int] = PALETTE[0]
    origin: str = AUTOMATIC
    tracking_uid: str = field(default_factory=new_uid)
    layer: int = 0
    verdict: str = ""
    quality: float | None = None
    tracking_id: str = field(default="", compare=False)
    foreign: bool = field(default=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.value <= MAX_VALUE:
            raise ValueError(f"label values run from 1 to {MAX_VALUE}, not {self.value}")
        if not 0 < len(self.name) <= LONGEST_NAME or not self.name.isprintable() or "\\" in self.name:
            raise ValueError("a name has 1 to 64 printable characters and no backslash")
        if self.name != self.name.strip():
            raise ValueError("a name neither begins nor ends with a blank")
        if self.side not in ("left", "right", "") or self.origin not in ORIGINS:
            raise ValueError(f"{self.side!r} is no side, or {self.origin!r} no origin")
        if self.verdict not in STANDINGS or not (self.quality is None or 0 <= self.quality <= 1):
            raise ValueError(f"{self.verdict!r} is no verdict, or {self.quality!r} no quality")
        if not self.tracking_id:
            named = f"{self.value} {self.name}"[:LONGEST_NAME].strip()
            object.__setattr__(self, "tracking_id", named)


def make_segment(
    value: int, name: str, anatomy: Anatomy | None = None, origin: str = AUTOMATIC, **more
) -> Segment:
    """Return a segment with the code and side that the anatomy knows for its name.

    Parameters
    ----------
    value : int
        Label value; the colour follows from it.
    name : str
        Any text; what a name may not hold is taken out.
    anatomy : Anatomy, optional
        Where codes and sides come from.
    origin : str
        As in `Segment`.
    **more
        Further fields of `Segment`.
    """
    structure = anatomy.find(name) if anatomy else None
    if structure:
        more = {"code": structure.sct, "side": structure.side, **more}
    colour = PALETTE[(value - 1) % len(PALETTE)]
    return Segment(
        value, clean_name(name) or f"structure {value}", origin=origin, **{"colour": colour, **more}
    )


def clean_name(text: str) -> str:
    """Return `text` as a name may be: printable, one line, 64 characters; may be empty."""
    printable = "".join(c if c.isprintable() and c != "\\" else " " for c in text)
    return " ".join(printable.split())[:LONGEST_NAME].strip()


@dataclass(frozen=True, eq=False)
class LabelledVolume:
    """Masks on the grid of a source file.

    Parameters
    ----------
    geometry : Geometry
        The source's grid, with its UIDs.
    layers : tuple of ndarray
        Each uint16 (plane, row, column) on that grid, 0 background; at least one.
    segments : tuple of Segment
        In the order of their numbers; values differ over all layers.
    notes : tuple of str
        What was decided while reading, for the user to know.

    Raises
    ------
    ValueError
        When a layer does not fill the grid, a voxel's value belongs to no segment, or two segments share a
        value.
    """

    geometry: Geometry
    layers: tuple[NDArray[np.uint16], ...]
    segments: tuple[Segment, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError("a labelled volume has at least one layer")
        if any(layer.shape != self.geometry.shape or layer.dtype != np.uint16 for layer in self.layers):
            raise ValueError(f"each layer is uint16 on the grid {self.geometry.shape}")
        if len({s.value for s in self.segments}) < len(self.segments):
            raise ValueError("two segments have one value")
        for number, counts in enumerate(self._counts):
            named = {s.value for s in self.segments if s.layer == number}
            if unnamed := set(np.flatnonzero(counts).tolist()) - {0} - named:
                raise ValueError(f"label values {sorted(unnamed)[:9]} have no segment")

    @cached_property
    def _counts(self) -> tuple[NDArray[np.int64], ...]:
        """Voxels of each value on each layer; plane by plane, as `bincount` needs eight bytes a voxel."""
        return tuple(
            sum(np.bincount(plane.ravel(), minlength=MAX_VALUE + 1) for plane in layer)
            for layer in self.layers
        )

    @classmethod
    def from_labels(cls, geometry: Geometry, labels: NDArray, segments: Iterable[Segment]) -> LabelledVolume:
        """Return the volume of one integer array (plane, row, column); masks do not overlap.

        Raises
        ------
        ValueError
            As above, or when a value is negative or above 65535.
        """
        if labels.dtype != np.uint16 and labels.size and not 0 <= labels.min() <= labels.max() <= MAX_VALUE:
            raise ValueError(f"label values run from 0 to {MAX_VALUE}")
        return cls(geometry, (np.ascontiguousarray(labels, np.uint16),), tuple(segments))

    @classmethod
    def from_masks(cls, geometry: Geometry, masks: Iterable[tuple[Segment, NDArray]]) -> LabelledVolume:
        """Return the volume of masks (plane, row, column), each on the first layer that is free below it."""
        layers = [np.zeros(geometry.shape, np.uint16)]
        segments = []
        for segment, mask in masks:
            mask = np.asarray(mask, bool)
            if mask.shape != geometry.shape:
                raise ValueError(f"a mask of {mask.shape} is not on the grid {geometry.shape}")
            number = next((k for k, layer in enumerate(layers) if not layer[mask].any()), len(layers))
            if number == len(layers):
                layers.append(np.zeros(geometry.shape, np.uint16))
            layers[number][mask] = segment.value
            segments.append(replace(segment, layer=number))
        return cls(geometry, tuple(layers), tuple(segments))

    @property
    def overlapping(self) -> bool:
        """Whether the masks need more than one array."""
        return len(self.layers) > 1

    def mask(self, segment: Segment) -> NDArray[np.bool_]:
        """Return one mask as bool (plane, row, column)."""
        return self.layers[segment.layer] == segment.value

    def voxels(self, segment: Segment) -> int:
        """Return the number of voxels of a mask."""
        return int(self._counts[segment.layer][segment.value])

    def volume_ml(self, segment: Segment) -> float:
        """Return the volume of a mask, ml."""
        return self.voxels(segment) * self.geometry.voxel_mm3 / 1000

    def flatten(self) -> tuple[LabelledVolume, dict[str, int]]:
        """Return the volume with one layer, and how many voxels of which name gave way to earlier ones."""
        if not self.overlapping:
            return self, {}
        labels, hidden = np.zeros(self.geometry.shape, np.uint16), {}
        for segment in self.segments:
            mask = self.mask(segment)
            if lost := int(np.count_nonzero(labels[mask])):
                hidden[segment.name] = lost
            labels[mask & (labels == 0)] = segment.value
        return LabelledVolume(
            self.geometry, (labels,), tuple(replace(s, layer=0) for s in self.segments)
        ), hidden

    def renumber(self) -> LabelledVolume:
        """Return the volume with the values 1, 2, 3, … in the order of the segments."""
        numbers = range(1, len(self.segments) + 1)
        if all(s.value == n for s, n in zip(self.segments, numbers, strict=True)):
            return self
        layers = []
        for k in range(len(self.layers)):
            table = np.zeros(MAX_VALUE + 1, np.uint16)
            for segment, number in zip(self.segments, numbers, strict=True):
                if segment.layer == k:
                    table[segment.value] = number
            layers.append(table[self.layers[k]])
        segments = (replace(s, value=n) for s, n in zip(self.segments, numbers, strict=True))
        return LabelledVolume(self.geometry, tuple(layers), tuple(segments))

    def place(self, grid: Geometry) -> LabelledVolume:
        """Return the masks on another grid whose voxels lie where this one's do; nothing is interpolated.

        Axes may be permuted and flipped, and either grid may be larger; voxels outside `grid` are background
        there.

        Raises
        ------
        ValueError
            When a voxel is off by a tenth of its size or more, or a mask reaches out of `grid`.
        """
        to_grid = np.linalg.inv(grid.affine) @ self.geometry.affine
        snapped = to_grid.round()
        # Judged at the far corner, in voxels: small errors of direction add up along an axis.
        reach = np.abs(to_grid - snapped)[:3] @ [*self.geometry.shape, 1]
        if reach.max() >= _OFF_GRID or not np.array_equal(np.abs(snapped[:3, :3]).sum(0), [1, 1, 1]):
            raise ValueError("the voxels of the masks do not lie on those of the image")
        axes = np.abs(snapped[:3, :3]).argmax(1)
        signs = snapped[np.arange(3), axes]
        moved = [
            layer.transpose(axes)[tuple(slice(None, None, int(s)) for s in signs)] for layer in self.layers
        ]
        size = np.array(moved[0].shape)
        first = snapped[:3, 3] + np.where(signs < 0, -(size - 1), 0)
        low = np.maximum(first, 0).astype(int)
        high = np.minimum(first + size, grid.shape).astype(int)
        inner = tuple(
            slice(*pair) for pair in zip(low - first.astype(int), high - first.astype(int), strict=True)
        )
        outer = tuple(slice(*pair) for pair in zip(low, high, strict=True))
        layers = tuple(np.zeros(grid.shape, np.uint16) for _ in moved)
        for layer, source in zip(layers, moved, strict=True):
            if (high > low).all():
                layer[outer] = source[inner]
            if np.count_nonzero(layer) < np.count_nonzero(source):
                raise ValueError("the masks reach out of the image")
        return LabelledVolume(grid, layers, self.segments, self.notes)
