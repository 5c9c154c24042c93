"""The dock's letters in napari's canvas, bound while the dock is in use and only then; undo on our layers."""

from __future__ import annotations

from collections.abc import Callable

from napari.layers import Labels

from napari_mediround.widget.chat.view import DONE_KEY, DROP_KEY, KEYS, REASON_KEYS

QUESTION_KEY = "Q"
"""Puts the cursor into the question."""

LETTERS = tuple(dict.fromkeys([*KEYS.values(), *REASON_KEYS.values(), QUESTION_KEY]))
ENDS = (DONE_KEY, DROP_KEY)
"""Keys that end a fix. napari has them for shapes and polygons: the selected layer takes them first."""


class ViewerKeys:
    """Binds `LETTERS` and `ENDS` on a viewer.

    Parameters
    ----------
    viewer : napari.Viewer or ViewerModel
        A proxy of one will do.
    act : callable
        Called with the key.
    """

    def __init__(self, viewer, act: Callable[[str], None]) -> None:
        self._viewer = viewer
        self._bound = {key: _presser(act, key) for key in (*LETTERS, *ENDS)}

    def bind(self) -> None:
        """Take the keys; of several docks in one viewer the last one to be shown has them."""
        for key, press in self._bound.items():
            self._viewer.bind_key(key.replace("+", "-"), press, overwrite=True)

    def unbind(self) -> None:
        """Give back the keys that are still this dock's."""
        for key, press in self._bound.items():
            other = self._viewer.bind_key(key.replace("+", "-"), None)
            if other is not None and other is not press:
                self._viewer.bind_key(key.replace("+", "-"), other)


def bind_ends(layer: Labels, act: Callable[[str], None]) -> None:
    """Let `ENDS` on a layer call `act` with the key: napari's own uses of them are for polygons."""
    for key in ENDS:
        layer.bind_key(key, _presser(act, key), overwrite=True)


def bind_undo(layer: Labels, step_back: Callable[[str], None]) -> None:
    """Let napari's keys for undo and redo on a layer call `step_back` with "undo" or "redo"."""
    for keys, name in (("Control-Z", "undo"), ("Control-Shift-Z", "redo")):
        layer.bind_key(keys, _presser(step_back, name), overwrite=True)


def _presser(act: Callable[[str], None], key: str) -> Callable[..., None]:
    """Return a function, not a partial: napari asks each bound one for its name."""

    def press(_bound_on=None) -> None:
        act(key)

    return press
