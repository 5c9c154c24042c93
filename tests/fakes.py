"""Hand-written stand-ins. No torch, no weights."""

from __future__ import annotations

import re
import threading
import zlib
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal
from scipy import ndimage

from napari_mediround.domain.geometry import DisplayOrder, Geometry
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Target
from napari_mediround.domain.study import Study, make_study
from napari_mediround.errors import CancelledError, SettingsError
from napari_mediround.widget.worker import Job

ASKING = re.compile(
    r"\b(segment|show|find|outline|mark|the|a|please|me|of|next|to|near|above|behind)\b|[\[\]?.!]"
)


class FakeSegmenter:
    """A `Segmenter` that answers every named structure with a disc; the name decides where.

    Parameters
    ----------
    gate : threading.Event, optional
        `ask` waits for it, looking at `cancelled` meanwhile; by default it is open.
    error : Exception, optional
        Raised by `ask`.
    quality : float
        Judged quality of every mask.

    Attributes
    ----------
    images : list of ndarray
        What `set_image` was given.
    views : list of (str, str)
        View and modality that came with each image.
    spacings : list of (float, float)
        Spacing that came with each image.
    asked : list of (str, tuple of Reference)
        What `ask` was given.
    refined, carried, judged : list of tuple
        What `refine`, `carry` and `judge` were given.
    started : threading.Event
        Set when `ask` begins.
    absent : set of str
        Names that it does not find.
    """

    def __init__(
        self, gate: threading.Event | None = None, error: Exception | None = None, quality: float = 0.9
    ) -> None:
        self.gate, self.error, self.quality = gate, error, quality
        self.images: list[NDArray] = []
        self.views: list[tuple[str, str]] = []
        self.spacings: list[tuple[float, float] | None] = []
        self.asked: list[tuple[str, tuple[Reference, ...]]] = []
        self.refined: list[tuple] = []
        self.carried: list[tuple] = []
        self.judged: list[tuple] = []
        self.started = threading.Event()
        self.device = "cpu"
        self.absent: set[str] = set()

    def set_image(
        self,
        image: NDArray[np.uint8],
        view: str = "",
        modality: str = "",
        spacing_mm: tuple[float, float] | None = None,
    ) -> str:
        """Remember the plane."""
        self.images.append(image)
        self.views.append((view, modality))
        self.spacings.append(spacing_mm)
        return f"{zlib.crc32(np.ascontiguousarray(image).tobytes()):08x}"

    def ask(
        self,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...],
        cancelled: Callable[[], bool] | None = None,
        structures: tuple[str, ...] = (),
        chat: bool = True,
    ) -> Answer:
        """Answer with one disc for each structure joined by "and" or a comma; "hello" is chat."""
        self.asked.append((text, references))
        self.started.set()
        while self.gate is not None and not self.gate.wait(0.005):
            if cancelled is not None and cancelled():
                raise CancelledError("cancelled")
        if self.error is not None:
            raise self.error
        if text.lower().startswith("hello"):
            return Answer("Hello.")
        names = list(structures) or [
            " ".join(ASKING.sub(" ", part.lower()).split()) for part in re.split(r",| and ", text)
        ]
        absent = tuple(name for name in names if name in self.absent)
        found = (name for name in names if name not in absent)
        targets = tuple(Target(name or "it", self.disc(name), self.quality) for name in found)
        return Answer(f"Here: {', '.join(t.structure for t in targets)}.", targets, absent)

    def chat(self, text, conversation, cancelled=None) -> str:
        """Answer freely."""
        return "Hello."

    def disc(self, name: str) -> Mask:
        """Return the disc of a name on the plane last set."""
        rows, columns = self.images[-1].shape[:2]
        seed = zlib.crc32(name.encode())
        row = rows * (0.3 + 0.4 * (seed % 97) / 96)
        column = columns * (0.3 + 0.4 * (seed // 97 % 97) / 96)
        y, x = np.ogrid[:rows, :columns]
        return Mask.from_array((y - row) ** 2 + (x - column) ** 2 <= (min(rows, columns) * 0.12) ** 2)

    def refine(self, points_xy=None, positive=None, box_xyxy=None, previous=None) -> tuple[Mask, float]:
        """Return the previous mask, filled in the box and at clicks inside, emptied at those outside."""
        mask = np.zeros(self.images[-1].shape[:2], bool) if previous is None else previous.to_array()
        if box_xyxy is not None:
            x0, y0, x1, y1 = (round(float(side)) for side in box_xyxy)
            mask[y0:y1, x0:x1] = True
        y, x = np.ogrid[: mask.shape[0], : mask.shape[1]]
        clicks = [] if points_xy is None else zip(points_xy, positive, strict=True)
        for at, inside in clicks:
            mask[(x - at[0]) ** 2 + (y - at[1]) ** 2 <= (0.06 * min(mask.shape)) ** 2] = inside
        self.refined.append((points_xy, positive, box_xyxy, previous))
        return Mask.from_array(mask), self.quality

    def propagate(self, mask, image, structure="") -> tuple[Mask, float]:
        """Return the mask a pixel smaller all round, until nothing is left of it."""
        self.carried.append((mask, image))
        return Mask.from_array(ndimage.binary_erosion(mask.to_array())), self.quality

    def judge(self, mask, structure) -> float:
        """Return the same quality for every mask."""
        self.judged.append((mask, structure))
        return self.quality

    def change_device(self, device: str) -> None:
        """Move, but to the GPU that this machine lacks."""
        if device == "cuda":
            raise SettingsError("There is no device 'cuda' here.")
        self.device = device

    def describe(self) -> dict[str, str]:
        """Name the fake and where it is."""
        return {"preset": "fake", "device": self.device}


def make_volume(shape: tuple[int, int, int] = (5, 24, 32), spacing=(3.0, 0.5, 0.5), modality="CT") -> Study:
    """Return an oriented axial study of smooth values, −500…500, already in display order."""
    z, y, x = np.indices(shape) / np.reshape(shape, (3, 1, 1, 1))
    pixels = np.round(1000 * (0.2 * z + 0.3 * y + 0.5 * x) - 500).astype(np.int16)
    affine = np.zeros((4, 4))
    affine[[2, 1, 0, 3], [0, 1, 2, 3]] = (*spacing, 1)
    return make_study(pixels, Geometry(shape, affine), modality)


def make_picture(shape: tuple[int, int] = (24, 32)) -> Study:
    """Return a grey picture without spacing or orientation."""
    geometry = Geometry((1, *shape), np.eye(4), oriented=False, calibrated=False)
    pixels = np.arange(np.prod(shape), dtype=np.uint8).reshape(1, *shape)
    return Study(pixels, geometry, DisplayOrder(), geometry)


class FakeView:
    """A `ChatView` that remembers what it was told; its signals are emitted by the test."""

    project_chosen = Signal(str)
    volume_chosen = Signal(int)
    step_chosen = Signal(str)
    mask_chosen = Signal(int)
    mask_hovered = Signal(int)
    tool_chosen = Signal(str)
    reason_chosen = Signal(str)
    key_pressed = Signal(str)
    masks_given = Signal(object)
    layer_given = Signal()
    names_chosen = Signal(object)

    question_asked = Signal(str)
    question_edited = Signal(str)
    cancel_asked = Signal()
    image_chosen = Signal(int)
    plane_chosen = Signal(int)
    follow_chosen = Signal(bool)
    modality_chosen = Signal(int)
    window_chosen = Signal(int)
    action_chosen = Signal(object)
    reference_chosen = Signal(str, object)
    device_chosen = Signal(str)
    stack_chosen = Signal(bool)
    run_step_chosen = Signal(str)
    free_text_chosen = Signal(bool)

    def __init__(self) -> None:
        self.entries: list = []
        self.busy = self.status = self.restored = self.project = ""
        self.fix = self.stack = None
        self.focused = 0

    def show_project(self, name, hint) -> None:
        """Remember the project."""
        self.project = name

    def show_volume(self, volume, volumes, hint) -> None:
        """Remember the volume."""
        self.volume, self.volumes, self.volume_hint = volume, volumes, hint

    def show_current(self, value, undo, redo) -> None:
        """Remember what the keys act on."""
        self.current, self.undo, self.redo = value, undo, redo

    def show_suggestions(self, suggestions) -> None:
        """Remember the suggestions."""
        self.suggestions = list(suggestions)

    def show_fix(self, fix) -> None:
        """Remember the fix."""
        self.fix = fix

    def ask_names(self, title, rows) -> None:
        """Remember what is asked."""
        self.names = {row.value: row for row in rows}

    def focus_question(self) -> None:
        """Count how often."""
        self.focused += 1

    def show_images(self, names, current) -> None:
        """Remember the images."""
        self.images, self.image = list(names), current

    def show_plane(self, plane, planes, name, hint) -> None:
        """Remember the plane."""
        self.plane, self.planes, self.plane_name, self.hint = plane, planes, name, hint

    def show_windows(self, names, current) -> None:
        """Remember the windows."""
        self.windows = list(names)

    def show_modalities(self, names, current) -> None:
        """Remember the modalities."""
        self.modalities, self.modality = list(names), current

    def show_entries(self, entries) -> None:
        """Remember the chat."""
        self.entries = list(entries)

    def show_chips(self, chips, problem) -> None:
        """Remember what the question points at."""
        self.chips, self.problem = list(chips), problem

    def show_stack(self, stack) -> None:
        """Remember what is followed through the stack."""
        self.stack = stack

    def show_busy(self, text, done=0, steps=0) -> None:
        """Remember what is being done."""
        self.busy = text

    def show_status(self, text) -> None:
        """Remember the status."""
        self.status = text

    def restore_question(self, text) -> None:
        """Remember the question."""
        self.restored = text


class FakeWorker:
    """A `Worker` that works when the test says so, on the test's own thread."""

    progressed = Signal(object, str)
    finished = Signal(object, object)
    failed = Signal(object, object)

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.stopped = False

    def submit(self, work) -> Job:
        """Keep the work."""
        self.jobs.append(Job(work, lambda signal, job, text: self.progressed.emit(job, text)))
        return self.jobs[-1]

    def stop(self) -> None:
        """Cancel all."""
        self.stopped = True
        for job in self.jobs:
            job.cancel()

    def run(self) -> None:
        """Do all that waits."""
        while self.jobs:
            job = self.jobs.pop(0)
            if job.cancelled():
                continue
            try:
                result = job.work(job)
            except Exception as error:
                if not job.cancelled():
                    self.failed.emit(job, error)
            else:
                if not job.cancelled():
                    self.finished.emit(job, result)
