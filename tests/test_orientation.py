"""Letters at the edges of the canvas, and a patient who stands on their feet."""

from itertools import permutations

import numpy as np
import pytest
from fakes import make_picture, make_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from napari.components import ViewerModel
from napari.layers import Image
from scipy.spatial.transform import Rotation
from test_layers import nifti_layer

from napari_mediround.domain.geometry import Geometry, direction_letters
from napari_mediround.domain.study import make_study
from napari_mediround.widget.layers.layer_geometry import study_to_layer
from napari_mediround.widget.layers.orientation import UNTURNED, Orientation

pytestmark = pytest.mark.filterwarnings("ignore:Non-orthogonal slicing:UserWarning")
AXIAL = {"left": "R", "right": "L", "top": "A", "bottom": "P"}
CORONAL = {"left": "R", "right": "L", "top": "H", "bottom": "F"}
SAGITTAL = {"left": "A", "right": "P", "top": "H", "bottom": "F"}
NONE = dict.fromkeys(AXIAL, "")


def add(viewer, study):
    data, options, _ = study_to_layer(study)
    return viewer.add_image(data, **options)


@pytest.fixture
def viewer():
    viewer = ViewerModel()
    add(viewer, make_volume())
    return viewer


def camera(viewer):
    return tuple(str(way) for way in viewer.scene.camera.orientation)


@pytest.mark.parametrize(
    ("order", "letters"), [((0, 1, 2), AXIAL), ((1, 0, 2), CORONAL), ((2, 0, 1), SAGITTAL)]
)
def test_the_head_is_up_and_the_patient_s_right_on_the_left(viewer, order, letters):
    orientation = Orientation(viewer)
    viewer.dims.order = order
    assert orientation.letters == letters


def test_a_camera_turned_by_hand_stays_and_the_letters_follow(viewer):
    orientation = Orientation(viewer)
    viewer.scene.camera.orientation2d = ("up", "left")
    assert orientation.letters == {"left": "L", "right": "R", "top": "P", "bottom": "A"}
    viewer.dims.set_current_step(0, 1)
    assert camera(viewer)[1:] == ("up", "left")


def test_what_does_not_say_where_left_is_has_no_letters(viewer):
    orientation = Orientation(viewer)
    viewer.add_image(np.zeros((4, 5)))
    assert orientation.letters == NONE, "over a picture that claims no side no side is claimed"
    viewer.layers[-1].visible = False
    assert orientation.letters == AXIAL
    viewer.layers.clear()
    assert orientation.letters == NONE
    add(viewer, make_picture())
    assert orientation.letters == NONE


def test_images_that_lie_differently_get_no_letters(viewer):
    orientation = Orientation(viewer)
    affine = make_volume().geometry.affine.copy()[:, [2, 1, 0, 3]]
    geometry = Geometry((4, 5, 6), affine)
    add(viewer, make_study(np.zeros((4, 5, 6), np.int16), geometry, slice_axis="sagittal"))
    assert orientation.letters == NONE
    viewer.layers[0].visible = False
    assert orientation.letters == SAGITTAL


def test_a_layer_of_napari_nifti_has_letters_too():
    viewer = ViewerModel()
    orientation = Orientation(viewer)
    viewer.add_layer(nifti_layer())
    assert set(orientation.letters.values()) == set("RLAP")


def test_a_layer_turned_in_napari_turns_its_letters(viewer):
    orientation = Orientation(viewer)
    viewer.layers[0].rotate = (0, 0, 90)
    turned = orientation.letters
    assert {turned["left"], turned["right"]} == {"A", "P"}
    viewer.layers[0].scale = (1, -1, 1)
    assert orientation.letters != turned


def test_an_oblique_image_has_two_letters():
    assert direction_letters(np.array([0, 0.5, -0.8])) == "FP"
    assert direction_letters(np.array([3, 0, 0.1])) == "L"
    assert direction_letters(np.array([-1, -0.5, 0.4])) == "RAH"


def test_3d_is_not_mirrored_and_has_letters_from_every_side(viewer):
    orientation = Orientation(viewer)
    viewer.dims.ndisplay = 3
    for view, up, letters in [
        ((1, 0, 0), (0, -1, 0), AXIAL),  # from the feet
        ((0, 1, 0), (1, 0, 0), CORONAL),  # from the front
        ((0, 0, -1), (1, 0, 0), SAGITTAL),  # from the patient's left
        ((0, -1, 0), (1, 0, 0), CORONAL | {"left": "L", "right": "R"}),  # from behind
    ]:
        viewer.scene.camera.set_view_direction(view, up)
        assert orientation.letters == letters
    viewer.dims.ndisplay = 2
    assert camera(viewer) == UNTURNED


def test_the_canvas_is_left_as_it_was(viewer):
    before = set(viewer.canvas.overlays)
    orientation = Orientation(viewer)
    viewer.dims.order = (1, 0, 2)
    assert camera(viewer) != UNTURNED
    orientation.disconnect()
    assert set(viewer.canvas.overlays) == before
    assert camera(viewer) == UNTURNED
    viewer.dims.order = (0, 1, 2)
    assert set(viewer.canvas.overlays) == before


@settings(max_examples=40, deadline=None)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    order=st.sampled_from(list(permutations(range(3)))),
    flip=st.tuples(st.sampled_from(["up", "down"]), st.sampled_from(["left", "right"])),
    turn=st.floats(-180, 180),
)
def test_letters_are_the_way_to_the_edge_in_the_patient(angles, order, flip, turn):
    """Against the way itself: two voxels that differ along the screen, and where the affine puts them."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", angles, degrees=True).as_matrix() * [3, 1, 1]
    study = make_study(np.zeros((4, 5, 6), np.int16), Geometry((4, 5, 6), affine))
    viewer = ViewerModel()
    layer = add(viewer, study)
    orientation = Orientation(viewer)
    layer.rotate = (turn, 0, 0)  # in the plane of rows and columns
    viewer.dims.order = order
    viewer.scene.camera.orientation2d = flip
    assert isinstance(layer, Image)
    rows, columns = viewer.dims.displayed
    seen = layer._transforms[1:].simplified.set_slice([rows, columns]).linear_matrix
    if abs(np.linalg.det(seen)) < 1e-3:
        return
    for edge, way in (
        ("right", [0, 1 if flip[1] == "right" else -1]),
        ("bottom", [1 if flip[0] == "down" else -1, 0]),
    ):
        index = np.zeros(3)
        index[[rows, columns]] = np.linalg.solve(seen, np.array(way, float))
        patient = study.geometry.index_to_world(index) - study.geometry.index_to_world(np.zeros(3))
        sines = np.sort(np.abs(np.abs(patient / np.linalg.norm(patient)) - np.sin(np.radians(10))))
        if sines[0] > 1e-6:
            assert orientation.letters[edge] == direction_letters(patient)
