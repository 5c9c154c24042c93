"""From a question about a plane to its answer: understand → locate → say → segment → check.

Each step takes the value of the step before and returns one frozen value (`inference.question`). A new rule
for answers belongs into one of the steps. Knows no cache and no device; the predictor has those.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from napari_mediround.domain.rounds import Answer, Conversation, Target
from napari_mediround.errors import stop_if
from napari_mediround.inference.laterality import keep_sides
from napari_mediround.inference.places import find_asked, see_structures
from napari_mediround.inference.question import Located, Question, Said, Understood
from napari_mediround.inference.recheck import recheck_references
from napari_mediround.model.prompt import compose_answer, plain_question, readable

if TYPE_CHECKING:
    from napari_mediround.inference.predictor import Predictor

NOTHING_FOUND = "I found no {}: it is not visible, or I missed it. If you see it, fix it with a click."
READ_AS = "I took this to mean the {}, but I am not certain. If you meant something else, please name it."
"""Notes beside an answer."""


def answer_question(
    predictor: Predictor,
    question: Question,
    cancelled: Callable[[], bool] | None = None,
    chat: bool = True,
) -> Answer:
    """Answer a question about the plane that the predictor shows the model.

    Parameters
    ----------
    predictor : Predictor
    question : Question
    cancelled : callable, optional
        Asked between tokens and between masks.
    chat : bool
        Whether the language model answers freely what wants no mask; else the text is empty.

    Raises
    ------
    CancelledError
        When `cancelled` returned True.
    """
    understood = understand(predictor, question)
    located = locate(predictor, understood)
    said = say(predictor, located, cancelled)
    stop_if(cancelled)
    if not said.names and not said.absent:
        reply = predictor.chat(question.text, question.conversation, cancelled) if chat else ""
        stop_if(cancelled)
        return Answer(reply, image=question.image, note=" ".join(understood.notes))
    targets = segment(predictor, said, cancelled)
    return check(predictor, question, said, targets, understood.notes)


def understand(predictor: Predictor, question: Question) -> Understood:
    """Recheck the masks that a question points at; ask for known structures in plain words."""
    recheck = partial(recheck_references, predictor.model, predictor.look, question)
    conversation, notes = predictor.runner.run(recheck)
    if question.structures and not question.references:
        plain = plain_question(question.structures)
        return Understood(replace(question, text=plain, conversation=Conversation()), notes)
    return Understood(replace(question, conversation=conversation), notes)


def locate(predictor: Predictor, understood: Understood) -> Located:
    """Find the structure at the place that a question asks for ("behind [1]"), unless it names structures."""
    question = understood.question
    if question.structures:
        return Located(question, question.structures)
    name = predictor.runner.run(partial(find_asked, predictor.model, predictor.look, question))
    return Located(question, (name,) if name else ())


def say(predictor: Predictor, located: Located, cancelled: Callable[[], bool] | None = None) -> Said:
    """Let the language model answer; if it is uncertain, what the plane shows decides."""
    question = located.question
    prompt = predictor.reader.compose(question, predictor.features().tokens, predictor.describe_reference)
    see = partial(see_structures, predictor.model, predictor.look, question.modality)
    return predictor.runner.run(partial(predictor.reader.answer, located, prompt, see, cancelled))


def segment(
    predictor: Predictor, said: Said, cancelled: Callable[[], bool] | None = None
) -> tuple[Target, ...]:
    """Decode a mask for each SEG vector, judge each, and correct the doubtful ones."""
    return predictor.segment(said.vectors, said.names, cancelled)


def check(
    predictor: Predictor,
    question: Question,
    said: Said,
    targets: tuple[Target, ...],
    notes: tuple[str, ...] = (),
) -> Answer:
    """Move masks off the other side of their structure, and put the answer into words."""
    notes = [*notes, READ_AS.format(said.names[0])] if said.unsure and said.names else list(notes)
    targets = keep_sides(targets, question, predictor.anatomy, predictor.refine)
    if empty := [target.structure for target in targets if not target.mask.area]:
        notes.append(NOTHING_FOUND.format(" and no ".join(empty)))
    text = readable(compose_answer([target.structure for target in targets], said.absent))
    return Answer(text, targets, said.absent, question.image, " ".join(notes))
