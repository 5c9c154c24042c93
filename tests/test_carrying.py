"""A mask carried to the plane beside it: when it stops, and under which number it is drawn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeSegmenter, make_volume

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Reference
from napari_mediround.domain.windows import render_plane, window_for_question
from napari_mediround.errors import CancelledError, DanglingReferenceError
from napari_mediround.journal import Journal
from napari_mediround.questions.references import resolve_references
from napari_mediround.session import Session


class Moving(FakeSegmenter):
    """Carries a mask `shift` columns to the right."""

    def __init__(self, shift: int = 0, quality: float = 0.9) -> None:
        super().__init__()
        self.shift, self.carried_quality = shift, quality

    def propagate(self, mask, image, structure=""):
        """Return the mask, moved."""
        self.carried.append((mask, image))
        return Mask.from_array(np.roll(mask.to_array(), self.shift, 1)), self.carried_quality


def ask(segmenter=None, study=None, plane: int = 2) -> Session:
    """Return a session with a liver on a plane."""
    session = Session(segmenter or Moving(), study or make_volume())
    session.ask("the liver", plane)
    return session


def test_a_mask_is_carried_to_the_plane_beside_it_in_its_window():
    session = ask()
    with_window = Session(Moving(), make_volume())
    with_window.ask("the lung", 2)
    round_ = session.carry(Reference(1), 1)
    assert (round_.plane, round_.index, round_.carried) == (3, 2, True)
    assert round_.references == (Reference(1),)
    before = FakeSegmenter().set_image(render_plane(session.study, 2, window_for_question("the liver")))
    assert session.segmenter.carried == [(session.conversation.target(Reference(1)).mask, before)]
    assert with_window.carry(Reference(1), -1).window == "lung"
    assert len(session.conversation) == 1, "nothing is added"


@pytest.mark.parametrize(
    ("segmenter", "plane", "step", "why"),
    [
        (Moving(), 4, 1, "the stack ends"),
        (Moving(), 0, -1, "the stack ends"),
        (Moving(quality=0.3), 2, 1, "the judge doubts it (0.30) on plane 3"),
        (Moving(shift=12), 2, 1, "it is elsewhere (overlap 0.00) on plane 3"),
    ],
)
def test_it_stops_and_says_why(segmenter, plane, step, why):
    assert ask(segmenter, plane=plane).carry(Reference(1), step) == why


def test_it_stops_where_nothing_is_found():
    session = ask(FakeSegmenter(), make_volume((5, 6, 6)))
    assert session.carry(Reference(1), 1) == "nothing of it is found on plane 3"


def test_it_stops_where_the_structure_is_labelled_already():
    session = ask()
    session.ask("the liver", 3)
    assert session.carry(Reference(1), 1) == "plane 3 has a liver already"
    session.reject(2)
    assert session.carry(Reference(1), 1).plane == 3


def test_a_cancelled_or_dangling_carry_changes_nothing():
    session = ask()
    with pytest.raises(CancelledError):
        session.carry(Reference(1), 1, lambda: True)
    with pytest.raises(DanglingReferenceError):
        session.carry(Reference(4), 1)
    assert len(session.conversation) == 1


def test_it_is_drawn_under_the_number_it_was_carried_from_also_after_a_restart(tmp_path):
    study = make_volume()
    with Journal.open(tmp_path) as journal:
        session = Session(Moving(), study, journal=journal)
        session.ask("the spleen and the liver", 2)
        session.add(session.carry(Reference(1, 2), 1))
        session.add(session.carry(Reference(2), 1))
        drawn = session.label_volume()
        assert set(np.unique(drawn[3:])) == {0, 2}
        assert session.label_names() == {1: "1 spleen", 2: "2 liver"}
        assert session.label(4).name == "2 liver"
    with Journal.open(tmp_path) as journal:
        again = Session(Moving(), study, journal=journal)
        assert [round_.carried for round_ in again.conversation.rounds] == [False, True, True]
        assert np.array_equal(again.label_volume(), drawn)
        assert again.label_names() == session.label_names()


def test_a_carried_mask_keeps_its_number_when_what_it_came_from_is_rejected():
    session = ask()
    session.add(session.carry(Reference(1), 1))
    session.reject(1)
    assert session.label_names() == {1: "1 liver"}
    assert set(np.unique(session.label_volume())) == {0, 1}


def test_words_mean_what_was_asked_for_and_numbers_also_what_was_carried():
    session = ask()
    session.add(session.carry(Reference(1), 1))
    assert [r.round for r in resolve_references("the vessel in it", session.conversation)] == [1]
    for plane, round_ in ((2, 1), (3, 2), (0, 1)):
        found = resolve_references("the vessel in [1]", session.conversation, plane=plane)
        assert [r.round for r in found] == [round_]


def test_two_lesions_of_one_name_are_carried_both():
    class Apart(Moving):
        def ask(self, text, conversation, *rest, **named):
            answer = super().ask(text, conversation, *rest, **named)
            target = answer.targets[0]
            moved = Mask.from_array(np.roll(target.mask.to_array(), 14 * len(conversation), 1))
            return replace(answer, targets=(replace(target, mask=moved),))

    session = ask(Apart())
    session.ask("the liver", 2)
    session.add(session.carry(Reference(1), 1))
    session.add(session.carry(Reference(2), 1))
    assert session.carry(Reference(2), 1) == "plane 3 has a liver already"
    assert set(np.unique(session.labels(3))) == {0, 1, 2}
