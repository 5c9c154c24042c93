"""The predictor: caches that change nothing, cancelling, falling back, chat and refinement."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from scripted import ask, make_plane, script_answers

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Conversation, Reference
from napari_mediround.errors import CancelledError, MediRoundError
from napari_mediround.inference import dialogue, pipeline
from napari_mediround.inference.predictor import Predictor
from napari_mediround.inference.refinement import BOX_GROWTH, main_parts, parts_propagated
from napari_mediround.model.build import build_mediround
from napari_mediround.model.prototypes import Prototypes

FIRST, SECOND = Reference(1, 1, "[1]"), Reference(2, 1, "[2]")
ANSWERS = "The liver [SEG].", "The spleen [SEG].", "The aorta [SEG] and the stomach [SEG]."
MODEL = build_mediround("tiny", 3)


@pytest.fixture
def predictor() -> Predictor:
    """Return a predictor of a small random model whose masks depend on every word it reads."""
    model = copy.deepcopy(MODEL)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data = torch.randn(parameter.shape, generator=generator)
    model.seg_projection[2].weight.data *= 10
    return Predictor(model, "cpu")


def talk(predictor: Predictor, forget: bool = False, planes=(0, 0, 1)) -> Conversation:
    """Ask three rounds, the second and third with references, the third about another plane."""
    conversation = Conversation()
    questions = (
        ("Segment the liver.", ()),
        ("What lies beside [1]?", [FIRST]),
        ("And [1], [2]?", [FIRST, SECOND]),
    )
    for (text, references), plane in zip(questions, planes, strict=True):
        if forget:
            predictor.forget()
            for earlier in planes:
                predictor.set_image(make_plane(earlier))
        predictor.set_image(make_plane(plane))
        conversation = ask(predictor, conversation, text, references, plane)
    return conversation


def test_a_named_structure_has_the_mask_of_the_models_own_answer(predictor):
    predictor.set_image(make_plane(0))
    script_answers(predictor, "The liver [SEG] and the spleen [SEG].")
    said = predictor.ask("Segment the liver and the spleen.", Conversation())
    named = predictor.ask("liver + splen", Conversation(), structures=("liver", "spleen"))
    assert [t.structure for t in named.targets] == ["liver", "spleen"]
    for one, other in zip(said.targets, named.targets, strict=True):
        assert one.mask == other.mask


def test_a_named_structure_does_not_depend_on_the_rounds_before(predictor):
    predictor.set_image(make_plane(0))
    first = predictor.ask("the aorta", Conversation(), structures=("aorta",)).targets
    script_answers(predictor, *ANSWERS)
    later = predictor.ask("the aorta", talk(predictor, planes=(0, 0, 0)), structures=("aorta",)).targets
    assert later[0].mask == first[0].mask


def test_no_name_of_many_is_cut(predictor):
    predictor.set_image(make_plane(0))
    names = ("spleen", "liver", "aorta", "stomach", "colon", "pancreas", "spinal cord", "heart", "trachea")
    answer = predictor.ask("all of these", Conversation(), structures=names)
    assert tuple(t.structure for t in answer.targets) == names


def test_the_other_side_is_read_as_if_the_model_had_said_it(predictor):
    masks = []
    for said in ("The right kidney [SEG].", "The left kidney [SEG]."):
        script_answers(predictor, "The right kidney [SEG].", said, "The liver [SEG].")
        predictor.forget()
        predictor.set_image(make_plane())
        conversation = Conversation()
        for text, pointed in (("a", ()), ("the mirror of [1]", [FIRST]), ("Segment the liver.", ())):
            conversation = ask(predictor, conversation, text, pointed)
        assert conversation.rounds[1].answer.text == "The left kidney."
        masks.append([round_.targets[0].mask for round_ in conversation.rounds])
    assert masks[0] == masks[1]


def test_what_an_unsure_answer_means_is_rather_what_is_seen(predictor, monkeypatch):
    predictor.model.landmarks = Prototypes(("stomach", "spleen"), torch.zeros(2, predictor.model.channels))
    for wanted in ("stomach", "spleen"):
        looks = {name: 1e3 * (name == wanted) for name in ("stomach", "spleen")}
        told = []
        for said, sure in (("The big lunch [SEG].", dialogue.SURE), (f"The {wanted} [SEG].", 1e-99)):
            script_answers(predictor, said)
            predictor.forget()
            predictor.set_image(make_plane())
            with monkeypatch.context() as patched:
                patched.setattr(
                    "napari_mediround.inference.pipeline.see_structures", lambda *_, looks=looks: looks
                )
                patched.setattr(dialogue, "SURE", sure)
                patched.setattr(dialogue, "KNOWN", 1e-99)  # of a random model
                answer = ask(predictor, Conversation(), "the bag that holds lunch").rounds[0].answer
            told += answer.targets
            assert (f"I took this to mean the {wanted}" in answer.note) == (sure != 1e-99)
        assert [target.structure for target in told] == [wanted] * 2
        assert told[0].mask == told[1].mask


@pytest.mark.parametrize("question", ["Segment the ovary.", "the bag that holds lunch"])
def test_what_was_named_and_what_fits_nothing_known_is_not_guessed(predictor, monkeypatch, question):
    predictor.model.landmarks = Prototypes(("stomach",), torch.zeros(1, predictor.model.channels))
    monkeypatch.setattr(pipeline, "see_structures", lambda *_: {"stomach": 8.0})
    monkeypatch.setattr(dialogue, "KNOWN", 1e-99 if "ovary" in question else dialogue.KNOWN)
    predictor.set_image(make_plane())
    script_answers(predictor, "The ovary [SEG].")
    answer = ask(predictor, Conversation(), question).rounds[0].answer
    assert answer.targets[0].structure == "ovary"
    assert ("I took this to mean the ovary" in answer.note) == ("ovary" not in question)


def test_what_lies_where_a_question_asks_is_seen_and_not_guessed(predictor, monkeypatch):
    monkeypatch.setattr(dialogue, "SURE", 1e-99)
    script_answers(predictor, "The liver [SEG] and the spleen [SEG].", "The aorta [SEG].")
    predictor.model.landmarks = Prototypes(("stomach",), torch.zeros(1, predictor.model.channels))
    predictor.set_image(make_plane(), "axial")
    conversation = ask(predictor, Conversation(), "a")
    first, second = conversation.rounds[0].targets
    assert first.mask.area != second.mask.area
    assert first.mask.area
    assert second.mask.area
    both = Reference(1, 1, "[1.1]"), Reference(1, 2, "[1.2]")
    conversation = ask(predictor, conversation, "the larger of [1.1] and [1.2]", both)
    larger = max(first, second, key=lambda target: target.mask.area)
    assert conversation.rounds[1].answer.text == f"The {larger.structure}."
    conversation = ask(predictor, conversation, "the largest vessel between [1.1] and [1.2]", both)
    assert conversation.rounds[2].answer.text == "The aorta."


def test_masks_are_the_same_with_and_without_caches(predictor):
    script_answers(predictor, *ANSWERS)
    warm = talk(predictor)
    script_answers(predictor, *ANSWERS)
    cold = talk(predictor, forget=True)
    for one, other in zip(warm.rounds, cold.rounds, strict=True):
        assert one.answer.text == other.answer.text
        assert [t.mask for t in one.targets] == [t.mask for t in other.targets]
        assert [t.quality for t in one.targets] == pytest.approx([t.quality for t in other.targets], abs=1e-5)
    assert [len(r.targets) for r in warm.rounds] == [1, 1, 2]
    assert len({t.mask for r in warm.rounds for t in r.targets}) >= 3


def test_a_later_round_reads_only_what_is_new(predictor):
    warm = script_answers(predictor, *ANSWERS)
    talk(predictor, planes=(0, 0, 0))
    cold = script_answers(predictor, *ANSWERS)
    talk(predictor, forget=True, planes=(0, 0, 0))
    warm, cold = ([n for n in read if n > 1] for read in (warm, cold))
    assert warm[0] == cold[0]
    assert cold[1] > 2 * warm[1]
    assert cold[2] > 3 * warm[2]


def test_another_plane_is_read_anew(predictor):
    read = script_answers(predictor, *ANSWERS)
    talk(predictor, planes=(0, 1, 1))
    prompts = [n for n in read if n > 1]
    system = len(predictor.model.language.encode(predictor.model.template.system))
    assert prompts[1] > prompts[0] - system
    assert prompts[2] < prompts[1]


def test_an_image_is_encoded_once(predictor):
    calls, encode = [], predictor.model.encode_image
    predictor.model.encode_image = lambda *image: calls.append(1) or encode(*image)
    keys = [predictor.set_image(make_plane(i)) for i in (0, 1, 0)]
    assert keys[0] == keys[2] != keys[1]
    assert len(calls) == 2


def test_what_the_decoder_sees_of_a_plane_is_made_once(predictor, monkeypatch):
    seen, look = [], predictor.model.look
    monkeypatch.setattr(predictor.model, "look", lambda *planes: seen.append(planes) or look(*planes))
    script_answers(predictor, ANSWERS[0], ANSWERS[2])
    predictor.set_image(make_plane())
    conversation = ask(predictor, Conversation(), "Segment the liver.")
    ask(predictor, conversation, "And the others?")
    predictor.refine(np.array([[30.0, 20.0]]), np.array([True]))
    assert len(seen) == 1
    predictor.set_image(make_plane(1))
    predictor.refine(np.array([[30.0, 20.0]]), np.array([True]))
    assert len(seen) == 2


def test_embeddings_on_disk_are_found_by_the_next_predictor(predictor, tmp_path):
    first = Predictor(predictor.model, "cpu", tmp_path)
    key = first.set_image(make_plane())
    second = Predictor(copy.deepcopy(predictor.model), "cpu", tmp_path)
    second.model.encode_image = None
    assert second.set_image(make_plane()) == key
    script_answers(first, ANSWERS[0]), script_answers(second, ANSWERS[0])
    one, other = (ask(p, Conversation(), "The liver?").rounds[0].targets[0].mask for p in (first, second))
    assert one == other


@pytest.mark.parametrize("damage", [b"", b"nothing", "cut", "flip"])
def test_a_damaged_entry_on_disk_is_made_again(predictor, tmp_path, damage):
    Predictor(predictor.model, "cpu", tmp_path).set_image(make_plane())
    (entry,) = tmp_path.glob("*.npz")
    content = bytearray(entry.read_bytes())
    content[len(content) // 3] ^= 255
    whole = entry.read_bytes()
    entry.write_bytes({"cut": whole[: len(whole) // 2], "flip": bytes(content)}.get(damage, damage))
    again = Predictor(predictor.model, "cpu", tmp_path)
    again.set_image(make_plane())
    assert entry.read_bytes() == whole
    assert [p.name for p in tmp_path.iterdir()] == [entry.name]


@pytest.mark.parametrize("after", [0, 1, 5, 12])
def test_cancelling_leaves_nothing_behind(predictor, after):
    script_answers(predictor, ANSWERS[0], ANSWERS[1], ANSWERS[1])
    predictor.set_image(make_plane())
    conversation = ask(predictor, Conversation(), "Segment the liver.")
    asked = iter(range(100))
    with pytest.raises(CancelledError):
        predictor.ask("Beside [1]?", conversation, (FIRST,), cancelled=lambda: next(asked) >= after)
    after_all = ask(predictor, conversation, "Beside [1]?", [FIRST])
    script_answers(predictor, ANSWERS[1])
    predictor.forget()
    predictor.set_image(make_plane())
    undisturbed = ask(predictor, conversation, "Beside [1]?", [FIRST])
    one, other = (c.rounds[1].targets[0] for c in (after_all, undisturbed))
    assert one.mask == other.mask
    assert one.quality == pytest.approx(other.quality, abs=1e-5)


def test_short_memory_is_answered_one_by_one_and_said(predictor):
    script_answers(predictor, ANSWERS[2], ANSWERS[2])
    predictor.set_image(make_plane())
    plenty = ask(predictor, Conversation(), "Both?").rounds[0]
    segment = predictor.model.segment

    def short(features, vectors, names):
        if len(vectors) > 1:
            raise torch.OutOfMemoryError("out of memory")
        return segment(features, vectors, names)

    predictor.model.segment = short
    scarce = ask(predictor, Conversation(), "Both?").rounds[0]
    assert [t.mask for t in scarce.targets] == [t.mask for t in plenty.targets]
    assert not plenty.answer.note
    assert "out of memory: masks are decoded one by one" in scarce.answer.note


def test_short_memory_while_encoding_is_said_with_the_next_answer(predictor):
    encode, failures = predictor.model.encode_image, [RuntimeError("CUDA out of memory.")]

    def short(image, *frame):
        if failures:
            raise failures.pop()
        return encode(image, *frame)

    predictor.model.encode_image = short
    script_answers(predictor, ANSWERS[0], ANSWERS[0])
    predictor.set_image(make_plane())
    assert "out of memory" in ask(predictor, Conversation(), "The liver?").rounds[0].answer.note
    assert not ask(predictor, Conversation(), "The liver?").rounds[0].answer.note


def test_no_memory_at_all_is_an_error_and_the_next_question_works(predictor):
    def nothing(*arguments):
        raise MemoryError

    script_answers(predictor, ANSWERS[0], ANSWERS[0])
    predictor.set_image(make_plane())
    predictor.model.segment = nothing
    with pytest.raises(MemoryError):
        predictor.ask("The liver?", Conversation())
    del predictor.model.segment
    assert ask(predictor, Conversation(), "The liver?").rounds[0].targets


def test_a_chat_turn_is_the_base_models_answer(predictor):
    predictor.reader.chat_limit = 12
    script_answers(predictor, "Hello.", *ANSWERS)
    predictor.set_image(make_plane())
    reply = predictor.ask("hello", Conversation())
    language = build_mediround("tiny").language
    ids = torch.tensor([language.chat_prompt([{"role": "user", "content": "hello"}])])
    base = language.network.get_base_model()
    for _ in range(12):
        with language.adapter_off():
            scores = base(ids).logits[0, -1, : language.base_vocabulary]
        ids = torch.cat([ids, scores.argmax()[None, None]], 1)
    said = language.tokenizer.decode(ids[0, -12:], skip_special_tokens=True).strip()
    assert (reply.text, reply.targets) == (said, ())


def test_what_is_not_visible_is_said_without_a_mask(predictor):
    script_answers(predictor, "The liver [SEG], but the spleen [ABSENT].")
    predictor.set_image(make_plane())
    answer = predictor.ask("Liver and spleen?", Conversation())
    assert [t.structure for t in answer.targets] == ["liver"]
    assert answer.absent == ("spleen",)
    assert answer.text == "The liver, but the spleen is not visible here."


def test_an_empty_mask_is_said_and_can_be_fixed(predictor, monkeypatch):
    predictor.set_image(make_plane())
    script_answers(predictor, "The liver [SEG].")
    with monkeypatch.context() as patch:
        patch.setattr(
            predictor.model,
            "masks_on_plane",
            lambda logits, frame: np.zeros((len(logits), *frame.shape), bool),
        )
        answer = predictor.ask("The liver?", Conversation())
    assert "I found no liver" in answer.note
    mask, _ = predictor.refine(np.array([[20.0, 20.0]]), np.array([True]), None, answer.targets[0].mask)
    assert mask.shape == (48, 64)


def test_clicks_and_boxes_refine_a_mask(predictor):
    script_answers(predictor, ANSWERS[0])
    predictor.set_image(make_plane())
    mask = ask(predictor, Conversation(), "The liver?").rounds[0].targets[0].mask
    point, inside = np.array([[30.0, 20.0]]), np.array([True])
    results = [
        predictor.refine(point, inside),
        predictor.refine(point, inside, previous=mask),
        predictor.refine(box_xyxy=np.array([10, 10, 40, 30])),
    ]
    assert all(r.to_array().shape == (48, 64) and 0 <= quality <= 1 for r, quality in results)
    assert results[0][0] != results[1][0]
    again = predictor.refine(previous=results[1][0])[0]
    assert np.array_equal(main_parts(again.to_array()), mask.to_array()), "specks aside"


def test_a_mask_is_carried_by_its_words_in_its_box(predictor):
    script_answers(predictor, ANSWERS[0])
    image = predictor.set_image(make_plane())
    mask = ask(predictor, Conversation(), "The liver?").rounds[0].targets[0].mask
    vector = predictor._origins[image, mask].vector
    x0, y0, x1, y1 = main = Mask.from_array(main_parts(mask.to_array())).box_xyxy
    grown = BOX_GROWTH * np.array([x0 - x1, y0 - y1, x1 - x0, y1 - y0]) + main
    other = predictor.set_image(make_plane(1))
    carried, quality = predictor.propagate(mask, image)
    assert torch.equal(predictor._origins[other, carried].vector, vector)
    predictor._origins[other, mask] = replace(predictor._origins[image, mask], logits=None)
    box = np.clip(grown, 0, [64, 48, 64, 48])
    whole, judged = predictor.refine(box_xyxy=box, previous=mask)
    assert np.array_equal(parts_propagated(whole.to_array(), mask), carried.to_array())
    words = predictor.model.segment(predictor._looked_at(predictor.features()), vector).quality.item()
    assert quality == pytest.approx((judged + words) / 2)
    assert predictor.refine(box_xyxy=box)[0] != carried, "the words count"


def test_errors_name_their_remedy(predictor):
    with pytest.raises(MediRoundError, match="Open an image"):
        predictor.ask("The liver?", Conversation())
    with pytest.raises(ValueError, match=r"uint8 \(H, W, 3\)"):
        predictor.set_image(np.zeros((4, 4), np.uint8))
    predictor.set_image(make_plane())
    with pytest.raises(MediRoundError, match="Click inside"):
        predictor.refine()
    script_answers(predictor, ANSWERS[0])
    conversation = ask(predictor, Conversation(), "The liver?")
    predictor.forget()
    predictor.set_image(make_plane(1))
    with pytest.raises(MediRoundError, match="no longer in memory"):
        predictor.ask("Beside [1]?", conversation, (FIRST,))


def test_it_says_where_it_computes(predictor):
    told = predictor.describe()
    assert told["device"].startswith("CPU")
    assert told["precision"] == "float32"


def test_only_the_latest_masks_keep_their_origin(predictor, monkeypatch):
    monkeypatch.setattr(predictor._origins, "most", 3)
    predictor.set_image(make_plane())
    masks = [predictor.refine(np.array([[10.0 * k, 20.0]]), np.array([True]))[0] for k in range(1, 6)]
    assert len(set(masks)) == 5
    assert [mask for _, mask in predictor._origins] == masks[-3:]


def test_notes_of_a_cancelled_question_stay_with_it(predictor, monkeypatch):
    notes = iter([("not quite there",), ()])
    monkeypatch.setattr(pipeline, "recheck_references", lambda *args: (args[2].conversation, next(notes)))
    script_answers(predictor, "The liver [SEG].", "The liver [SEG].")
    predictor.set_image(make_plane())
    with pytest.raises(CancelledError):
        predictor.ask("the liver", Conversation(), (), lambda: True)
    assert "not quite" not in predictor.ask("the liver", Conversation(), ()).note


@pytest.mark.parametrize(
    ("sees", "meant"), [("malignant breast lesion", "breast lesion"), ("polyp", "polyp")]
)
def test_of_a_kind_what_is_seen_best_is_meant(predictor, monkeypatch, sees, meant):
    predictor.model.landmarks = Prototypes((sees,), torch.zeros(1, predictor.model.channels))
    for logit, said in ((5.0, meant), (-5.0, "tumour")):
        monkeypatch.setattr(
            "napari_mediround.inference.pipeline.see_structures", lambda *_, n=logit: {sees: n}
        )
        predictor.forget()
        predictor.set_image(make_plane())
        script_answers(predictor, "The tumour [SEG].")
        answer = ask(predictor, Conversation(), "Segment the tumour.").rounds[0].answer
        assert [target.structure for target in answer.targets] == [said]
        assert ("I took this to mean the" in answer.note) == (said == meant)
