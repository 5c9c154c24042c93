"""Arrays in, masks out: `set_image` once, `ask` often. Owns the model, its device and the caches.

Image embeddings are cached by content, in memory and on disk; the language model's key-value cache is kept
from round to round. The caches do not change the masks. Knows no file format and no Qt.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from napari_mediround.domain.anatomy import load_anatomy
from napari_mediround.domain.mask import Mask
from napari_mediround.domain.rounds import Answer, Conversation, Reference, Target
from napari_mediround.errors import MediRoundError, stop_if
from napari_mediround.inference.cache import FeatureStore, Origin, Origins, hash_image, hash_weights
from napari_mediround.inference.device import Runner, choose_device, describe_device
from napari_mediround.inference.dialogue import DialogueReader
from napari_mediround.inference.mask_judge import Judging
from napari_mediround.inference.pipeline import answer_question
from napari_mediround.inference.propagating import Propagating
from napari_mediround.inference.question import Question
from napari_mediround.inference.refinement import (
    origin_of_drawn,
    parts_propagated,
    refine_mask,
    remove_specks,
)
from napari_mediround.model.adapter import Adapter, attach_folder, copy_model, is_adapter
from napari_mediround.model.build import build_mediround
from napari_mediround.model.crop import find_aspect, find_crop, whole_plane
from napari_mediround.model.features import Decoded, DecoderFeatures, ImageFeatures
from napari_mediround.model.llama import AnsweringLanguage
from napari_mediround.model.mediround import MediRound


class Predictor(Judging, Propagating):
    """A model with its device and caches, and a learned adapter or none; a `Segmenter`.

    Parameters
    ----------
    model : MediRound
        In evaluation mode.
    device : str
        "auto", "cuda", "mps" or "cpu".
    cache_dir : Path, optional
        Where image embeddings are kept between runs; None keeps them in memory only.
    preset : str
        Name of the preset, for `describe`.

    Attributes
    ----------
    reader : DialogueReader
        Reads and answers with the model's language model.
    runner : Runner
        Runs the model's steps on the device.
    """

    def __init__(
        self,
        model: MediRound,
        device: str = "auto",
        cache_dir: Path | None = None,
        preset: str = "",
    ) -> None:
        self.model, self.preset = model, preset
        self.anatomy, self.reader = load_anatomy(), DialogueReader(model)
        self._store = FeatureStore(f"{hash_weights(model.image_encoder)}-framed", cache_dir)
        self._current = self._view = self._modality = ""
        self._origins = Origins()
        self._seen: tuple[ImageFeatures, DecoderFeatures] | None = None
        self._lock = threading.RLock()
        self._adapter: Adapter | None = None
        self._adapter_name = ""
        self.runner = Runner(choose_device(device), self._move, self.reader.forget)

    @property
    def device(self) -> torch.device:
        """The device that the model runs on."""
        return self.runner.device

    @classmethod
    def from_preset(
        cls,
        preset: str = "lite",
        device: str = "auto",
        adapter: Path | None = None,
        cache_dir: Path | None = None,
        weights_dir: Path | None = None,
        seed: int = 0,
    ) -> Predictor:
        """Build a model from a preset; on the CPU, one that only answers until it has to learn.

        Parameters
        ----------
        preset : str
            "tiny" (random, for tests), "lite", "paper", or a TOML file.
        device : str
            "auto", "cuda", "mps" or "cpu".
        adapter : Path, optional
            Folder of an adapter learned from corrections, or of trained MediRound weights instead of the
            bundled ones.
        cache_dir : Path, optional
            Where image embeddings are kept between runs.
        weights_dir : Path, optional
            A folder of the user's where model files are looked for first.
        seed : int
            Seed of weights that come from no file.

        Raises
        ------
        MissingWeightsError
            When a file is not on this machine.
        SettingsError
            When there is no such preset or device.
        AdapterError
            When the adapter is damaged or was learned on other weights.
        """
        learned = adapter is not None and is_adapter(adapter)
        trained, answering = None if learned else adapter, choose_device(device).type == "cpu"
        model = build_mediround(preset, seed, trained, weights_dir=weights_dir, answering=answering)
        predictor = cls(model, device, cache_dir, preset)
        if learned:
            predictor.use_adapter(adapter)
        return predictor

    def describe(self) -> dict[str, str]:
        """Return preset, device, precision and, if an adapter is used, its name and hash."""
        precision = str(self.runner.dtype).removeprefix("torch.")
        words = {"preset": self.preset, "device": describe_device(self.device), "precision": precision}
        if self._adapter is None:
            return words
        return words | {"adapter": self._adapter_name, "adapter_sha256": self._adapter.sha256}

    def use_adapter(self, folder: Path | None) -> None:
        """Use a learned adapter from now on, or none. Cached embeddings stay valid.

        Raises
        ------
        AdapterError
            When the adapter is damaged or was learned on other weights; then no adapter is used.
        """
        with self._lock:
            if self._adapter is not None:
                self._adapter.detach()
            self._adapter, self._adapter_name = None, ""
            self.reader.forget()
            if folder is not None:
                self._complete()
                self._adapter, self._adapter_name = attach_folder(self.model, folder), Path(folder).name

    def copy(self, cache_dir: Path | None = None) -> Predictor:
        """Return a predictor without adapter that shares this one's weights and embeddings.

        After that each of the two may answer, learn, use an adapter or move to another device on its own.

        Parameters
        ----------
        cache_dir : Path, optional
            Folder in which the copy keeps embeddings between runs, if this predictor has none.
        """
        with self._lock:
            self._complete()
            model = copy_model(self.model, self._adapter)
            other = Predictor(model, str(self.device), None, self.preset)
            other._store = self._store.copy(cache_dir)
            return other

    def change_device(self, device: str) -> None:
        """Move the model to another device. Caches stay valid."""
        with self._lock:
            self.runner.use(choose_device(device))

    def forget(self) -> None:
        """Drop what is kept in memory: embeddings, key-value cache, features of references."""
        with self._lock:
            self._store.clear()
            self.reader.forget()
            self._seen = None

    def set_image(
        self,
        image: NDArray[np.uint8],
        view: str = "",
        modality: str = "",
        spacing_mm: tuple[float, float] | None = None,
    ) -> str:
        """Encode a rendered plane, unless its embedding is kept already; return its key.

        Parameters
        ----------
        image : ndarray
            uint8 (H, W, 3) in display order.
        view : str
            "axial", "coronal" or "sagittal" if the patient's sides are known, else "".
        modality : str
            DICOM's code where it is known, else "".
        spacing_mm : tuple of float, optional
            From row to row and from column to column, so that the model sees the body in its proportions.
            None takes them as known from before, else as equal.

        Raises
        ------
        ValueError
            When the image has another type or shape.
        """
        with self._lock:
            key, aspect = hash_image(image), spacing_mm and find_aspect(spacing_mm)
            encode = partial(self._encode, aspect=aspect or 1.0)
            self.runner.run(lambda: self._store.get_or_encode(key, image, encode, aspect))
            self._current, self._view, self._modality = key, view, modality
            return key

    def encode(self, image: NDArray[np.uint8]) -> ImageFeatures:
        """Return the features of a plane, uint8 (H, W, 3). The plane set by `set_image` does not change."""
        with self._lock:
            current = self._current, self._view, self._modality
            key = self.set_image(image)
            self._current, self._view, self._modality = current
            return self._store.require(key)

    def features(self) -> ImageFeatures:
        """Return the features of the plane last set; raises `MediRoundError` if there is none."""
        with self._lock:
            return self._store.require(self._current)

    def ask(
        self,
        text: str,
        conversation: Conversation,
        references: tuple[Reference, ...] = (),
        cancelled: Callable[[], bool] | None = None,
        structures: tuple[str, ...] = (),
        chat: bool = True,
    ) -> Answer:
        """Answer one question about the image last set.

        Parameters
        ----------
        text : str
            The question as typed.
        conversation, references
            The rounds before it; what it points at, resolved.
        cancelled : callable, optional
            Asked between tokens and between masks.
        structures : tuple of str
            Preferred names to draw whatever the model reads, as for the plain question.
        chat : bool
            Whether what wants no mask is answered freely by the language model; else the text is empty.

        Raises
        ------
        CancelledError
            When `cancelled` returned True; nothing has changed.
        MediRoundError
            When no image is set, or a referenced image is no longer known.
        """
        with self._lock:
            plane = self._current, self._view, self._modality
            self._store.require(self._current)
            question = Question(text, conversation, tuple(references), *plane, structures)
            answer = answer_question(self, question, cancelled, chat)
            notes, self.runner.notes = [*self.runner.notes, answer.note], []
            return replace(answer, note=" ".join(filter(None, notes)))

    def chat(self, text: str, conversation: Conversation, cancelled: Callable[[], bool] | None = None) -> str:
        """Return the frozen base model's own answer; it does not see the image."""
        with self._lock:
            return self.runner.run(lambda: self.reader.chat(text, conversation, cancelled))

    def refine(
        self,
        points_xy: NDArray | None = None,
        positive: NDArray | None = None,
        box_xyxy: NDArray | None = None,
        previous: Mask | None = None,
    ) -> tuple[Mask, float]:
        """Make a mask from clicks, a box or an earlier mask.

        Parameters
        ----------
        points_xy, positive : ndarray, optional
            (P, 2) x, y in pixels of the plane last set; bool (P,), inside or outside the structure.
        box_xyxy : ndarray, optional
            (4,) half-open, pixels.
        previous : Mask, optional
            The mask to refine. It is a prompt, and if a question asked for it, so is its SEG vector.

        Returns
        -------
        tuple of (Mask, float)
            The mask and its judged IoU, 0…1.

        Raises
        ------
        MediRoundError
            When there is no click, no box, and no mask that a question asked for.
        """
        with self._lock:
            features = self._store.require(self._current)
            origin = self._origins.get((self._current, previous))
            middle = None if box_xyxy is None else np.reshape(box_xyxy, (2, 2)).mean(0, keepdims=True)
            if not (features.frame.holds(points_xy) and features.frame.holds(middle)):
                key, image, aspect = f"{self._current}-whole", features.image, features.frame.aspect
                encode = partial(self._encode, aspect=aspect, whole=True)
                features = self.runner.run(lambda: self._store.get_or_encode(key, image, encode, aspect))
            if previous is not None and (origin is None or features.frame != origin.frame):
                origin = origin_of_drawn(self.model, features, previous, origin)
            if points_xy is None and box_xyxy is None and (origin is None or origin.vector is None):
                raise MediRoundError(
                    "There is no click, no box and no earlier mask. Click inside the structure, or box it."
                )
            prompts = points_xy, positive, box_xyxy, origin
            decoded = self.runner.run(lambda: refine_mask(self.model, self._looked_at(features), *prompts))
            return self._keep(features, decoded, origin)

    def _keep(self, features, decoded, origin, before=None) -> tuple[Mask, float]:
        array = self.model.masks_on_plane(decoded.logits, features.frame)[0]
        mask = Mask.from_array(array if before is None else parts_propagated(array, before))
        logits = decoded.logits[:, None]
        origin = replace(origin or Origin(None, logits, features.frame), logits=logits, frame=features.frame)
        self._origins.keep(self._current, mask, origin)
        return mask, float(decoded.quality[0])

    # What the steps of answering need (`inference.pipeline`)

    def look(self) -> ImageFeatures:
        """Return the plane last set with its decoder features, on the model's device."""
        return self._looked_at(self._store.require(self._current))

    def describe_reference(self, image: str, mask: Mask) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the features of an earlier mask on an image (its key), as `MediRound.describe_reference`."""
        features, array = self._store.require(image), mask.to_array()
        return self.runner.run(
            lambda: self.model.describe_reference(features.to(self.device, torch.float32), array)
        )

    def segment(
        self, vectors: torch.Tensor, names: Sequence[str], cancelled: Callable[[], bool] | None = None
    ) -> tuple[Target, ...]:
        """Decode SEG vectors (N, C) of N named structures on the plane last set; remember the origins."""
        features, found = self._store.require(self._current), []
        names = [self.anatomy.normalise(name) for name in names]
        while len(found) < len(names):
            stop_if(cancelled)
            left, called = vectors[len(found) :], names[len(found) :]
            decoded = self.runner.run(partial(self._segment_batch, features, left, called))
            masks = self.model.masks_on_plane(decoded.logits, features.frame)
            for k, (array, vector, name) in enumerate(zip(masks, left, called, strict=False)):
                mask = Mask.from_array(remove_specks(array, self.anatomy.find(name)))
                found.append(Target(name, mask, float(decoded.quality[k]), bool(decoded.corrected[k])))
                spoken = None if self.model.is_new(name) else vector[None]
                origin = Origin(spoken, decoded.logits[k][None, None], features.frame, name)
                self._origins.keep(self._current, mask, origin)
        return tuple(found)

    def _segment_batch(self, features: ImageFeatures, vectors: torch.Tensor, names: list[str]) -> Decoded:
        count = self.runner.masks_at_once
        return self.model.segment(self._looked_at(features), vectors[:count].to(self.device), names[:count])

    def _looked_at(self, features: ImageFeatures) -> ImageFeatures:
        """Return features with decoder features, which are kept for one plane: 6 MB in the preset `lite`."""
        here = features.to(self.device, torch.float32)
        if self._seen is None or self._seen[0] is not features:
            self._seen = features, self.model.see(here)
        return replace(here, seen=self._seen[1])

    def _encode(self, image: NDArray[np.uint8], aspect: float, whole: bool = False) -> ImageFeatures:
        find = partial(whole_plane, image.shape[:2]) if whole else partial(find_crop, image)
        return self.model.encode_image(image, find(aspect))

    def _complete(self) -> None:
        """Load a language model that learns and takes adapters, if only one that answers was loaded."""
        if isinstance(self.model.language, AnsweringLanguage):
            self.model.language = self.model.language.complete()
            self.reader.forget()

    def _move(self, device: torch.device) -> None:
        if device.type != "cpu":
            self._complete()
        self.reader.forget()
        self._seen = None
        self._origins = self._origins.to(device)
        self.model.to(device)
