"""The Labels layer that shows a session's masks. Knows no model, no conversation and no Qt.

The layer shows and never decides: what it holds is copied from label arrays in display order. It is not
editable, so that nothing can be drawn that the record does not know; see `fixing` for the layer that is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from napari.layers import Image, Labels, Layer
from napari.utils.colormaps import CyclicLabelColormap, DirectLabelColormap
from numpy.typing import NDArray

from napari_mediround.domain.judged import JudgedMask
from napari_mediround.widget.layers.layer_geometry import IMAGE_KEY, RECORD_KEY, Grid

COLOURS = (
    "#ff5a5f", "#3ddc84", "#4d9dff", "#ffd23f", "#e05cff", "#2de2e6",
    "#ff9f1c", "#b8f35c", "#ff8fb8", "#9b7bff", "#14b8a6", "#d9a06b",
)  # fmt: skip
"""Label colours in turn: bright on grey images, neighbours easy to tell apart."""

SHARED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
"""What a layer must have of its image to lie on it."""


def name_for(layer: Image) -> str:
    """Return what the masks of an image layer are called."""
    return f"{layer.name} masks"


def make_labels(layer: Image) -> Labels:
    """Return an empty Labels layer on an image layer's grid, with all its transforms and metadata."""
    data = layer.data[0] if layer.multiscale else layer.data
    labels = Labels(
        np.zeros(tuple(data.shape[: layer.ndim]), np.uint16),
        name=name_for(layer),
        metadata={**layer.metadata, IMAGE_KEY: layer.unique_id},
        colormap=_colours(),
        opacity=0.5,
        **{key: getattr(layer, key) for key in SHARED},
    )
    labels.editable = False
    return labels


def show_plane(labels: Labels, grid: Grid, plane: int, values: NDArray) -> None:
    """Make one plane of a Labels layer show label values (row, column), display order.

    The array is written and the layer drawn anew. `Labels.data_setitem` is not used: it writes through the
    plane on the screen too, which of a turned layer is another one, and keeps a history that would undo
    what the record has not undone.
    """
    shown = grid.plane_of(labels.data, plane)
    if not np.array_equal(shown, values):
        shown[:] = values
        labels.refresh(extent=False)


def follow(labels: Labels, layer: Image) -> None:
    """Give a Labels layer the transforms that its image layer has now."""
    place(labels, {key: getattr(layer, key) for key in SHARED})


def place(layer: Layer, transforms: Mapping[str, object]) -> None:
    """Set those transforms of a layer, by the names in `SHARED`, that are others than it has."""
    for key, value in transforms.items():
        own = getattr(layer, key)
        same = own == value if isinstance(value, tuple) else np.array_equal(np.asarray(own), value)
        if not same:
            setattr(layer, key, value)


def name_labels(labels: Labels, names: Mapping[int, str]) -> None:
    """Show the names and colours of label values: in napari's status bar, and to whoever exports them."""
    labels.features = {
        "index": [0, *names],
        "name": ["background", *names.values()],
        "color": ["#00000000", *(label_colour(value) for value in names)],
    }


def record_masks(labels: Labels, volume: tuple[int, ...], masks: tuple[JudgedMask, ...]) -> None:
    """Keep with a Labels layer what the record says of its masks on one volume, for whoever exports them."""
    kept = labels.metadata.get(RECORD_KEY, {})
    if kept.get(volume) != masks:
        labels.metadata[RECORD_KEY] = {**kept, volume: masks}


def highlight(labels: Labels, value: int) -> None:
    """Show one label value alone; 0 shows all again."""
    if value:
        labels.selected_label = value
    labels.show_selected_label = bool(value)


def conceal(labels: Labels, hidden: Collection[int], names: Mapping[int, str]) -> None:
    """Give some label values no colour; the layer still holds them. Of no values: show all again."""
    if hidden:
        shown = {v: rgba(label_colour(v)) if v not in hidden else (0.0,) * 4 for v in (*names, *hidden)}
        labels.colormap = DirectLabelColormap(color_dict={None: (0.0,) * 4, 0: (0.0,) * 4, **shown})
    elif isinstance(labels.colormap, DirectLabelColormap):
        labels.colormap = _colours()


def _colours() -> CyclicLabelColormap:
    colours = [(0.0, 0.0, 0.0, 0.0), *(rgba(colour) for colour in COLOURS)]
    return CyclicLabelColormap(colors=np.array(colours, np.float32))


def label_colour(value: int) -> str:
    """Return the colour of a label value as "#rrggbb"."""
    return COLOURS[(value - 1) % len(COLOURS)]


def rgba(colour: str) -> tuple[float, ...]:
    """Return a colour "#rrggbb" as (red, green, blue, 1), 0…1."""
    return (*(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)), 1.0)
