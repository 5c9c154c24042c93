"""The recipe of learning as a file."""

from __future__ import annotations

import pytest

from napari_mediround.errors import SettingsError
from napari_mediround.training.learning.recipe import LearningSettings, read_learning


def test_a_file_changes_what_it_names(tmp_path):
    (tmp_path / "r.toml").write_text("[learning]\nsteps = 7\nhead_rate = 1e-4\n")
    assert read_learning(tmp_path / "r.toml") == LearningSettings(steps=7, head_rate=1e-4)


@pytest.mark.parametrize(
    "text", ["[learning]\nstepz = 7", "[learning]\nsteps = 'x'", "[other]\na = 1", "[learning"]
)
def test_what_is_not_known_is_refused(tmp_path, text):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(SettingsError, match=r"r\.toml"):
        read_learning(tmp_path / "r.toml")
