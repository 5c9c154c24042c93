"""One turn of a conversation about a layer: what it needs, how it runs on the worker, how it can fail.

Touches neither viewer nor view.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from time import perf_counter

from napari.layers import Image

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.rounds import Reference, Round
from napari_mediround.errors import (
    AlreadyThereError,
    DanglingReferenceError,
    MediRoundError,
    MissingWeightsError,
    stop_if,
)
from napari_mediround.questions.request import Request
from napari_mediround.session import Manner, Propagation, Session
from napari_mediround.session.commands import in_words, is_command, masks_for
from napari_mediround.session.editing import WorkedOut
from napari_mediround.session.stack.propagation import PlaneFound
from napari_mediround.widget.chat.case import Case
from napari_mediround.widget.chat.project import Project
from napari_mediround.widget.chat.view import Action, Message
from napari_mediround.widget.layers.layer_geometry import study_from_layer
from napari_mediround.widget.lazy_model import LazySegmenter, missing_weights
from napari_mediround.widget.worker import Job, Progress

SWAPPED = "The image was replaced by one of another size. Choose it at the top and ask again."

ASKS = Manner("ask")


@dataclass(frozen=True)
class Ask:
    """A question with all that it depends on, so that it can be asked again.

    Parameters
    ----------
    case : Case
        Which image and conversation.
    text : str
        The question.
    plane : int
        0-based, display order.
    window : str, (level, width) or None
        As in `Session.answer`.
    references : tuple of Reference, optional
        What it points at; None resolves the words.
    swaps : tuple of (str, Reference)
        Phrases that the user pointed at another mask than the words mean.
    after : int, optional
        As in `Session.answer`: the round replaces those after it on a branch of its own.
    manner : Manner
        As in `Session.answer`.
    request : Request, optional
        What the text, or the step of it that is done now, was understood to ask for; None while it is not.
    rest : tuple of Request
        The steps that follow.
    result : tuple of Reference
        What the step before gave.
    number : int
        How many steps were done already.
    free_text : bool
        As in `Session`.
    began : float
        When it was asked, by `perf_counter`: a person waits from then on.
    """

    case: Case
    text: str
    plane: int
    window: str | tuple[float, float] | None
    references: tuple[Reference, ...] | None = None
    swaps: tuple[tuple[str, Reference], ...] = ()
    after: int | None = None
    manner: Manner = ASKS
    request: Request | None = None
    rest: tuple[Request, ...] = ()
    result: tuple[Reference, ...] = ()
    number: int = 0
    free_text: bool = False
    began: float = field(default_factory=perf_counter, compare=False)


@dataclass(frozen=True)
class Show:
    """Go to a mask, by its label value."""

    value: int


@dataclass(frozen=True)
class Fetch:
    """The offer to fetch the weights and then to ask again."""

    ask: Ask


def open_session(segmenter: LazySegmenter, project: Project, case: Case, layer: Image, job: Job) -> Session:
    """Return the case's session, on the worker; made or moved to the layer's pixels if need be.

    A session made here has the rounds that the project knows of this image.

    Raises
    ------
    MediRoundError
        As `study_from_layer` and `Journal.open`, and when the job was cancelled.
    """
    if not case.fits(layer):
        raise MediRoundError(SWAPPED)
    if case.session is None:
        study = study_from_layer(layer, case.grid.volume)
        stop_if(job.cancelled)  # the project may be closed by now: it is not opened for nobody
        case.session, case.data = Session(segmenter, study, load_anatomy(), project.open()), layer.data
        project.remember(case.session.case, layer)
    elif case.data is not layer.data:
        study = study_from_layer(layer, case.grid.volume)
        case.session, case.data = case.session.move_to(study), layer.data
    return case.session


def take_turn(
    segmenter: LazySegmenter, project: Project, layer: Image, ask: Ask, job: Job
) -> tuple[Ask, Round, dict[str, str]] | Request | WorkedOut:
    """Answer a question, on the worker; return it as understood, the round, and what answered.

    A command is only understood, and an edit worked out: both are done by the one who asked. References are
    resolved before anything slow.

    Raises
    ------
    MediRoundError
        As `Session.answer`, `open_session` and the loading of the model.
    """
    session = open_session(segmenter, project, ask.case, layer, job)
    session.free_text = ask.free_text
    if ask.request is None:
        whole = session.understand(ask.text, ask.plane, ask.after, ask.references or ())
        if is_command(whole):
            return whole
        ask = split(ask, whole)
    request = ask.request
    if request.action == "edit":
        return session.work_out(request, masks_for(session, request, ask.result), ask.plane)
    references, text = ask.references, ask.text
    if ask.number:
        references, text = (
            masks_for(session, request, ask.result),
            in_words(session, request, ask.result, ask.text),
        )
    elif references is None:
        swaps = dict(ask.swaps)
        found = session.resolve(ask.text, ask.plane, ask.after, request)
        references = tuple(swaps.get(r.phrase, r) for r in found)
    if request.action == "segment" or session.free_text:
        _load(segmenter, job)
    job.report(f"Looking at plane {ask.plane} …")
    question = text, ask.plane, references, ask.window, job.cancelled, ask.after, request, ask.manner
    round_ = session.answer(*question)
    return ask, replace(round_, seconds=perf_counter() - ask.began), segmenter.describe()


def split(ask: Ask, request: Request) -> Ask:
    """Return a question with the first step of what it was understood as, and those after it."""
    first, *rest = request.all_steps
    return replace(ask, request=first, rest=tuple(rest))


def _load(segmenter: LazySegmenter, job: Job) -> None:
    if not segmenter.loaded:
        segmenter.load(lambda done, steps: job.report(Progress("Loading the model …", done, steps)))


def find_plane(
    segmenter: LazySegmenter, project: Project, case: Case, layer: Image, run: Propagation, job: Job
) -> tuple[PlaneFound | None, dict[str, str]]:
    """Return what is on the next plane of a run, on the worker; returns and raises as `take_turn`."""
    run.session = open_session(segmenter, project, case, layer, job)
    _load(segmenter, job)
    return run.find(job.cancelled), segmenter.describe()


def explain(error: Exception, ask: Ask | None = None) -> Message:
    """Return a failure in words, with what can be done about it as buttons."""
    if isinstance(error, MissingWeightsError) and ask is not None:
        missing = missing_weights()
        size = sum(weight.download for weight in missing) / 1e6
        offer = (Action(f"Fetch weights ({size:.0f} MB download)", Fetch(ask)),) if missing else ()
        names = ", ".join(f"{weight.name} ({weight.purpose})" for weight in missing)
        text = f"The model's weights are not on this machine yet: {names}." if missing else str(error)
        return Message(text, True, offer)
    if isinstance(error, AlreadyThereError) and ask is not None:
        session = ask.case.session
        labels = [session.label(session.label_of(reference)) for reference in error.masks]
        choices = [Action(f"Show {label.name}", Show(label.value)) for label in labels]
        for words, again in (("Replace it", "replace"), ("Keep both", "both")):
            choices.append(Action(words, replace(ask, manner=replace(ask.manner, again=again))))
        return Message(str(error), actions=tuple(choices))
    if isinstance(error, DanglingReferenceError) and ask is not None:
        choices = (
            Action(ask.case.name_of(r), replace(ask, references=(r,), request=None, rest=()))
            for r in (error.choices if not ask.number else ())
        )
        return Message(str(error), True, tuple(choices))
    if isinstance(error, MediRoundError):
        return Message(str(error), True)
    what = f"Something failed inside MediRound ({type(error).__name__}: {error})."
    return Message(f"{what} The conversation has not changed. Please report it; the log says where.", True)
