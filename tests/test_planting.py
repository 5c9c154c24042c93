"""Painted lesions are named, lie where they may, and change nothing else."""

import numpy as np
import pytest

from napari_mediround.training.data.planting import FIRST, PAINTED, plant, plant_in_map

KIDNEYS = {"right kidney": (1,), "left kidney": (2,), "kidney": (1, 2), "liver": (3,)}


def body(rng):
    """Return HU (128, 128) of two kidneys and a liver in fat and muscle, with labels."""
    rows, columns = np.indices((128, 128))
    labels = np.zeros((128, 128), np.uint8)
    for value, (row, column, radius) in {1: (80, 40, 12), 2: (80, 90, 12), 3: (40, 45, 22)}.items():
        labels[np.hypot(rows - row, columns - column) < radius] = value
    hu = np.where(labels == 3, 110, np.where(labels > 0, 160, 20)).astype(np.float32)
    return hu + rng.normal(0, 5, hu.shape).astype(np.float32), labels


def planted(wanted, tries=200):
    """Return planes before and after in which a lesion of that name was painted."""
    for seed in range(tries):
        rng = np.random.default_rng(seed)
        hu, labels = body(rng)
        image, marked, structures = plant(hu, labels, KIDNEYS, rng, hounsfield=True)
        if np.isin(marked, structures.get(wanted, ())).sum() > 20:
            yield hu, labels, image, marked, structures


def test_a_kidney_tumour_is_no_kidney_and_spares_other_organs():
    cases = list(planted("kidney tumour"))
    assert len(cases) > 10
    for hu, labels, image, marked, structures in cases:
        tumour = np.isin(marked, structures["kidney tumour"])
        assert not (tumour & np.isin(marked, structures["kidney"])).any()
        assert not tumour[labels == 3].any()
        assert np.array_equal(marked[~tumour], labels[~tumour])
        far = ~np.isin(marked, range(FIRST, 256))
        far[1:-1, 1:-1] &= far[:-2, 1:-1] & far[2:, 1:-1] & far[1:-1, :-2] & far[1:-1, 2:]
        assert np.median(np.abs(image - hu)[far]) == 0


def test_a_liver_keeps_its_tumours():
    cases = list(planted("liver tumour"))
    assert len(cases) > 10
    for _, labels, _, marked, structures in cases:
        assert np.array_equal(np.isin(marked, structures["liver"]), labels == 3)


def test_the_plane_given_is_not_changed():
    for hu, labels, image, marked, _ in planted("kidney tumour", 30):
        again, same = body(np.random.default_rng(0))
        assert hu.shape == again.shape
        assert labels.max() == same.max() == 3
        assert image is not hu
        assert marked is not labels


def test_a_plane_of_kidneys_without_a_painted_tumour_has_none():
    rng = np.random.default_rng(3)
    hu, labels = body(rng)
    found = [plant(hu, labels, KIDNEYS, np.random.default_rng(s), hounsfield=True) for s in range(40)]
    assert all("kidney tumour" in structures for _, _, structures in found)
    assert any(not np.isin(marked, s["kidney tumour"]).any() for _, marked, s in found)


@pytest.mark.parametrize("seed", range(8))
def test_parts_of_a_glioma_make_it_up(seed):
    rng = np.random.default_rng(seed)
    rows, columns = np.indices((96, 96))
    labels = np.zeros((96, 96), np.uint8)
    labels[np.hypot(rows - 48, columns - 48) < 44] = 7
    labels[np.hypot(rows - 48, columns - 48) < 38] = 1
    structures = {"cerebral white matter": (1,)}
    marked, known = plant_in_map(labels, structures, rng)
    whole = np.isin(marked, known["glioma"])
    parts = [np.isin(marked, known.get(n, ())) for n in PAINTED[-3:]]
    assert np.array_equal(whole, np.any(parts, 0))
    assert not whole[labels != 1].any()
    assert np.array_equal(np.isin(marked, known["brain tumour"]), whole)
