"""From a journal on disk to rounds that teach: verdicts, undo, branches, references, images that changed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fakes import FakeSegmenter, make_volume
from PIL import Image

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Reference
from napari_mediround.domain.verdicts import Prompts
from napari_mediround.inference.cache import hash_image
from napari_mediround.io import read_study
from napari_mediround.journal import Journal, remember_image
from napari_mediround.model.build import build_mediround
from napari_mediround.session import Session
from napari_mediround.session.commands import Screen, follow
from napari_mediround.training.learning.case_images import find_studies, patient_at
from napari_mediround.training.learning.corrections import read_rounds
from napari_mediround.training.learning.samples import write_sample

RIGHT = Mask.from_array(np.pad(np.ones((6, 8), bool), ((9, 9), (12, 12))))


class Named(FakeSegmenter):
    """Answers like the fake, and names image and adapter as the real one does."""

    def set_image(self, image, view="", modality="", spacing_mm=None):
        """Return the key that the model would."""
        super().set_image(image)
        return hash_image(image)

    def ask(self, text, conversation, references, cancelled=None, **named):
        """Say which image the masks lie on."""
        answer = super().ask(text, conversation, references, cancelled)
        return type(answer)(answer.text, answer.targets, image=hash_image(self.images[-1]))

    def describe(self):
        """Name an adapter."""
        return super().describe() | {"adapter": "a001"}


@pytest.fixture
def project(tmp_path):
    """Make a project with one picture; yield its journal and session."""
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "case.png")
    folder = tmp_path / "project"
    with Journal.open(folder) as journal:
        session = Session(Named(), read_study(tmp_path / "case.png"), journal=journal)
        remember_image(folder, session.case, tmp_path / "case.png")
        yield journal, session


def read(journal):
    return read_rounds(journal, find_studies(journal))


def test_a_correction_comes_with_all_that_weighs_it(project):
    journal, session = project
    session.ask("Segment the liver.", 0)
    before = session.label(1).mask
    prompts = Prompts(((14, 11),), (True,), painted=3)
    session.fix(1, RIGHT, seconds=9.0, prompts=prompts, reason="leak")
    (round_,), notes = read(journal)
    assert notes == []
    assert round_.text == "Segment the liver."
    assert round_.adapter == "a001"
    assert hash_image(round_.images[round_.image]) == round_.image
    (mask,) = round_.masks
    assert (mask.before, mask.after, mask.verdict, mask.reason) == (before, RIGHT, "corrected", "leak")
    assert (mask.prompts, mask.seconds) == (prompts, 9.0)


def test_two_fixes_of_one_mask_add_up(project):
    journal, session = project
    session.ask("Segment the liver.", 0)
    first = session.label(1).mask
    session.fix(1, RIGHT, seconds=4.0, prompts=Prompts(((1, 1),), (True,)))
    session.fix(1, first, seconds=5.0, prompts=Prompts(((2, 2),), (False,)), reason="miss")
    mask = read(journal)[0][0].masks[0]
    assert mask.seconds == 9.0
    assert mask.prompts.positive == (True, False)
    assert mask.reason == "miss"


@pytest.mark.parametrize("overlap", ["keep", "replace", "both"])
def test_masks_inside_others_teach_whole(project, overlap):
    journal, session = project
    session.ask("Segment the liver.", 0)
    session.ask("Segment the spleen.", 0)
    liver, tumour = RIGHT, session.label(2).mask
    session.fix(1, liver)
    session.accept(2, overlap=overlap)
    assert (liver.to_array() & tumour.to_array()).any()
    masks = [round_.masks[0] for round_ in read(journal)[0]]
    assert [mask.after for mask in masks] == [liver, tumour]
    assert masks[1].changed == 0


def test_a_mask_that_was_cut_and_judged_again_as_it_is_teaches_whole(project):
    journal, session = project
    session.ask("Segment the liver.", 0)
    session.fix(1, Mask.from_array(np.ones((24, 32), bool)))
    session.ask("Segment the spleen.", 0)
    session.fix(2, RIGHT)
    assert not session.label(2).mask.area
    session.fix(2, session.label(2).mask)
    assert read(journal)[0][1].masks[0].after == RIGHT


def carry_once():
    """Return the rounds of a liver that was asked for and one that was carried from it, both accepted."""
    study, journal = make_volume(), Journal.in_memory()
    session = Session(Named(), study, journal=journal)
    session.ask("Segment the liver.", 2)
    session.add(session.carry(Reference(1), 1))
    session.accept(1, 2)
    rounds, notes = read_rounds(journal, lambda case: study)
    assert notes == []
    return rounds


def test_the_text_of_a_carried_mask_is_not_read():
    model = build_mediround("tiny")
    lessons = [write_sample(model, round_, torch.no_grad()(model.encode_image)) for round_ in carry_once()]
    words = [[piece for piece in lesson.pieces if isinstance(piece, int)] for lesson in lessons]
    for read in map(model.language.tokenizer.decode, words):
        assert "Segment the liver." in read
        assert "Carry" not in read


def test_a_carried_mask_teaches_and_does_not_test():
    assert [(r.carried, r.teaches, r.tests) for r in carry_once()] == [
        (False, True, True),
        (True, True, False),
    ]


def test_what_was_undone_teaches_nothing(project):
    journal, session = project
    session.ask("Segment the liver.", 0)
    session.accept(1)
    assert len(read(journal)[0]) == 1
    session.undo()
    assert read(journal)[0] == []


def test_a_round_without_a_verdict_is_not_there_but_stands_in_the_dialogue(project):
    journal, session = project
    session.ask("Segment the spleen.", 0)
    session.ask("Segment the organ near [1].", 0)
    session.reject(2, reason="wrong reference")
    (round_,), _ = read(journal)
    assert len(round_.conversation) == 1
    assert str(round_.references[0]) == "[1.1]"
    assert round_.masks[0].verdict == "rejected"
    assert not round_.teaches


def test_a_reference_has_the_mask_that_it_had_when_it_was_asked(project):
    journal, session = project
    session.ask("Segment the spleen.", 0)
    then = session.label(1).mask
    session.ask("Segment the organ near [1].", 0)
    session.accept(2)
    session.fix(1, RIGHT)
    later = read(journal)[0][-1]
    assert later.conversation.target(later.references[0]).mask == then


def test_another_branch_teaches_too(project):
    journal, session = project
    session.ask("Segment the spleen.", 0)
    session.accept(1)
    session.branch(0)
    session.ask("Segment the liver.", 0)
    session.accept(2)
    rounds = read(journal)[0]
    assert [r.text for r in rounds] == ["Segment the spleen.", "Segment the liver."]
    assert len(rounds[1].conversation) == 0


def test_an_image_that_is_gone_or_another_now_is_left_out_and_named(project, tmp_path):
    journal, session = project
    session.ask("Segment the liver.", 0)
    session.accept(1)
    Image.fromarray(np.zeros((24, 32), np.uint8)).save(tmp_path / "case.png")
    rounds, notes = read(journal)
    assert rounds == []
    assert "its image was not found" in notes[0]
    assert str(tmp_path) not in notes[0]


def test_a_plane_rendered_otherwise_than_the_model_saw_is_left_out(project):
    journal, session = project
    session.ask("Segment the liver.", 0)
    session.accept(1)
    study = session.study
    changed = type(study)(255 - study.pixels, study.geometry, study.order, study.source_geometry)
    rounds, notes = read_rounds(journal, lambda case: changed)
    assert rounds == []
    assert "look otherwise now" in notes[0]


def test_a_picture_says_nothing_of_its_patient(project):
    journal, session = project
    assert patient_at(journal, session.case) == ""


def test_a_mask_that_was_changed_or_renamed_in_words_teaches_nothing(project):
    journal, session = project
    for text in ("the liver, the spleen and the pancreas", "merge [1] and [2]", "rename [3] to left kidney"):
        list(follow(session, text, Screen(0)))
    session.accept(1, 2, 3)
    rounds, _ = read(journal)
    assert [mask.structure for round_ in rounds for mask in round_.masks] == ["spleen"]
