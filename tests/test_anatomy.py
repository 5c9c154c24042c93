"""Anatomy: the file is consistent, names are found however they are written, codes are real."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts

from napari_mediround.domain.anatomy import Anatomy, Structure, load_anatomy
from napari_mediround.errors import SettingsError

ANATOMY = load_anatomy()
STRUCTURES = st.sampled_from(ANATOMY.structures)


def test_every_code_and_meaning_stands_in_pydicoms_dictionary():
    known = {(code, meaning) for words in concepts["SCT"].values() for code, (meaning, _) in words.items()}
    coded = [s for s in ANATOMY if s.sct]
    assert len(coded) > 200
    assert [s.name for s in coded if s.sct not in known] == []


def test_every_structure_has_a_function_and_a_modality():
    assert [s.name for s in ANATOMY if not s.functions or not s.modalities] == []


def test_all_but_numbered_structures_have_descriptions_to_learn_and_one_to_keep():
    described = [s for s in ANATOMY if not any(letter.isdigit() for letter in s.name)]
    assert len(described) > 200
    assert [s.name for s in described if len(s.functions) < 5] == []


def test_no_description_names_what_it_describes():
    told = [
        (structure.name, phrase)
        for structure in ANATOMY
        for phrase in structure.functions
        if f" {structure.name.casefold()} " in f" {phrase.casefold()} "
    ]
    assert told == []


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("kidney_left", "left kidney"),
        ("Kidney Left", "left kidney"),
        ("ren sinister", "left kidney"),
        ("lung_upper_lobe_left", "left upper lung lobe"),
        ("vertebrae_L1", "L1 vertebra"),
        ("rib_right_12", "right rib 12"),
        ("heart_atrium_left", "left atrium"),
        ("iliac_vena_right", "right common iliac vein"),
        ("Lungs", "lungs"),
        ("the metastases of moon_dust", "metastases of moon dust"),
        ("brain metastasis (whole tumour)", "brain metastasis"),
        ("strange_thing_left", "left strange thing"),
    ],
)
def test_labels_of_other_programs_become_our_names(label, name):
    assert ANATOMY.normalise(label) == name


@given(STRUCTURES, st.data())
def test_every_synonym_finds_its_structure_in_any_case(structure, data):
    name = data.draw(st.sampled_from((structure.name, *structure.synonyms)))
    assert ANATOMY.find(name.upper()) is structure
    assert ANATOMY.find(name.replace(" ", "_")) is structure


@given(STRUCTURES)
def test_mirrors_neighbours_and_parts_are_mutual(structure):
    if structure.mirror:
        assert ANATOMY[structure.mirror].mirror == structure.name
        assert {structure.side, ANATOMY[structure.mirror].side} == {"left", "right"}
    assert all(structure.name in ANATOMY[n].neighbours for n in structure.neighbours)
    assert all(structure.name in ANATOMY.ancestors(c) for c in structure.children)


def test_no_name_and_no_function_means_two_structures():
    one, two = Structure("liver", "abdomen", ("hepar",)), Structure("spleen", "abdomen", ("Hepar",))
    with pytest.raises(ValueError, match="means liver and spleen"):
        Anatomy((one, two), {"abdomen": frozenset()})
    with pytest.raises(ValueError, match="no other structure"):
        Anatomy((replace(one, parent="belly"),), {"abdomen": frozenset()})
    with pytest.raises(ValueError, match="not the other way"):
        Anatomy((replace(one, neighbours=("spleen",)), replace(two, synonyms=())), {"abdomen": frozenset()})


def test_regions_apart_are_apart_both_ways():
    for one, other in (("brain", "abdomen"), ("abdomen", "brain")):
        assert ANATOMY.apart(one, other)
    for one, other in (("pelvis", "abdomen"), ("abdomen", "pelvis")):
        assert not ANATOMY.apart(one, other)
    assert not any(ANATOMY.apart(region, "general") for region in ANATOMY.adjacent)


def test_every_neighbour_region_of_the_file_exists():
    assert all(others <= set(ANATOMY.adjacent) for others in ANATOMY.adjacent.values())


def test_an_unknown_key_in_the_file_is_refused(tmp_path):
    file = tmp_path / "anatomy.toml"
    file.write_text('[regions.abdomen]\nadjacent = []\n[abdomen."liver"]\ncolour = "brown"\n')
    with pytest.raises(SettingsError, match="colour"):
        load_anatomy(file)


def test_a_kind_means_wholes_of_the_side_that_is_said():
    anatomy = load_anatomy()
    tumours = anatomy.meant_by("tumour")
    assert {"breast lesion", "lung tumour", "polyp"} <= tumours
    assert "malignant breast lesion" not in tumours, "nobody said so"
    assert anatomy.meant_by("lesion") > tumours
    assert "left femur" in anatomy.meant_by("left upper leg bone")
    assert all(anatomy[name].side == "left" for name in anatomy.meant_by("left upper leg bone"))
    assert anatomy.meant_by("ovary") == frozenset()
