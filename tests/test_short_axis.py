"""Wall and right ventricle around a cavity, on a drawn short-axis plane."""

import numpy as np

from napari_mediround.training.data.pictures import Picture
from napari_mediround.training.data.short_axis import enrich, find_pool, find_wall


def heart(thickness=9.0, radius=18.0):
    """Return image, cavity, wall and right ventricle (160, 160), the right ventricle at the image's left."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices((160, 160))
    far = np.hypot(rows - 80, columns - 90)
    cavity, wall = far < radius, (far >= radius) & (far < radius + thickness)
    right = (np.hypot((rows - 80) / 1.3, columns - 58) < 24) & (far >= radius + thickness)
    image = np.full(rows.shape, 15.0)
    image[right] = image[cavity] = 180
    image[wall] = 70
    image += rng.normal(0, 4, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8), cavity, wall, right


def overlap(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def test_the_wall_is_found_with_and_without_the_right_ventricle():
    for thickness in (6.0, 9.0, 12.0):
        image, cavity, wall, right = heart(thickness)
        assert overlap(find_wall(image, cavity), wall) > 0.85
        found = find_wall(image, cavity, right)
        assert overlap(found, wall) > 0.9
        assert not (found & (cavity | right)).any()


def test_clicks_fall_into_the_right_ventricle_only():
    image, cavity, _, right = heart()
    places = find_pool(image, cavity)
    assert len(places) == 5
    assert all(right[round(row), round(column)] for row, column in places)


def test_no_pool_where_there_is_none():
    image, cavity, _, right = heart()
    image[right] = 15
    assert find_pool(image, cavity).shape == (0, 2)


def test_a_plane_learns_both_and_keeps_its_cavity():
    image, cavity, wall, right = heart()
    before = Picture(image, cavity.astype(np.uint8), {"left ventricle": (1,)}, (), "set/1")
    after = enrich(before, right, wall | cavity)
    assert np.array_equal(after.labels == 1, cavity)
    assert np.array_equal(np.isin(after.labels, after.structures["myocardium"]), wall)
    assert np.array_equal(np.isin(after.labels, after.structures["right ventricle"]), right)
    assert "myocardium" not in before.structures
    assert before.labels.max() == 1
