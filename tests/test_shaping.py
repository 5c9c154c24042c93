"""Edits in millimetres against SimpleITK's own, on random anisotropic and turned grids.

`MEDIROUND_EXAMPLES=1000` runs a thousand grids of each kind; the suite runs fifty.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from napari_mediround.errors import MediRoundError
from napari_mediround.session import shaping

many = settings(max_examples=int(os.environ.get("MEDIROUND_EXAMPLES", 50)), deadline=None)
seeds = st.integers(0, 2**32 - 1)


def random_grid(seed: int, axes: int = 0):
    """Return a blobby mask, its spacing, its steps in the world and its image for SimpleITK."""
    rng = np.random.default_rng(seed)
    axes = axes or int(rng.integers(2, 4))
    shape = rng.integers(3, 26, axes)
    noise = rng.random(tuple(shape))
    for axis in range(axes):
        noise = noise + np.roll(noise, 1, axis)
    mask = noise > np.quantile(noise, rng.uniform(0.3, 0.95))
    spacing = rng.uniform(0.3, 6.0, axes)
    turn = Rotation.random(random_state=int(rng.integers(2**31))).as_matrix()
    steps = turn[:, :axes] * spacing
    image = sitk.GetImageFromArray(mask.astype(np.uint8))
    image.SetSpacing(spacing[::-1].tolist())
    return mask, spacing, steps, image, rng


def distances(image: sitk.Image) -> np.ndarray:
    found = sitk.SignedMaurerDistanceMap(
        image, insideIsPositive=False, squaredDistance=False, useImageSpacing=True
    )
    return sitk.GetArrayFromImage(found).astype(float)


@many
@given(seeds)
def test_growing_is_the_distance_map_of_simpleitk(seed):
    mask, _, steps, image, rng = random_grid(seed)
    mm = float(rng.uniform(0.5, 12))
    wanted = distances(image)
    clear = np.abs(wanted - mm) > 1e-3
    grown = shaping.grow(mask, steps, mm)
    assert np.array_equal(grown[clear], (mask | (wanted <= mm))[clear])


@many
@given(seeds)
def test_shrinking_is_the_distance_map_of_the_background(seed):
    mask, spacing, steps, _, rng = random_grid(seed)
    mm = float(rng.uniform(0.5, 12))
    outside = sitk.GetImageFromArray((~mask).astype(np.uint8))
    outside.SetSpacing(spacing[::-1].tolist())
    wanted = distances(outside)
    clear = np.abs(wanted - mm) > 1e-3
    assert np.array_equal(shaping.shrink(mask, steps, mm)[clear], (mask & (wanted > mm))[clear])


@many
@given(seeds)
def test_a_sheared_grid_is_measured_voxel_by_voxel(seed):
    rng = np.random.default_rng(seed)
    mask = rng.random((9, 8)) > 0.85
    mask[4, 4] = True
    steps = rng.uniform(-2, 2, (3, 2)) + np.eye(3, 2) * 3
    mm = float(rng.uniform(0.5, 8))
    points = np.indices(mask.shape).reshape(2, -1).T @ steps.T
    inside = points[mask.ravel()]
    nearest = np.linalg.norm(points[:, None] - inside[None], axis=2).min(1)
    clear = np.abs(nearest - mm) > 1e-3
    assert np.array_equal(shaping.grow(mask, steps, mm).ravel()[clear], (nearest <= mm)[clear])


@many
@given(seeds)
def test_smoothing_is_the_gaussian_of_simpleitk(seed):
    mask, spacing, steps, image, rng = random_grid(seed)
    mm = float(rng.uniform(1.0, 2.0) * spacing.max())
    blurred = sitk.GetArrayFromImage(
        sitk.DiscreteGaussian(sitk.Cast(image, sitk.sitkFloat64), mm**2, 500, 1e-5, True)
    )
    clear = np.abs(blurred - 0.5) > 0.08  # near a pixel the kernels differ: sampled here, discrete there
    assert np.array_equal(shaping.smooth(mask, steps, mm)[clear], (blurred >= 0.5)[clear])


@many
@given(seeds)
def test_holes_are_those_of_simpleitk(seed):
    mask, _, _, image, _ = random_grid(seed)
    wanted = sitk.GetArrayFromImage(sitk.BinaryFillhole(image, fullyConnected=False)) > 0
    assert np.array_equal(shaping.fill(mask), wanted)


@many
@given(seeds)
def test_the_largest_part_and_small_parts_are_those_of_simpleitk(seed):
    mask, spacing, _, image, rng = random_grid(seed)
    parts = sitk.RelabelComponent(sitk.ConnectedComponent(image, False), sortByObjectSize=True)
    wanted = sitk.GetArrayFromImage(parts) == 1
    assert shaping.largest_part(mask).sum() == wanted.sum()
    least = int(rng.integers(1, 9))
    kept = sitk.RelabelComponent(sitk.ConnectedComponent(image, False), least)
    voxel = float(np.prod(spacing))
    assert np.array_equal(shaping.drop_parts(mask, least * voxel, voxel), sitk.GetArrayFromImage(kept) > 0)


@many
@given(seeds, st.booleans())
def test_a_mirror_is_the_resampling_of_simpleitk(seed, steep):
    mask, spacing, _, image, rng = random_grid(seed, 2)
    angle = float(rng.uniform(-0.7, 0.7)) if steep else 0.0
    rows, columns = np.array([-np.sin(angle), np.cos(angle), 0]), np.array([np.cos(angle), np.sin(angle), 0])
    steps = np.stack([rows * spacing[0], columns * spacing[1]], 1)
    image.SetDirection([columns[0], rows[0], columns[1], rows[1]])
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    flip = sitk.AffineTransform(2)
    flip.SetMatrix([-1, 0, 0, 1])
    flip.SetCenter(middle)
    wanted = sitk.GetArrayFromImage(sitk.Resample(image, image, flip, sitk.sitkNearestNeighbor, 0)) > 0
    found = shaping.mirror(mask, steps)
    assert (found != wanted).mean() <= (0.02 if steep else 0)  # halfway between two pixels either is right
    if not steep:
        assert np.array_equal(found, mask[:, ::-1])


def test_a_sagittal_plane_has_no_other_side():
    with pytest.raises(MediRoundError, match="Left and right"):
        shaping.mirror(np.ones((4, 4), bool), np.array([[0, 0], [1, 0], [0, 1]], float))


def test_an_amount_on_a_pixel_counts():
    mask = np.zeros((9, 9), bool)
    mask[4, 4] = True
    steps = np.array([[0, 0], [0.7, 0], [0, 0.7]])
    assert shaping.grow(mask, steps, 2.1)[4, 1]
    assert not shaping.grow(mask, steps, 2.0)[4, 1]


def test_the_border_of_the_image_is_not_shrunk_from():
    mask = np.zeros((8, 8), bool)
    mask[:, :4] = True
    shrunk = shaping.shrink(mask, np.eye(3, 2), 1)
    assert shrunk[:, :3].all()
    assert not shrunk[:, 3].any()
