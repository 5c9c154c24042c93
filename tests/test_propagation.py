"""Structures followed through the stack: joined, in one loop, taken up again, and taken back in one step."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import FakeSegmenter, make_volume

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Reference
from napari_mediround.errors import AlreadyThereError
from napari_mediround.journal import Journal
from napari_mediround.journal.entries import StackBegun
from napari_mediround.session import Manner, Propagation, Session
from napari_mediround.session.stack.shape_between import shape_between

ASK = Manner(again="ask")


class Everywhere(FakeSegmenter):
    """Finds a structure again where it was; on some planes with doubt."""

    def __init__(self, **doubted: float) -> None:
        super().__init__()
        self.doubted = {int(plane.strip("p")): quality for plane, quality in doubted.items()}

    def propagate(self, mask, image, structure=""):
        """Return the mask as it is, on the plane last set."""
        self.carried.append((structure, self.plane))
        return mask, self.doubted.get(self.plane, 0.9)

    def set_image(self, image, *rest):
        """Know the plane by its image."""
        key = super().set_image(image, *rest)
        self.plane = self.planes.setdefault(key, len(self.planes))
        return key

    planes: dict


def open_session(study=None, **doubted) -> Session:
    """Return a session whose segmenter knows the planes by their numbers."""
    segmenter = Everywhere(**doubted)
    segmenter.planes = {}
    session = Session(segmenter, study or make_volume())
    for plane in range(session.study.planes):
        session.prepare(plane)
    return session


def follow(session: Session, plan: StackBegun) -> Propagation:
    """Return a run that has been done to its end."""
    run = Propagation.begin(session, plan)
    while (found := run.find()) is not None:
        run.take(found)
    session.end_stack()
    return run


def planes_of(session: Session, number: int) -> list[int]:
    """Return the planes that show a structure."""
    return sorted(label.plane for label in session.state.shown if label.drawn == number and label.mask.area)


def test_a_structure_asked_on_another_plane_joins_the_one_that_is_there():
    session = open_session()
    session.ask("the liver", 1)
    session.ask("the spleen", 1)
    session.ask("the liver", 3)
    assert session.label_names() == {1: "1 liver", 2: "2 spleen"}
    assert session.label(3).name == "1 liver"
    assert session.conversation.numbers[3, 1] == 1
    assert set(np.unique(session.label_volume()[3])) == {0, 1}
    assert [r.round for r in session.resolve("next to [1]", 3)] == [3]
    assert [r.round for r in session.resolve("the vessel behind the liver", 0)] == [3]


def test_the_volume_of_a_joined_structure_counts_all_its_planes_and_a_lone_plane_says_so():
    session = open_session()
    session.ask("the liver", 1)
    assert "one plane" in session.ask("the volume of the liver", 1).answer.text
    session.ask("the liver", 3)
    assert "in the 2 planes" in session.ask("the volume of the liver", 1).answer.text


def test_a_structure_asked_again_on_its_plane_is_asked_back_before_the_model_runs():
    session = open_session()
    session.ask("the liver", 1)
    asked = len(session.segmenter.asked)
    with pytest.raises(AlreadyThereError) as caught:
        session.answer("segment the liver", 1, manner=ASK)
    assert caught.value.masks == (Reference(1),)
    assert len(session.segmenter.asked) == asked
    both = session.answer("segment the liver", 1, manner=Manner("both"))
    assert both.joins == ()
    session.add(session.answer("segment the liver", 1, manner=Manner("replace")))
    assert (session.label(2).drawn, [label.value for label in session.state.shown]) == (1, [2])


def test_of_several_structures_only_what_is_missing_is_drawn():
    session = open_session()
    session.ask("the liver", 1)
    session.add(session.answer("the liver and the spleen", 1, manner=ASK))
    assert [t.structure for t in session.conversation.rounds[-1].targets] == ["spleen"]


def test_a_replaced_mask_that_was_accepted_gives_way_and_comes_back_with_undo_or_a_reject():
    session = open_session()
    session.ask("the liver", 1)
    session.accept(1)
    session.add(session.answer("the liver", 1, manner=Manner("replace")))
    assert [label.value for label in session.state.shown] == [2]
    assert session.overlaps(2) == {}
    session.reject(2)
    assert [label.value for label in session.state.shown] == [1]


def test_several_structures_go_both_ways_on_one_look_at_each_plane():
    session = open_session()
    round_ = session.answer("segment the liver and the spleen in the whole stack", 2)
    session.add(round_)
    plan = session.plan_stack(round_)
    assert plan == StackBegun((1, 2), 2, 0, 4)
    images = len(session.segmenter.images)
    run = follow(session, plan)
    assert [planes_of(session, n) for n in (1, 2)] == [[0, 1, 2, 3, 4]] * 2
    assert [r.plane for r in session.conversation.rounds] == [2, 3, 4, 1, 0]
    assert (run.done, run.steps, run.why(1)) == (4, 4, "the stack ends")
    assert len(session.segmenter.images) - images <= 8
    assert session.stack is None


def test_a_range_is_kept_to_and_the_switch_means_the_stack():
    session = open_session()
    ranged = session.answer("the liver from plane 1 to 3", 2)
    assert ranged.through == (1, 3)
    assert session.answer("the liver", 2, manner=Manner(stack=True)).through == (0, 4)
    session.add(ranged)
    assert session.answer("how large is it", 2, manner=Manner(stack=True)).through is None
    follow(session, session.plan_stack(ranged))
    assert planes_of(session, 1) == [1, 2, 3]


def test_all_that_a_run_found_is_taken_back_and_done_again_in_one_step():
    session = open_session()
    session.ask("the liver", 2)
    follow(session, StackBegun((1,), 2, 0, 4))
    assert session.undoable == "liver through the stack"
    session.undo()
    assert planes_of(session, 1) == [2]
    assert "liver" in session.redoable
    session.redo()
    assert planes_of(session, 1) == [0, 1, 2, 3, 4]


def test_a_run_goes_on_after_a_restart_and_asks_no_plane_twice(tmp_path):
    study = make_volume()
    with Journal.open(tmp_path) as journal:
        session = Session(open_session().segmenter, study, journal=journal)
        session.ask("the liver", 2)
        run = Propagation.begin(session, StackBegun((1,), 2, 0, 4))
        run.take(run.find())
    with Journal.open(tmp_path) as journal:
        session = Session(open_session().segmenter, study, journal=journal)
        run = Propagation.resume(session)
        assert (run.done, run.steps) == (1, 4)
        asked = []
        while (found := run.find()) is not None:
            asked.append(found.plane)
            run.take(found)
        session.end_stack()
        assert asked == [4, 1, 0]
        assert Propagation.resume(session) is None
        session.undo()
        assert planes_of(session, 1) == [2]


def test_it_stops_where_the_judge_doubts_and_says_where():
    session = open_session(p3=0.2)
    session.ask("the liver", 2)
    run = follow(session, StackBegun((1,), 2, 0, 4))
    assert planes_of(session, 1) == [0, 1, 2]
    assert run.why(1) == "the judge doubts it (0.20) on plane 3 and the stack ends"


def test_planes_that_have_a_mask_are_kept_and_the_nearer_one_decides_between_two():
    session = open_session(make_volume((9, 24, 32)))
    session.ask("the liver", 0)
    session.ask("the liver", 8)
    session.accept(1)
    session.accept(2)
    run = Propagation.begin(session, StackBegun((1,), 0, 0, 8))
    ways = []
    while (found := run.find()) is not None:
        ways.append((found.step, found.plane))
        run.take(found)
    assert ways == [(1, 1), (1, 2), (1, 3), (1, 4), (-1, 7), (-1, 6), (-1, 5)]


def test_only_the_planes_named_are_made_anew_and_no_verdict_is_touched():
    session = open_session()
    session.ask("the liver", 0)
    follow(session, StackBegun((1,), 0, 0, 4))
    session.accept(4)  # plane 3
    before = {label.plane: label.value for label in session.state.shown}
    follow(session, StackBegun((1,), 0, 0, 4, planes=(1, 3)))
    after = {label.plane: label.value for label in session.state.shown}
    assert {plane for plane in after if after[plane] != before[plane]} == {1}
    session.undo()
    assert {label.plane: label.value for label in session.state.shown} == before


def test_a_structure_that_is_not_on_the_plane_at_hand_is_looked_for_by_its_name():
    session = open_session()
    session.segmenter.absent.add("liver")
    session.ask("the liver", 4)
    session.segmenter.absent.clear()
    run = Propagation.begin(session, StackBegun((1,), 4, 0, 4))
    assert run.find().step == 0
    follow(session, run.plan)
    assert planes_of(session, 1) == [0, 1, 2, 3, 4]


def test_what_is_nowhere_is_told(tmp_path):
    session = open_session()
    session.segmenter.absent.add("liver")
    session.ask("the liver", 2)
    run = follow(session, StackBegun((1,), 2, 0, 4))
    assert planes_of(session, 1) == []
    assert run.why(1) == "it was not found"


def test_a_mask_drawn_meanwhile_stays():
    session = open_session()
    session.ask("the liver", 2)
    run = Propagation.begin(session, StackBegun((1,), 2, 0, 4))
    found = run.find()
    session.ask("the liver", 3)
    assert session.label(2).drawn == 1
    run.take(found)
    assert [label.value for label in session.state.shown if label.plane == 3] == [2]


def test_two_lesions_on_distant_planes_stay_two():
    session = open_session()
    session.ask("segment the liver tumour", 0)
    other = session.segmenter.disc("liver tumour").to_array()
    session.segmenter.disc = lambda name: Mask.from_array(np.roll(other, 12, 1))
    session.ask("segment the liver tumour", 4)
    assert len(session.label_names()) == 2


@pytest.fixture(scope="module")
def block() -> tuple[Mask, Mask]:
    """Return a square and a square that is two pixels larger all round."""
    arrays = np.zeros((2, 24, 32), bool)
    arrays[0, 10:14, 10:14] = arrays[1, 6:18, 6:18] = True
    return Mask.from_array(arrays[0]), Mask.from_array(arrays[1])


def test_between_two_masks_a_shape_in_between_is_filled_in(block):
    middle = shape_between(*block, 0.5, (1.0, 1.0))
    assert block[0].area < middle.area < block[1].area
    assert shape_between(*block, 0.0, (1.0, 1.0)) == block[0]
    assert shape_between(*block, 1.0, (1.0, 1.0)) == block[1]


def test_a_gap_between_two_accepted_planes_is_filled_whatever_the_model_finds():
    session = open_session(make_volume((9, 24, 32)), **{f"p{plane}": 0.1 for plane in range(9)})
    for plane in (0, 4):
        session.ask("the liver", plane)
    session.accept(1)
    session.accept(2)
    run = follow(session, StackBegun((1,), 0, 0, 4, planes=(1, 2, 3), fills=True))
    assert planes_of(session, 1) == [0, 1, 2, 3, 4]
    assert run.stops == {}
    session.undo()
    assert planes_of(session, 1) == [0, 4]
