"""Checks: each kind is found where it is and nowhere else, and a fix mends it in one step."""

from __future__ import annotations

import numpy as np
import pytest
from desk import Desk
from fakes import FakeSegmenter, make_volume
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.checks import Shape
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Imported
from napari_mediround.domain.segments import MANUAL, LabelledVolume, make_segment
from napari_mediround.domain.sizes import load_sizes, load_usual
from napari_mediround.session import Session
from napari_mediround.session.checked import check_session, describe_checks, mend
from napari_mediround.session.checking import check_shapes
from napari_mediround.session.importing import import_taken, take_masks

ANATOMY = load_anatomy()
STUDY = make_volume((16, 60, 80), (5.0, 4.0, 4.0))
GRID = STUDY.geometry


def box(planes, rows, columns):
    """Return a box as a mask of the volume."""
    mask = np.zeros(GRID.shape, bool)
    mask[slice(*planes), slice(*rows), slice(*columns)] = True
    return mask


LEFT_KIDNEY = box((1, 15), (30, 40), (50, 58))  # columns run to the patient's left
RIGHT_KIDNEY = box((1, 15), (30, 40), (22, 30))
LIVER = box((5, 14), (10, 29), (12, 40))


def find(**masks):
    """Return checks by the numbers of the masks, which are given by name."""
    locked = masks.pop("locked", ())
    shapes = [
        Shape.of(k, name.replace("_", " "), mask, name in locked)
        for k, (name, mask) in enumerate(masks.items(), 1)
    ]
    return [(f.check, f.numbers) for f in check_shapes(shapes, GRID, ANATOMY)]


def test_right_masks_have_no_finding():
    assert find(left_kidney=LEFT_KIDNEY, right_kidney=RIGHT_KIDNEY, liver=LIVER) == []


def test_swapped_and_wrong_sides_are_told_by_geometry():
    assert find(left_kidney=RIGHT_KIDNEY, right_kidney=LEFT_KIDNEY) == [("swapped", (1, 2))]
    cord = box((0, 16), (44, 47), (38, 42))
    assert ("side", (1,)) in find(left_kidney=RIGHT_KIDNEY, spinal_cord=cord)


def test_nothing_is_said_of_sides_where_the_image_does_not_tell():
    shapes = [Shape.of(1, "left kidney", RIGHT_KIDNEY), Shape.of(2, "right kidney", LEFT_KIDNEY)]
    grid = Geometry(GRID.shape, GRID.affine, oriented=False)
    assert check_shapes(shapes, grid, ANATOMY) == ()
    assert "Not checked" in " ".join(describe_checks((), grid))


def test_a_missing_partner_is_told_where_the_image_shows_its_place():
    cord = box((0, 16), (44, 47), (38, 42))
    assert find(left_kidney=LEFT_KIDNEY, spinal_cord=cord) == [("partner", (1,))]


def test_islands_holes_and_gaps_are_told_and_a_lesion_may_have_them():
    broken = LIVER.copy()
    broken[7, 18, 20] = False
    broken[7, 18:20, 20:22] = False
    assert ("holes", (1,)) in find(liver=broken)
    apart = LIVER | box((6, 8), (45, 48), (60, 63))
    assert find(liver=apart) == [("islands", (1,))]
    gap = LIVER.copy()
    gap[9:11] = False
    assert ("gap", (1,)) in find(liver=gap)
    assert find(brain_tumour=apart) == []


def test_a_hole_that_another_structure_fills_is_none():
    hole = box((7, 9), (16, 20), (20, 24))
    assert find(liver=LIVER & ~hole, gallbladder=hole) == []


def test_overlap_counts_with_accepted_masks_and_not_between_whole_and_part():
    wide = box((5, 14), (10, 34), (12, 40))
    grown = RIGHT_KIDNEY | box((5, 9), (25, 31), (24, 30))
    found = find(liver=LIVER, right_kidney=grown, left_kidney=LEFT_KIDNEY, locked=("liver",))
    assert found == [("overlap", (2, 1))]
    assert find(liver=wide, liver_tumour=box((6, 9), (20, 24), (20, 24)), locked=("liver",)) == []


def test_what_lies_outside_its_parent_is_told():
    brain, outside = box((1, 15), (5, 45), (10, 65)), box((6, 9), (48, 54), (30, 40))
    assert ("parent", (2, 1)) in find(brain=brain, left_thalamus=outside)


def test_sizes_out_of_the_published_range_are_told_with_their_source():
    shapes = [Shape.of(1, "liver", box((5, 7), (10, 14), (12, 17)))]
    (finding,) = check_shapes(shapes, GRID, ANATOMY)
    assert finding.check == "size"
    assert "ICRP Publication 89" in finding.text


def test_every_size_has_a_source_and_a_structure():
    for name, size in load_sizes().items():
        assert ANATOMY.find(name) is not None, name
        assert size.source
        assert size.allowed_ml[0] < size.allowed_ml[1]
    assert all(ANATOMY.find(name).name == name for rows in load_usual().values() for name in rows)


@pytest.fixture
def session():
    return Session(FakeSegmenter(), STUDY, ANATOMY)


def take(session, *masks):
    """Take masks, given as (name, mask), into a session."""
    grid = STUDY.source_geometry
    segments = [
        (make_segment(k, name, ANATOMY), STUDY.order.undo(mask)) for k, (name, mask) in enumerate(masks, 1)
    ]
    names = {k: name for k, (name, _) in enumerate(masks, 1)}
    source = Imported("0" * 64, "nifti", MANUAL)
    taken = take_masks(LabelledVolume.from_masks(grid, segments), STUDY, names, lambda s: source)
    import_taken(session, taken)


@pytest.mark.parametrize("kind", ["islands", "holes", "gap", "swapped"])
def test_a_fix_is_one_step_that_leaves_no_finding_and_can_be_undone(session, kind):
    liver = LIVER.copy()
    if kind == "islands":
        liver |= box((6, 8), (45, 48), (60, 63))
    if kind == "holes":
        liver[7, 18:20, 20:22] = False
    if kind == "gap":
        liver[9:11] = False
    masks = (
        [("liver", liver)]
        if kind != "swapped"
        else [("left kidney", RIGHT_KIDNEY), ("right kidney", LEFT_KIDNEY)]
    )
    take(session, *masks)
    before, names = session.label_volume(), session.label_names()
    finding = next(f for f in check_session(session) if f.check == kind)
    mend(session, finding)
    assert [f.check for f in check_session(session)] == []
    if kind in ("holes", "gap"):
        assert np.array_equal(session.label_volume() == 1, LIVER)
    session.undo()
    assert np.array_equal(session.label_volume(), before)
    assert session.label_names() == names


def test_an_overlap_is_left_to_the_accepted_mask(session):
    take(session, ("liver", LIVER), ("right kidney", RIGHT_KIDNEY | box((5, 9), (25, 31), (24, 30))))
    session.accept(*(v for v, label in session.state.labels.items() if label.drawn == 1))
    finding = next(f for f in check_session(session) if f.check == "overlap")
    mend(session, finding)
    assert "overlap" not in {f.check for f in check_session(session)}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 9)] * 3), min_size=1, max_size=30))
def test_shapes_in_boxes_are_the_masks_of_the_volume(points):
    mask = np.zeros((10, 10, 10), bool)
    mask[tuple(np.array(points).T)] = True
    shape = Shape.of(1, "liver", mask)
    assert np.array_equal(shape.mask, mask)
    box_ = (slice(2, 7), slice(0, 10), slice(5, 6))
    assert np.array_equal(shape.at(box_), mask[box_])


def test_the_chat_shows_a_finding_below_the_card_and_mends_it(tmp_path):
    desk = Desk()
    desk.open(STUDY)
    desk.ask("the liver")
    liver = LIVER | box((6, 8), (45, 48), (60, 63))
    take(desk.session, ("spleen", liver))
    desk.controller.workplace.refresh(desk.controller.workplace.case)
    desk.worker.run()
    (said,) = [
        e for e in desk.view.entries if getattr(e, "text", "").startswith("Check: 2 spleen has 1 small part")
    ]
    assert [action.label for action in said.actions] == ["Keep the largest part", "Show", "Ignore"]
    desk.view.action_chosen.emit(said.actions[0].key)
    desk.worker.run()
    assert not any("small part" in getattr(e, "text", "") for e in desk.view.entries)
    assert desk.session.undoable.startswith("islands")
