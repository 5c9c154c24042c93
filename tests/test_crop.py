"""The part of a plane that the model looks at: the body amid air, else the whole plane; and the way back."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_mediround.inference.cache import FeatureStore
from napari_mediround.inference.predictor import Predictor
from napari_mediround.model.build import build_mediround
from napari_mediround.model.crop import MARGIN, find_aspect, find_crop, whole_plane

Y, X = np.ogrid[:256, :256]
BODY = ((Y - 130) / 50) ** 2 + ((X - 110) / 70) ** 2 <= 1


def picture(*parts: np.ndarray, grey: int = 150) -> np.ndarray:
    """Return uint8 (256, 256, 3), bright in all parts."""
    bright = np.logical_or.reduce(np.broadcast_arrays(*parts))
    texture = np.random.default_rng(0).integers(-20, 20, bright.shape)
    return np.repeat(np.where(bright, grey + texture, 0).astype(np.uint8)[..., None], 3, 2)


def test_a_body_amid_air_is_framed_without_arms_and_table() -> None:
    arm = (Y - 130) ** 2 + (X - 220) ** 2 <= 15**2
    frame = find_crop(picture(BODY, arm, (abs(Y - 200) < 2) & (X > 0)))
    assert abs(frame.rows.start - (80 - MARGIN)) <= 1
    assert abs(frame.rows.stop - (181 + MARGIN)) <= 1
    assert abs(frame.columns.start - (40 - MARGIN)) <= 1
    assert abs(frame.columns.stop - (181 + MARGIN)) <= 1


@pytest.mark.parametrize(
    "image",
    [
        picture(((Y - 128) / 120) ** 2 + ((X - 128) / 120) ** 2 <= 1),
        picture(np.zeros((256, 256), bool)),
        picture((abs(Y - 60) < 20) & (abs(X - 60) < 40), (abs(Y - 190) < 20) & (abs(X - 180) < 45)),
        picture((abs(Y - X) < 6) & (X > 60) & (X < 180)),
        np.full((5, 400, 3), 200, np.uint8),
        np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8),
    ],
    ids=["fills the plane", "nothing", "two bodies", "no solid body", "a strip", "noise"],
)
def test_otherwise_the_whole_plane_is_looked_at(image: np.ndarray) -> None:
    assert find_crop(image) == whole_plane(image.shape[:2])


def test_what_is_cut_is_placed_where_it_was() -> None:
    frame = find_crop(picture(BODY))
    assert frame != whole_plane((256, 256))
    assert np.array_equal(frame.place(frame.cut(BODY)[None])[0], BODY)
    assert frame.cut(BODY).shape == frame.inner


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    """Return one of random weights."""
    return Predictor(build_mediround("tiny"), "cpu")


def test_clicks_in_the_body_are_those_on_the_body_cut_out(predictor: Predictor) -> None:
    image = picture(BODY)
    frame, inside = find_crop(image), np.array([True])
    predictor.set_image(image)
    mask, quality = predictor.refine(np.array([[100.0, 120.0]]), inside)
    box, _ = predictor.refine(box_xyxy=np.array([90.0, 100.0, 140.0, 150.0]))
    predictor.model.encode_image(image)
    features = predictor.model.encode_image(frame.cut(image), whole_plane(frame.inner))
    assert torch.allclose(features.embedding, predictor.features().embedding)
    x, y = frame.offset_xy
    predictor._store.put("cut", features)
    predictor._current = "cut"
    alone, same = predictor.refine(np.array([[100.0 - x, 120.0 - y]]), inside)
    assert np.array_equal(frame.place(alone.to_array()[None])[0], mask.to_array())
    assert same == pytest.approx(quality)
    alone, _ = predictor.refine(box_xyxy=np.array([90.0 - x, 100 - y, 140 - x, 150 - y]))
    assert np.array_equal(frame.place(alone.to_array()[None])[0], box.to_array())


def test_a_click_outside_looks_at_the_whole_plane_and_keeps_the_mask(
    predictor: Predictor, monkeypatch
) -> None:
    encode, encoded = predictor.model.encode_image, []
    monkeypatch.setattr(
        predictor.model, "encode_image", lambda *arguments: encoded.append(0) or encode(*arguments)
    )
    predictor.forget()
    predictor.set_image(picture(BODY))
    first, _ = predictor.refine(np.array([[100.0, 120.0]]), np.array([True]))
    far = np.array([[100.0, 120.0], [230.0, 20.0]])
    whole, _ = predictor.refine(far, np.array([True, True]), previous=first)
    key = predictor._current
    assert predictor._origins[key, whole].frame == whole_plane((256, 256))
    assert predictor._origins[key, first].frame == find_crop(picture(BODY))
    predictor.refine(far, np.array([True, False]), previous=whole)
    assert len(encoded) == 2  # the body, then the whole plane; not once for each click
    again, _ = predictor.refine(far[:1], np.array([True]), previous=whole)
    assert predictor._origins[key, again].frame == find_crop(picture(BODY))


def test_features_on_disk_keep_their_frame(tmp_path, predictor: Predictor) -> None:
    image = picture(BODY)
    part, whole = find_crop(image), whole_plane(image.shape[:2])
    store = FeatureStore("encoder", tmp_path)
    for key, frame in (("part", part), ("whole", whole)):
        with torch.no_grad():
            store.put(key, predictor.model.encode_image(image, frame))
    again = FeatureStore("encoder", tmp_path)
    assert part != whole
    assert [again.get(key, image).frame for key in ("part", "whole")] == [part, whole]


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (0.98, 0.66), (0.5, 3.0), (4.0, 0.9)])
def test_a_part_of_long_pixels_is_seen_in_the_bodys_proportions_and_masks_come_back(spacing) -> None:
    frame = find_crop(picture(BODY), find_aspect(spacing))
    height, width = (n * s for n, s in zip(frame._size, spacing, strict=True))
    assert frame.inner[0] / frame.inner[1] == pytest.approx(height / width, rel=0.02)
    part = frame.cut(BODY)
    assert part.shape == frame.inner
    assert np.array_equal(frame.place(part[None])[0], BODY)  # no pixel is lost on the way


def test_pixels_of_odd_or_nearly_square_spacing_count_as_square() -> None:
    assert [find_aspect(s) for s in ((1.0, 1.01), (1.0, 0.001), (30.0, 1.0))] == [1.0, 1.0, 1.0]


def test_a_squeezed_copy_is_seen_as_the_square_one(predictor: Predictor) -> None:
    """The same body in pixels of 2 × 1 mm: every other row is left out, and the model sees what it saw."""
    grey = (100 + 60 * np.cos(Y / 40) + 60 * np.cos(X / 50)).astype(np.uint8)
    image = np.repeat(grey[..., None], 3, 2)
    squares = [
        predictor.model.fit_pixels(whole_plane(shown.shape[:2], aspect).cut(shown))
        for shown, aspect in ((image, 1.0), (image[::2], 2.0), (image[::2], 1.0))
    ]
    right, wrong = (float((square - squares[0]).abs().mean()) for square in squares[1:])
    assert right < 0.02 < wrong
    click = predictor.model.plane_to_square(np.array([[40.0, 30.0]]), whole_plane((128, 256), 2.0))
    assert torch.allclose(
        click, predictor.model.plane_to_square(np.array([[40.0, 60.0]]), whole_plane((256, 256)))
    )


def test_the_same_picture_in_other_proportions_is_encoded_anew_and_kept_on_disk(tmp_path, predictor) -> None:
    image = picture(BODY)
    store = FeatureStore("encoder", tmp_path)
    for aspect in (1.0, 1.5, None):
        frame = whole_plane(image.shape[:2], aspect or 1.0)
        with torch.no_grad():
            store.get_or_encode("key", image, lambda i, f=frame: predictor.model.encode_image(i, f), aspect)
    assert FeatureStore("encoder", tmp_path).get("key", image).frame.aspect == 1.5
