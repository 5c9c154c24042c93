"""Sets, planes and augmentation."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from napari_mediround.errors import UnreadableFileError
from napari_mediround.training.data.sets import (
    LabelledPlane,
    augment,
    bend,
    change_contrast,
    choose_planes,
    fit_plane,
    frame_plane,
    modality_code,
    read_cases,
    read_table,
    synthesise,
)


def make_plane(oriented=True) -> LabelledPlane:
    """Return a plane with a bright square, label 1, on its left half."""
    image, labels = np.zeros((60, 80, 3), np.uint8), np.zeros((60, 80), np.int32)
    image[20:40, 10:30], labels[20:40, 10:30] = 200, 1
    return LabelledPlane(image, labels, {1: "right kidney"}, oriented, "set/case/0", "s", "train", "CT")


def write_set(folder, label_shape=(20, 30)):
    """Write a set of two PNG cases, one for each split."""
    cases = []
    for number, split in enumerate(("train", "val"), 1):
        Image.fromarray(np.full((20, 30), 90, np.uint8)).save(folder / f"{number}.png")
        labels = np.zeros(label_shape, np.uint8)
        labels[5:10, 5:10] = 1
        Image.fromarray(labels).save(folder / f"{number}_label.png")
        cases.append(
            {
                "case": f"c{number}",
                "image": f"{number}.png",
                "label": f"{number}_label.png",
                "subject": f"s{number}",
                "split": split,
            }
        )
    table = {"modality": "ultrasound B-mode", "labels": {"1": "nerve"}, "cases": cases}
    (folder / "set.json").write_text(json.dumps(table))


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.integers(1, 8))
def test_chosen_planes_are_labelled_distinct_and_as_many_as_there_can_be(filled, count):
    labels = np.zeros((len(filled), 5, 5), int)
    labels[np.array(filled)] = 1
    chosen = choose_planes(labels, count)
    assert len(set(chosen)) == len(chosen) == min(count, sum(filled))
    assert all(filled[k] for k in chosen)


def test_only_the_split_asked_for_is_read(tmp_path):
    write_set(tmp_path)
    cases = list(read_cases(tmp_path, "val"))
    assert [case.subject for case in cases] == ["s2"]
    assert cases[0].modality == "US"
    assert cases[0].labels.sum() == 25
    assert len(list(read_cases(tmp_path))) == 2


def test_a_label_map_on_another_grid_is_refused(tmp_path):
    write_set(tmp_path, label_shape=(10, 30))
    with pytest.raises(UnreadableFileError, match="the grid of the label map differs"):
        list(read_cases(tmp_path))


def test_a_broken_set_description_is_named(tmp_path):
    (tmp_path / "set.json").write_text("{}")
    with pytest.raises(UnreadableFileError, match=r"set\.json"):
        read_table(tmp_path)


def test_fitting_keeps_image_and_labels_together():
    fitted = fit_plane(make_plane(), 160)
    assert fitted.labels.shape == fitted.image.shape[:2] == (120, 160)
    assert fitted.image[fitted.labels == 1].mean() > 150 > fitted.image[fitted.labels == 0].mean()


@given(st.integers(0, 200))
def test_augmentation_is_repeatable_and_flags_a_flip_of_an_oriented_plane(seed):
    first, second = (augment(make_plane(), np.random.default_rng(seed), 64) for _ in range(2))
    assert np.array_equal(first.image, second.image)
    assert first.mirrored == second.mirrored
    columns = np.argwhere(first.labels == 1)[:, 1]
    if len(columns) > 50 and first.labels.shape == (48, 64) and columns.max() < 32:
        assert not first.mirrored
    assert not augment(make_plane(oriented=False), np.random.default_rng(seed), 64).mirrored


def test_only_a_picture_in_colour_is_tinted():
    grey = np.full((8, 8, 3), 120, np.uint8)
    colour = grey + np.array([40, 0, 0], np.uint8)
    for seed in range(5):
        kept = change_contrast(grey, np.random.default_rng(seed)).astype(int)
        assert (np.ptp(kept, -1) <= 1).all()
    tints = {
        tuple(np.sign(np.diff(change_contrast(colour, np.random.default_rng(seed))[0, 0, 1:].astype(int))))
        for seed in range(8)
    }
    assert {(1,), (-1,)} <= tints  # green above blue, and below


def test_synthesised_contrast_separates_tissues_and_follows_the_seed():
    labels = np.zeros((64, 64), int)
    labels[:32], labels[32:] = 1, 2
    names = {1: "left cerebral white matter", 2: "left lateral ventricle"}
    image = synthesise(labels, names, np.random.default_rng(3))
    assert image.shape == (64, 64, 3)
    assert image.dtype == np.uint8
    assert abs(float(image[8:24].mean()) - float(image[40:56].mean())) > 10
    assert np.array_equal(image, synthesise(labels, names, np.random.default_rng(3)))


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("MR T1 (mono-modal)", "MR"),
        ("ultrasound B-mode", "US"),
        ("CT axial slice, 8-bit", "CT"),
        ("dermoscopy RGB", ""),
        ("X-ray, X-ray chest, frontal", "DX"),
        ("X-ray, X-ray dental panoramic", "PX"),
    ],
)
def test_modalities_are_read_from_descriptions(text, code):
    assert modality_code(text) == code


def test_a_plane_is_cut_to_the_body_with_its_labels():
    y, x = np.ogrid[:200, :200]
    body = ((y - 90) / 60) ** 2 + ((x - 110) / 50) ** 2 <= 1
    image = np.repeat(np.where(body, 150, 0).astype(np.uint8)[..., None], 3, 2)
    plane = LabelledPlane(image, body.astype(int), {1: "body"}, True, "set/case/0", "s", "train", "CT")
    framed = frame_plane(plane)
    assert framed.labels.shape == framed.image.shape[:2] < (150, 150)
    assert framed.labels.sum() == body.sum()
    assert np.array_equal(framed.image[..., 0] > 0, framed.labels > 0)


def test_planes_are_bent_smoothly_and_half_of_them_not_at_all():
    drawn = [bend((60, 90), np.random.default_rng(seed)) for seed in range(40)]
    assert {shift.shape for shift in drawn} == {(2, 60, 90)}
    bent = [shift for shift in drawn if shift.any()]
    assert 10 < len(bent) < 30
    for shift in bent:
        steps = np.abs(np.diff(shift, axis=2)).max(), np.abs(np.diff(shift, axis=1)).max()
        assert max(steps) < 0.5 * np.abs(shift).max()
