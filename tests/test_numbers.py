"""One number for a mask: in the layer, on its card, in a question; old journals read as they did."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
from fakes import FakeSegmenter, make_volume
from hypothesis import given, settings
from hypothesis import strategies as st
from ledgers import open_session, reopen

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.geometry import Geometry
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Round
from napari_mediround.domain.segments import LabelledVolume, Segment
from napari_mediround.inference.dialogue import DialogueReader
from napari_mediround.inference.question import Question
from napari_mediround.journal import Journal
from napari_mediround.model.prompt import PromptTemplate
from napari_mediround.session import Session

STEPS = st.lists(
    st.one_of(
        st.sampled_from(["liver", "liver and spleen", "hello", "kidney"]),
        st.sampled_from(["undo", "redo", "carry", "accept"]),
        st.integers(0, 6),
    ),
    max_size=12,
)


def play(session: Session, steps) -> None:
    """Do what each step says where it can be done; a number goes back to a round."""
    for step in steps:
        rounds = session.conversation.rounds
        if isinstance(step, int):
            if step < len(rounds):
                session.branch(rounds[step].id)
        elif step in ("undo", "redo"):
            if session.undoable if step == "undo" else session.redoable:
                getattr(session, step)()
        elif step == "carry":
            if rounds and rounds[-1].targets and rounds[-1].targets[0].mask.area:
                found = session.carry(Reference(len(rounds)), 1)
                if not isinstance(found, str):
                    session.add(found)
        elif step == "accept":
            if rounds and rounds[-1].targets:
                session.accept(session.label_of(Reference(len(rounds))))
        else:
            session.ask(f"segment the {step}" if step != "hello" else step, 1)


@settings(deadline=None, max_examples=60)
@given(STEPS)
def test_the_number_typed_is_the_number_shown_after_any_steps(steps):
    fake = FakeSegmenter()
    fake.absent.add("kidney")
    session = Session(fake, make_volume((3, 48, 64)), journal=Journal.in_memory(), case="c0ffee")
    play(session, steps)
    conversation = session.conversation
    for (round_, target), number in conversation.numbers.items():
        label = session.label(session.label_of(Reference(round_, target)))
        assert (label.drawn, label.target) == (number, target)
        if not label.mask.area:
            continue
        (found,) = session.resolve(f"next to [{number}]", label.plane)
        assert session.label(session.label_of(found)).name == label.name
        assert session.label(session.label_of(found)).plane == label.plane


def test_a_number_means_the_mask_that_was_carried_to_the_plane_asked_about():
    session = Session(FakeSegmenter(), make_volume((3, 48, 64)))
    session.ask("segment the liver", 1)
    session.add(session.carry(Reference(1), 1))
    assert [r.round for p in (0, 1, 2) for r in session.resolve("next to [1]", p)] == [1, 1, 2]


def test_an_old_question_keeps_what_its_number_meant(tmp_path):
    session = open_session(tmp_path)
    session.ask("segment the liver and the spleen", 1)
    session.ask("segment the aorta", 1)
    # Typed when a number was a round's: [2] was the aorta, which has the number 3.
    old = Round(3, 1, "the vessel behind [2]", (Reference(2, 1, "[2]"),), Answer("None."))
    session.take_round(old)
    again = reopen(session)
    (reference,) = again.conversation.rounds[2].references
    assert again.label(again.label_of(reference)).name == "3 aorta"


def test_a_conversation_that_is_not_recorded_counts_its_masks():
    session = open_session()
    session.ask("segment the liver and the spleen", 1)
    session.ask("segment the aorta", 1)
    bare = tuple(Round(r.index, r.plane, r.text, (), r.answer) for r in session.conversation.rounds)
    assert Conversation(bare).numbers == session.conversation.numbers == {(1, 1): 1, (1, 2): 2, (2, 1): 3}


def test_a_format_that_counts_its_segments_anew_keeps_the_number_as_the_tracked_name():
    labels = np.zeros((1, 4, 4), np.uint16)
    labels[0, 0], labels[0, 1] = 4, 9
    geometry = Geometry((1, 4, 4), np.eye(4))
    segments = (Segment(4, "liver"), Segment(9, "spleen"))
    volume = LabelledVolume.from_labels(geometry, labels, segments).renumber()
    assert [(s.value, s.tracking_id) for s in volume.segments] == [(1, "4 liver"), (2, "9 spleen")]


class Composing(FakeSegmenter):
    """A fake that remembers what the language model would read."""

    def __init__(self):
        super().__init__()
        words = {"system": "S", "user": "U", "user_end": "u", "assistant": "A", "assistant_end": "a"}
        language = SimpleNamespace(encode=lambda text: [text])
        model = SimpleNamespace(language=language, template=PromptTemplate(**words, image_tokens=1))
        self.reader, self.read = DialogueReader(model, 9, 9), ""

    def ask(self, text, conversation, references, cancelled=None, **named):
        """Compose the dialogue, then answer as the fake does."""
        question = Question(text, conversation, references, "image")
        pieces = self.reader.compose(question, None, lambda *_: (0, 0)).pieces
        self.read = "|".join(piece for piece in pieces if isinstance(piece, str))
        return super().ask(text, conversation, references, cancelled)


def test_the_model_reads_rounds_as_it_was_taught_and_never_the_numbers_of_people():
    session = Session(Composing(), make_volume((3, 48, 64)), load_anatomy())
    session.ask("segment the liver and the spleen", 1)
    session.ask("segment the aorta", 1)
    session.ask("the vessel between [3], [2] and [1]", 1)
    assert session.segmenter.read.endswith("the blood vessel between [2], [1.2] and [1.1]uA")
    assert "| [2] aorta|" in session.segmenter.read
    session.ask("and behind [3]", 1)
    assert "blood vessel between [2], [1.2] and [1.1]uA" in session.segmenter.read


def test_the_model_reads_what_was_not_found_as_absent_until_a_person_draws_it():
    session = Session(Composing(), make_volume((3, 48, 64)), load_anatomy())
    session.segmenter.absent.add("kidney")
    session.ask("segment the liver and the kidney", 1)
    session.ask("segment the spleen", 1)
    assert "The liver [SEG], but the kidney [ABSENT]." in session.segmenter.read
    session.fix(2, session.label(1).mask)
    session.ask("segment the spleen", 1)
    assert "The liver [SEG] and the kidney [SEG]." in session.segmenter.read
