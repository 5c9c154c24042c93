"""The model seen from the dock: built when first needed, on the worker. Imports no torch itself."""

from __future__ import annotations

import gc
import logging
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

from numpy.typing import NDArray

from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference
from napari_mediround.errors import CancelledError
from napari_mediround.libraries import import_libraries, one_at_a_time
from napari_mediround.session import Segmenter
from napari_mediround.weights import Weight, cache_dir, check, fetch, load_registry
from napari_mediround.widget.worker import Job

LOG = logging.getLogger(__name__)

LITE_WEIGHTS = ("lite_medsam", "smollm2_135m_instruct", "mediround_lite")
"""What the preset `lite` is made of, by the names of resources/models.toml."""
LIBRARIES = (
    "torch",
    "scipy.ndimage",
    "tokenizers",
    "napari_mediround.inference.predictor",
    "pandas",  # napari's, for the features of the first Labels layer
)
"""What the first question needs; each takes a moment in which no other thread does much."""


class LazySegmenter:
    """A `Segmenter` that stands in for one that takes seconds to import and load.

    Parameters
    ----------
    build : callable
        Returns the real segmenter, an `Predictor` where adapters are to be used; called on the first
        use and again after `release`.
    libraries : tuple of str
        Modules to import before, each a step of the loading.
    """

    def __init__(self, build: Callable[[], Segmenter], libraries: tuple[str, ...] = ()) -> None:
        self._build, self._libraries, self._done = build, libraries, 0
        self._watchers: list[Callable[[int, int], object]] = []
        self._segmenter: Segmenter | None = None
        self._device = "auto"
        self._project: Path | None = None
        self._unasked = False  # built ahead: the live adapter is taken, and complained of, when it is used
        self._releases = 0
        self._lock = threading.RLock()  # of building: whoever learns may come before whoever asks

    @property
    def loaded(self) -> bool:
        """Whether the real one is there and in use."""
        return self._segmenter is not None and not self._unasked

    def load(self, watch: Callable[[int, int], object] = lambda done, steps: None) -> Segmenter:
        """Return the real segmenter, building it if need be, or waiting for the thread that builds it.

        Parameters
        ----------
        watch : callable
            Told the steps done and the steps known, on whichever thread does them.

        Raises
        ------
        Exception
            What the imports, `build` and `follow` raise.
        """
        self._watchers.append(watch)
        watch(self._done, self._steps)
        try:
            with self._lock:
                segmenter = self.prepare()
                if self._unasked:
                    self._unasked = False
                    self._take_live(segmenter)
                return segmenter
        finally:
            self._watchers.remove(watch)

    def prepare(self) -> Segmenter:
        """Build the real segmenter for the first use to find, if it is not there; raises as `build` does."""
        with self._lock:
            segmenter, releases = self._segmenter, self._releases
            if segmenter is None:
                self._count(0)
                import_libraries(self._libraries, lambda name: self._count(self._done + 1))
                with one_at_a_time():  # what is built imports more on its way
                    segmenter = self._build()
                self._count(self._steps)
                if self._device != "auto":
                    segmenter.change_device(self._device)
                if releases == self._releases:  # or nobody would let go of it
                    self._segmenter, self._unasked = segmenter, True
                    gc.freeze()  # napari collects garbage with every layer removed: 0.4 s through torch
            return segmenter

    @property
    def _steps(self) -> int:
        return len(self._libraries) + 1

    def _count(self, done: int) -> None:
        self._done = done
        for watch in tuple(self._watchers):
            watch(done, self._steps)

    def follow(self, project: Path | None) -> None:
        """Answer with the adapter that is live in a project, now or as soon as the real one is there.

        Raises
        ------
        AdapterError
            When it cannot be used; answers come without it then.
        """
        self._project = project
        if self.loaded:  # else `load` will look at the project: nobody waits here for what is being built
            with self._lock:
                self._take_live(self.prepare())

    def _take_live(self, segmenter: Segmenter) -> None:
        adapter = _find_live(self._project)
        if adapter is not None or segmenter.describe().get("adapter"):
            segmenter.use_adapter(adapter)

    def release(self) -> None:
        """Let go of the real segmenter; work that runs keeps it until its end."""
        self._releases += 1
        self._segmenter = None
        gc.unfreeze()

    def set_image(
        self,
        image: NDArray,
        view: str = "",
        modality: str = "",
        spacing_mm: tuple[float, float] | None = None,
    ) -> str:
        """As `Segmenter.set_image`."""
        return self.load().set_image(image, view, modality, spacing_mm)

    def ask(
        self,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...],
        cancelled: Callable[[], bool] | None = None,
        structures: tuple[str, ...] = (),
        chat: bool = True,
    ) -> Answer:
        """As `Segmenter.ask`."""
        return self.load().ask(text, conversation, references, cancelled, structures, chat)

    def chat(self, text: str, conversation: Conversation, cancelled: Callable[[], bool] | None = None) -> str:
        """As `Segmenter.chat`."""
        return self.load().chat(text, conversation, cancelled)

    def refine(self, points_xy=None, positive=None, box_xyxy=None, previous=None) -> tuple[Mask, float]:
        """As `Segmenter.refine`."""
        return self.load().refine(points_xy, positive, box_xyxy, previous)

    def propagate(self, mask: Mask, image: str, structure: str = "") -> tuple[Mask, float]:
        """As `Segmenter.propagate`."""
        return self.load().propagate(mask, image, structure)

    def judge(self, mask: Mask, structure: str) -> float | None:
        """As `Segmenter.judge`."""
        return self.load().judge(mask, structure)

    def change_device(self, device: str) -> None:
        """As `Segmenter.change_device`; while nothing is loaded, where it will be loaded to."""
        if self._segmenter is not None:
            self._segmenter.change_device(device)
        self._device = device

    def describe(self) -> dict[str, str]:
        """As `Segmenter.describe`; empty while nothing is loaded."""
        return self._segmenter.describe() if self._segmenter is not None else {}


def _find_live(project: Path | None) -> Path | None:
    if project is None or not (project / "adapters").exists():  # and torch need not be there
        return None
    with one_at_a_time():
        from napari_mediround.training.learning.adapter_store import AdapterStore

    return AdapterStore(project).live_path


def get_ready(segmenter: LazySegmenter) -> threading.Thread:
    """Import and build what the first question needs, on a thread of its own; return that thread.

    Torch's libraries and the reading of a tokenizer stop every other thread for a moment: better when the
    dock opens than at the first question, which finds all of it there or waits for the rest. The first
    question meets a failure again: an import with the same error (`libraries`), the rest as it is tried anew.
    """
    wanted = weakref.ref(segmenter)  # a dock may be closed before the imports are through

    def import_and_build() -> None:
        _keep_threads_passive()
        try:
            if (lazy := wanted()) is not None:
                lazy.prepare()
        except Exception as error:  # this thread's edge: who asks is told
            LOG.info("the model could not be loaded ahead (%s)", type(error).__name__)

    thread = threading.Thread(target=import_and_build, name="mediround-ready", daemon=True)
    thread.start()
    return thread


def _keep_threads_passive() -> None:
    # Read once, when torch is imported: idle threads that spin would take the cores from the viewer.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def build_predictor() -> Segmenter:
    """Return the `lite` predictor on the best device there is.

    Raises
    ------
    MissingWeightsError
        When its files are not on this machine.
    """
    _keep_threads_passive()
    with one_at_a_time():
        from napari_mediround.inference.predictor import Predictor

    return Predictor.from_preset("lite", cache_dir=cache_dir() / "embeddings")


def missing_weights(names: tuple[str, ...] = LITE_WEIGHTS) -> tuple[Weight, ...]:
    """Return which of the preset's files are not whole on this machine and can be fetched."""
    weights = [load_registry()[name] for name in names]
    return tuple(weight for weight in weights if weight.sources and check(weight.name).word != "ok")


def fetch_weights(job: Job) -> str:
    """Fetch what is missing, on the worker; return what to tell the user.

    Raises
    ------
    CancelledError
        Between two steps, when the job was cancelled.
    MissingWeightsError
        When no source has a file.
    """

    def say(text: str) -> None:
        if job.cancelled():
            raise CancelledError("The download was cancelled.")
        job.report(text)

    for weight in missing_weights():
        fetch(weight.name, say)
    return "The weights are here."
