"""Text of a header passes only where a closed list knows it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.io.dicom.codes import MODALITIES, read_modality, read_uid


@pytest.mark.parametrize(
    ("said", "read"), [("CT", "CT"), (" mr ", "MR"), (None, ""), ("CT\\MR", ""), (7, "")]
)
def test_a_modality_is_one_of_the_list_or_none(said, read):
    assert read_modality(said) == read


@given(st.text())
def test_no_text_passes_as_a_modality(text):
    assert read_modality(text) in MODALITIES | {""}


@pytest.mark.parametrize("uid", ["1.2.840.10008.1.2", "", "1.2.3\0"])
def test_an_identifier_is_kept_as_it_is(uid):
    assert read_uid(uid) == uid.strip("\0")


@given(st.text(), st.text())
def test_no_text_passes_as_an_identifier_and_different_ones_stay_different(one, other):
    uids = [read_uid(text) for text in (one, other)]
    assert all(re.fullmatch(r"|[0-9]+(\.[0-9]+)*", uid) and len(uid) <= 64 for uid in uids)
    if one.strip("\0 ") != other.strip("\0 "):
        assert uids[0] != uids[1]
