"""The command of napari's menus that takes the selected layer as masks. Opens the chat if need be."""

from __future__ import annotations

from napari.viewer import Viewer

from napari_mediround.widget.chat.find_chat import find_chat


def take_as_masks(viewer: Viewer) -> None:
    """Take the selected Labels or Shapes layer as masks of the image that the chat is about.

    Parameters
    ----------
    viewer : napari.Viewer
        Given by napari.
    """
    chat = find_chat(viewer)
    if chat is None:
        _, chat = viewer.window.add_plugin_dock_widget("napari-mediround", "MediRound chat")
    chat.controller.imports.take_layer(None)
