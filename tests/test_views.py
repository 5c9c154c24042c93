"""Panels have every signal and setter that their contract names, with the same parameters."""

from __future__ import annotations

import inspect

import pytest
from psygnal import SignalInstance

from napari_mediround.widget.export.export_panel import ExportPanel
from napari_mediround.widget.export.export_view import ExportView
from napari_mediround.widget.learning.learning_panel import LearningPanel
from napari_mediround.widget.learning.learning_view import LearningView


@pytest.mark.parametrize(("panel", "view"), [(ExportPanel, ExportView), (LearningPanel, LearningView)])
def test_a_panel_keeps_the_contract_of_its_view(qtbot, panel, view) -> None:
    made = panel()
    qtbot.addWidget(made)
    assert view.__annotations__
    for signal in view.__annotations__:
        assert isinstance(getattr(made, signal), SignalInstance), signal
    methods = [name for name, member in vars(view).items() if inspect.isfunction(member) and name[0] != "_"]
    assert methods
    for name in methods:
        wanted, given = (inspect.signature(getattr(kind, name)).parameters for kind in (view, panel))
        assert [(p.name, p.default) for p in given.values()] == [
            (p.name, p.default) for p in wanted.values()
        ], name
