"""Projects without a window: what was done comes back with the image, in another window or after a crash."""

from datetime import datetime

import numpy as np
import pytest
from desk import Desk
from fakes import make_volume
from napari.layers import Image

from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.plugin.layer_reader import read_layers


@pytest.fixture
def image(tmp_path):
    """Write a CT; return its file."""
    import nibabel

    study = make_volume()
    affine = np.diag([-1.0, -1, 1, 1]) @ study.geometry.affine[:, [2, 1, 0, 3]]
    path = tmp_path / "ct.nii.gz"
    nibabel.save(nibabel.Nifti1Image(study.pixels.transpose(2, 1, 0), affine), path)
    return path


def open_file(desk, path):
    """Open a file in the viewer as our reader does."""
    data, options, _ = read_layers(path)[0]
    layer = desk.viewer.add_image(data, **options)
    desk.worker.run()
    return layer


def work(desk, path):
    """Do two rounds and a verdict; return what is seen."""
    open_file(desk, path)
    desk.ask("segment the liver and the spleen")
    desk.press("J")
    desk.ask("the structure next to [1]")
    return seen(desk)


def seen(desk):
    return desk.mask_layer.data.copy(), list(desk.view.entries), desk.view.current, desk.view.undo


def same(one, other):
    return np.array_equal(one[0], other[0]) and one[1:] == other[1:]


def test_the_image_opened_again_brings_rounds_masks_chat_and_undo_back(image):
    first = Desk()
    before = work(first, image)
    first.controller.stop()
    second = Desk()
    open_file(second, image)
    assert same(before, seen(second))
    assert not second.segmenter.loaded, "no model is needed for that"
    second.press("U")
    assert len(second.replies) == 1


def test_an_image_closed_and_opened_again_in_one_window_brings_its_rounds_back(image):
    desk = Desk()
    before = work(desk, image)
    desk.viewer.layers.clear()
    open_file(desk, image)
    desk.view.image_chosen.emit(0)
    desk.worker.run()
    assert same(before, seen(desk))


def test_the_project_brings_its_last_image_back_too(image, tmp_path):
    first = Desk()
    before = work(first, image)
    folder = first.controller._place.project.folder
    first.controller.stop()
    second = Desk()
    second.view.project_chosen.emit(str(tmp_path / "other"))
    second.worker.run()
    assert second.view.entries == []
    second.view.project_chosen.emit(str(folder))
    second.worker.run()
    assert isinstance(second.viewer.layers[0], Image)
    assert same(before, seen(second))
    assert second.view.project == "project"


def test_an_empty_window_offers_the_cases_of_its_project(image):
    first = Desk()
    work(first, image)
    first.controller.stop()
    second = Desk()
    (action,) = second.view.entries[-1].actions
    assert action.label.splitlines()[1] == "image 32x24x5, 2 rounds"
    second.view.action_chosen.emit(action.key)
    second.worker.run()
    assert len(second.replies) == 2


def test_an_image_that_moved_is_asked_for_and_found_by_its_content(image, tmp_path):
    first = Desk()
    before = work(first, image)
    folder = first.controller._place.project.folder
    first.controller.stop()
    moved = image.rename(tmp_path / "moved.nii.gz")
    second = Desk()
    second.view.project_chosen.emit(str(folder))
    second.worker.run()
    assert "not where they were" in second.view.entries[-1].text
    open_file(second, moved)
    assert same(before, seen(second))


def test_a_file_with_other_content_is_not_taken_for_the_case(image):
    first = Desk()
    work(first, image)
    first.controller.stop()
    other = make_volume()
    save_other(image, other.pixels + 1)
    second = Desk()
    second.view.action_chosen.emit(second.view.entries[-1].actions[0].key)
    second.worker.run()
    assert "other content" in second.view.entries[-1].text
    assert list(second.viewer.layers) == []


def save_other(path, pixels):
    import nibabel

    old = nibabel.load(path)
    affine = old.affine.copy()
    nibabel.save(nibabel.Nifti1Image(pixels.transpose(2, 1, 0).copy(), affine), path)


def test_another_image_of_the_same_size_has_its_own_chat(image):
    first = Desk()
    work(first, image)
    first.controller.stop()
    second = Desk()
    study = make_volume()
    second.open(type(study)(study.pixels + 1, study.geometry, study.order, study.source_geometry, "CT"))
    assert second.replies == []


def test_two_windows_have_a_folder_each_until_one_is_chosen(tmp_path):
    one, two = Desk(), Desk()
    folders = [desk.controller._place.project.folder.name for desk in (one, two)]
    assert folders == ["project", "project-2"]
    two.view.project_chosen.emit(str(tmp_path / "project"))
    two.worker.run()
    assert two.view.entries[-1].is_error, "the first window has it"
    assert "project" in two.view.entries[-1].text
    one.controller.stop()


def test_rounds_of_the_old_project_leave_with_it(image, tmp_path):
    desk = Desk()
    work(desk, image)
    desk.view.project_chosen.emit(str(tmp_path / "new"))
    desk.worker.run()
    assert (desk.view.entries, desk.mask_layer.data.any()) == ([], False)
    assert desk.ask("segment the aorta").round == 1
    assert (tmp_path / "new" / "journal.sqlite").exists()


def test_a_closed_project_is_opened_again_when_it_is_needed(tmp_path):
    project = Project(tmp_path / "p")
    journal = project.open()
    assert project.open() is journal
    project.close()
    assert project.folder is None
    assert project.open() is not journal
    project.close()


def test_a_case_is_offered_with_its_name_its_date_and_its_picture(image):
    first = Desk()
    work(first, image)
    first.controller.stop()
    second = Desk()
    (offer,) = second.view.entries
    (action,) = offer.actions
    name, about, when = action.label.splitlines()
    assert name == "ct.nii.gz"
    assert "2 rounds" in about
    assert f"{datetime.now():%b %Y}" in when
    assert action.picture.rows * action.picture.columns == len(action.picture.grey)
    second.view.action_chosen.emit(action.key)
    second.worker.run()
    assert len(second.replies) == 2


def test_the_name_of_a_case_is_on_the_screen_only(image, caplog):
    first = Desk()
    with caplog.at_level("DEBUG"):
        work(first, image)
        typed = [text for _, _, text in first.session.journal.strings()]
        first.controller.stop()
        assert Desk().view.entries
    assert typed
    assert not [text for text in [*typed, caplog.text] if "ct.nii" in text]
