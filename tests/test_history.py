"""Random work, undone, redone, branched and restarted: the layers are what the journal says, bit for bit.

`pytest tests/test_history.py --hypothesis-profile=thorough` drives 2,000 sequences.
"""

import os
import re
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from fakes import FakeSegmenter
from hypothesis import given
from hypothesis import strategies as st
from ledgers import CASE, STUDY, box_mask

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Target
from napari_mediround.domain.verdicts import OVERLAPS, REASONS, Prompts
from napari_mediround.errors import MediRoundError
from napari_mediround.journal import History, Journal
from napari_mediround.session import Session

MEMORY = "/dev/shm" if os.path.isdir("/dev/shm") else None
"""Where there is one, a folder in memory: this is about the logic; tests/bench/kill9.py is about the disk."""

boxes = st.tuples(*[st.integers(0, 9)] * 2, *[st.integers(1, 7)] * 2)
numbers = st.integers(0, 7)
operations = st.one_of(
    st.tuples(st.just("ask"), st.lists(boxes, max_size=2), st.integers(0, 2)),
    st.tuples(st.just("retry"), numbers, boxes),
    st.tuples(
        st.just("accept"), st.lists(numbers, min_size=1, max_size=2, unique=True), st.sampled_from(OVERLAPS)
    ),
    st.tuples(st.just("fix"), numbers, boxes, st.sampled_from(OVERLAPS)),
    st.tuples(st.just("reject"), numbers, st.sampled_from(("", *REASONS))),
    st.tuples(st.just("branch"), numbers),
    st.tuples(st.just("carry"), numbers, st.sampled_from((1, -1))),
    *[st.tuples(st.just(word)) for word in ("undo", "undo", "redo", "restart")],
)


def rectangle(box):
    row, column, height, width = box
    return box_mask(slice(row, row + height), slice(column, column + width))


class Drawer(FakeSegmenter):
    """Answers "box 1 2 3 4" with that rectangle."""

    def ask(self, text, conversation, references, cancelled=None, **named):
        """Return one target for each box."""
        found = [tuple(map(int, m)) for m in re.findall(r"box (\d+) (\d+) (\d+) (\d+)", text)]
        targets = tuple(Target(f"part {k}", rectangle(box), k / 7) for k, box in enumerate(found))
        return Answer(f"{len(found)} parts", targets)

    def propagate(self, mask, image, structure=""):
        """Return the mask a row lower."""
        return Mask.from_array(np.roll(mask.to_array(), 1, 0)), 0.8


def words(boxes):
    return "draw " + " ".join("box {} {} {} {}".format(*box) for box in boxes)


class Desk:
    """Does random work, and keeps by itself what the layers were before each step."""

    def __init__(self, folder):
        self.folder = folder
        self._open()
        self.before, self.taken_back = [], []

    def _open(self):
        self.session = Session(Drawer(), STUDY, journal=Journal.open(self.folder), case=CASE)

    def do(self, operation):
        """Do one thing; what cannot be done now must change nothing."""
        name, *arguments = operation
        volume, state = self.session.label_volume(), self.session.state
        try:
            step = getattr(self, f"_{name}")(*arguments)
        except MediRoundError:
            assert self.session.state == state
            return
        after = self.session.label_volume()
        if name == "undo":
            assert np.array_equal(after, self.before.pop())
            self.taken_back.append(volume)
        elif name == "redo":
            assert np.array_equal(after, self.taken_back.pop())
            self.before.append(volume)
        elif name == "restart":
            assert np.array_equal(after, volume)
            assert self.session.state == state
        else:
            self.before.append(volume)
            self.taken_back.clear()
        if step is not None:
            assert set(np.flatnonzero((after != volume).any((1, 2)))) <= step.planes

    def _ask(self, boxes, plane):
        return self.session.add(self.session.answer(words(boxes), plane))

    def _retry(self, number, box):
        rounds = self.session.conversation.rounds
        if not rounds:
            raise MediRoundError("nothing to ask again")
        locked = self._locked()
        before = number % len(rounds)
        again = self.session.answer(
            words([box]), rounds[before].plane, window=rounds[before].window, after=before
        )
        self.session.add(again, branch=True)
        assert self._locked() == locked

    def _carry(self, number, step):
        found = self.session.carry(self.session.reference_to(self._value(number)), step)
        if isinstance(found, str):
            raise MediRoundError(found)
        return self.session.add(found)

    def _accept(self, numbers, overlap):
        values = list(dict.fromkeys(self._value(number) for number in numbers))
        with self._kept(values, overlap):
            return self.session.accept(*values, overlap=overlap)

    def _fix(self, number, box, overlap):
        prompts = Prompts(((1, 2),), (True,), painted=3)
        value = self._value(number)
        with self._kept([value], overlap):
            return self.session.fix(value, rectangle(box), overlap, 1.5, prompts)

    def _reject(self, number, reason):
        value = self._value(number)
        step = self.session.reject(value, reason=reason)
        assert value not in {label.value for label in self.session.state.shown}
        return step

    def _branch(self, number):
        places = [0, *self.session.rounds]
        return self.session.branch(places[number % len(places)])

    def _undo(self):
        return self.session.undo()

    def _redo(self):
        return self.session.redo()

    def _restart(self):
        self.session.journal.close()
        self._open()

    def _value(self, number):
        """Return one of the label values there are; for 7 one that there is not."""
        values = list(self.session.state.labels)
        return values[number % len(values)] if values and number < 7 else 99

    @contextmanager
    def _kept(self, values, overlap):
        """Check who gave pixels to whom: locked masks give none unless told to, also not in the layer."""
        before, others = self.session.label_volume(), self._locked(but=values)
        order = list(self.session.state.locked)
        yield
        if overlap != "replace":
            assert self._locked(but=values) == others
            if any(label.drawn != label.value for label in self.session.state.labels.values()):
                return  # a number in the layer may be several masks'
            mine = [order.index(value) for value in values if value in order]
            shown_first = order[: min(mine)] if mine and overlap == "both" else others
            firm = np.isin(before, list(shown_first))
            assert np.array_equal(self.session.label_volume()[firm], before[firm])
        if overlap != "both":
            assert not any(self.session.overlaps(value) for value in values)

    def _locked(self, but=()):
        state = self.session.state
        return {value: state.labels[value].mask for value in state.locked if value not in but}


@given(st.lists(operations, max_size=25))
def test_layers_are_a_replay_of_the_journal(work):
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        desk = Desk(Path(folder))
        for operation in [("ask", [(2, 2, 5, 5), (4, 4, 5, 5)], 1), *work]:
            desk.do(operation)
        session = desk.session
        replayed = History(session.journal.events(CASE)).state
        assert replayed == session.state
        for plane in range(STUDY.planes):
            assert replayed.draw(plane, STUDY.geometry.shape[1:]).tobytes() == session.labels(plane).tobytes()
        assert session.journal.verify()[0] >= 1
        session.journal.close()
