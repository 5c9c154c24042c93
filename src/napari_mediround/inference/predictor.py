"""Arrays in, masks out: `set_image` once, `ask` often. Owns the model, its device and the caches.

Image embeddings are cached by content, in memory and on disk; the language model's key-value cache is kept
from round to round. The caches do not change the masks. Knows no file format and no Qt.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
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
from napari_mediround.inference.carrying import Carrying
from napari_mediround.inference.device import (
    choose_device,
    default_dtype,
    describe_device,
    is_out_of_memory,
    precision,
    release_memory,
)
from napari_mediround.inference.dialogue import NOTHING_FOUND, READ_AS, DialogueReader
from napari_mediround.inference.judging import Judging
from napari_mediround.inference.laterality import keep_sides
from napari_mediround.inference.places import find_asked, see_structures
from napari_mediround.inference.recheck import settle_references
from napari_mediround.inference.refinement import (
    mend,
    origin_of_drawn,
    parts_carried,
    tidy,
)
from napari_mediround.model.build import build_mediround
from napari_mediround.model.crop import find_aspect, find_frame, whole_plane
from napari_mediround.model.features import Decoded, ImageFeatures, Seen
from napari_mediround.model.mediround import MediRound
from napari_mediround.model.prompt import compose_answer, parse_answer, plain_question, readable

LOG = logging.getLogger(__name__)


class Predictor(Judging, Carrying):
    """A model with its device and caches; a `Segmenter`.

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
    answer_limit, chat_limit : int
        Largest number of tokens of an answer with masks, and of a chat answer.
    masks_at_once : int
        Masks decoded in one batch; falls to 1 if memory is short.
    """

    def __init__(
        self,
        model: MediRound,
        device: str = "auto",
        cache_dir: Path | None = None,
        preset: str = "",
        answer_limit: int = 64,
        chat_limit: int = 96,
        masks_at_once: int = 8,
    ) -> None:
        self.model, self.preset = model, preset
        self.device = choose_device(device)
        self.dtype = default_dtype(self.device)
        self.anatomy = load_anatomy()
        self.masks_at_once = masks_at_once
        self._reader = DialogueReader(model, answer_limit, chat_limit)
        self._store = FeatureStore(f"{hash_weights(model.image_encoder)}-framed", cache_dir)
        self._current = self._view = self._modality = ""
        self._origins = Origins()
        self._seen: tuple[ImageFeatures, Seen] | None = None
        self._lock = threading.RLock()
        self._notes: list[str] = []
        self._move(self.device)

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
        """Build a model from a preset.

        Parameters
        ----------
        preset : str
            "tiny" (random, for tests), "lite", "paper", or a TOML file.
        device : str
            "auto", "cuda", "mps" or "cpu".
        adapter : Path, optional
            Folder of trained MediRound weights instead of the bundled ones.
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
        """
        choose_device(device)
        return cls(build_mediround(preset, seed, adapter, weights_dir=weights_dir), device, cache_dir, preset)

    def describe(self) -> dict[str, str]:
        """Return preset, device and precision in words."""
        precision = str(self.dtype).removeprefix("torch.")
        return {"preset": self.preset, "device": describe_device(self.device), "precision": precision}

    def change_device(self, device: str) -> None:
        """Move the model to another device. Caches stay valid."""
        with self._lock:
            self._move(choose_device(device))
            self.dtype = default_dtype(self.device)

    def forget(self) -> None:
        """Drop what is kept in memory: embeddings, key-value cache, features of references."""
        with self._lock:
            self._store.clear()
            self._reader.forget()
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
            self._careful(lambda: self._store.get_or_encode(key, image, encode, aspect))
            self._current, self._view, self._modality = key, view, modality
            return key

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
            features = self._store.require(self._current)
            raw, look = {("image", self._current): features.tokens}, partial(self._looked_at, features)
            asked = conversation, references, self._current
            read, notes = self._careful(partial(settle_references, self.model, look, *asked))
            if structures and not references:
                text, read = plain_question(structures), Conversation()
            asked = text, read, references
            pieces = self._reader.compose(*asked, self._current, raw, self._describe_reference)
            pointed_at = [conversation.target(reference).structure for reference in references]
            place = partial(find_asked, self.model, look, self._view, *asked, self._current)
            there = structures or self._careful(place)
            seen = partial(see_structures, self.model, look, self._modality)
            asked = pieces, raw, cancelled, text, pointed_at, there, seen
            said, vectors = self._careful(partial(self._reader.answer, *asked))
            stop_if(cancelled)
            names, absent = parse_answer(said)
            names = names[: len(vectors)]  # a model may spell "[SEG]" without saying the token
            if not names and not absent:
                reply = self.chat(text, conversation, cancelled) if chat else ""
                stop_if(cancelled)
                return Answer(reply, image=self._current, note=self._take_notes(notes))
            notes += [READ_AS.format(names[0])] if self._reader.unsure and names else []
            targets = self._segment(features, vectors, names, cancelled)
            targets = keep_sides(targets, conversation, self._current, self.anatomy, self.refine)
            if empty := [t.structure for t in targets if not t.mask.area]:
                notes.append(NOTHING_FOUND.format(" and no ".join(empty)))
            said = readable(compose_answer([t.structure for t in targets], absent))
            return Answer(said, targets, tuple(absent), self._current, self._take_notes(notes))

    def chat(self, text: str, conversation: Conversation, cancelled: Callable[[], bool] | None = None) -> str:
        """Return the frozen base model's own answer; it does not see the image."""
        with self._lock:
            return self._careful(lambda: self._reader.chat(text, conversation, cancelled))

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
        points_xy : ndarray, optional
            (P, 2) x, y in pixels of the plane last set.
        positive : ndarray, optional
            bool (P,): inside or outside the structure.
        box_xyxy : ndarray, optional
            (4,) half-open, pixels.
        previous : Mask, optional
            The mask to refine. It is a prompt, and if a question asked for it, so is its SEG vector.

        Returns
        -------
        mask : Mask
        quality : float
            Judged IoU, 0…1.

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
                features = self._careful(lambda: self._store.get_or_encode(key, image, encode, aspect))
            if previous is not None and (origin is None or features.frame != origin.frame):
                origin = origin_of_drawn(self.model, features, previous, origin)
            if points_xy is None and box_xyxy is None and (origin is None or origin.vector is None):
                raise MediRoundError("There is nothing to go by. Click inside the structure or draw a box.")
            prompts = points_xy, positive, box_xyxy, origin
            decoded = self._careful(lambda: mend(self.model, self._looked_at(features), *prompts))
            return self._keep(features, decoded, origin)

    def _keep(self, features, decoded, origin, before=None) -> tuple[Mask, float]:
        array = self.model.masks_on_plane(decoded.logits, features.frame)[0]
        mask = Mask.from_array(array if before is None else parts_carried(array, before))
        logits = decoded.logits[:, None]
        origin = replace(origin or Origin(None, logits, features.frame), logits=logits, frame=features.frame)
        self._origins.keep(self._current, mask, origin)
        return mask, float(decoded.quality[0])

    def _describe_reference(self, image: str, mask: Mask) -> tuple[torch.Tensor, torch.Tensor]:
        features, array = self._store.require(image), mask.to_array()
        return self._careful(
            lambda: self.model.describe_reference(features.to(self.device, torch.float32), array)
        )

    def _segment(self, features: ImageFeatures, vectors, names: list[str], cancelled) -> tuple[Target, ...]:
        found, names = [], [self.anatomy.normalise(name) for name in names]
        while len(found) < len(names):
            stop_if(cancelled)
            left, called = vectors[len(found) :], names[len(found) :]
            decoded = self._careful(partial(self._segment_batch, features, left, called))
            masks = self.model.masks_on_plane(decoded.logits, features.frame)
            for k, (array, vector, name) in enumerate(zip(masks, left, called, strict=False)):
                mask = Mask.from_array(tidy(array, self.anatomy.find(name)))
                found.append(Target(name, mask, float(decoded.quality[k]), bool(decoded.corrected[k])))
                spoken = None if self.model.is_new(name) else vector[None]
                origin = Origin(spoken, decoded.logits[k][None, None], features.frame, name)
                self._origins.keep(self._current, mask, origin)
        return tuple(found)

    def _segment_batch(self, features: ImageFeatures, vectors: torch.Tensor, names: list[str]) -> Decoded:
        batch = vectors[: self.masks_at_once].to(self.device)
        return self.model.segment(self._looked_at(features), batch, names[: self.masks_at_once])

    def _looked_at(self, features: ImageFeatures) -> ImageFeatures:
        """Return features with what the decoder sees of them, kept for one plane: 6 MB at `lite`'s size."""
        here = features.to(self.device, torch.float32)
        if self._seen is None or self._seen[0] is not features:
            self._seen = features, self.model.see(here)
        return replace(here, seen=self._seen[1])

    def _encode(self, image: NDArray[np.uint8], aspect: float, whole: bool = False) -> ImageFeatures:
        find = partial(whole_plane, image.shape[:2]) if whole else partial(find_frame, image)
        return self.model.encode_image(image, find(aspect))

    def _take_notes(self, notes: list[str]) -> str:
        said, self._notes = " ".join([*self._notes, *notes]), []
        return said

    def _move(self, device: torch.device) -> None:
        self._reader.forget()
        self._seen = None
        self._origins = self._origins.to(device)
        self.model.to(device)
        self.device = device

    def _careful(self, work: Callable):
        """Run `work`. If memory is short, try smaller batches, bfloat16, then the CPU, and add a note."""
        while True:
            try:
                with torch.no_grad(), precision(self.device, self.dtype):
                    return work()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error) or not self._retreat():
                    self._reader.forget()
                    raise
            self._reader.forget()
            release_memory()

    def _retreat(self) -> bool:
        """Take the next step that needs less memory; return False if there is none."""
        name = describe_device(self.device)
        if self.masks_at_once > 1:
            self.masks_at_once = 1
            note = f"{name} ran out of memory: masks are decoded one by one."
        elif self.device.type == "cuda" and self.dtype == torch.float32:
            self.dtype = torch.bfloat16
            note = f"{name} ran out of memory: computing in bfloat16."
        elif self.device.type != "cpu":
            self._move(torch.device("cpu"))
            self.dtype = torch.float32
            note = f"{name} ran out of memory: computing on the CPU."
        else:
            return False
        LOG.warning(note)
        self._notes.append(note)
        return True
