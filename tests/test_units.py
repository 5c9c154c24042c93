"""Sizes read in the unit that suits them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mediround.domain.units import area_in_words, volume_in_words

FACTORS = {"mm²": 1, "cm²": 100, "ml": 1, "l": 1000}


@pytest.mark.parametrize(
    ("mm2", "words"),
    [(0, "0.0 mm²"), (7.27, "7.3 mm²"), (640, "640 mm²"), (1234, "12.3 cm²"), (16671, "167 cm²")],
)
def test_an_area_reads_in_the_unit_that_suits_it(mm2, words):
    assert area_in_words(mm2) == words


@pytest.mark.parametrize(("ml", "words"), [(0.064, "0.06 ml"), (12.34, "12.3 ml"), (1523, "1.52 l")])
def test_a_volume_reads_in_the_unit_that_suits_it(ml, words):
    assert volume_in_words(ml) == words


def test_an_area_in_pixels_stays_in_pixels():
    assert area_in_words(16671, "px") == "16,671 px"


@given(st.floats(1, 1e8))
def test_words_say_the_size_to_three_digits(size):
    for words in (area_in_words(size), volume_in_words(size)):
        number, unit = words.split()
        assert float(number.replace(",", "")) * FACTORS[unit] == pytest.approx(size, rel=0.05)
