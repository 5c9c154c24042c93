"""The napari docks. The only code that knows Qt and napari; the model is imported on the worker."""

from importlib import import_module

_MOVED = {"reader": "plugin.layer_reader", "writer": "plugin.layer_writer", "sample": "plugin.sample"}


def __getattr__(name: str) -> object:
    """Return a module by the path that scripts used before `widget.plugin` was a room."""
    if name in _MOVED:
        return import_module(f"{__name__}.{_MOVED[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
