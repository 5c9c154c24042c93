"""Masks of a file or of a layer come into the conversation: read, named, judged; asked where unclear."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from napari.layers import Layer

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.segments import clean_name
from napari_mediround.errors import MediRoundError, MissingWeightsError, OtherGridError, stop_if
from napari_mediround.io.masks.outside import Incoming, read_incoming
from napari_mediround.session.importing import Taken, import_taken, judge_taken, take_masks
from napari_mediround.session.naming import Naming, name_segments
from napari_mediround.widget.chat.case import AcceptAll, Case
from napari_mediround.widget.chat.desk import Workplace
from napari_mediround.widget.chat.turn import explain, open_session
from napari_mediround.widget.chat.view import Action, Message, NameRow
from napari_mediround.widget.layers.drawn_masks import take_layer
from napari_mediround.widget.layers.layer_geometry import PATH_KEY
from napari_mediround.widget.worker import Job, Progress

NO_IMAGE = "Open the image first. Then drop the file with its masks here again."
UNJUDGED = "The model is not on this machine, so nobody judged these masks."
STALE = "The conversation went on meanwhile, so the masks were not taken. Take them again."


@dataclass(frozen=True, eq=False)
class Wanted:
    """Where masks shall come from.

    Parameters
    ----------
    case : Case
        The image that they are of.
    source : Path or Layer
        A file, a folder, or a layer of the viewer.
    resample : bool
        Whether the person said that masks on another grid are resampled.
    """

    case: Case
    source: Path | Layer
    resample: bool = False

    @property
    def name(self) -> str:
        """What the screen calls it."""
        return self.source.name


class Imports:
    """The doors for masks from elsewhere: a drop, the button, a layer of the viewer.

    Parameters
    ----------
    place : Workplace
        Viewer, view, worker, model.
    """

    def __init__(self, place: Workplace) -> None:
        self._place = place
        self._asked: tuple[Wanted, Incoming] | None = None
        self._waiting: list[Wanted] = []
        self._job: Job | None = None

    def take_files(self, paths: Sequence[Path]) -> None:
        """Take the masks of files or folders, one after the other, for the image at hand."""
        case = self._place.case
        if case is None or case.layer() is None:
            self._place.say(Message(NO_IMAGE, is_error=True))
            return
        self._waiting += [Wanted(case, Path(path)) for path in paths]
        self._next()

    def take_layer(self, layer: Layer | None) -> None:
        """Take the masks of a layer, by default the one selected in the viewer, for the image at hand."""
        case = self._place.case
        layer = layer if layer is not None else self._place.viewer.layers.selection.active
        if case is None or case.layer() is None:
            self._place.say(Message(NO_IMAGE, is_error=True))
        elif layer is None:
            text = "Select one Labels or Shapes layer in the list of layers, then take it as masks."
            self._place.say(Message(text, is_error=True))
        else:
            self._waiting.append(Wanted(case, layer))
            self._next()

    def act(self, key: object) -> bool:
        """Do what an action of the chat means; return whether it was one of these."""
        if not isinstance(key, Wanted):
            return False
        self._waiting.append(key)
        self._next()
        return True

    def name(self, names: Mapping[int, str] | None) -> None:
        """Take the masks that were asked about by the names that a person gave; None takes none."""
        if self._asked is None:
            return
        (wanted, incoming), self._asked = self._asked, None
        if names is None:
            self._place.say(Message(f"No mask was taken from “{wanted.name}”."), wanted.case)
            self._next()
        else:
            known = load_anatomy()
            cleaned = {v: clean_name(known.normalise(name)) if name else "" for v, name in names.items()}
            self._import(wanted, incoming, cleaned)

    def cancel(self) -> bool:
        """Take nothing more; return whether something was being taken."""
        if self._job is None:
            return False
        self._place.cancel(self._job)
        self._job, self._waiting = None, []
        self._place.say(Message("Cancelled. No mask was taken."))
        return True

    def _next(self) -> None:
        if self._waiting and self._job is None and self._asked is None:
            wanted = self._waiting.pop(0)
            self._start(wanted, partial(self._read, wanted), partial(self._on_read, wanted))

    def _start(self, wanted: Wanted, work, done) -> None:
        words = f"Reading the masks of “{wanted.name}” …"
        self._job = self._place.submit(work, done, partial(self._on_failed, wanted), words)

    def _read(self, wanted: Wanted, job: Job) -> tuple[Incoming, tuple[Naming, ...]]:
        """Read masks on the worker; open the session as well, which knows the image's grid."""
        place, case, anatomy = self._place, wanted.case, load_anatomy()
        layer = case.layer()
        if layer is None:
            raise MediRoundError(NO_IMAGE)
        session = open_session(place.segmenter, place.project, case, layer, job)
        if isinstance(wanted.source, Layer):
            found = take_layer(wanted.source, layer, case.grid, session.study, anatomy, wanted.resample)
        else:
            image = layer.metadata.get(PATH_KEY) or layer.source.path
            grid = session.study.source_geometry
            found = read_incoming(
                wanted.source, grid, anatomy, Path(image) if image else None, wanted.resample
            )
        stop_if(job.cancelled)
        return found, name_segments((s for s in found.volume.segments if found.volume.voxels(s)), anatomy)

    def _on_read(self, wanted: Wanted, found: tuple[Incoming, tuple[Naming, ...]]) -> None:
        self._job = None
        incoming, namings = found
        if all(naming.sure for naming in namings):
            self._import(wanted, incoming, {n.segment.value: n.structure for n in namings})
            return
        self._asked = wanted, incoming
        rows = tuple(
            NameRow(n.segment.value, n.segment.name, n.structure, n.choices, n.why, n.sure) for n in namings
        )
        self._place.view.ask_names(f"Masks of “{wanted.name}”", rows)

    def _import(self, wanted: Wanted, incoming: Incoming, names: Mapping[int, str]) -> None:
        work = partial(self._judge, wanted, incoming, names)
        self._start(wanted, work, partial(self._on_taken, wanted, incoming))

    def _judge(
        self, wanted: Wanted, incoming: Incoming, names: Mapping[int, str], job: Job
    ) -> tuple[tuple[Taken, ...], dict[str, str]]:
        """Make the masks and let the model judge them, on the worker."""
        session, segmenter = wanted.case.session, self._place.segmenter
        taken = take_masks(incoming.volume, session.study, names, incoming.source_of, job.cancelled)
        try:
            segmenter.load(lambda done, steps: job.report(Progress("Loading the model …", done, steps)))
        except MissingWeightsError:
            return taken, {}

        def report(done: int, steps: int) -> None:
            job.report(Progress(f"Judging mask {done + 1} of {steps} …", done, steps))

        return judge_taken(session, taken, report, job.cancelled), segmenter.describe()

    def _on_taken(
        self, wanted: Wanted, incoming: Incoming, found: tuple[tuple[Taken, ...], dict[str, str]]
    ) -> None:
        self._job = None
        case, (taken, model) = wanted.case, found
        first = case.session.state.next_label
        try:
            step = import_taken(case.session, taken, model)
        except (ValueError, MediRoundError) as error:
            text = str(error) if isinstance(error, MediRoundError) else STALE
            self._place.say(Message(text, is_error=True), case)
            return
        case.current = first
        self._place.take(case, step)
        self._place.say(self._tell(wanted, incoming, taken, first, model), case)
        self._next()

    def _tell(
        self, wanted: Wanted, incoming: Incoming, taken: tuple[Taken, ...], first: int, model: dict
    ) -> Message:
        """Return what was taken, what was decided on the way, and a button that accepts all of it."""
        state = wanted.case.session.state
        drawn = range(first, first + len(taken))
        values = tuple(label.value for label in state.labels.values() if label.drawn in drawn)
        many = "1 mask" if len(taken) == 1 else f"{len(taken)} masks"
        notes = [f"{note.rstrip('.')}." for note in incoming.volume.notes]
        notes += [] if model else [UNJUDGED]
        digest = incoming.source.sha256[:12]
        text = " ".join([f"Took {many} from “{wanted.name}” (sha256 {digest}…).", *notes])
        accept = Action(f"Accept {'it' if len(taken) == 1 else f'all {len(taken)}'}", AcceptAll(values))
        return Message(text, actions=(accept,))

    def _on_failed(self, wanted: Wanted, error: Exception) -> None:
        self._job = None
        if isinstance(error, OtherGridError):
            text = f"The voxels of “{wanted.name}” are not those of the image: {error.difference}."
            offer = Action(
                "Resample onto the image", replace(wanted, resample=True),
                "Each voxel of the image takes the value of the mask nearest to its centre",
            )  # fmt: skip
            self._place.say(Message(text, True, (offer,)), wanted.case)
        else:
            self._place.say(explain(error), wanted.case)
        self._next()
