"""Where images lie: beside the journal, never in it."""

import os

import numpy as np
import pytest
from fakes import make_picture, make_volume

from napari_mediround.errors import JournalError
from napari_mediround.journal import ImagePlace, recall_images, remember_image
from napari_mediround.journal.image_paths import fingerprint


def test_places_are_kept_by_case(tmp_path):
    assert recall_images(tmp_path) == {}
    remember_image(tmp_path, "a", "/data/Müller/ct.nii", "napari-mediround")
    remember_image(tmp_path, "b", "/data/b")
    remember_image(tmp_path, "a", "/data/moved")
    assert recall_images(tmp_path) == {
        "a": ImagePlace(os.path.abspath("/data/moved")),
        "b": ImagePlace(os.path.abspath("/data/b")),
    }
    assert [p.name for p in tmp_path.iterdir()] == ["images.json"]


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"images": {"a": 1}}', '{"images": [1]}', "\x00"])
def test_a_file_that_cannot_be_read_counts_as_none(tmp_path, content):
    (tmp_path / "images.json").write_text(content)
    assert recall_images(tmp_path) == {}
    remember_image(tmp_path, "a", "/data/a")
    assert list(recall_images(tmp_path)) == ["a"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    remember_image(tmp_path, "a", "/data/a")

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("napari_mediround.files.os.fsync", fail)
    with pytest.raises(JournalError, match="No space left") as caught:
        remember_image(tmp_path, "b", "/data/Müller")
    assert "Müller" not in str(caught.value)
    assert list(recall_images(tmp_path)) == ["a"]


def test_the_fingerprint_is_of_what_is_seen_whatever_the_memory_layout():
    study = make_volume()
    for pixels in (np.asfortranarray(study.pixels), study.pixels.astype(">i2")):
        same = type(study)(pixels, study.geometry, study.order, study.source_geometry)
        assert fingerprint(same) == fingerprint(study)
    changed = study.pixels.copy()
    changed[-1, -1, -1] += 1
    other = type(study)(changed, study.geometry, study.order, study.source_geometry)
    assert fingerprint(other) != fingerprint(study)
    assert fingerprint(make_picture()) != fingerprint(study)
