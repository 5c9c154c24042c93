"""What the masks of a file are: codes first, names next, asked where unclear."""

from __future__ import annotations

import pytest

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.segments import make_segment
from napari_mediround.session.naming import CODE, NAME, SPELLING, UNCLEAR, name_segments

ANATOMY = load_anatomy()


def name(text, **more):
    """Return the naming of one mask."""
    (naming,) = name_segments([make_segment(1, text, None, **more)], ANATOMY)
    return naming


@pytest.mark.parametrize(
    ("text", "structure"),
    [
        ("kidney_left", "left kidney"), ("Kidney_L", "left kidney"), ("Lt Kidney", "left kidney"),
        ("Leber", "liver"), ("esophagus", "oesophagus"), ("lung_upper_lobe_left", "left upper lung lobe"),
        ("vertebrae_L1", "L1 vertebra"), ("Parotid_L", "left parotid gland"), ("SpinalCord", "spinal cord"),
        ("portal_vein_and_splenic_vein", "portal and splenic vein"), ("livr", "liver"),
    ],
)  # fmt: skip
def test_common_spellings_of_names_are_known(text, structure):
    assert name(text).structure == structure
    assert name(text).how in (NAME, SPELLING)


def test_a_code_comes_before_a_name_and_the_side_beside_it_counts():
    naming = name("ROI 3", code=("64033007", "Kidney"), side="left")
    assert (naming.structure, naming.how) == ("left kidney", CODE)
    assert name("whatever", code=("10200004", "Liver")).structure == "liver"


def test_a_code_and_a_name_that_disagree_are_asked_about():
    naming = name("spleen", code=("10200004", "Liver"))
    assert (naming.structure, naming.how, set(naming.choices)) == ("", UNCLEAR, {"liver", "spleen"})


def test_a_name_on_one_side_and_a_side_of_the_other_are_asked_about():
    naming = name("right kidney", side="left")
    assert naming.how == UNCLEAR
    assert set(naming.choices) == {"left kidney", "right kidney"}


@pytest.mark.parametrize("text", ["structure 3", "Segment_1", "7", "GTV", "Größe µ", "not the liver"])
def test_what_says_nothing_is_asked_about(text):
    assert name(text).how == UNCLEAR
    assert name(text).why


def test_two_masks_of_one_organ_are_both_asked_about_and_two_lesions_are_not():
    twins = name_segments([make_segment(k, "liver", None) for k in (1, 2)], ANATOMY)
    assert [(n.structure, n.how) for n in twins] == [("liver", UNCLEAR)] * 2
    cysts = name_segments([make_segment(k, "brain tumour", None) for k in (1, 2)], ANATOMY)
    assert all(n.sure for n in cysts)
