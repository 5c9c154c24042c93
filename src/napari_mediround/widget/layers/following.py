"""Layers made for an image go where the image goes. Knows no model, no conversation and no Qt."""

from __future__ import annotations

import weakref
from collections.abc import Callable

from napari.layers import Image, Labels

from napari_mediround.widget.layers.layer_geometry import IMAGE_KEY
from napari_mediround.widget.layers.mask_layer import SHARED, follow, name_for


class Following:
    """Hears when images of a viewer are moved, turned, scaled or renamed, and lets their masks follow.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    moved : callable
        Called with the image after its masks have followed.
    """

    def __init__(self, viewer, moved: Callable[[Image], None]) -> None:
        self._viewer, self._moved = viewer, moved
        self._names: weakref.WeakKeyDictionary[Image, str] = weakref.WeakKeyDictionary()

    def look(self) -> None:
        """Hear the images that the viewer has now."""
        for layer in self._viewer.layers:
            if isinstance(layer, Image) and layer not in self._names:
                self._names[layer] = name_for(layer)
                for emitter, slot in self._slots(layer):
                    emitter.connect(slot)

    def disconnect(self) -> None:
        """Hear no image any more."""
        for layer in self._names:
            for emitter, slot in self._slots(layer):
                emitter.disconnect(slot)
        self._names.clear()

    def _slots(self, layer: Image) -> list:
        moves = [(getattr(layer.events, key), self._on_moved) for key in SHARED if hasattr(layer.events, key)]
        return [*moves, (layer.events.name, self._on_renamed)]

    def _on_moved(self, event) -> None:
        for layer in self._of(event.source):
            follow(layer, event.source)
        self._moved(event.source)

    def _on_renamed(self, event) -> None:
        before, after = self._names.get(event.source), name_for(event.source)
        self._names[event.source] = after
        for layer in self._of(event.source):
            if isinstance(layer, Labels) and layer.name == before:  # not one that a person has named
                layer.name = after

    def _of(self, image: Image) -> list:
        return [layer for layer in self._viewer.layers if layer.metadata.get(IMAGE_KEY) == image.unique_id]
