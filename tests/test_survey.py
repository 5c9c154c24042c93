"""What learning needs is counted before it starts, without an image and without writing."""

from __future__ import annotations

import pytest
from test_widget_learning import Named, make_project

from napari_mediround.io import read_study
from napari_mediround.journal import Journal, recall_images, remember_image
from napari_mediround.session import Session
from napari_mediround.training.learning.survey import survey_corrections


def survey(project):
    with Journal.open_read_only(project) as journal:
        return survey_corrections(project, journal)


def test_enough_masks_of_enough_patients_are_ready_and_nothing_is_written(tmp_path):
    project = make_project(tmp_path, 4)
    found = survey(project)
    assert found.ready
    assert (found.rounds, found.patients, found.apart, found.lost) == (4, 4, 1, 0)
    assert [(need.have, need.need) for need in found.needs] == [(9, 8), (4, 3), (3, 1)]
    assert not (project / "split.json").exists()


@pytest.mark.parametrize("patients", [0, 1, 2])
def test_too_few_patients_are_not_ready(tmp_path, patients):
    assert not survey(make_project(tmp_path, patients)).ready


def test_what_was_only_accepted_cannot_be_compared(tmp_path):
    (tmp_path / "pictures").mkdir()
    pictures = recall_images(make_project(tmp_path / "pictures", 6))
    with Journal.open(tmp_path / "site") as journal:
        for place in pictures.values():
            session = Session(Named(), read_study(place.path), journal=journal)
            remember_image(tmp_path / "site", session.case, place.path)
            session.ask("Segment the liver and the spleen and the left kidney.", 0)
            session.accept(1, 2, 3)
    found = survey(tmp_path / "site")
    assert [need.met for need in found.needs] == [True, True, False]
    assert not found.ready


def test_a_case_whose_image_is_gone_does_not_count(tmp_path):
    project = make_project(tmp_path, 4)
    (tmp_path / "case0.png").unlink()
    found = survey(project)
    assert (found.patients, found.lost) == (3, 1)
