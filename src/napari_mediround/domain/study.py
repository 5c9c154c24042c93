"""One image to talk about, in display order, with the way back to its file. Knows no file format."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from napari_mediround.domain.geometry import DisplayOrder, Geometry, display_order

PERCENTILE_SAMPLE = 2_000_000
"""At most about this many voxels are looked at for the grey range of a volume."""


@dataclass(frozen=True, eq=False)
class Study:
    """A volume or picture in radiological display order.

    Parameters
    ----------
    pixels : ndarray
        (plane, row, column) of any real dtype: HU for CT, stored values otherwise; or
        (plane, row, column, 3) uint8 RGB.
    geometry : Geometry
        Of `pixels`.
    order : DisplayOrder
        From the source grid to `pixels`.
    source_geometry : Geometry
        Of the file's own grid; label volumes are written on it.
    modality : str
        DICOM's code ("CT", "MR", "US", "CR", …), "" when the file does not say.
    name : str
        Short and free of patient data ("CT axial 512x512x120").
    notes : tuple of str
        What was decided while reading, for the user to know ("3 voxels were not numbers").
    stated : bool
        Whether the file, or a person, says the modality; else it was judged by the values.
    shift : float
        What was taken off the file's values to have Hounsfield units.
    title : str
        What the file calls the image (the series description), "" for nothing. For the screen alone: it may
        hold patient data, so it goes into no journal, log or export.

    Raises
    ------
    ValueError
        When pixels, order and geometries do not belong together.
    """

    pixels: NDArray
    geometry: Geometry
    order: DisplayOrder
    source_geometry: Geometry
    modality: str = ""
    name: str = ""
    notes: tuple[str, ...] = ()
    stated: bool = True
    shift: float = 0.0
    title: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        if self.pixels.shape[:3] != self.geometry.shape or self.pixels.ndim not in (3, 4):
            raise ValueError(f"pixels {self.pixels.shape} do not fill the grid {self.geometry.shape}")
        if self.is_rgb and (self.pixels.shape[3] != 3 or self.pixels.dtype != np.uint8):
            raise ValueError("colour pixels are uint8 with three channels")
        if self.order.apply_geometry(self.source_geometry).shape != self.geometry.shape:
            raise ValueError("the order does not lead from the source grid to the shown one")

    @property
    def is_rgb(self) -> bool:
        """Whether the pixels are colours."""
        return self.pixels.ndim == 4

    @property
    def planes(self) -> int:
        """Number of planes."""
        return self.pixels.shape[0]

    @cached_property
    def grey_range(self) -> tuple[float, float]:
        """The 0.5 and 99.5 percentiles of the volume's non-zero values (of a regular sample if large)."""
        flat = self.pixels.reshape(-1) if self.pixels.flags.c_contiguous else self.pixels
        if self.pixels.size > PERCENTILE_SAMPLE:
            step = int(np.ceil((self.pixels.size / PERCENTILE_SAMPLE) ** (1 / 3)))
            flat = self.pixels[:: min(step, self.planes), ::step, ::step]
        values = np.asarray(flat)[np.asarray(flat) != 0]
        if not values.size:
            return 0.0, 1.0
        low, high = np.percentile(values, (0.5, 99.5))
        return float(low), float(high)


def make_study(
    pixels: NDArray,
    geometry: Geometry,
    modality: str = "",
    slice_axis: str | int | None = None,
    notes: tuple[str, ...] = (),
) -> Study:
    """Put a source array into display order.

    Parameters
    ----------
    pixels : ndarray
        (plane, row, column[, 3]) as the file has it.
    geometry : Geometry
        Of `pixels`.
    modality : str
        DICOM's code or "".
    slice_axis : {None, "axial", "coronal", "sagittal"} or int
        As in `display_order`.
    notes : tuple of str
        For the user.

    Returns
    -------
    Study
        Its pixels are a view of `pixels`.

    Raises
    ------
    ValueError
        When `slice_axis` is not known, or pixels and geometry do not fit.
    """
    order = display_order(geometry, slice_axis)
    shown = order.apply_geometry(geometry)
    return Study(order.apply(pixels), shown, order, geometry, modality, describe(modality, shown), notes)


def describe(modality: str, geometry: Geometry) -> str:
    """Return a name without patient data: modality, plane and columns x rows[ x planes]."""
    planes, rows, columns = geometry.shape
    size = f"{columns}x{rows}" + (f"x{planes}" if planes > 1 else "")
    return " ".join(word for word in (modality or "image", geometry.plane_name, size) if word)
