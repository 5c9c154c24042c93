"""What every reader refuses before it allocates."""

from __future__ import annotations

import logging
import os
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_mediround.errors import UnreadableFileError
from napari_mediround.io import limits, read_study

HERE = Path("here.nii")


def test_more_than_the_memory_of_this_machine_is_refused(monkeypatch):
    monkeypatch.setattr(limits, "memory_bytes", lambda: 2**30)
    limits.check_size(HERE, 2**27, 4)
    with pytest.raises(UnreadableFileError, match=r"0\.5 GiB, more than the 0\.5 GiB allowed here"):
        limits.check_size(HERE, 2**27 + 1, 4)


@pytest.mark.skipif(limits.resource is None, reason="Windows sets no limit")
def test_a_limit_on_the_process_counts_as_memory(monkeypatch):
    monkeypatch.setattr(limits.resource, "getrlimit", lambda _: (2**30, 2**30))
    assert limits.memory_bytes() == 2**30


def test_what_grows_a_thousandfold_into_something_large_is_a_bomb():
    limits.check_stored(HERE, 1000 * 2**20, 2**20 + 1, limits.DEFLATE_RATIO)
    with pytest.raises(UnreadableFileError, match="promised"):
        limits.check_stored(HERE, 1010 * 2**20, 2**20, limits.DEFLATE_RATIO)
    limits.check_stored(HERE, 101 * 2**20, 2**20 // 10, limits.DEFLATE_RATIO)


@pytest.mark.parametrize("spacing", [(1e-6, 1, 1), (2000, 1, 1), (30, 1, 1), (float("nan"), 1, 1), (0, 1, 1)])
def test_a_grid_that_holds_no_patient_is_refused(spacing):
    affine = np.diag([*map(float, spacing), 1.0])
    with pytest.raises(UnreadableFileError, match="geometry"):
        limits.make_geometry(HERE, (400, 5, 5), affine)
    limits.make_geometry(HERE, (400, 5, 5), np.diag([25.0, 1, 1, 1]))


def test_foreign_readers_are_quiet_on_their_thread_only(caplog):
    log = logging.getLogger("pydicom")
    with limits.quiet():
        log.warning("Doe^Jane")
        warnings.warn("Doe^Jane", stacklevel=1)
        other = threading.Thread(target=log.warning, args=("of others",))
        other.start()
        other.join()
    log.warning("afterwards")
    assert [record.getMessage() for record in caplog.records] == ["of others", "afterwards"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no pipes among its files")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.dcm")
    with pytest.raises(UnreadableFileError, match="a device or a pipe"):
        read_study(tmp_path / "a.dcm")


def test_a_name_cannot_steer_the_terminal(tmp_path):
    with pytest.raises(UnreadableFileError) as caught:
        read_study(tmp_path / "a\x1b[2J\u202e\udcff.nii")
    assert str(caught.value).isprintable()
    assert r"a\x1b[2J\u202e\udcff.nii" in str(caught.value)


def test_a_name_that_is_too_long_is_no_crash(tmp_path):
    with pytest.raises(UnreadableFileError, match="cannot be opened"):
        read_study(tmp_path / ("a" * 3000 + ".nii"))


def test_a_picture_that_is_a_program_is_not_run(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.eps")
    (tmp_path / "a.eps").rename(tmp_path / "a.png")
    with pytest.raises(UnreadableFileError, match="no readable picture"):
        read_study(tmp_path / "a.png")
