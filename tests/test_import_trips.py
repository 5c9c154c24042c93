"""Random geometries go out, come in as rounds, and go out again exactly; tests/bench does more."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from exports import volumes, write_series
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parent / "bench"))

from import_trips import DICOM, FORMS, check


@pytest.mark.parametrize("form", FORMS)
@settings(
    max_examples=4,
    deadline=None,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
    ],
)
@given(volume=st.booleans().flatmap(volumes))
def test_masks_come_back_exactly_as_rounds(form, volume, tmp_path_factory):
    assume(any(volume.voxels(segment) for segment in volume.segments) and len(volume.segments) < 9)
    folder = tmp_path_factory.mktemp("trip")
    image = write_series(folder / "series", volume.geometry) if form in DICOM else None
    wrong, seconds = check(volume, folder, form, image)
    assert not wrong
    assert seconds < 1
