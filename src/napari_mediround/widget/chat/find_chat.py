"""The chat of a viewer, for other docks and commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_mediround.widget.chat.chat_dock import ChatDock


def find_chat(viewer) -> ChatDock | None:
    """Return the chat dock of a viewer's window, or None."""
    from napari_mediround.widget.chat.chat_dock import ChatDock

    window = getattr(viewer, "window", None)
    docks = window.dock_widgets.values() if window is not None else ()
    return next((dock for dock in docks if isinstance(dock, ChatDock)), None)
