"""Who teaches and who tests: by patient, once, for good."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lessons import carry, make_rounds

from napari_mediround.errors import SettingsError, TooFewCorrectionsError
from napari_mediround.training.learning.split import FILE, Split, choose_checks, choose_latest, divide


def test_no_patient_is_on_both_sides_and_one_in_four_tests(tmp_path):
    learn, test = divide(make_rounds(16), Split(tmp_path))
    assert not {r.subject for r in learn} & {r.subject for r in test}
    assert len(test) == 4


@given(batches=st.lists(st.sets(st.integers(0, 30)), max_size=6))
def test_a_side_that_was_given_never_changes(tmp_path_factory, batches):
    folder, known = tmp_path_factory.mktemp("project"), {}
    for batch in batches:
        split = Split(folder)
        split.admit(str(patient) for patient in batch)
        assert known.items() <= split.sides.items()
        known = dict(Split(folder).sides)
    tests = sum(side == "test" for side in known.values())
    assert tests == (len(known) + 1) // 4


def test_several_images_of_a_patient_stay_together(tmp_path):
    split = Split(tmp_path)
    assert split.patient_of("case1", "hospital/Mustermann") == split.patient_of(
        "case2", "hospital/Mustermann"
    )
    assert split.patient_of("case3") == "case3"
    assert "Mustermann" not in split.patient_of("case1")


def test_a_case_keeps_its_patient_when_its_image_is_gone(tmp_path):
    split = Split(tmp_path)
    first = split.patient_of("case1", "hospital/77")
    split.admit([first])
    assert Split(tmp_path).patient_of("case1") == first
    assert "hospital" not in (tmp_path / FILE).read_text()


def test_a_damaged_file_is_refused_and_kept(tmp_path):
    (tmp_path / FILE).write_text("{")
    with pytest.raises(SettingsError, match="Restore it from a copy"):
        Split(tmp_path)
    (tmp_path / FILE).write_text(json.dumps({"salt": "1", "cases": {}, "patients": {"p": "both"}}))
    with pytest.raises(SettingsError, match="neither to learn nor to test"):
        Split(tmp_path)


@pytest.mark.parametrize("rounds", [make_rounds(2), make_rounds(5), make_rounds(30, verdict="rejected")])
def test_too_few_are_refused_with_what_is_missing(tmp_path, rounds):
    with pytest.raises(TooFewCorrectionsError, match="at least 8 masks and 3 patients"):
        divide(rounds, Split(tmp_path))


def test_carried_masks_teach_and_never_test(tmp_path):
    asked = make_rounds(16)
    learn, test = divide([*asked, *map(carry, asked)], Split(tmp_path))
    assert sum(round_.carried for round_ in learn) == 12
    assert len(test) == 4
    assert not any(round_.carried for round_ in [*test, *choose_checks(learn)[1]])


def test_a_patient_of_whom_nothing_was_asked_is_not_held_out(tmp_path):
    split, asked = Split(tmp_path), make_rounds(16)
    divide([*asked[:8], *map(carry, asked)], split)
    assert split.sides.keys() == {round_.subject for round_ in asked[:8]}


def test_carried_masks_are_learned_where_others_leave_room():
    asked = make_rounds(3)
    rounds = [asked[0], *map(carry, asked), *asked[1:]]
    assert choose_latest(rounds, 2) == asked[1:]
    assert choose_latest(rounds, 4) == [carry(asked[2]), *asked]
    assert choose_latest(asked, 2) == asked[1:]


def test_a_look_writes_nothing(tmp_path):
    learn, test = divide(make_rounds(16), Split(tmp_path), keep=False)
    assert (len(learn), len(test)) == (12, 4)
    assert not (tmp_path / FILE).exists()


def test_many_masks_of_one_patient_are_too_few(tmp_path):
    rounds = [dataclasses.replace(round_, subject="p") for round_ in make_rounds(20)]
    with pytest.raises(TooFewCorrectionsError, match="from 1 patients"):
        divide(rounds, Split(tmp_path))


def test_learning_stops_by_other_patients_where_there_are_enough():
    learn, checks = choose_checks(make_rounds(10))
    assert len(checks) == 2
    assert not {r.subject for r in learn} & {r.subject for r in checks}
    learn, checks = choose_checks(make_rounds(4))
    assert learn == checks
